"""What a grammar derives: texts that a model writes under it, and whether a given one is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_kit import PROMPT

from llama_cpp.errors import GrammarError
from llama_cpp.handles import Vocab, samplers
from llama_cpp.llama import Llama
from llama_cpp.llama_grammar import LlamaGrammar

_ENDS = (b'"', b"}", b"]", b")", b";", b"\n", b" ")


def written(llm: Llama, grammar: LlamaGrammar, count: int = 10) -> Iterator[str]:
    """So many whole texts of random weights that like to close what they open."""
    bias = {token: 3.0 for token in range(llm.n_vocab()) if llm.detokenize([token]) in _ENDS}
    bias[llm.token_eos()] = 5.0
    for seed in range(count):
        answer: Any = llm.create_completion(
            PROMPT, grammar=grammar, seed=seed, temperature=1.0, max_tokens=700,
            logit_bias=bias,
        )  # fmt: skip
        [choice] = answer["choices"]
        assert choice["finish_reason"] == "stop", choice["text"]
        yield choice["text"]


class Reader:
    """Follows texts by a grammar, byte by byte.

    Args:
        vocab: One that has a token for each byte.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        pieces = [vocab.token_to_piece(token) for token in range(vocab.n_tokens)]
        self._tokens = [pieces.index(bytes([byte])) for byte in range(256)]

    def derives(self, grammar: LlamaGrammar, text: str) -> bool:
        """Whether a text is one of the grammar's, from its first byte to its end."""
        sampler = samplers.grammar(self._vocab, grammar._grammar)
        try:
            for byte in text.encode():
                sampler.accept(self._tokens[byte])
            sampler.accept(self._vocab.eos)
        except GrammarError:
            return False
        return True

"""Tiny models with random weights, one of each kind that the engine treats differently.

``Zoo`` lists them; the fixture ``zoo`` has one for the whole test run. A test that needs other
sizes calls a writer itself. Every writer takes the path to write and returns it, and yields the
same bytes for the same arguments, so a test may compare results across two files or two runs. The
weights mean nothing: they are scaled so that logits spread with a standard deviation of about one
and depend on the whole context, which is what makes a wrong position, cache or adapter visible.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from zoo_adapters import write_control_vector, write_lora
from zoo_decoders import CHATML_TEMPLATE, write_gemma3, write_lfm2, write_llama, write_mamba
from zoo_encoders import write_bert, write_classifier, write_reranker, write_t5
from zoo_media import write_audio_mmproj, write_image_mmproj
from zoo_vocab import bpe_vocab, upstream_vocab

__all__ = [
    "CHATML_TEMPLATE",
    "MEMBERS",
    "Zoo",
    "write_audio_mmproj",
    "write_bert",
    "write_classifier",
    "write_control_vector",
    "write_gemma3",
    "write_image_mmproj",
    "write_lfm2",
    "write_llama",
    "write_lora",
    "write_mamba",
    "write_reranker",
    "write_t5",
]


class Zoo:
    """A folder of tiny models. Each is a path, and written when it is first asked for.

    Args:
        folder: Where they are kept. Processes may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # Decoders

    @property
    def llama(self) -> Path:
        """Llama: a KV cache, a chat template, and a small SentencePiece vocabulary."""
        return self._keep("llama", write_llama)

    @property
    def llama_bpe(self) -> Path:
        """Llama with a small byte-level BPE vocabulary, cut out of GPT-2's."""
        return self._keep("llama_bpe", lambda path: write_llama(path, vocab=bpe_vocab()))

    @property
    def llama_whole_spm(self) -> Path:
        """Llama, very narrow, with Llama 2's SentencePiece vocabulary of 32,000 tokens."""
        return self._with_whole_vocab("llama_whole_spm", "llama-spm")

    @property
    def llama_whole_bpe(self) -> Path:
        """Llama, very narrow, with GPT-2's byte-level BPE vocabulary of 50,257 tokens."""
        return self._with_whole_vocab("llama_whole_bpe", "gpt-2")

    @property
    def llama_whole_wordpiece(self) -> Path:
        """Llama, very narrow, with BERT's WordPiece vocabulary of 30,522 tokens."""
        return self._with_whole_vocab("llama_whole_wordpiece", "bert-bge")

    @property
    def sliding_window(self) -> Path:
        """Gemma 3: one layer sees 16 tokens, one sees all, and each kind has a cache of its own."""
        return self._keep("sliding_window", write_gemma3)

    @property
    def mamba(self) -> Path:
        """Mamba: a recurrent state in place of a KV cache."""
        return self._keep("mamba", write_mamba)

    @property
    def hybrid(self) -> Path:
        """LFM2: a KV cache for one layer, a recurrent state for the other."""
        return self._keep("hybrid", write_lfm2)

    # Encoders

    @property
    def t5(self) -> Path:
        """T5: an encoder, and a decoder that needs what it found."""
        return self._keep("t5", write_t5)

    @property
    def bert(self) -> Path:
        """BERT: no memory, one embedding per text, the mean of its tokens."""
        return self._keep("bert", write_bert)

    @property
    def classifier(self) -> Path:
        """BERT with rank pooling and a score for each of two labels."""
        return self._keep("classifier", write_classifier)

    @property
    def reranker(self) -> Path:
        """BERT with rank pooling and one score for ``[CLS] question [SEP] document [SEP]``."""
        return self._keep("reranker", write_reranker)

    # Companions of ``llama``

    @property
    def lora(self) -> Path:
        """A LoRA adapter."""
        return self._keep("lora", write_lora)

    @property
    def control_vector(self) -> Path:
        """A control vector."""
        return self._keep("control_vector", write_control_vector)

    @property
    def image_mmproj(self) -> Path:
        """A projector for images, of LLaVA's kind."""
        return self._keep("image_mmproj", write_image_mmproj)

    @property
    def audio_mmproj(self) -> Path:
        """A projector for sound, of Ultravox's kind."""
        return self._keep("audio_mmproj", write_audio_mmproj)

    def _with_whole_vocab(self, name: str, vocab_name: str) -> Path:
        def write(path: Path) -> Path:
            vocab = upstream_vocab(vocab_name)
            return write_llama(path, vocab=vocab, n_embd=32, n_head=2, n_ff=64, dtype="f16")

        return self._keep(name, write)

    def _keep(self, name: str, write: Callable[[Path], Path]) -> Path:
        path = self.folder / f"{name}.gguf"
        if not path.exists():
            # In one step: another process must not find half a file.
            write(path.with_suffix(f".{os.getpid()}")).replace(path)
        return path


MEMBERS = tuple(name for name, kind in vars(Zoo).items() if isinstance(kind, property))
"""The names of all of them."""

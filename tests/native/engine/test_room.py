"""What the engine does when the memory of a context is too small for all of its sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from handles_kit import open_context
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.cache.fingerprint import Fingerprints
from llama_cpp.cache.prompt_cache import PromptCache
from llama_cpp.engine import Engine
from llama_cpp.errors import ContextWindowError, NoKVSlotError
from llama_cpp.generation.generator import Generator, Run
from llama_cpp.generation.params import GenerationParams
from llama_cpp.handles import Model
from llama_cpp.sampling.chain import EndTokens
from llama_cpp.sampling.params import SamplingParams
from llama_cpp.text import Pieces

GREEDY = SamplingParams(temperature=0, ignore_eos=True)


@pytest.fixture
def generator(zoo: Zoo) -> Iterator[Generator]:
    """Four sequences that share 256 cells, though each may have all of them."""
    with Model(zoo.llama) as model:
        context = open_context(model, n_seq_max=4, kv_unified=True, n_ctx=256)
        engine = Engine(context, EndTokens(model.vocab.is_eog))
        yield Generator(
            engine,
            model,
            Pieces(model.vocab.token_to_piece),
            PromptCache(engine, Fingerprints(context)),
        )


def run(generator: Generator, prompts: list[list[int]], max_tokens: int) -> list[str]:
    texts = Run(generator, prompts, GREEDY, GenerationParams(max_tokens))
    texts.finish()
    return ["".join(part for part, _ in choice.builder.parts) for choice in texts.choices]


def test_preempted_texts_are_as_if_nothing_had_happened(zoo: Zoo, generator: Generator) -> None:
    prompts = [[*range(300 + 20 * i, 340 + 20 * i)] for i in range(4)]
    with open_llama(zoo.llama) as llm:
        alone = [text_of(llm, prompt, max_tokens=80) for prompt in prompts]
    # Together they want 480 cells.
    assert run(generator, prompts, 80) == alone
    assert len(generator.engine) == 0


def test_idle_sequences_go_first(generator: Generator) -> None:
    run(generator, [[*range(300, 400)]], 50)
    run(generator, [[*range(410, 510)]], 50)
    held = [slot.n_cached for slot in generator.engine.slots]
    assert sum(held) <= 256
    assert 149 in held


def test_a_text_that_cannot_have_the_cells_fails_alone(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The cells of a context always hold one full sequence, so this takes a context that lies.
    decode = generator.engine._context.decode

    def refuse(batch: Any) -> None:
        if batch.n_tokens > 1:
            raise NoKVSlotError("no room", code=1)
        decode(batch)

    monkeypatch.setattr(generator.engine._context, "decode", refuse)
    with pytest.raises(NoKVSlotError):
        run(generator, [PROMPT], 4)
    assert run(generator, [[300]], 4)


def test_a_prompt_that_cannot_fit_is_refused_before_anything_runs(generator: Generator) -> None:
    with pytest.raises(ContextWindowError, match=r"Requested tokens \(256\) .* window of 256"):
        run(generator, [[300] * 256], 1)
    assert run(generator, [[300] * 256], 0) == [""]
    assert len(run(generator, [[300] * 255], 1)) == 1

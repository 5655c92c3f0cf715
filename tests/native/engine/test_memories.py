"""A prompt that begins like an earlier one gives what it gives cold, for every kind of memory."""

from __future__ import annotations

from typing import Any

import pytest
from llama_kit import PROMPT, cached_tokens, complete, open_llama, text_of
from zoo import Zoo

KINDS = ["llama", "sliding_window", "sliding_window_cut", "mamba", "hybrid"]

PROMPTS = {
    "first": PROMPT,
    "longer": [*PROMPT, 400, 401, 402],
    "shorter": PROMPT[:40],
    "the same": PROMPT[:40],
    "longer again": [*PROMPT, 400, 401, 402],
    "another end": [*PROMPT[:50], 410, 411],
    "another beginning": [420, *PROMPT],
}


def model_of(zoo: Zoo, kind: str, **arguments: Any) -> Any:
    if kind == "sliding_window_cut":
        return open_llama(zoo.sliding_window, swa_full=False, **arguments)
    return open_llama(getattr(zoo, kind), **arguments)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_parallel", [1, 2])
def test_a_warm_prompt_gives_the_cold_text(zoo: Zoo, kind: str, n_parallel: int) -> None:
    with model_of(zoo, kind, n_parallel=n_parallel, n_ubatch=32) as warm:
        for name, prompt in PROMPTS.items():
            with model_of(zoo, kind) as cold:
                assert text_of(warm, prompt) == text_of(cold, prompt), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_goes_on_where_the_reply_ended(zoo: Zoo, kind: str) -> None:
    with model_of(zoo, kind) as warm:
        complete(warm, PROMPT)
        held = warm.sequence.tokens
        assert held[: len(PROMPT)] == PROMPT and len(held) == len(PROMPT) + 11
        answer = complete(warm, [*held, 400, 401])
        assert cached_tokens(answer) == len(held)
        with model_of(zoo, kind) as cold:
            assert text_of(cold, [*held, 400, 401]) == answer["choices"][0]["text"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_prompt_computes_its_last_token_only(zoo: Zoo, kind: str) -> None:
    with model_of(zoo, kind) as llm:
        complete(llm, PROMPT)
        assert cached_tokens(complete(llm, PROMPT)) == len(PROMPT) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_are_decoded_together_do_not_mix(zoo: Zoo, kind: str) -> None:
    prompts = [PROMPT, PROMPT[:20], [*PROMPT[:30], 430], list(range(500, 510))]
    alone = []
    for prompt in prompts:
        with model_of(zoo, kind) as llm:
            alone.append(text_of(llm, prompt))
    with model_of(zoo, kind, n_parallel=3) as llm:
        answer = complete(llm, prompts)
    assert [choice["text"] for choice in answer["choices"]] == alone


def test_choices_of_one_prompt_compute_it_once(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=4) as llm:
        complete(llm, [PROMPT] * 4)
        requests = [slot.n_cached for slot in llm.engine.slots]
        assert requests == [len(PROMPT) + 11] * 4
        assert sum(not slot.checkpoints for slot in llm.engine.slots) == 4


def test_a_full_context_goes_on_with_a_shift(zoo: Zoo) -> None:
    with open_llama(zoo.llama, context_shift=True) as llm:
        answer = complete(llm, PROMPT, max_tokens=500)
        assert answer["usage"]["completion_tokens"] == 500
        assert answer["choices"][0]["finish_reason"] == "length"
        # What came after the hole was computed with what is gone: it is no beginning of anything.
        again = complete(llm, PROMPT)
        assert cached_tokens(again) == len(PROMPT) - 1
        with open_llama(zoo.llama) as cold:
            assert text_of(cold, PROMPT) == again["choices"][0]["text"]


@pytest.mark.parametrize("kind", ["mamba", "hybrid"])
def test_a_memory_that_cannot_shift_ends_at_the_limit(zoo: Zoo, kind: str) -> None:
    with model_of(zoo, kind, context_shift=True) as llm:
        answer = complete(llm, PROMPT, max_tokens=500)
    assert answer["usage"]["total_tokens"] == 256


def test_memory_that_somebody_else_cleared_is_computed_again(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        text = text_of(llm, PROMPT)
        llm._ctx.kv_cache_clear()
        assert text_of(llm, PROMPT) == text

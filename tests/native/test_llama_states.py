"""States of sequence 0: saved, brought back, refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import StateError
from llama_cpp.llama import Llama, LlamaState


def greedy(llm: Llama, tokens: Any, count: int, **options: Any) -> list[int]:
    return list(itertools.islice(llm.generate(tokens, temp=0, **options), count))


@pytest.mark.parametrize("swa_full", [True, False])
@pytest.mark.parametrize("kind", ["llama", "sliding_window", "mamba", "hybrid"])
def test_every_memory_goes_on_from_a_state(zoo: Zoo, kind: str, swa_full: bool) -> None:
    with open_llama(getattr(zoo, kind), swa_full=swa_full) as llm:
        prompts = [PROMPT, [*PROMPT, 400], PROMPT[:30]]
        expected = [text_of(llm, prompt) for prompt in prompts]
        llm.reset()
        llm.eval(PROMPT[:40])
        state = llm.save_state()
        for prompt, text in zip(prompts, expected, strict=True):
            llm.reset()
            llm.eval(PROMPT[::-1])
            llm.load_state(state)
            assert text_of(llm, prompt) == text
        # A state keeps of a window only what its last token saw.
        llm.load_state(state)
        llm.n_tokens = 20
        llm.eval(PROMPT[llm.n_tokens :])
        again = llm.logits()
        llm.reset()
        llm.eval(PROMPT)
        assert again == pytest.approx(llm.logits(), abs=5e-3)


def test_a_state_brings_the_sequence_back(llm: Llama, zoo: Zoo) -> None:
    llm.eval(PROMPT)
    logits, expected = llm.logits(), greedy(llm, [*PROMPT, 300], 4)
    llm.n_tokens = 0
    llm.eval(PROMPT)
    state = llm.save_state()
    assert state.n_tokens == len(PROMPT)
    assert state.llama_state_size == len(state.llama_state)
    llm.reset()
    llm.eval([400] * 9)
    with open_llama(zoo.llama) as other:
        for model in (llm, other):
            model.load_state(LlamaState.from_bytes(state.to_bytes()))
            assert list(model.eval_tokens) == PROMPT
            assert np.array_equal(model.logits(), logits)
            assert model.sample(temp=0) == logits.argmax()
            assert greedy(model, [300], 4, reset=False) == expected


def test_the_state_of_an_empty_sequence(llm: Llama) -> None:
    empty = llm.save_state()
    assert empty.n_tokens == 0
    llm.eval(PROMPT)
    llm.load_state(empty)
    assert llm.n_tokens == 0
    assert text_of(llm, PROMPT)


def test_states_that_do_not_fit_are_refused(llm: Llama, zoo: Zoo) -> None:
    llm.eval(PROMPT)
    state = llm.save_state()
    expected = text_of(llm, PROMPT)
    state.llama_state = state.llama_state[:-100]
    with pytest.raises(StateError):
        llm.load_state(state)
    assert llm.n_tokens == 0
    state.input_ids = np.full(len(PROMPT), 99999, np.intc)
    with pytest.raises(StateError, match="of another model, or of a larger context"):
        llm.load_state(state)
    with open_llama(zoo.llama_bpe) as other:
        other.eval([50, 51, 52])
        with pytest.raises(StateError, match="of another model"):
            llm.load_state(other.save_state())
    assert text_of(llm, PROMPT) == expected
    with pytest.raises(StateError, match="no state that"):
        LlamaState.from_bytes(b"something else")

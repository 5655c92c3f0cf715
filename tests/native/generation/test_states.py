"""States of sequence 0: saved, brought back, refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from isolated import RunPython
from llama_kit import PROMPT, cached_tokens, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import BusyError, InvalidArgumentError, StateError
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


def test_a_state_holds_the_used_cells_only(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=2048) as llm:
        llm.eval(PROMPT)
        size = llm.save_state().llama_state_size
        llm.eval(PROMPT * 9)
        per_token = (llm.save_state().llama_state_size - size) / (9 * len(PROMPT))
        header = llm._model.handle.header.metadata
        heads = int(header["llama.attention.head_count_kv"])
        width = int(header["llama.embedding_length"]) // int(header["llama.attention.head_count"])
        cell = 2 * 2 * int(header["llama.block_count"]) * heads * width  # K and V, 16 bits each
        assert per_token * 10 * len(PROMPT) == pytest.approx(
            llm.save_state().llama_state_size, rel=0.01
        )
        assert cell <= per_token <= cell + 16  # a position and a sequence with each


@pytest.mark.parametrize("value", [5, None, b"bytes", "text"])
def test_what_is_no_state_is_refused(llm: Llama, value: Any) -> None:
    llm.eval(PROMPT)
    with pytest.raises(InvalidArgumentError, match="what save_state returns"):
        llm.load_state(value)
    assert llm.n_tokens == len(PROMPT)


def test_states_of_other_parameters_are_refused(zoo: Zoo) -> None:
    others: list[dict[str, Any]] = [
        {"type_k": 8},
        {"rope_freq_base": 5000.0},
        {"lora_path": str(zoo.lora)},
        {"lora_path": str(zoo.lora), "lora_scale": 0.5},
        {"kv_overrides": {"llama.rope.freq_base": 5000.0}},
    ]
    states = []
    for arguments in ({}, *others):
        with open_llama(zoo.llama, **arguments) as llm:
            llm.eval(PROMPT)
            states.append(llm.save_state())
    assert len({state.model for state in states}) == len(states)
    with open_llama(zoo.llama, n_ctx=512, n_batch=64) as llm:
        llm.load_state(states[0])
        for state in states[1:]:
            with pytest.raises(StateError, match="of another model"):
                llm.load_state(state)
            assert llm.n_tokens == len(PROMPT)


# Sessions.

CONTINUE = """
import json, sys
from llama_kit import open_llama, complete
with open_llama(sys.argv[1]) as llm:
    llm.load_session(sys.argv[2])
    print(json.dumps(complete(llm, json.loads(sys.argv[3]))))
"""


@pytest.mark.parametrize("kind", ["llama", "sliding_window", "mamba", "hybrid"])
def test_another_process_goes_on_from_a_session(
    zoo: Zoo, kind: str, tmp_path: Path, run_python: RunPython
) -> None:
    path = tmp_path / "session"
    model = getattr(zoo, kind)
    with open_llama(model) as llm:
        first = complete(llm, PROMPT)
        llm.save_session(path)
        prompt = [*llm.eval_tokens, 400, 401]
        expected = complete(llm, prompt)
    answer = json.loads(run_python(CONTINUE, model, path, json.dumps(prompt)).stdout)
    assert answer["choices"] == expected["choices"] != first["choices"]
    assert cached_tokens(answer) == cached_tokens(expected) == len(prompt) - 2
    again = json.loads(run_python(CONTINUE, model, path, json.dumps(PROMPT)).stdout)
    assert again["choices"] == first["choices"]
    # The bytes of a window are its last cells; nobody asked for a checkpoint before them.
    assert cached_tokens(again) == (0 if kind == "sliding_window" else len(PROMPT) - 1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_session_that_cannot_be_loaded_changes_nothing(
    llm: Llama, zoo: Zoo, tmp_path: Path
) -> None:
    path = tmp_path / "session"
    llm.eval(PROMPT[::-1])
    llm.save_session(path)
    whole = path.read_bytes()
    llm.reset()
    llm.eval(PROMPT)
    logits = llm.logits()
    with open_llama(zoo.llama_bpe) as other:
        other.eval([50, 51, 52])
        other.save_session(tmp_path / "other")
    damaged = [
        whole[:-1], whole + b"x", whole[: len(whole) // 2], whole[:20], b"", b"foreign" * 99,
        whole[:8] + b"x" + whole[9:], whole[:200] + b"x" + whole[201:], whole[:-9] + bytes(9),
        (tmp_path / "other").read_bytes(),
    ]  # fmt: skip
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(StateError):
            llm.load_session(path)
    wrong: list[Any] = [tmp_path, tmp_path / "none", 5, None, "\0"]
    for name in wrong:
        with pytest.raises(StateError):
            llm.load_session(name)
    # What only the engine notices.
    state = LlamaState.from_bytes(whole)
    state.llama_state = state.llama_state[:-100]
    path.write_bytes(state.to_bytes())
    with pytest.raises(StateError, match="does not fit"):
        llm.load_session(path)
    assert list(llm.eval_tokens) == PROMPT
    assert np.array_equal(llm.logits(), logits)
    answer = complete(llm, [*PROMPT, 400])
    assert cached_tokens(answer) == len(PROMPT)
    with open_llama(zoo.llama) as fresh:
        assert answer["choices"][0]["text"] == text_of(fresh, [*PROMPT, 400])


def test_a_session_that_cannot_be_written_leaves_the_old_one(llm: Llama, tmp_path: Path) -> None:
    path = tmp_path / "session"
    llm.eval(PROMPT)
    llm.save_session(path)
    before = path.read_bytes()
    wrong: list[Any] = [tmp_path, tmp_path / "none" / "file", path / "below", 5, "\0"]
    for name in wrong:
        with pytest.raises(StateError):
            llm.save_session(name)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before
    llm.eval([400])
    llm.save_session(str(path))
    assert path.read_bytes() != before
    llm.reset()
    llm.load_session(str(path))
    assert list(llm.eval_tokens) == [*PROMPT, 400]


FULL_DISK = """
import resource, sys
from llama_cpp.errors import StateError
from llama_kit import PROMPT, open_llama
with open_llama(sys.argv[1]) as llm:
    llm.eval(PROMPT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        llm.save_session(sys.argv[2])
    except StateError as error:
        print(error)
"""


def test_a_session_on_a_full_disk(zoo: Zoo, tmp_path: Path, run_python: RunPython) -> None:
    path = tmp_path / "session"
    path.write_bytes(b"before")
    assert "cannot be written" in run_python(FULL_DISK, zoo.llama, path).stdout
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"before"


def test_a_session_needs_the_sequence(llm: Llama, tmp_path: Path) -> None:
    path = tmp_path / "session"
    llm.eval(PROMPT)
    llm.save_session(path)
    chunks: Any = llm(PROMPT, max_tokens=8, stream=True)
    next(chunks)
    for use in (llm.save_session, llm.load_session):
        with pytest.raises(BusyError):
            use(path)
    chunks.close()

"""What programs do to ``Llama`` besides calling it: subclasses, patches, assignments, pickles."""

from __future__ import annotations

import asyncio
import copyreg
import itertools
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

import llama_cpp
from llama_cpp import AsyncLlama
from llama_cpp.errors import StateError
from llama_cpp.llama import Llama, LlamaState

MESSAGES: Any = [{"role": "user", "content": "once upon a time"}]
PARAMETERS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "api-0.3.36.json").read_text("utf-8")
)["llama_cpp.llama"]["Llama"]["members"]["__init__"]


class Recording(Llama):
    """Overrides what programs override, and remembers what was called."""

    kind = "recording"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: list[str] = []
        super().__init__(*args, **kwargs)
        self.calls.clear()
        self.prefix = b"the "

    def create_completion(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("create_completion")
        return super().create_completion(*args, **kwargs)

    def create_chat_completion(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("create_chat_completion")
        return super().create_chat_completion(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("generate")
        yield from super().generate(*args, **kwargs)

    def tokenize(self, text: bytes, *args: Any, **kwargs: Any) -> list[int]:
        self.calls.append("tokenize")
        return super().tokenize(self.prefix + text, *args, **kwargs)

    def detokenize(self, *args: Any, **kwargs: Any) -> bytes:
        self.calls.append("detokenize")
        return super().detokenize(*args, **kwargs).upper()

    def eval(self, tokens: Any) -> None:
        self.calls.append("eval")
        super().eval(tokens)

    def reset(self) -> None:
        self.calls.append("reset")
        super().reset()

    def close(self) -> None:
        self.calls.append("close")
        super().close()


@pytest.fixture(scope="module")
def plain(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


@pytest.fixture
def llm(zoo: Zoo) -> Iterator[Recording]:
    options = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
    with Recording(str(zoo.llama), **options) as model:
        yield model


def tokens_by_hand(llm: Llama, count: int = 6) -> list[int]:
    return list(itertools.islice(llm.generate(PROMPT, temp=0), count))


# Subclasses.


def test_a_call_goes_through_an_overridden_completion(llm: Recording, plain: Llama) -> None:
    answer: Any = llm(PROMPT, max_tokens=12, **GREEDY)
    assert llm.calls == ["create_completion"]
    assert answer["choices"][0]["text"] == text_of(plain, PROMPT)
    chunks: Any = llm(PROMPT, max_tokens=12, stream=True, **GREEDY)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == text_of(plain, PROMPT)
    assert llm.calls == ["create_completion"] * 2


def test_openai_objects_and_handlers_go_through_overridden_methods(llm: Recording) -> None:
    llm.create_chat_completion_openai_v1(MESSAGES, max_tokens=2)
    assert llm.calls == ["create_chat_completion"]

    def handler(*, llama: Llama, messages: Any, **options: Any) -> Any:
        assert llama is llm
        return llama.create_completion(prompt=messages[-1]["content"], max_tokens=2)

    llm.calls.clear()
    llm.chat_handler = handler
    answer: Any = llm.create_chat_completion(MESSAGES)
    assert answer["object"] == "text_completion"
    assert llm.calls == ["create_chat_completion", "create_completion"]


def test_overridden_work_by_hand_counts(llm: Recording, plain: Llama) -> None:
    plain.reset()
    assert tokens_by_hand(llm) == tokens_by_hand(plain)
    assert llm.calls == ["generate"]
    llm.reset()
    llm.eval(PROMPT)
    assert llm.sample(temp=0) == tokens_by_hand(plain, 1)[0]
    assert llm.calls == ["generate", "reset", "eval"]


def test_overridden_tokens_count_where_they_are_called(llm: Recording, plain: Llama) -> None:
    tokens = llm.tokenize(b"answer")
    assert tokens == plain.tokenize(b"the answer")
    assert llm.detokenize(tokens) == b"THE ANSWER"
    assert text_of(llm, tokens) == text_of(plain, tokens)


def test_a_subclass_has_attributes_of_its_own(llm: Recording) -> None:
    assert (llm.kind, llm.prefix) == ("recording", b"the ")
    llm.anything = {"at": "all"}  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="'Recording' object has no attribute 'nothing'"):
        _ = llm.nothing  # type: ignore[attr-defined]


def test_a_subclass_is_shared_with_asyncio(llm: Recording, plain: Llama) -> None:
    async def work() -> Any:
        return await AsyncLlama(llm).create_completion(PROMPT, max_tokens=12, **GREEDY)

    # On a thread of its own: that of the tests may have a browser's loop.
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(asyncio.run, work()).result()
    assert answer["choices"][0]["text"] == text_of(plain, PROMPT)


def test_the_end_of_a_subclass_is_its_own_close(llm: Recording) -> None:
    with llm:
        pass
    assert llm.calls == ["close"]
    llm.__del__()
    assert llm.calls == ["close", "close"]


def test_a_subclass_comes_back_from_a_pickle(llm: Recording, plain: Llama) -> None:
    with pickle.loads(pickle.dumps(llm)) as copy:
        assert type(copy) is Recording
        assert text_of(copy, PROMPT) == text_of(plain, PROMPT)


# Patches.


def test_methods_can_be_replaced_on_the_class(
    plain: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    # text-generation-webui does so, and tracers with create_completion.
    seen: list[Any] = []
    original = Llama.generate

    def generate(self: Llama, *args: Any, **kwargs: Any) -> Any:
        seen.append(self._input_ids.tolist())
        yield from self.original_generate(*args, **kwargs)  # type: ignore[attr-defined]

    expected = text_of(plain, PROMPT)
    plain.reset()
    by_hand = tokens_by_hand(plain)
    monkeypatch.setattr(Llama, "original_generate", original, raising=False)
    monkeypatch.setattr(Llama, "generate", generate)
    plain.reset()
    assert tokens_by_hand(plain) == by_hand
    assert seen == [[]]
    assert text_of(plain, PROMPT) == expected


def test_methods_can_be_replaced_on_an_instance(
    plain: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Any = {"choices": [{"text": "mine"}]}
    monkeypatch.setattr(plain, "create_completion", lambda *_, **__: answers)
    monkeypatch.setattr(plain, "create_chat_completion", lambda *_, **__: iter([]))
    assert plain("the") is answers
    assert list(plain.create_chat_completion_openai_v1(MESSAGES, stream=True)) == []


# Assignments.


def test_the_sequence_can_be_assigned(plain: Llama) -> None:
    plain.reset()
    plain.eval(PROMPT)
    ids = plain.input_ids
    ids[40:42] = [400, 401]
    plain.input_ids = ids
    assert plain.n_tokens == 40
    plain.n_tokens = 30
    plain._ctx.kv_cache_seq_rm(-1, plain.n_tokens, -1)
    assert plain._input_ids.tolist() == PROMPT[:30]
    plain.eval(PROMPT[30:])
    scores = plain.scores
    scores[-1, 420] = 1e6
    plain.scores = scores
    assert plain._scores.shape == scores.shape
    assert plain.eval_logits[-1][420] == 1e6
    assert plain.sample(temp=0) == 420
    # What is assigned to a copy changes nothing else.
    plain.input_ids[0:2] = [1, 2]
    assert plain._input_ids.tolist() == PROMPT
    assert text_of(plain, PROMPT) == text_of(plain, np.array(PROMPT).tolist())


def test_a_sampler_can_be_assigned(plain: Llama) -> None:
    plain.reset()
    plain.eval(PROMPT)
    plain._sampler = plain._init_sampler(temp=0)
    assert plain.sample() == plain.sample(temp=5.0, top_k=0)
    plain._sampler.close()
    plain._sampler = None


def test_settings_can_be_assigned(plain: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = text_of(plain, PROMPT)
    cache = llama_cpp.LlamaCache(capacity_bytes=1 << 20)
    for name, value in {
        "verbose": True, "n_batch": 64, "spm_infill": True, "lora_scale": 0.5, "cache": cache,
        "draft_model": None, "model_path": "renamed", "chat_format": "chatml",
    }.items():  # fmt: skip
        monkeypatch.setattr(plain, name, value)
        assert getattr(plain, name) == value
    assert text_of(plain, PROMPT) == expected
    chat: Any = plain.create_chat_completion(MESSAGES, max_tokens=2)
    prompt = "<|im_start|>user\nonce upon a time<|im_end|>\n<|im_start|>assistant\n"
    tokens = plain.tokenize(prompt.encode(), special=True)
    assert chat["usage"]["prompt_tokens"] == len(tokens)


def test_the_parameters_of_one_model_open_another(plain: Llama, zoo: Zoo) -> None:
    plain.context_params.n_ctx = 512
    params = plain.context_params
    with open_llama(zoo.llama, n_ctx=params.n_ctx, n_batch=params.n_batch) as other:
        assert other.n_ctx() == 512
    plain.context_params.n_ctx = 256


# Pickles of llama-cpp-python.


class Pickled:
    """Is pickled as an object of another class with a state."""

    def __init__(self, owner: type, state: dict[str, Any]) -> None:
        self._owner = owner
        self._state = state

    def __reduce__(self) -> Any:
        return copyreg._reconstructor, (self._owner, object, None), self._state  # type: ignore[attr-defined]


def test_a_pickle_of_a_model_is_loaded_from_its_path(zoo: Zoo, plain: Llama) -> None:
    defaults = {each["name"]: each["default"] for each in PARAMETERS if "default" in each}
    known = {name: value for name, value in defaults.items() if value != "<object>"}
    state = {
        **known, "model_path": str(zoo.llama), "n_ctx": 256, "n_threads": 1, "n_threads_batch": 1,
        "verbose": False, "logits_all": True,
    }  # fmt: skip
    assert len(state) > 40
    with pickle.loads(pickle.dumps(Pickled(Llama, state))) as llm:
        assert text_of(llm, PROMPT) == text_of(plain, PROMPT)
        llm.reset()
        llm.eval(PROMPT)
        assert llm.scores[0].any()


def test_a_pickle_of_a_state_is_refused_if_it_cannot_be_used(plain: Llama) -> None:
    state = {
        "input_ids": np.array(PROMPT, np.intc), "scores": np.ones((60, 684), np.single),
        "n_tokens": 60, "llama_state": bytes(1000), "llama_state_size": 1000, "seed": 1,
    }  # fmt: skip
    old = pickle.loads(pickle.dumps(Pickled(LlamaState, state)))
    assert isinstance(old, llama_cpp.LlamaState)
    with pytest.raises(StateError):
        plain.load_state(old)
    assert text_of(plain, PROMPT) == complete(plain, PROMPT)["choices"][0]["text"]
    cache = llama_cpp.LlamaRAMCache()
    cache[PROMPT] = old
    assert cache[PROMPT] is old

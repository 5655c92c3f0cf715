"""Programs that reach into ``Llama``: subclasses, replaced methods, assignments, pickles."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.llama import Llama

SMALL: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "verbose": False}


@pytest.fixture
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


def test_a_call_goes_through_create_completion(zoo: Zoo) -> None:
    class Traced(Llama):
        asked: list[Any] = []  # noqa: RUF012

        def create_completion(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
            self.asked.append((prompt, kwargs["max_tokens"], kwargs["stream"]))
            return super().create_completion(prompt, *args, **kwargs)

    with Traced(str(zoo.llama), **SMALL) as traced:
        traced(PROMPT, max_tokens=2)
        list(traced(PROMPT, max_tokens=3, stream=True))
    assert Traced.asked == [(PROMPT, 2, False), (PROMPT, 3, True)]


def test_a_wrapped_method_is_called(llm: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    wrapped = llm.create_completion

    def traced(*args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(llm, "create_completion", traced)
    text = wrapped(PROMPT, max_tokens=8, temperature=0, ignore_eos=True)["choices"][0]["text"]
    assert llm(PROMPT, max_tokens=8, temperature=0, ignore_eos=True)["choices"][0]["text"] == text
    assert seen == [(PROMPT,)]


def test_a_subclass_may_generate_and_tokenize_in_its_way(zoo: Zoo) -> None:
    class Own(Llama):
        def generate(self, tokens: Any, *args: Any, **kwargs: Any) -> Any:
            for number, token in enumerate(super().generate(tokens, *args, **kwargs)):
                yield token
                if number == 2:
                    return

        def tokenize(self, text: bytes, *args: Any, **kwargs: Any) -> list[int]:
            return super().tokenize(text.lower(), *args, **kwargs)

    with Own(str(zoo.llama), **SMALL) as own, open_llama(zoo.llama) as plain:
        assert len(list(own.generate(PROMPT, top_k=1))) == 3
        assert own.tokenize(b"ONCE Upon") == plain.tokenize(b"once upon")
        assert text_of(own, PROMPT, max_tokens=4) == text_of(plain, PROMPT, max_tokens=4)


def test_generate_can_be_replaced_for_all(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """As text-generation-webui does, to see the tokens as they come."""
    original, seen = Llama.generate, []

    def watched(self: Llama, *args: Any, **kwargs: Any) -> Any:
        for token in original(self, *args, **kwargs):
            seen.append(token)
            yield token

    monkeypatch.setattr(Llama, "generate", watched)
    with open_llama(zoo.llama) as llm:
        tokens = llm.generate(PROMPT, top_k=1)
        assert [next(tokens) for _ in range(3)] == seen


def test_tokens_and_scores_can_be_assigned(llm: Llama) -> None:
    llm.eval(PROMPT)
    whole = llm.logits()
    llm.n_tokens -= 2
    assert llm.n_tokens == len(PROMPT) - 2
    llm.eval(PROMPT[-2:])
    np.testing.assert_allclose(llm.logits(), whole, atol=1e-4)
    llm.input_ids = np.array([*PROMPT[:3], 301, 302], np.intc)
    assert llm.n_tokens == 3 and llm.input_ids[:3].tolist() == PROMPT[:3]
    llm.scores = np.zeros((3, llm.n_vocab()), np.single)
    assert not llm.logits().any()
    llm.my_own_attribute = 5  # type: ignore[attr-defined]
    assert llm.my_own_attribute == 5  # type: ignore[attr-defined]


def test_a_chat_handler_can_be_set_later(llm: Llama) -> None:
    def handler(*, llama: Llama, messages: Any, **arguments: Any) -> Any:
        return (llama, messages, arguments["max_tokens"], arguments["stop"])

    llm.chat_handler = handler
    messages = [{"role": "user", "content": "Hi"}]
    answer: Any = llm.create_chat_completion(messages, max_tokens=5, stop=["x"])
    assert answer == (llm, messages, 5, ["x"])
    llm.chat_handler = None
    llm.chat_format = "chatml"
    assert llm.create_chat_completion(messages, max_tokens=1)["usage"]["prompt_tokens"] > 1


def test_a_pickle_loads_the_model_anew(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=512) as llm:
        text = text_of(llm, PROMPT)
        again = pickle.loads(pickle.dumps(llm))
    assert (again.n_ctx(), again.model_path) == (512, str(zoo.llama))
    assert text_of(again, PROMPT) == text
    again.close()


def test_an_old_pickle_still_loads(zoo: Zoo) -> None:
    # Version 0.4.0 and llama-cpp-python pickle the arguments of the constructor.
    llm = Llama.__new__(Llama)
    llm.__setstate__({"model_path": str(zoo.llama), "n_gpu_layers": 0, "progress": False, **SMALL})
    assert llm.n_ctx() == 256
    llm.close()

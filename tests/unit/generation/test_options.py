"""Every parameter is known wherever it has to be written."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from llama_cpp.async_llama import AsyncLlama
from llama_cpp.chat.formats.handlers import RenderingHandler, handler_arguments
from llama_cpp.chat.options import ChatOptions, FurtherChatOptions
from llama_cpp.chat.params import ChatParams
from llama_cpp.generation.options import CompletionOptions, FurtherCompletionOptions
from llama_cpp.generation.params import CompletionParams
from llama_cpp.llama import Llama
from llama_cpp.models.params import ContextParams, ModelParams, arguments_of
from llama_cpp.sampling.options import SamplingOptions
from llama_cpp.sampling.params import NAMES, SamplingParams

Empty = inspect.Parameter.empty


def arguments(method: Any) -> dict[str, Any]:
    """The arguments of a method by name, with their defaults."""
    parameters = inspect.signature(method).parameters.values()
    return {
        each.name: each.default
        for each in parameters
        if each.name not in ("self", "llama", "stream") and each.kind is not each.VAR_KEYWORD
    }


COMPLETION = [Llama.create_completion, Llama.__call__, AsyncLlama.create_completion]
CHAT = [Llama.create_chat_completion, AsyncLlama.create_chat_completion]


@pytest.mark.parametrize("method", COMPLETION)
def test_completions_take_every_option(method: Any) -> None:
    given = arguments(method)
    assert given.pop("prompt") is Empty
    assert {*given, *FurtherCompletionOptions.__annotations__} == set(
        CompletionOptions.__annotations__
    )
    assert given == {
        name: value for name, value in arguments(COMPLETION[0]).items() if name != "prompt"
    }


@pytest.mark.parametrize("method", CHAT)
def test_chats_take_every_option(method: Any) -> None:
    given = arguments(method)
    assert given.pop("messages") is Empty
    assert {*given, *FurtherChatOptions.__annotations__} == set(ChatOptions.__annotations__)
    assert given == {
        name: value for name, value in arguments(CHAT[0]).items() if name != "messages"
    }


def test_defaults_of_methods_are_those_of_the_parameters() -> None:
    completion: Any = {n: v for n, v in arguments(COMPLETION[0]).items() if n != "prompt"}
    assert CompletionParams.of(completion) == CompletionParams.of({})
    chat: Any = {n: v for n, v in arguments(CHAT[0]).items() if n != "messages"}
    assert ChatParams.of(chat) == ChatParams.of({}) == ChatParams()


CHANGED: dict[str, Any] = {
    "samplers": ["min_p"], "logit_bias": {5: 1.0}, "dry_sequence_breakers": ["x"], "seed": 7,
    "ignore_eos": True, "mirostat_mode": 1, "adaptive_target": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_sampling_parameter_is_lost_on_the_way(name: str) -> None:
    default = getattr(SamplingParams(), name)
    if name in CHANGED:
        value = CHANGED[name]
    else:
        value = default + 1 if isinstance(default, int) else default / 2 + 0.01
    options: Any = {name: value}
    expected = SamplingParams(**options)
    assert CompletionParams.of(options).sampling == expected != SamplingParams()
    with_temperature: Any = {"temperature": 0.8, **options}
    chat = ChatParams.of(with_temperature)
    assert getattr(chat.sampling, name) == getattr(expected, name)
    handed = handler_arguments(chat)
    assert name in handed, "a handler of somebody else's does not get it"


def test_handlers_are_told_of_a_trace() -> None:
    assert ChatParams.of({"sampling_trace": True}).generation.sampling_trace
    assert handler_arguments(ChatParams.of({"sampling_trace": True}))["sampling_trace"] is True


def test_handlers_take_what_they_are_given() -> None:
    taken = arguments(RenderingHandler.__call__)
    assert set(handler_arguments(ChatParams())) | {"messages"} == set(taken)


def test_llama_takes_every_parameter_of_model_and_context() -> None:
    taken = arguments(Llama.__init__)
    for params in (ModelParams(), ContextParams()):
        assert {name: taken.get(name, Empty) for name in arguments_of(params)} == arguments_of(
            params
        )


def test_parameters_are_frozen() -> None:
    for kind in (SamplingParams, CompletionParams, ChatParams, ModelParams, ContextParams):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(kind(), next(iter(dataclasses.fields(kind))).name, None)


def test_all_options_are_sampling_parameters() -> None:
    assert set(SamplingOptions.__annotations__) - {"tfs_z"} == NAMES

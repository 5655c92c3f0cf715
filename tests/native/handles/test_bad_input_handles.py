"""Pointers of the wrong kind, handles after their end, and callbacks that misbehave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from handles_kit import batch_of, decode, open_context
from isolated import Cases, Files, Outcomes

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import (
    BusyError,
    ClosedError,
    DecodeAbortedError,
    InvalidArgumentError,
    PointerTypeError,
)
from llama_cpp.handles.adapter import LoraAdapter
from llama_cpp.handles.candidates import Candidates
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import SamplerChain
from llama_cpp.handles.sampler_kinds import dry, greedy, python, top_k

cases = Cases(__file__)


@cases.add
def raw_functions_refuse_what_is_no_pointer_of_their_kind(files: Files) -> None:
    context = open_context(files.model)
    for wrong in (context, files.model.vocab, None, 0, 1.5, "text", b"bytes", True, [], object()):
        with pytest.raises(PointerTypeError, match="llama_model_n_embd.*llama_model"):
            raw.llama_model_n_embd(wrong)  # type: ignore[arg-type]
    with pytest.raises(PointerTypeError, match="llama_decode"):
        raw.llama_decode(files.model, batch_of().struct)  # type: ignore[arg-type]
    with pytest.raises(PointerTypeError, match="llama_decode"):
        raw.llama_decode(context.pointer, "no batch")  # type: ignore[arg-type]


@cases.add
def raw_functions_refuse_a_python_function_as_callback(files: Files) -> None:
    context = open_context(files.model)
    with pytest.raises(PointerTypeError, match="wrap it in the callback type"):
        raw.llama_set_abort_callback(context.pointer, lambda _: False, None)  # type: ignore[arg-type]


@cases.add
def raw_functions_refuse_a_closed_handle(files: Files) -> None:
    context = open_context(files.model)
    context.close()
    with pytest.raises(ClosedError, match="Context is closed"):
        raw.llama_n_ctx(context)  # type: ignore[arg-type]


@cases.add
def closed_model_refuses_everything(files: Files) -> None:
    model = Model(files.llama)
    vocab = model.vocab
    model.close()
    calls: list[Any] = [
        lambda: model.n_embd,
        lambda: model.vocab,
        lambda: model.metadata,
        lambda: model.description,
        lambda: model.chat_template(),
        lambda: model.pointer,
        lambda: open_context(model),
        lambda: LoraAdapter(model, files.lora),
        lambda: vocab.tokenize("the"),
        lambda: vocab.detokenize([300]),
        lambda: vocab.token_to_piece(300),
        lambda: vocab.text(300),
        lambda: vocab.bos,
        lambda: dry(vocab, 1.0),
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="is closed"):
            call()


@cases.add
def closed_context_refuses_everything(files: Files) -> None:
    context = open_context(files.model)
    chain = SamplerChain([greedy()])
    memory, state = context.memory, context.state
    context.close()
    calls: list[Any] = [
        lambda: decode(context),
        lambda: context.encode(batch_of()),
        lambda: context.logits(),
        lambda: context.set_threads(1, 1),
        lambda: context.set_adapters(()),
        lambda: context.set_abort_callback(None),
        lambda: memory.clear(),
        lambda: memory.seq_pos_max(0),
        lambda: state.get(),
        lambda: state.set(bytes(100)),
        lambda: chain.sample(context),
    ]
    for call in calls:
        with pytest.raises((ClosedError, InvalidArgumentError)):
            call()
    context.abort()
    assert chain.names == ["greedy"]


@cases.add
def closed_samplers_refuse_everything(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    sampler, chain = top_k(3), SamplerChain([greedy()])
    sampler.close()
    chain.close()
    calls: list[Any] = [
        lambda: sampler.apply(Candidates(np.zeros(5))),
        lambda: sampler.accept(3),
        lambda: sampler.reset(),
        lambda: sampler.clone(),
        lambda: SamplerChain([sampler]),
        lambda: chain.sample(context),
        lambda: chain.add(top_k(1)),
        lambda: chain.names,
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="is closed"):
            call()


@cases.add
def closing_twice_does_nothing(files: Files) -> None:
    model = Model(files.llama)
    handles = [open_context(model), LoraAdapter(model, files.lora), top_k(3), model]
    for handle in [*handles, *handles, *reversed(handles)]:
        handle.close()
        assert handle.closed
        assert "closed" in repr(handle)


@cases.add
def closing_the_model_closes_all_that_depends_on_it(files: Files) -> None:
    model = Model(files.llama)
    adapter, context = LoraAdapter(model, files.lora), open_context(model)
    context.set_adapters([(adapter, 1.0)])
    vocab, sampler = model.vocab, dry(model.vocab, 1.0)
    chain = SamplerChain([dry(model.vocab, 1.0), greedy()])
    model.close()
    assert all(handle.closed for handle in (adapter, context, vocab, sampler, chain))


@cases.add
def closing_an_adapter_takes_it_off_its_contexts(files: Files) -> None:
    context = open_context(files.model)
    expected = decode(context)
    adapter = LoraAdapter(files.model, files.lora)
    context.set_adapters([(adapter, 1.0)])
    adapter.close()
    context.memory.clear()
    assert np.array_equal(decode(context), expected)
    with pytest.raises(ClosedError, match="LoraAdapter is closed"):
        context.set_adapters([(adapter, 1.0)])


@cases.add
def abort_callback_cannot_close_or_use_what_it_runs_in(files: Files) -> None:
    model = Model(files.llama)
    context, adapter = open_context(model), LoraAdapter(model, files.lora)
    context.set_adapters([(adapter, 1.0)])
    callbacks: list[Any] = [
        lambda: context.close(),
        lambda: model.close(),
        lambda: adapter.close(),
        lambda: decode(context),
        lambda: context.logits(),
        lambda: context.memory.clear(),
        lambda: context.state.get(),
        lambda: context.set_abort_callback(None),
    ]
    for callback in callbacks:
        context.memory.clear()
        context.set_abort_callback(callback)
        with pytest.raises(BusyError, match="on the calling thread"):
            decode(context)
        context.set_abort_callback(None)
        assert not (model.closed or context.closed or adapter.closed)
        context.memory.clear()
        decode(context)


@cases.add
def abort_callback_that_raises_stops_the_decode_with_its_error(files: Files) -> None:
    context = open_context(files.model)
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):

        def fail(error: type[BaseException] = error) -> bool:
            raise error("from the callback")

        context.memory.clear()
        context.set_abort_callback(fail)
        with pytest.raises(error, match="from the callback"):
            decode(context)
        context.set_abort_callback(None)
        context.memory.clear()
        decode(context)


@cases.add
def abort_callback_that_returns_nonsense_counts_by_its_truth(files: Files) -> None:
    context = open_context(files.model)
    context.set_abort_callback(lambda: None)  # type: ignore[arg-type, return-value]
    decode(context)
    context.set_abort_callback(lambda: "yes")  # type: ignore[arg-type, return-value]
    with pytest.raises(DecodeAbortedError):
        decode(context, pos=10)


@cases.add
def python_sampler_cannot_close_or_use_what_it_runs_in(files: Files) -> None:
    model = Model(files.llama)
    context = open_context(model)
    decode(context)
    actions: list[Any] = []
    samplers = [dry(model.vocab, 1.0), python(lambda _: actions[0]()), greedy()]
    chain = SamplerChain(samplers)
    for action in (
        lambda: chain.close(),
        lambda: model.close(),
        lambda: model.vocab.close(),
        lambda: chain.sample(context),
        lambda: chain.add(top_k(1)),
        lambda: chain.remove(0),
        lambda: chain.reset(),
        lambda: chain.clone(),
    ):
        actions[:] = [action]
        with pytest.raises(BusyError, match="on the calling thread"):
            chain.sample(context)
        assert not (model.closed or context.closed or chain.closed)
    actions[:] = [lambda: decode(context, pos=10)]  # nothing native is running on the context
    chain.sample(context)
    actions[:] = [lambda: context.close()]
    chain.sample(context)
    assert context.closed


@cases.add
def context_of_a_subclass_that_fails_in_its_constructor_is_freed(files: Files) -> None:
    class Failing(Context):
        def __init__(self) -> None:
            super().__init__(files.model)
            raise ValueError("later")

    for _ in range(3):
        with pytest.raises(ValueError, match="later"):
            Failing()
    half_made = Context.__new__(Context)
    with pytest.raises(AttributeError):
        half_made.close()
    del half_made


@cases.add
def structs_with_wrong_types_are_refused_by_ctypes(files: Files) -> None:
    params = Context.default_params()
    for value in ("x", None, 1.5, [1]):
        with pytest.raises(TypeError):
            params.n_ctx = value  # type: ignore[assignment]


@cases.add
def objects_of_other_classes_are_refused(files: Files) -> None:
    context = open_context(files.model)
    calls: list[Any] = [
        lambda: Context(files.llama),  # type: ignore[arg-type]
        lambda: Context(files.model, Model.default_params()),  # type: ignore[arg-type]
        lambda: Model(files.llama, Context.default_params()),  # type: ignore[arg-type]
        lambda: LoraAdapter(files.llama, files.lora),  # type: ignore[arg-type]
        lambda: context.decode([1, 2, 3]),  # type: ignore[arg-type]
        lambda: context.set_adapters([(files.model, 1.0)]),  # type: ignore[list-item]
        lambda: SamplerChain([print]),  # type: ignore[list-item]
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match="must be a |adapter"):
            call()


@pytest.mark.parametrize("name", cases.names)
def test_misused_handle(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""

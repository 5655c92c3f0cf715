"""Handles keep alive what they need, free it at once, and say what the engine logged."""

from __future__ import annotations

import gc
import logging
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handles_kit import TOKENS, decode, open_context

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import ClosedError, GrammarError, UnknownArchitectureError
from llama_cpp.handles.adapter import LoraAdapter
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import SamplerChain
from llama_cpp.handles.sampler_kinds import dry, grammar, greedy, python, top_k


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only reference counts free objects: a cycle would keep its members."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_context_keeps_its_model_alive(tiny_llama: Path, model: Model) -> None:
    expected = decode(open_context(model))
    context = open_context(Model(tiny_llama))
    gc.collect()
    assert np.array_equal(decode(context), expected)
    assert context.model.vocab.n_tokens == 684


def test_vocabulary_and_samplers_keep_the_model_alive(tiny_llama: Path, model: Model) -> None:
    text = 'root ::= "the"'
    vocab = Model(tiny_llama).vocab
    chain = SamplerChain([dry(Model(tiny_llama).vocab, 1.0), greedy()])
    sampler = grammar(Model(tiny_llama).vocab, text)
    gc.collect()
    assert vocab.tokenize("the") == model.vocab.tokenize("the")
    context = open_context(model)
    decode(context)
    assert chain.sample(context) == SamplerChain([greedy()]).sample(context)
    assert sampler.clone().name == "grammar"


def test_adapter_keeps_its_model_alive_and_a_context_its_adapters(
    tiny_llama: Path, tiny_lora: Path
) -> None:
    context = open_context(Model(tiny_llama))
    plain = decode(context)
    context.set_adapters([(LoraAdapter(context.model, tiny_lora), 1.0)])
    gc.collect()
    context.memory.clear()
    assert not np.allclose(decode(context), plain)


@pytest.mark.usefixtures("no_gc")
def test_dropping_the_last_reference_frees_at_once(tiny_llama: Path, tiny_lora: Path) -> None:
    def flag(_: Any) -> None: ...

    makers: list[Callable[[Model], Any]] = [
        lambda model: model,
        lambda model: model.vocab,
        lambda model: open_context(model),
        lambda model: LoraAdapter(model, tiny_lora),
        lambda model: top_k(3),
        lambda model: python(flag),
        lambda model: grammar(model.vocab, 'root ::= "a"'),
        lambda model: SamplerChain([dry(model.vocab, 1.0), python(flag), greedy()]),
    ]
    for make in makers:
        model = Model(tiny_llama)
        handle = make(model)
        gone = [weakref.ref(model), weakref.ref(handle)]
        del model, handle
        assert [ref() for ref in gone] == [None, None], make


@pytest.mark.usefixtures("no_gc")
def test_used_context_is_freed_at_once(tiny_llama: Path, tiny_lora: Path) -> None:
    model = Model(tiny_llama)
    context = open_context(model)
    adapter = LoraAdapter(model, tiny_lora)
    context.set_adapters([(adapter, 1.0)])
    context.set_abort_callback(lambda: False)
    decode(context)
    chain = SamplerChain([greedy()])
    chain.sample(context)
    context.state.set(context.state.get())
    context.set_abort_callback(None)
    gone: list[weakref.ref[Any]] = [
        weakref.ref(context), weakref.ref(adapter), weakref.ref(model),
    ]  # fmt: skip
    del context, adapter, model
    assert [ref() for ref in gone] == [None] * 3


@pytest.mark.usefixtures("no_gc")
def test_failed_calls_leave_nothing_behind(tiny_llama: Path, tmp_path: Path) -> None:
    model = Model(tiny_llama)
    context = open_context(model)
    gone: list[weakref.ref[Any]] = [weakref.ref(context), weakref.ref(model)]
    with pytest.raises(GrammarError):
        grammar(model.vocab, "root ::= (")
    context.abort()
    with pytest.raises(Exception, match="stopped"):
        decode(context)
    del context, model
    # What `raises` keeps of the traceback is a cycle of pytest's own.
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_with_blocks_close(tiny_llama: Path) -> None:
    with Model(tiny_llama) as model, open_context(model) as context, greedy() as sampler:
        decode(context)
        handles = (model, context, sampler)
        assert [handle.closed for handle in handles] == [False] * 3
    assert [handle.closed for handle in handles] == [True] * 3
    with pytest.raises(ClosedError, match="with its parent"), model:
        decode(context)


def test_with_block_closes_after_an_error(tiny_llama: Path) -> None:
    with pytest.raises(ZeroDivisionError), Model(tiny_llama) as model:
        raise ZeroDivisionError
    assert model.closed


def test_closing_a_child_leaves_its_parent_open(model: Model) -> None:
    first, second = open_context(model), open_context(model)
    first.close()
    model.vocab.close()
    decode(second)
    assert model.vocab.tokenize("the")


def test_lease_keeps_a_handle_open_and_ends(model: Model) -> None:
    context = open_context(model)
    pointer = context.acquire()
    try:
        assert raw.llama_n_ctx(pointer) == 256
    finally:
        context.release()
    context.close()
    with pytest.raises(ClosedError):
        context.acquire()


def test_handle_stands_for_its_pointer_in_raw_calls(model: Model) -> None:
    context = open_context(model)
    assert raw.llama_n_ctx(context) == 256  # type: ignore[arg-type]
    assert raw.llama_get_model(context.pointer) == model.pointer
    assert raw.llama_vocab_n_tokens(model.pointer) == model.n_vocab
    assert repr(context).startswith("<Context 0x")


def test_model_tells_what_its_file_says(
    model: Model, tiny_t5: Path, tiny_mamba: Path, tiny_bert: Path, tiny_classifier: Path
) -> None:
    assert (model.n_vocab, model.n_embd, model.n_layer, model.n_ctx_train) == (684, 256, 2, 512)
    assert (model.n_embd_inp, model.n_embd_out, model.n_cls_out) == (256, 256, 1)
    assert model.description.startswith("llama")
    assert model.metadata["general.architecture"] == "llama"
    assert model.n_params > 900_000
    assert model.size == 4 * model.n_params
    template = model.chat_template()
    assert template is not None
    assert "<|im_start|>" in template
    assert (model.has_encoder, model.has_decoder) == (False, True)
    assert not (model.is_recurrent or model.is_hybrid)
    assert Model(tiny_t5).has_encoder
    assert Model(tiny_mamba).is_recurrent
    assert Model(tiny_classifier).n_cls_out == 2
    assert Model(tiny_bert).chat_template() is None


def test_vocabulary_gives_texts_back(model: Model, tiny_llama_bpe: Path) -> None:
    for vocab in (model.vocab, Model(tiny_llama_bpe).vocab):
        for text in ("hello world", "Once upon a time", "äöü 日本語 😀", "a\0b"):
            tokens = vocab.tokenize(text, add_special=False)
            assert vocab.detokenize(tokens).decode() == text
            assert all(0 <= token < vocab.n_tokens for token in tokens)


def test_native_log_reaches_logging_and_nothing_is_printed(
    tiny_llama: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, "llama_cpp"), Model(tiny_llama) as model:
        context = open_context(model)
        decode(context)
        with pytest.raises(GrammarError):
            grammar(model.vocab, "root ::= (")
        context.abort()
        with pytest.raises(Exception, match="stopped"):
            decode(context, pos=len(TOKENS))
    names = {record.name for record in caplog.records}
    levels = {record.levelno for record in caplog.records}
    assert names == {"llama_cpp"}
    assert {logging.INFO, logging.DEBUG, logging.WARNING} <= levels
    assert any("n_ctx" in record.getMessage() for record in caplog.records)
    assert not any(record.getMessage().endswith("\n") for record in caplog.records)
    assert capfd.readouterr() == ("", "")


def test_errors_carry_the_native_log_of_their_own_call(model: Model, tiny_llama: Path) -> None:
    for rules, reason in (
        ('root ::= root "a" | "b"', "left recursion detected"),
        ('other ::= "a"', "does not contain a 'root' symbol"),
    ):
        with pytest.raises(GrammarError, match=f"native log: .*{reason}") as caught:
            grammar(model.vocab, rules)
        assert len([line for line in caught.value.native_log if "grammar" in line]) == 1


def test_errors_survive_pickling(tmp_path: Path, tiny_llama: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_llama.read_bytes().replace(b"llama", b"lxama"))
    with pytest.raises(UnknownArchitectureError) as caught:
        Model(damaged)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.native_log) == (str(caught.value), caught.value.native_log)
    assert "lxama" in str(copy)


def test_contexts_have_their_own_memory(model: Model) -> None:
    contexts: list[Context] = [open_context(model) for _ in range(3)]
    decode(contexts[0])
    assert [context.memory.seq_pos_max(0) for context in contexts] == [9, -1, -1]

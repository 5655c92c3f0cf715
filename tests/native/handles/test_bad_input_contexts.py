"""Context parameters that cannot be, and models that cannot do what is asked of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from handles_kit import TOKENS, batch_of, decode, open_context
from isolated import Cases, Files, Outcomes
from zoo import write_llama

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import (
    BatchError,
    ContextError,
    DecodeError,
    InvalidArgumentError,
    OutOfMemoryError,
    SequenceError,
)
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

cases = Cases(__file__)

WORKING_CACHE_TYPES = {0, 1, 2, 3, 6, 7, 8, 20, 30}


def works(context: Context) -> None:
    assert np.isfinite(decode(context)).all()
    assert np.isfinite(decode(context, [5], pos=len(TOKENS))).all()


@cases.add
def cache_types_work_or_are_refused(files: Files) -> None:
    for name, flash in itertools.product(("type_k", "type_v"), (-1, 0, 1)):
        worked = set()
        for kind in range(-1, 51):
            try:
                works(open_context(files.model, **{name: kind}, flash_attn_type=flash))
            except ContextError as error:
                assert kind not in WORKING_CACHE_TYPES or flash == 0, error
                continue
            worked.add(kind)
        if name == "type_k" or flash != 0:
            assert worked == WORKING_CACHE_TYPES, (name, flash)
        else:
            assert worked == {0, 1, 30}, "a quantized V cache needs flash attention"


@cases.add
def cache_types_work_or_are_refused_in_every_architecture(files: Files) -> None:
    for path in (files.mamba, files.bert, files.t5):
        model = Model(path)
        for kind, flash in itertools.product(sorted(WORKING_CACHE_TYPES), (0, 1)):
            try:
                context = open_context(model, type_k=kind, type_v=kind, flash_attn_type=flash)
            except ContextError:
                continue
            if path != files.mamba:
                context.encode(batch_of())
            context.decode(batch_of())


@cases.add
def cache_types_that_do_not_divide_a_head_are_refused(files: Files) -> None:
    path = write_llama(files.scratch / "head16.gguf", n_head=16, n_head_kv=8)
    model = Model(path)
    for name in ("type_k", "type_v"):
        with pytest.raises(ContextError, match="does not divide"):
            open_context(model, **{name: raw.GGML_TYPE_Q8_0})
    works(open_context(model, type_k=raw.GGML_TYPE_Q8_0, flash_attn_type=0))


@cases.add
def sizes_out_of_range_are_refused(files: Files) -> None:
    impossible: dict[str, tuple[int, ...]] = {
        "n_ctx": (2**31, 2**32 - 1),
        "n_batch": (0, 2**24 + 1, 2**31, 2**32 - 1),
        "n_ubatch": (2**24 + 1, 2**32 - 1),
        "n_seq_max": (0, 257, 2**31),
        "n_threads": (-1, 0, 513, 2**31 - 1),
        "n_threads_batch": (-(2**31), 0, 513),
    }
    for name, values in impossible.items():
        for value in values:
            with pytest.raises(
                InvalidArgumentError, match=f"{name}=.* must be (between|an integer)"
            ):
                open_context(files.model, **{name: value})


@cases.add
def context_that_no_machine_has_memory_for_is_refused(files: Files) -> None:
    with pytest.raises(OutOfMemoryError, match="do not fit|does not fit"):
        open_context(files.model, n_ctx=2**31 - 1)


@cases.add
def smallest_sizes_work(files: Files) -> None:
    for params in (
        {"n_ctx": 0},
        {"n_ubatch": 0},
        {"n_ubatch": 1},
        {"n_batch": 16, "n_ubatch": 4000},
        {"n_seq_max": 256},
        {"n_seq_max": 256, "kv_unified": True},
        {"n_outputs_max": 16},
    ):
        works(open_context(files.model, **params))
    context = open_context(files.model, n_ctx=1)
    decode(context, [5])


@cases.add
def fewer_places_than_sequences_are_refused(files: Files) -> None:
    for params in ({"n_batch": 1}, {"n_ctx": 1}, {"n_outputs_max": 1}):
        with pytest.raises(ContextError, match="n_seq_max=4 is larger than"):
            open_context(files.model, n_seq_max=4, **params)


@cases.add
def kinds_out_of_range_are_refused(files: Files) -> None:
    kinds = {
        "rope_scaling_type": range(-1, 4),
        "pooling_type": range(-1, 5),
        "attention_type": range(-1, 2),
        "flash_attn_type": range(-1, 2),
        "ctx_type": range(1),
    }
    for name, allowed in kinds.items():
        for value in (*range(-3, 8), 2**31 - 1, -(2**31)):
            if value in allowed:
                works(open_context(files.model, **{name: value}))
                continue
            with pytest.raises((InvalidArgumentError, ContextError)):
                open_context(files.model, **{name: value})


@cases.add
def rope_numbers_that_make_no_sense_are_refused(files: Files) -> None:
    for name in ("rope_freq_base", "rope_freq_scale", "yarn_beta_fast", "yarn_ext_factor"):
        for value in (float("nan"), float("inf"), float("-inf")):
            with pytest.raises(InvalidArgumentError, match=f"{name}="):
                open_context(files.model, **{name: value})


@cases.add
def pooling_and_sequences_work_or_are_refused(files: Files) -> None:
    """Mean pooling aborts in the engine where n_seq_max does not divide the micro-batch."""
    made = refused = 0
    for path in (files.llama, files.bert, files.mamba, files.t5):
        model = Model(path)
        for pooling, n_seq_max, sizes in itertools.product(
            (-1, 0, 1, 2, 3, 4), (1, 2, 3, 5), ((64, 64), (64, 10), (16, 3))
        ):
            params: dict[str, Any] = {"pooling_type": pooling, "n_seq_max": n_seq_max}
            params |= {"n_batch": sizes[0], "n_ubatch": sizes[1], "kv_unified": path == files.t5}
            try:
                context = open_context(model, embeddings=True, **params)
            except ContextError as error:
                assert "must divide n_ubatch" in str(error)
                refused += 1
                continue
            batch = batch_of([5, 6])
            if path == files.t5:
                context.encode(batch)
            context.decode(batch)
            made += 1
    assert made > 200
    assert refused > 20


@cases.add
def model_without_weights_gives_no_context(files: Files) -> None:
    params = Model.default_params()
    params.vocab_only = True
    with pytest.raises(ContextError, match="without its weights"):
        open_context(Model(files.llama, params))
    params = Model.default_params()
    params.no_alloc = True
    with pytest.raises(InvalidArgumentError, match="LLAMA_LOAD_MODE_NONE"):
        Model(files.llama, params)
    params.load_mode = raw.LLAMA_LOAD_MODE_NONE
    with pytest.raises(ContextError, match="without its weights"):
        open_context(Model(files.llama, params))


@cases.add
def decoder_refuses_to_encode(files: Files) -> None:
    for path in (files.llama, files.mamba):
        context = open_context(Model(path))
        with pytest.raises(InvalidArgumentError, match="no encoder: use decode"):
            context.encode(batch_of())
        works(context)


@cases.add
def encoder_decodes_by_encoding(files: Files) -> None:
    context = open_context(Model(files.bert), embeddings=True)
    context.decode(batch_of())
    decoded = context.sequence_embedding()
    context.encode(batch_of())
    assert np.array_equal(context.sequence_embedding(), decoded)
    with pytest.raises(InvalidArgumentError, match="use sequence_embedding"):
        context.embeddings()


@cases.add
def encoder_refuses_more_than_a_micro_batch(files: Files) -> None:
    model = Model(files.bert)
    for attention in (-1, 0, 1):
        context = open_context(model, n_batch=64, n_ubatch=8, attention_type=attention)
        context.set_causal_attn(attention == 0)
        for run in (context.decode, context.encode):
            with pytest.raises(BatchError, match="9 entries do not fit into n_ubatch=8"):
                run(batch_of([5] * 9))
        context.decode(batch_of([5] * 8))


@cases.add
def positions_that_the_model_did_not_learn_are_refused(files: Files) -> None:
    context = open_context(Model(files.bert), n_ctx=2048, n_batch=2048, n_ubatch=2048)
    for tokens, pos in ((600, 0), (1, 512), (1, 2**31 - 2)):
        with pytest.raises(SequenceError, match="this model learned 512 positions"):
            context.decode(batch_of([5] * tokens, pos))
    context.decode(batch_of([5] * 512))


@cases.add
def without_causal_attention_a_batch_must_fit_a_micro_batch(files: Files) -> None:
    context = open_context(files.model, n_ubatch=4)
    context.set_causal_attn(False)
    with pytest.raises(BatchError, match="5 entries must fit into one micro-batch of n_ubatch=4"):
        context.decode(batch_of([5] * 5))
    context.decode(batch_of([5] * 4))


@cases.add
def encoder_decoder_wants_the_encoder_first(files: Files) -> None:
    model = Model(files.t5)
    context = open_context(model)
    with pytest.raises(InvalidArgumentError, match="call encode with the text first"):
        decode(context, [0])
    context.encode(batch_of())
    first = decode(context, [0])
    saved = context.state.get()
    other = open_context(model)
    other.state.set(saved)
    with pytest.raises(InvalidArgumentError, match="call encode with the text first"):
        decode(other, [5], pos=1)
    context.memory.clear()
    context.encode(batch_of(TOKENS[::-1]))
    assert not np.array_equal(decode(context, [0]), first)


@cases.add
def encoder_decoder_wants_unified_memory_for_several_sequences(files: Files) -> None:
    model = Model(files.t5)
    with pytest.raises(ContextError, match="kv_unified"):
        open_context(model, n_seq_max=2)
    context = open_context(model, n_seq_max=2, kv_unified=True)
    context.encode(batch_of())
    decode(context, [0])
    decode(context, [0], seq_id=1)  # which the encoder has not seen


@cases.add
def run_time_settings_out_of_range_are_refused(files: Files) -> None:
    context = open_context(files.model)
    for bad in (0, -1, 513, 2**31, "x", 1.5, None):
        with pytest.raises(InvalidArgumentError, match="n_threads"):
            context.set_threads(bad, 1)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="n_threads_batch"):
            context.set_threads(1, bad)  # type: ignore[arg-type]
    context.set_embeddings("yes")  # type: ignore[arg-type]
    context.set_causal_attn(None)  # type: ignore[arg-type]
    decode(context)


@cases.add
def error_codes_become_exceptions(files: Files) -> None:
    context = open_context(files.model)
    context.abort()
    with pytest.raises(DecodeError, match="was stopped") as caught:
        decode(context)
    assert caught.value.code == 2
    context.memory.clear()
    works(context)


@pytest.mark.parametrize("name", cases.names)
def test_bad_context(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""

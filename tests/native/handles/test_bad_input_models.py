"""Model and adapter files that are none, and parameters of models that cannot be."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from handles_kit import batch_of, decode, open_context
from isolated import Cases, Files, Outcomes
from zoo import write_lora

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import (
    GGUFVersionError,
    InvalidArgumentError,
    LlamaError,
    ModelIsDirectoryError,
    ModelLoadError,
    ModelNotFoundError,
    NotGGUFError,
    QuantizeError,
    TextError,
    TruncatedModelError,
    UnknownArchitectureError,
)
from llama_cpp.handles.adapter import ControlVector, LoraAdapter
from llama_cpp.handles.model import Model

cases = Cases(__file__)


def open_model(path: Path, **params: Any) -> Model:
    all_params = Model.default_params()
    for name, value in params.items():
        getattr(all_params, name)
        setattr(all_params, name, value)
    return Model(path, all_params)


def written(files: Files, content: bytes) -> Path:
    path = files.scratch / "written.gguf"
    path.write_bytes(content)
    return path


@cases.add
def files_that_are_no_models_are_refused(files: Files) -> None:
    good = files.llama.read_bytes()
    finisher: list[tuple[type[ModelLoadError], bytes]] = [
        (TruncatedModelError, b""),
        (TruncatedModelError, b"GGU"),
        (NotGGUFError, b"Once upon a time there was no model."),
        (GGUFVersionError, good[:4] + struct.pack("=I", 99) + good[8:]),
        (ModelLoadError, good[:8] + b"\xff" * 16 + good[24:]),
        (TruncatedModelError, good[:8] + struct.pack("=qq", 2**40, 5) + good[24:]),
        (ModelLoadError, b"GGUF" + struct.pack("=Iqq", 3, 0, 0)),
    ]
    for kind, content in finisher:
        with pytest.raises(kind):
            Model(written(files, content))
    with pytest.raises(ModelNotFoundError, match="no model file"):
        Model(files.scratch / "missing.gguf")
    with pytest.raises(ModelIsDirectoryError, match="is a folder"):
        Model(files.scratch)
    with pytest.raises(ModelLoadError, match="device"):
        Model("/dev/zero")


@cases.add
def files_that_were_cut_off_are_refused(files: Files) -> None:
    good = files.llama.read_bytes()
    for length in (4, 8, 23, 24, 100, 5000, 20_000, len(good) // 2, len(good) - 1):
        with pytest.raises(TruncatedModelError, match="cut off or damaged"):
            Model(written(files, good[:length]))


@cases.add
def paths_that_are_none_are_refused(files: Files) -> None:
    no_paths: list[Any] = ["", "a\0b", "\ud800", b"", b"a\0b", None, 5, 1.5, []]
    for path in no_paths:
        with pytest.raises(TextError, match="path"):
            Model(path)
        with pytest.raises(TextError, match="path"):
            LoraAdapter(files.model, path)
        with pytest.raises((TextError, QuantizeError)):
            files.model.save(path)
    with pytest.raises(ModelNotFoundError):
        Model(b"\xff\xfe.gguf")
    with pytest.raises(ModelLoadError):
        Model("x" * 10_000)


@cases.add
def unknown_architecture_is_named(files: Files) -> None:
    writer = gguf.GGUFWriter(files.scratch / "unknown.gguf", "frobnicator")
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnknownArchitectureError, match="frobnicator") as caught:
        Model(files.scratch / "unknown.gguf")
    assert caught.value.native_log


@cases.add
def missing_tensors_are_reported(files: Files) -> None:
    good = files.llama.read_bytes()
    for name in (b"token_embd.weight", b"blk.1.ffn_up.weight", b"output_norm.weight"):
        renamed = good.replace(name, b"x" * len(name))
        with pytest.raises(ModelLoadError, match="native log: .*tensor") as caught:
            Model(written(files, renamed))
        assert caught.value.native_log


def numbers_in(content: bytes, path: Path) -> list[tuple[str, int, bool]]:
    """The 4-byte numbers in the metadata: key, place, and whether it is a float."""
    found = []
    for key, field in gguf.GGUFReader(path).fields.items():
        is_float = field.types[:1] == [gguf.GGUFValueType.FLOAT32]
        if is_float or field.types[:1] in ([gguf.GGUFValueType.UINT32], [gguf.GGUFValueType.INT32]):
            place = field.offset + sum(part.nbytes for part in field.parts[: field.data[0]])
            found.append((key, int(place), is_float))
    return [entry for entry in found if not entry[0].startswith("GGUF.")]


def use_model(path: Path) -> None:
    """Load a model and decode with it, whatever its numbers are."""
    with Model(path) as model:
        context = open_context(model, embeddings=True)
        if model.has_encoder:
            context.encode(batch_of())
        context.decode(batch_of())
        model.vocab.tokenize("hello world")


@cases.add
def numbers_in_the_metadata_that_make_no_sense_are_refused_or_harmless(files: Files) -> None:
    refused = 0
    for path in (files.llama, files.bert, files.mamba, files.t5, files.classifier):
        good = path.read_bytes()
        for _, place, is_float in numbers_in(good, path):
            code = "=f" if is_float else "=I"
            values = (-1.0, float("nan"), 1e30) if is_float else (0, 7, 65_536, 2**32 - 1)
            for value in values:
                bent = good[:place] + struct.pack(code, value) + good[place + 4 :]
                try:
                    use_model(written(files, bent))
                except LlamaError:
                    refused += 1
    assert refused > 100


def overridden(key: bytes, value: int | float) -> Any:
    entries = (raw.llama_model_kv_override * 2)()
    entries[0].key = key
    if isinstance(value, float):
        entries[0].tag, entries[0].val_f64 = raw.LLAMA_KV_OVERRIDE_TYPE_FLOAT, value
    else:
        entries[0].tag, entries[0].val_i64 = raw.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return entries


@cases.add
def overrides_that_make_no_sense_are_refused(files: Files) -> None:
    for key, value in (
        (b"llama.block_count", 0),
        (b"llama.block_count", 513),
        (b"llama.attention.layer_norm_rms_epsilon", -1.0),
        (b"llama.attention.layer_norm_rms_epsilon", float("nan")),
        (b"llama.pooling_type", 17),
    ):
        with pytest.raises(InvalidArgumentError, match=key.decode()):
            open_model(files.llama, kv_overrides=overridden(key, value))
    open_model(files.llama, kv_overrides=overridden(b"llama.context_length", 300))
    endless = (raw.llama_model_kv_override * 4097)()
    for entry in endless:
        entry.key = b"a"
    with pytest.raises(InvalidArgumentError, match="kv_overrides has no end"):
        open_model(files.llama, kv_overrides=endless)
    unknown = overridden(b"a", 1)
    unknown[0].tag = 9
    with pytest.raises(InvalidArgumentError, match="tag"):
        open_model(files.llama, kv_overrides=unknown)


@cases.add
def model_parameters_out_of_range_are_refused(files: Files) -> None:
    allowed = {"split_mode": range(4), "load_mode": range(-1, 5), "lazy_mode": range(3)}
    for name, values in allowed.items():
        for value in (*range(-3, 8), 2**31 - 1, -(2**31)):
            try:
                open_model(files.llama, **{name: value})
            except InvalidArgumentError:
                assert value not in values
            except ModelLoadError:
                assert (name, value) == ("split_mode", raw.LLAMA_SPLIT_MODE_TENSOR)
    for value in (-(2**31), -1, 0, 99, 2**31 - 1):
        open_model(files.llama, n_gpu_layers=value)
    with pytest.raises(InvalidArgumentError, match="main_gpu"):
        open_model(files.llama, main_gpu=-2)


@cases.add
def model_is_saved_only_where_the_engine_can(files: Files) -> None:
    target = files.scratch / "saved.gguf"
    with pytest.raises(QuantizeError, match="use_extra_bufts"):
        files.model.save(target)
    model = open_model(files.llama, use_extra_bufts=False)
    link = files.scratch / "link.gguf"
    link.symlink_to(files.llama)
    refusals: list[tuple[Path, str]] = [
        (files.llama, "the file the model was loaded from"),
        (link, "the file the model was loaded from"),
        (files.scratch, "cannot be written"),
        (files.scratch / "missing" / "saved.gguf", "cannot be written"),
        (Path("/dev/full"), "could not be written completely"),
    ]
    for path, message in refusals:
        with pytest.raises(QuantizeError, match=message):
            model.save(path)
    for path in (files.t5, files.bert):
        with pytest.raises(QuantizeError, match="cannot write models of the kind"):
            open_model(path, use_extra_bufts=False).save(target)
    with pytest.raises(QuantizeError, match="only a vocabulary"):
        open_model(files.llama, use_extra_bufts=False, vocab_only=True).save(target)
    model.save(target)
    assert np.array_equal(decode(open_context(Model(target))), decode(open_context(files.model)))


@cases.add
def adapters_that_do_not_fit_are_refused(files: Files) -> None:
    with pytest.raises(ModelLoadError, match="is a model, not a LoRA adapter"):
        LoraAdapter(files.model, files.llama)
    with pytest.raises(ModelLoadError, match="arch mismatch"):
        LoraAdapter(Model(files.bert), files.lora)
    wide = write_lora(files.scratch / "wide.gguf", n_embd=512)
    with pytest.raises(ModelLoadError, match="incorrect shape"):
        LoraAdapter(files.model, wide)
    deep = write_lora(files.scratch / "deep.gguf", n_layer=5)
    with pytest.raises(ModelLoadError, match="does not exist in base model"):
        LoraAdapter(files.model, deep)
    with pytest.raises(ModelLoadError, match="does not exist in base model"):
        LoraAdapter(open_model(files.llama, vocab_only=True), files.lora)
    good = files.lora.read_bytes()
    for length in (0, 30, len(good) // 2, len(good) - 1):
        with pytest.raises(ModelLoadError):
            LoraAdapter(files.model, written(files, good[:length]))


@cases.add
def adapters_of_other_models_and_scales_that_are_none_are_refused(files: Files) -> None:
    context, adapter = open_context(files.model), LoraAdapter(files.model, files.lora)
    expected = decode(context)
    foreign = LoraAdapter(Model(files.llama), files.lora)
    with pytest.raises(InvalidArgumentError, match="the model that it was loaded for"):
        context.set_adapters([(adapter, 1.0), (foreign, 1.0)])
    for scale in (float("nan"), float("inf"), "x", None):
        with pytest.raises(InvalidArgumentError, match="scales"):
            context.set_adapters([(adapter, scale)])  # type: ignore[list-item]
    context.memory.clear()
    assert np.array_equal(decode(context), expected)
    context.set_adapters([(adapter, 1.0), (adapter, 2.0)])
    context.memory.clear()
    decode(context)


@cases.add
def control_vectors_that_do_not_fit_are_refused(files: Files) -> None:
    makers: list[Callable[[], ControlVector]] = [
        lambda: ControlVector(np.ones(256)),
        lambda: ControlVector(np.ones((0, 256))),
        lambda: ControlVector(np.ones((1, 1, 256))),
        lambda: ControlVector("text"),
        lambda: ControlVector(np.full((1, 256), np.nan)),
        lambda: ControlVector(np.full((1, 256), np.inf)),
        lambda: ControlVector(np.ones((3, 256)), 2, 1),
        lambda: ControlVector(np.ones((3, 256)), 0, 1),
        lambda: ControlVector(np.ones((3, 256)), 1, 4),
        lambda: ControlVector(np.ones((3, 256)), 1.5, 2),  # type: ignore[arg-type]
    ]
    for make in makers:
        with pytest.raises(InvalidArgumentError):
            make()
    context = open_context(files.model)
    for shape in ((1, 255), (1, 257), (2, 256), (100, 256)):
        with pytest.raises(InvalidArgumentError, match="at most 1 layers of width 256"):
            context.set_control_vector(ControlVector(np.ones(shape)))
    for path in (files.bert, files.mamba, files.t5):
        context = open_context(Model(path))
        context.set_control_vector(ControlVector(np.ones((1, 128))))
        if path == files.t5:
            context.encode(batch_of())
        context.decode(batch_of())


@pytest.mark.parametrize("name", cases.names)
def test_bad_model(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""

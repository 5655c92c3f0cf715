"""Options of ``quantize`` that are none or that the engine aborts on, and models that are none."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import gguf as upstream
import numpy as np
import pytest
from isolated import Cases, Files, Outcomes

from llama_cpp import errors, gguf, quantize
from llama_cpp import llama_cpp as raw
from llama_cpp.gguf.header import read_layout
from llama_cpp.gguf.layout import SCALAR_FORMATS

cases = Cases(__file__)


def refused(kind: type[Exception], match: str, source: Any, ftype: Any, **options: Any) -> None:
    """Whatever is wrong, nothing is written."""
    folder = Path(options.pop("folder"))
    before = sorted(folder.iterdir())
    with pytest.raises(kind, match=match):
        quantize(source, folder / "refused.gguf", ftype, **options)
    assert sorted(folder.iterdir()) == before


def matrix_of(path: Path) -> dict[str, Any]:
    return {
        tensor.name: np.ones(tensor.shape[0])
        for tensor in gguf.read(path).tensors
        if len(tensor.shape) == 2 and tensor.name != "token_embd.weight"
    }


def changed(files: Files, name: str, **tensors: tuple[int, ...]) -> Path:
    """The llama model with other shapes for some tensors."""
    source, path = upstream.GGUFReader(files.llama), files.scratch / name
    writer = upstream.GGUFWriter(path, "llama")
    for key, field in source.fields.items():
        if "GGUF." not in key and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0], *field.types[1:2])
    for tensor in source.tensors:
        data = tensor.data
        if tensor.name in tensors:
            data = np.ones(tensors[tensor.name], np.float32)
        writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@cases.add
def ftypes_that_are_none(files: Files) -> None:
    no_ftypes: list[Any] = [
        "", "Q4", "Q4_K_XL", "q4_k_m ", "NVFP4", "GUESSED", "LLAMA_FTYPE_MOSTLY_Q8_0", None, True,
        4, -1, 39, 1024, 2**40, 7.0, b"Q8_0", ["Q8_0"],
    ]  # fmt: skip
    for ftype in no_ftypes:
        refused(
            errors.InvalidArgumentError, "is not known. Those known are .*Q4_K_M, .*Q8_0",
            files.llama, ftype, folder=files.scratch,
        )  # fmt: skip


@cases.add
def types_of_tensors_that_are_none(files: Files) -> None:
    no_types: list[Any] = ["", "Q4_K_M", "I32", "Q8_K", "F64", raw.GGML_TYPE_I8, 4, 99, True, 1.0]
    for value in no_types:
        for options in (
            {"output_tensor_type": value},
            {"token_embedding_type": value},
            {"tensor_types": {"ffn": value}},
        ):
            refused(
                errors.InvalidArgumentError, "is not known", files.llama, "Q4_0",
                folder=files.scratch, **options,
            )  # fmt: skip


@cases.add
def options_that_are_none(files: Files) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("nthread", {"nthread": 0}),
        ("nthread", {"nthread": 100_000}),
        ("nthread", {"nthread": "2"}),
        ("max_buf_size", {"max_buf_size": -1}),
        ("max_buf_size", {"max_buf_size": 2**64}),
        ("prune_layers", {"prune_layers": [2]}),
        ("prune_layers", {"prune_layers": [-1]}),
        ("prune_layers", {"prune_layers": ["0"]}),
        ("prune_layers", {"prune_layers": "01"}),
        ("prune_layers", {"prune_layers": 1}),
        ("all 2 layers", {"prune_layers": [0, 1]}),
        ("tensor_types", {"tensor_types": "ffn=q8_0"}),
        ("tensor_types", {"tensor_types": {"": "Q8_0"}}),
        ("tensor_types", {"tensor_types": {"(" * 100_000: "Q8_0"}}),
        ("pattern in tensor_types", {"tensor_types": {"a\0b": "Q8_0"}}),
        ("pattern in tensor_types", {"tensor_types": {5: "Q8_0"}}),
        ("kv_overrides", {"kv_overrides": ["x"]}),
        ("kv_overrides", {"kv_overrides": {"": 1}}),
        ("kv_overrides", {"kv_overrides": {"x" * 128: 1}}),
        ("kv_overrides", {"kv_overrides": {"x": "x" * 128}}),
        ("kv_overrides", {"kv_overrides": {"x": -1}}),
        ("kv_overrides", {"kv_overrides": {"x": 2**32}}),
        ("kv_overrides", {"kv_overrides": {"x": 1e300}}),
        ("kv_overrides", {"kv_overrides": {"x": math.nan}}),
        ("kv_overrides", {"kv_overrides": {"x": None}}),
        ("cannot be changed", {"kv_overrides": {"general.alignment": 3}}),
        ("cannot be changed", {"kv_overrides": {"split.count": 3}}),
        ("must be a text", {"kv_overrides": {"general.architecture": 3}}),
        ("block_count", {"kv_overrides": {"llama.block_count": 0}}),
        ("block_count", {"kv_overrides": {"llama.block_count": 100_000}}),
    ]
    for match, options in wrong:
        refused(
            errors.InvalidArgumentError, match, files.llama, "Q4_0", folder=files.scratch, **options
        )
    for pattern in ("(", "[", "*", "a{2,1}", "(" * 900):
        refused(
            errors.QuantizeError, "native log", files.llama, "Q4_0", folder=files.scratch,
            tensor_types={pattern: "Q8_0"},
        )  # fmt: skip
    refused(
        errors.LlamaError, "frobnicator", files.llama, "Q4_0", folder=files.scratch,
        kv_overrides={"general.architecture": "frobnicator"},
    )  # fmt: skip


@cases.add
def blocks_that_do_not_fit_into_rows(files: Files) -> None:
    path = changed(files, "rows.gguf", **{"token_embd.weight": (684, 48)})
    for value in ("Q8_0", "Q4_K", "NVFP4", "Q1_0"):
        refused(
            errors.InvalidArgumentError, "rows of 48 elements", path, "Q8_0",
            folder=files.scratch, token_embedding_type=value,
        )  # fmt: skip
    for ftype in ("Q8_0", "Q4_K_M", "IQ4_NL", "TQ1_0"):
        quantize(path, files.scratch / "small.gguf", ftype, overwrite=True)
        types = {t.name: t.type for t in gguf.read(files.scratch / "small.gguf").tensors}
        assert types["token_embd.weight"] == "F16"
        assert types["output_norm.weight"] == "F32"
    path = changed(files, "other.gguf", **{"blk.0.ffn_up.weight": (512, 192)})
    refused(errors.QuantizeError, "no tensor type fallback", path, "Q1_0", folder=files.scratch)
    path.unlink()


@cases.add
def shapes_that_the_engine_does_not_expect(files: Files) -> None:
    four = changed(files, "four.gguf", **{"blk.0.ffn_up.weight": (2, 2, 4, 256)})
    refused(errors.QuantizeError, "four dimensions", four, "Q8_0", folder=files.scratch)
    quantize(four, files.scratch / "copy.gguf", "COPY", overwrite=True)
    empty = changed(files, "empty.gguf", **{"blk.0.ffn_up.weight": (0, 256)})
    for ftype in ("Q8_0", "COPY"):
        refused(errors.ModelLoadError, "no elements", empty, ftype, folder=files.scratch)


@cases.add
def embeddings_too_small_for_no_matrix(files: Files) -> None:
    matrix = matrix_of(files.llama)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("IQ2_XXS", {"pure": True}),
        ("IQ1_S", {"pure": True}),
        ("IQ2_XS", {"token_embedding_type": "IQ2_XS"}),
        ("Q4_K_M", {"token_embedding_type": "IQ1_S"}),
        ("Q4_K_M", {"output_tensor_type": "IQ2_XXS"}),
        ("Q4_K_M", {"tensor_types": {"token_embd": "IQ2_XXS"}}),
        ("IQ2_XS", {"pure": True, "imatrix": {**matrix, "token_embd.weight": [1.0]}}),
    ]
    for ftype, options in wrong:
        options = {"imatrix": matrix, **options}
        refused(
            errors.QuantizeError, "'token_embd.weight' needs values", files.llama, ftype,
            folder=files.scratch, **options,
        )  # fmt: skip
    refused(
        errors.QuantizeError, "needs values", files.llama, "Q8_0", folder=files.scratch,
        token_embedding_type="IQ2_XXS",
    )  # fmt: skip
    whole = {**matrix, "token_embd.weight": np.ones(256)}
    quantize(files.llama, files.scratch / "small.gguf", "IQ1_S", pure=True, imatrix=whole,
             overwrite=True)  # fmt: skip


@cases.add
def matrices_that_are_none(files: Files) -> None:
    matrix = matrix_of(files.llama)
    name = "blk.0.ffn_up.weight"
    wrong: list[tuple[str, Any]] = [
        ("no entries", {}),
        ("another model", {name: [1.0] * 255}),
        ("another model", {"x.weight": [1.0]}),
        ("numbers", {name: "x"}),
        ("numbers", {name: None}),
        ("finite", {name: [math.nan] * 256}),
        ("finite", {name: [math.inf] * 256}),
        ("none negative", {name: [-1.0] * 256}),
        ("none negative", {name: []}),
        ("name of a tensor", {5: [1.0]}),
        ("name of a tensor", {"": [1.0]}),
        ("NUL", {**matrix, "a\0b": [1.0]}),
        ("imatrix", 5),
        ("imatrix", ["x"]),
    ]
    for match, imatrix in wrong:
        refused(
            errors.InvalidArgumentError, match, files.llama, "Q4_0", folder=files.scratch,
            imatrix=imatrix,
        )  # fmt: skip


@cases.add
def matrix_files_that_are_none(files: Files) -> None:
    path = files.scratch / "imatrix.dat"
    name = b"blk.0.ffn_up.weight"
    good = struct.pack("=ii", 1, len(name)) + name + struct.pack("=ii256f", 1, 256, *[1.0] * 256)
    path.write_bytes(good)
    quantize(files.llama, files.scratch / "small.gguf", "Q4_0", imatrix=path, overwrite=True)
    contents = [good[:3], good[:20], good[:-1], b"\xff" * 100, struct.pack("=ii", 1, -5), b"hello"]
    for content in contents:
        path.write_bytes(content)
        refused(
            errors.LlamaError, "imatrix|importance matrix|cut off", files.llama, "Q4_0",
            folder=files.scratch, imatrix=path,
        )  # fmt: skip
    path.write_bytes(struct.pack("=i", 0))
    others = (
        (path, "no entries"),
        (files.llama, "has no imatrix.datasets"),
        (files.scratch, "is a folder"),
        (files.scratch / "missing.dat", "no model file"),
    )
    for source, match in others:
        refused(errors.LlamaError, match, files.llama, "Q4_0", folder=files.scratch, imatrix=source)
    path.unlink()
    for sums, counts in (((2, 4), (3, 1)), ((2, 4), None), (None, (1, 1)), ((2, 4), (0, 1))):
        writer = upstream.GGUFWriter(files.scratch / "imatrix.gguf", "")
        writer.add_array("imatrix.datasets", ["x"])
        writer.add_uint32("imatrix.chunk_count", 1)
        writer.add_uint32("imatrix.chunk_size", 1)
        for ending, shape in ((".in_sum2", sums), (".counts", counts)):
            if shape:
                writer.add_tensor(f"e{ending}", np.ones(shape, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        refused(
            errors.ModelLoadError, "is damaged", files.llama, "Q4_0", folder=files.scratch,
            imatrix=files.scratch / "imatrix.gguf",
        )  # fmt: skip


@cases.add
def models_that_are_none(files: Files) -> None:
    folder = files.scratch
    refused(errors.ModelNotFoundError, "no model file", folder / "x", "Q8_0", folder=folder)
    refused(errors.ModelIsDirectoryError, "folder", folder, "Q8_0", folder=folder)
    for path in ("", "a\0b", "\ud800", None, 5):
        refused(errors.TextError, "src", path, "Q8_0", folder=folder)
        with pytest.raises(errors.TextError, match="dst"):
            quantize(files.llama, path, "Q8_0")  # type: ignore[arg-type]
    good = files.llama.read_bytes()
    broken = folder / "broken.gguf"
    for length in (3, 30, 5000, len(good) // 2, len(good) - 1):
        broken.write_bytes(good[:length])
        refused(errors.TruncatedModelError, "cut off", broken, "Q8_0", folder=folder)
    broken.write_bytes(b"Once upon a time there was no model.")
    refused(errors.NotGGUFError, "not a GGUF", broken, "Q8_0", folder=folder)
    broken.write_bytes(good.replace(b"llama.block_count", b"llama.block_xxxxx"))
    refused(errors.QuantizeError, "block_count", broken, "Q8_0", folder=folder)
    broken.write_bytes(struct.pack("=4sIqq", b"GGUF", 3, 0, 0))
    refused(errors.QuantizeError, "only a vocabulary", broken, "Q8_0", folder=folder)
    refused(errors.QuantizeError, "context_length", files.lora, "Q8_0", folder=folder)


@cases.add
def numbers_in_the_metadata_that_make_no_sense(files: Files) -> None:
    outcomes = set()
    bent = files.scratch / "bent.gguf"
    for path in (files.llama, files.bert, files.mamba, files.t5):
        good = path.read_bytes()
        for pair in read_layout(path)[1].pairs:
            layout = SCALAR_FORMATS.get(pair.kind)
            if layout not in ("I", "i", "f"):
                continue
            for value in (-1.0, math.nan, 1e30) if layout == "f" else (0, 7, 2**31 - 1):
                number = struct.pack("=" + layout, value)
                bent.write_bytes(good[: pair.value] + number + good[pair.stop :])
                try:
                    quantize(bent, files.scratch / "small.gguf", "Q4_K_M", overwrite=True)
                    outcomes.add("written")
                except errors.LlamaError as error:
                    outcomes.add(type(error).__name__)
    assert outcomes >= {"written", "QuantizeError", "InvalidArgumentError"}
    bent.unlink()


@cases.add
def parts_that_are_not_there(files: Files) -> None:
    folder = files.scratch / "parts"
    folder.mkdir(exist_ok=True)
    parts = gguf.split(files.llama, folder / "part", max_tensors=5, overwrite=True)
    refused(errors.ModelLoadError, "not the first file", parts[1], "Q8_0", folder=folder)
    Path(parts[2]).unlink()
    refused(errors.ModelNotFoundError, "00003-of-00004", parts[0], "Q8_0", folder=folder)


@cases.add
def layers_that_fill_a_part(files: Files) -> None:
    folder = files.scratch / "layers"
    folder.mkdir(exist_ok=True)
    parts = gguf.split(files.llama, folder / "part", max_tensors=1, overwrite=True)
    for layers in ([0], [1]):
        refused(
            errors.QuantizeError, "nothing of .* would be left", parts[0], "Q8_0", folder=folder,
            keep_split=True, prune_layers=layers,
        )  # fmt: skip
    quantize(parts[0], folder / "small.gguf", "Q8_0", prune_layers=[1], overwrite=True)


@pytest.mark.parametrize("name", cases.names)
def test_bad_input(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)

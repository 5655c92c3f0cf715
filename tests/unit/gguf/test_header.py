"""The GGUF header reader: what it accepts, and how it refuses everything else."""

from __future__ import annotations

import importlib.util
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    SMALL,
    STRING,
    TENSOR_Q4_0,
    U8,
    U16,
    U32,
    U64,
    Save,
    array,
    gguf,
    pair,
    tensor,
    text,
    u32,
)
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp import errors
from llama_cpp.gguf import reader
from llama_cpp.gguf.header import GGUFHeader, read_header
from llama_cpp.gguf.layout import TENSOR_TYPES

VENDORED = Path(__file__).parents[3] / "vendor" / "llama.cpp"
VOCABULARIES = sorted((VENDORED / "models").glob("ggml-vocab-*.gguf"))


def test_small_file(save: Save) -> None:
    assert read_header(save(SMALL)) == GGUFHeader(
        version=3,
        tensor_count=2,
        metadata_count=6,
        architecture="llama",
        file_type="model",
        split_count=3,
        alignment=64,
        metadata={
            "general.architecture": "llama",
            "general.type": "model",
            "general.alignment": 64,
            "split.count": 3,
        },
        kinds={
            "general.architecture": STRING,
            "general.type": STRING,
            "general.alignment": U32,
            "split.count": U16,
            "tokenizer.ggml.tokens": ARRAY,
            "tokenizer.ggml.scores": ARRAY,
        },
        array_lengths={"tokenizer.ggml.tokens": 3, "tokenizer.ggml.scores": 3},
        has_scores=True,  # they may be in the second or third file
    )


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("cls.output.weight", (4, 2), True),
        ("cls.weight", (4, 1), True),
        ("cls.weight", (4,), True),
        ("cls.weight", (4, 4), False),
        ("cls.output.bias", (2,), False),
        ("output.weight", (4, 2), False),
    ],
)
def test_scores_need_a_head(save: Save, name: str, shape: tuple[int, ...], expected: bool) -> None:
    file = gguf(tensors=(tensor(name, shape),), data=64)
    assert read_header(save(file)).has_scores is expected


def test_file_without_anything(save: Save) -> None:
    header = read_header(save(gguf(version=2)))
    assert (header.version, header.tensor_count, header.metadata_count) == (2, 0, 0)
    assert (header.architecture, header.file_type) == (None, None)
    assert (header.split_count, header.alignment) == (0, 32)


@pytest.mark.parametrize(
    ("kind", "code", "value"),
    [
        (U8, "B", 255),
        (I8, "b", -128),
        (U16, "H", 65535),
        (I16, "h", -32768),
        (U32, "I", 2**32 - 1),
        (I32, "i", -(2**31)),
        (F32, "f", 0.5),
        (BOOL, "?", True),
        (U64, "Q", 2**64 - 1),
        (I64, "q", -(2**63)),
        (F64, "d", 0.1),
    ],
)
def test_scalars_keep_their_value_and_arrays_their_length(
    save: Save, kind: int, code: str, value: float
) -> None:
    packed = struct.pack(f"={code}", value)
    header = read_header(
        save(gguf(pair("x", kind, packed), array("y", kind, 5, packed * 5), pair("z", U8, b"\7")))
    )
    assert header.metadata == {"x": value, "z": 7}
    assert type(header.metadata["x"]) is type(value)
    assert header.array_lengths == {"y": 5}


def test_strings_that_are_not_utf8_are_replaced(save: Save) -> None:
    header = read_header(save(gguf(pair(b"k\xff", STRING, text(b"v\xfe")))))
    assert header.metadata == {"k\ufffd": "v\ufffd"}


def test_the_same_header_in_chunks_of_any_size(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(SMALL)
    whole = read_header(path)
    for size in range(1, 70):
        monkeypatch.setattr(reader, "_CHUNK_BYTES", size)
        assert read_header(path) == whole


def tokens(*words: bytes) -> bytes:
    return array("tokenizer.ggml.tokens", STRING, len(words), b"".join(map(text, words)))


def test_a_vocabulary_larger_than_a_chunk(save: Save) -> None:
    words = [b"w" * (number % 300) + b"%d" % number for number in range(20_000)]
    content = gguf(tokens(*words), pair("after", STRING, text("here")))
    assert len(content) > 2 * reader._CHUNK_BYTES
    header = read_header(save(content))
    assert header.array_lengths == {"tokenizer.ggml.tokens": 20_000}
    assert header.metadata == {"after": "here"}
    with pytest.raises(errors.ModelLoadError, match=f"token '{words[19].decode()}' is more"):
        read_header(save(gguf(tokens(*words, words[19]))))


def test_empty_tokens_have_no_names_to_share(save: Save) -> None:
    header = read_header(save(gguf(tokens(b"", b"a", b"", b"\0b"))))
    assert header.array_lengths == {"tokenizer.ggml.tokens": 4}


@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda path: path.stem)
def test_vocabularies_of_llama_cpp(path: Path) -> None:
    header = read_header(path)
    assert header.architecture
    assert header.tensor_count == 0
    assert header.array_lengths["tokenizer.ggml.tokens"] >= 30_000
    assert len(header.metadata) + len(header.array_lengths) == header.metadata_count


def test_tensor_types_are_those_of_llama_cpp() -> None:
    source = VENDORED / "gguf-py" / "gguf" / "constants.py"
    if not source.exists():
        pytest.fail("llama.cpp has not been fetched into vendor/")
    spec = importlib.util.spec_from_file_location("gguf_constants", source)
    assert spec is not None
    assert spec.loader is not None
    constants: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(constants)
    expected = {
        int(kind): (kind.name, *sizes) for kind, sizes in constants.GGML_QUANT_SIZES.items()
    }
    assert expected == TENSOR_TYPES


class CountingFile(io.FileIO):
    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        CountingFile.bytes_read += len(content)
        return content


def test_tensor_data_is_not_read(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 8 << 20
    path = save(gguf(tensors=(tensor(dims=(size // 4,)),), data=size))
    monkeypatch.setattr(CountingFile, "bytes_read", 0)
    monkeypatch.setattr(reader, "open", CountingFile, raising=False)
    assert read_header(path).tensor_count == 1
    assert 0 < CountingFile.bytes_read <= reader._CHUNK_BYTES


# Paths


@pytest.mark.parametrize(
    ("content", "looks_like", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs", "git lfs pull"),
        (b"\n <!DOCTYPE HTML><title>x</title>", "HTML", "/resolve/"),
        (b"\xef\xbb\xbf<html lang=en>", "HTML", "/resolve/"),
        (b"<?xml version='1.0'?><Error/>", "XML", "Download"),
        (b'{"error": "Repository not found"}', "JSON", "Download"),
        (struct.pack("<Q", 20) + b'{"__metadata__": {}}', "safetensors", "convert_hf_to_gguf"),
        (b"PK\x03\x04" + bytes(40), "PyTorch", "convert_hf_to_gguf"),
        (b"\x80\x02}q\x00.", "PyTorch", "convert_hf_to_gguf"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "compressed", "Unpack"),
        (b"\x28\xb5\x2f\xfd" + bytes(40), "compressed", "Unpack"),
        (b"\xfd7zXZ\x00" + bytes(40), "compressed", "Unpack"),
        (struct.pack("<I", 0x67676D6C) + bytes(40), "legacy", "convert_llama_ggml_to_gguf"),
        (struct.pack("<I", 0x67676D66) + bytes(40), "legacy", "convert_llama_ggml_to_gguf"),
        (struct.pack("<I", 0x67676A74) + bytes(40), "legacy", "convert_llama_ggml_to_gguf"),
        (struct.pack("<I", 0x67676C61) + bytes(40), "legacy", "convert_llama_ggml_to_gguf"),
        (struct.pack("<I", 0x6767736E) + bytes(40), "saved llama.cpp state", "restore"),
        (struct.pack("<I", 0x67677371) + bytes(40), "saved llama.cpp state", "restore"),
        (bytes(4096), "zeros", "Download it again"),
        (b"GGUX" + SMALL[4:], "no format known here", "right file"),
        (b"gguf" + SMALL[4:], "no format known here", "right file"),
        (b"x", "no format known here", "right file"),
    ],
)
def test_other_formats_are_named(save: Save, content: bytes, looks_like: str, advice: str) -> None:
    with pytest.raises(errors.NotGGUFError) as caught:
        read_header(save(content))
    assert looks_like in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (0, "GGUF version 0"),
        (1, "GGUF version 1,"),
        (4, "GGUF version 4,.*upgrade"),
        (2**32 - 1, "GGUF version 4294967295"),
        (0x02000000, "byte order"),
        (0x03000000, "byte order"),
    ],
)
def test_versions_that_the_engine_does_not_read(save: Save, version: int, message: str) -> None:
    with pytest.raises(errors.GGUFVersionError, match=message):
        read_header(save(gguf(version=version)))


# Files that are cut off


def test_every_cut(tmp_path: Path) -> None:
    for length in range(len(SMALL)):
        path = tmp_path / f"{length}.gguf"
        path.write_bytes(SMALL[:length])
        with pytest.raises(errors.TruncatedModelError, match=f"has {length} bytes"):
            read_header(path)


def test_missing_tensor_data_is_counted(save: Save) -> None:
    promised = len(SMALL)
    with pytest.raises(errors.TruncatedModelError) as caught:
        read_header(save(SMALL[:-1]))
    assert f"has {promised - 1} bytes" in str(caught.value)
    assert f"end at byte {promised}" in str(caught.value)


def test_missing_padding_before_the_data(save: Save) -> None:
    unpadded = gguf(tensors=(tensor(dims=(0,)),), alignment=1)
    assert len(unpadded) % 32
    with pytest.raises(errors.TruncatedModelError, match="padding"):
        read_header(save(unpadded))


@pytest.mark.parametrize(
    "content",
    [
        gguf(counts=(1, 0)),
        gguf(counts=(0, 1)),
        gguf(counts=(2**63 - 1, 2**63 - 1)),
        gguf(text(b"") + bytes(40), counts=(0, 2**40)),
        gguf(struct.pack("=Q", 100) + bytes(20)),
        gguf(pair("x", STRING, struct.pack("=Q", 100) + bytes(20))),
        gguf(pair("x", STRING, struct.pack("=Q", 2**30) + bytes(20))),
        gguf(array("x", U8, 21, bytes(20))),
        gguf(array("x", F64, 2**29, bytes(20))),
        gguf(array("x", STRING, 3, bytes(20))),
        gguf(array("x", STRING, 2**30, bytes(20))),
        gguf(array("x", STRING, 2, text("a") + struct.pack("=Q", 2**30))),
        gguf(tensors=(struct.pack("=Q", 2**30) + bytes(20),)),
        gguf(tensors=(tensor(dims=(5,)),), data=16),
        gguf(tensors=(tensor(dims=(2**62,), kind=24),), data=64),
        gguf(tensors=(tensor(dims=(2**62,), kind=28),), data=64),
    ],
)
def test_counts_beyond_the_end(save: Save, content: bytes) -> None:
    with pytest.raises(errors.TruncatedModelError, match="Download it again"):
        read_header(save(content))


# Files that are damaged


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gguf(counts=(-1, 0)), "-1 tensors"),
        (gguf(counts=(0, -1)), "-1 metadata pairs"),
        (gguf(pair("", U8, b"\1" * 9)), "key 0 is empty"),
        (gguf(pair("x", U8, b"\1"), pair("x", U8, b"\1")), "'x', is a duplicate"),
        (gguf(pair("general.alignment\0x", U32, u32(64))), "NUL byte"),
        (gguf(pair("x", 13, b"\1")), "unknown type 13"),
        (gguf(pair("x", -1, b"\1")), "unknown type -1"),
        (gguf(array("x", 13, 1, bytes(8))), "unknown type .13"),
        (gguf(array("x", -1, 1, bytes(8))), "unknown type .-1"),
        (gguf(array("x", ARRAY, 1, struct.pack("=iQ", U8, 0))), "array of arrays"),
        (gguf(array("x", U8, 2**30 + 1, b"")), "elements"),
        (gguf(array("x", U8, 2**64 - 1, b"")), "elements"),
        (gguf(array("x", F64, 2**61, bytes(8))), "elements"),
        (gguf(array("x", STRING, 2**61, bytes(8))), "elements"),
        (gguf(pair("x", STRING, struct.pack("=Q", 2**64 - 1))), "a string of"),
        (gguf(array("x", STRING, 1, struct.pack("=Q", 2**64 - 8))), "a string of"),
        (gguf(array("x", STRING, 2, struct.pack("=QQ", 2**30 + 1, 0))), "a string of"),
        (gguf(struct.pack("=Q", 2**63) + bytes(20)), "a string of"),
        (gguf(pair("general.alignment", U32, u32(0))), "power of two"),
        (gguf(pair("general.alignment", U32, u32(48))), "power of two"),
        (gguf(pair("general.alignment", U64, struct.pack("=Q", 32))), "no u32"),
        (gguf(array("general.alignment", U32, 1, u32(32))), "no u32"),
        (gguf(pair("general.architecture", U32, u32(1))), "no string"),
        (gguf(array("general.architecture", STRING, 1, text("llama"))), "no string"),
        (gguf(pair("general.type", U32, u32(1))), "no string"),
        (gguf(pair("split.count", U32, u32(1))), "no u16"),
        (gguf(pair("split.no", U32, u32(1))), "no u16"),
        (gguf(pair("adapter.type", U32, u32(1))), "no string"),
        (gguf(pair("adapter.lora.alpha", U32, u32(1))), "no f32"),
        (gguf(tokens(b"a", b"b", b"a")), "token 'a' is more than once"),
        (gguf(tokens(b"a", b"", b"", b"a\0b")), "token 'a' is more than once"),
        (gguf(tensors=(tensor("n" * 64),), data=16), "more than 63 bytes"),
        (gguf(tensors=(tensor("n\0m"),), data=16), "NUL byte"),
        (gguf(tensors=(tensor(), tensor(offset=32)), data=64), "'t', is a duplicate"),
        (gguf(tensors=(tensor(dims=(1,) * 5),), data=16), "5 dimensions"),
        (gguf(tensors=(tensor(dim_count=2**32 - 1),), data=16), "4294967295 dimensions"),
        (gguf(tensors=(tensor(dims=(-1,)),), data=16), "impossible length -1"),
        (gguf(tensors=(tensor(dims=(1, -(2**63))),), data=16), "impossible length"),
        (gguf(tensors=(tensor(dims=(2**32, 2**32)),), data=16), "impossible length"),
        (gguf(tensors=(tensor(dims=(2**62, 2**62, 0)),), data=16), "impossible length"),
        (gguf(tensors=(tensor(kind=-1),), data=16), "type -1"),
        (gguf(tensors=(tensor(kind=43),), data=16), "type 43"),
        (gguf(tensors=(tensor(dims=(48,), kind=TENSOR_Q4_0),), data=64), "rows of 48"),
        (gguf(tensors=(tensor(dims=(), kind=TENSOR_Q4_0),), data=64), "rows of 1"),
        (gguf(tensors=(tensor(dims=(16, 2), kind=TENSOR_Q4_0),), data=64), "rows of 16"),
        (gguf(tensors=(tensor(offset=32),), data=64), "at offset 32, not at 0"),
        (gguf(tensors=(tensor(offset=2**64 - 16),), data=64), "not at 0"),
        (gguf(tensors=(tensor("a"), tensor("b", offset=16)), data=64), "not at 32"),
    ],
)
def test_damaged_headers(save: Save, content: bytes, message: str) -> None:
    with pytest.raises(errors.ModelLoadError, match=message) as caught:
        read_header(save(content))
    assert type(caught.value) is errors.ModelLoadError


@pytest.mark.parametrize("kind", [4, 5, 31, 32, 33, 36, 37, 38])
def test_removed_tensor_types(save: Save, kind: int) -> None:
    with pytest.raises(errors.ModelLoadError, match=f"type {kind}, which llama.cpp removed"):
        read_header(save(gguf(tensors=(tensor(dims=(256,), kind=kind),), data=1024)))


@pytest.mark.parametrize(
    ("tensors", "data"),
    [
        ((tensor("n" * 63),), 16),
        ((tensor("", dims=()),), 4),
        ((tensor(dims=(1, 2, 3, 4)),), 96),
        ((tensor(dims=(0, 7)),), 0),
        ((tensor("a"), tensor("b", offset=32)), 48),
        ((tensor("a", (0,)), tensor("b", (1,))), 4),
    ],
)
def test_tensors_at_the_limits(save: Save, tensors: tuple[bytes, ...], data: int) -> None:
    header = read_header(save(gguf(tensors=tensors, data=data)))
    assert header.tensor_count == len(tensors)


@pytest.mark.parametrize("kind", sorted(TENSOR_TYPES))
def test_tensor_sizes(save: Save, kind: int) -> None:
    _, block_elements, block_bytes = TENSOR_TYPES[kind]
    content = gguf(tensors=(tensor(dims=(block_elements * 2, 3), kind=kind),), data=block_bytes * 6)
    assert read_header(save(content)).tensor_count == 1
    with pytest.raises(errors.TruncatedModelError):
        read_header(save(content[:-1]))


def test_messages_do_not_repeat_long_names(save: Save) -> None:
    with pytest.raises(errors.ModelLoadError) as caught:
        read_header(save(gguf(pair("k" * 100_000, 99, b""))))
    assert len(str(caught.value)) < 1000


# Fuzzing

HEADER_LENGTH = SMALL.rindex(text("b")) + 40
replacements = st.tuples(st.integers(0, HEADER_LENGTH - 1), st.binary(min_size=1, max_size=9))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "model.gguf"


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        header = read_header(path)
    except errors.ModelLoadError:
        return
    assert header.version in (2, 3)
    assert header.metadata_count >= len(header.metadata) + len(header.array_lengths)


@given(mutations=st.lists(replacements, min_size=1, max_size=4))
def test_overwritten_bytes(scratch: Path, mutations: list[tuple[int, bytes]]) -> None:
    content = bytearray(SMALL)
    for position, replacement in mutations:
        content[position : position + len(replacement)] = replacement
    read_or_refuse(scratch, bytes(content))


@given(
    position=st.integers(0, HEADER_LENGTH), inserted=st.binary(max_size=40), cut=st.integers(0, 40)
)
def test_inserted_and_removed_bytes(
    scratch: Path, position: int, inserted: bytes, cut: int
) -> None:
    read_or_refuse(scratch, SMALL[:position] + inserted + SMALL[position + cut :])


@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_behind_the_magic(scratch: Path, content: bytes) -> None:
    read_or_refuse(scratch, b"GGUF" + u32(3) + content)


def test_every_single_byte_changed(scratch: Path) -> None:
    for position in range(HEADER_LENGTH):
        for value in (0x00, 0x01, 0x7F, 0x80, 0xFF):
            read_or_refuse(scratch, SMALL[:position] + bytes([value]) + SMALL[position + 1 :])

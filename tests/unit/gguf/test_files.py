"""What a GGUF file says, and one file as several or several as one."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import gguf as upstream
import pytest
from gguf_bytes import (
    STRING,
    U16,
    U32,
    Save,
    array,
    gguf,
    pair,
    tensor,
    text,
    u32,
)
from isolated import RunPython
from zoo import MEMBERS, Zoo

import llama_cpp
from llama_cpp import errors
from llama_cpp import gguf as files
from llama_cpp.gguf import GGUFFile, MetadataValue, merge, read, shard_name, split

TINYCHAT = Path(__file__).parents[3] / "llama_cpp" / "models" / "tinychat.gguf"


def contents(file: GGUFFile) -> tuple[Any, ...]:
    """What must be the same however a model is split."""
    tensors = [(each.name, each.shape, each.type, each.read()) for each in file.tensors]
    return file.metadata, tensors, file.alignment, file.version


def upstream_value(field: Any) -> MetadataValue:
    value: MetadataValue = field.contents()
    return value


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Reading


def test_the_module_is_ours() -> None:
    assert llama_cpp.gguf is files
    assert files.__name__ == "llama_cpp.gguf"
    assert not hasattr(upstream, "GGUFFile")


@pytest.mark.parametrize("member", MEMBERS)
def test_models_are_read_as_ggufs_own_library_reads_them(member: str, zoo: Zoo) -> None:
    path = getattr(zoo, member)
    file, expected = read(path), upstream.GGUFReader(path)
    assert file.paths == (str(path),)
    assert file.file_bytes == path.stat().st_size
    assert file.architecture == upstream_value(expected.fields["general.architecture"])
    fields = {name: field for name, field in expected.fields.items() if "GGUF." not in name}
    assert file.metadata == {name: upstream_value(field) for name, field in fields.items()}
    assert len(file.tensors) == len(expected.tensors)
    for found, wanted in zip(file.tensors, expected.tensors, strict=True):
        assert found.name == wanted.name
        assert list(found.shape) == wanted.shape.tolist()
        assert found.type == wanted.tensor_type.name
        assert found.n_bytes == wanted.n_bytes
        assert found.offset == wanted.data_offset
        assert found.read() == wanted.data.tobytes()
    assert file.tensor_bytes == sum(int(each.n_bytes) for each in expected.tensors)
    assert file.n_params == sum(int(each.n_elements) for each in expected.tensors)


def test_every_kind_of_metadata(save: Save) -> None:
    layouts = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
    pairs = [pair(f"one.{kind}", kind, struct.pack("=" + f, 7)) for kind, f in layouts.items()]
    pairs += [
        array(f"many.{kind}", kind, 3, struct.pack(f"=3{f}", 1, 2, 3))
        for kind, f in layouts.items()
    ]
    pairs += [
        pair("yes", 7, b"\1"),
        array("flags", 7, 2, b"\0\1"),
        pair("text", STRING, text("größer")),
        pair("torn", STRING, text(b"\xff")),
        array("texts", STRING, 2, text("") + text("ä")),
        array("none", STRING, 0, b""),
    ]
    assert read(save(gguf(*pairs))).metadata == {
        **{f"one.{kind}": 7 for kind in layouts},
        **{f"many.{kind}": [1, 2, 3] for kind in layouts},
        "yes": True,
        "flags": [False, True],
        "text": "größer",
        "torn": "\N{REPLACEMENT CHARACTER}",
        "texts": ["", "ä"],
        "none": [],
    }


def test_a_file_without_architecture_and_tensors(save: Save) -> None:
    file = read(save(gguf(pair("general.architecture.x", U32, u32(1)))))
    assert file.architecture is None
    assert (file.tensors, file.tensor_bytes, file.n_params) == ((), 0, 0)


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", None, 5, []])
def test_paths_that_are_none(path: Any, tmp_path: Path) -> None:
    for call in (read, lambda p: split(p, tmp_path / "x"), lambda p: merge(p, tmp_path / "x")):
        with pytest.raises(errors.TextError, match="path|empty"):
            call(path)
    with pytest.raises(errors.TextError, match="dst"):
        split(TINYCHAT, path)


def test_files_that_are_no_models(save: Save, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        read(tmp_path / "missing.gguf")
    with pytest.raises(errors.ModelIsDirectoryError):
        read(tmp_path)
    path = save(b"Once upon a time there was no model.")
    for call in (read, lambda p: split(p, tmp_path / "x"), lambda p: merge(p, tmp_path / "x")):
        with pytest.raises(errors.NotGGUFError):
            call(path)
    whole = TINYCHAT.read_bytes()
    for length in (3, 100, 50_000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(errors.TruncatedModelError):
            split(path, tmp_path / "x")
    assert listing(tmp_path) == ["model.gguf"]


def test_a_file_that_got_shorter_after_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    shutil.copy(TINYCHAT, path)
    last = read(path).tensors[-1]
    os.truncate(path, last.offset + 1)
    with pytest.raises(errors.ModelLoadError, match="was changed"):
        last.read()
    path.unlink()
    with pytest.raises(errors.ModelLoadError, match="cannot be read"):
        last.read()


# Splitting and merging


@pytest.mark.parametrize("member", MEMBERS)
def test_split_and_merged_is_the_same_file(member: str, zoo: Zoo, tmp_path: Path) -> None:
    path = getattr(zoo, member)
    parts = split(path, tmp_path / "part", max_tensors=3)
    count = -(-len(read(path).tensors) // 3)
    assert parts == tuple(shard_name(str(tmp_path / "part"), i, count) for i in range(count))
    assert listing(tmp_path) == [Path(part).name for part in parts]
    merged = merge(parts[0], tmp_path / "merged.gguf")
    assert Path(merged).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_tensors": 1},
        {"max_tensors": 10, "tensors_in_first": False},
        {"max_size": "1M"},
        {"max_size": "1500k", "tensors_in_first": False},
        {"max_size": 1},
        {"max_size": "1G"},
    ],
)
def test_ways_to_split(options: dict[str, Any], tmp_path: Path) -> None:
    whole = read(TINYCHAT)
    parts = split(TINYCHAT, tmp_path / "part.gguf", **options)
    assert Path(parts[0]).name == f"part-00001-of-{len(parts):05d}.gguf"
    file = read(parts[0])
    assert file.paths == (parts if len(parts) > 1 else parts[:1])
    metadata = {k: v for k, v in file.metadata.items() if not k.startswith("split.")}
    assert (metadata, *contents(file)[1:]) == contents(whole)
    held = [[each for each in file.tensors if each.path == part] for part in parts]
    assert (held[0] == []) == (options.get("tensors_in_first") is False)
    assert all(held[1:])
    if "max_tensors" in options:
        assert max(map(len, held)) == options["max_tensors"]
    if options.get("max_size") == "1M":
        assert all(
            len(tensors) == 1 or sum(each.n_bytes for each in tensors) <= 1_000_000
            for tensors in held
        )
    for index, part in enumerate(parts):
        fields = upstream.GGUFReader(part).fields
        marks = [fields[f"split.{name}"].contents() for name in ("no", "count", "tensors.count")]
        assert marks == [index, len(parts), len(whole.tensors)]
    merge(parts[0], tmp_path / "merged.gguf")
    assert (tmp_path / "merged.gguf").read_bytes() == TINYCHAT.read_bytes()


def test_a_split_model_is_split_anew(tmp_path: Path) -> None:
    few = split(TINYCHAT, tmp_path / "few", max_tensors=50)
    many = split(few[0], tmp_path / "many", max_tensors=7)
    assert (len(few), len(many)) == (2, 11)
    with pytest.raises(errors.QuantizeError, match="file to read from"):
        split(few[0], tmp_path / "few", max_tensors=50, overwrite=True)
    assert contents(read(many[0])) == contents(read(TINYCHAT))


def test_other_alignments_and_no_tensors(save: Save, tmp_path: Path) -> None:
    tensors = (tensor("a", (5,)), tensor("b", (3,), offset=64), tensor("c", (7,), offset=128))
    aligned = gguf(
        pair("general.alignment", U32, u32(64)), tensors=tensors, data=3 * 64, alignment=64
    )
    for content, count in ((aligned, 3), (gguf(pair("x", U32, u32(1))), 1)):
        path = save(content)
        parts = split(path, tmp_path / "part", max_tensors=1)
        assert len(parts) == count
        for part in parts:
            assert upstream.GGUFReader(part).alignment == (64 if count == 3 else 32)
        merge(parts[0], path, overwrite=True)
        assert path.read_bytes() == content + bytes(-len(content) % 32)


@pytest.mark.parametrize(
    "options",
    [
        {"max_tensors": 0},
        {"max_tensors": -1},
        {"max_tensors": "3"},
        {"max_tensors": True},
        {"max_tensors": 1.5},
        {"max_size": 0},
        {"max_size": "0M"},
        {"max_size": "5"},
        {"max_size": "5T"},
        {"max_size": "-5M"},
        {"max_size": b"5M"},
        {"max_size": 1.5},
        {"max_tensors": 5, "max_size": 5},
    ],
)
def test_limits_that_are_none(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="max_"):
        split(TINYCHAT, tmp_path / "part", **options)
    assert listing(tmp_path) == []


def test_too_many_files(save: Save, tmp_path: Path) -> None:
    count = 2**16
    tensors = tuple(tensor(f"{i}", (8,), offset=32 * i) for i in range(count))
    path = save(gguf(tensors=tensors, data=32 * count))
    with pytest.raises(errors.InvalidArgumentError, match="65536 files"):
        split(path, tmp_path / "part", max_tensors=1)


def test_parts_that_do_not_fit_together(tmp_path: Path) -> None:
    parts = [Path(part) for part in split(TINYCHAT, tmp_path / "part", max_tensors=30)]
    others = [Path(part) for part in split(TINYCHAT, tmp_path / "other", max_tensors=37)]
    assert (len(parts), len(others)) == (3, 2)
    kept = [part.read_bytes() for part in parts]

    def refused(match: str, path: Path = parts[0]) -> None:
        for call in (read, lambda p: merge(p, tmp_path / "merged.gguf")):
            with pytest.raises(errors.ModelLoadError, match=match):
                call(path)
        for part, content in zip(parts, kept, strict=True):
            part.write_bytes(content)

    refused("not the first file .* Pass that: .*part-00001-of-00003", parts[1])
    parts[1].unlink()
    refused("no model file")
    parts[1].write_bytes(kept[1][:-1])
    refused("cut off")
    parts[1].write_bytes(kept[2])
    refused("not file 2")
    parts[1].write_bytes(others[1].read_bytes())
    refused("for a second time|promises 74 tensors")
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(kept[0])
    refused("Name it like", renamed)
    renamed.write_bytes(kept[1])
    refused("not the first file", renamed)
    assert not (tmp_path / "merged.gguf").exists()


def test_tensors_that_are_there_twice_or_not_at_all(tmp_path: Path) -> None:
    def part(index: int, *names: str) -> Path:
        path = Path(shard_name(str(tmp_path / "part"), index, 2))
        marks = [
            pair("split.no", U16, struct.pack("=H", index)),
            pair("split.count", U16, struct.pack("=H", 2)),
            pair("split.tensors.count", 5, struct.pack("=i", 2)),
        ]
        tensors = tuple(tensor(name, (8,), offset=32 * i) for i, name in enumerate(names))
        path.write_bytes(gguf(*marks, tensors=tensors, data=32 * len(names)))
        return path

    first = part(0, "a")
    part(1, "a")
    with pytest.raises(errors.ModelLoadError, match="second time"):
        read(first)
    part(1)
    with pytest.raises(errors.ModelLoadError, match="promises 2 tensors, but there are 1"):
        read(first)
    part(1, "b")
    assert [each.name for each in read(first).tensors] == ["a", "b"]


def test_a_whole_model_is_not_merged(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="not split"):
        merge(TINYCHAT, tmp_path / "merged.gguf")


# Where to write


def test_what_is_there_stays(tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    shutil.copy(TINYCHAT, source)
    first = split(source, source, max_tensors=40)[0]
    taken = tmp_path / "taken.gguf"
    taken.write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "soft.gguf").symlink_to(first)
    (tmp_path / "hard.gguf").hardlink_to(first)
    before = listing(tmp_path)
    with pytest.raises(errors.QuantizeError, match="overwrite=True"):
        split(source, source, max_tensors=40)
    with pytest.raises(errors.QuantizeError, match="overwrite=True"):
        merge(first, taken)
    for same in (first, tmp_path / "soft.gguf", tmp_path / "hard.gguf"):
        with pytest.raises(errors.QuantizeError, match="file to read from"):
            merge(first, same, overwrite=True)
    with pytest.raises(errors.QuantizeError, match="is a folder"):
        merge(first, tmp_path / "folder", overwrite=True)
    for nowhere in (tmp_path / "no" / "x.gguf", taken / "x.gguf"):
        with pytest.raises(errors.QuantizeError, match="no folder"):
            merge(first, nowhere)
    with pytest.raises(errors.QuantizeError, match="cannot be written"):
        merge(first, tmp_path / ("x" * 300))
    assert listing(tmp_path) == before
    assert taken.read_text() == "mine"
    merge(first, taken, overwrite=True)
    assert taken.read_bytes() == source.read_bytes()
    assert listing(tmp_path) == before


def test_names_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = split(TINYCHAT, "part", max_tensors=40)
    assert merge(parts[0], b"merged.gguf") == "merged.gguf"
    assert listing(tmp_path) == sorted([*parts, "merged.gguf"])


def test_a_disk_without_room(save: Save, tmp_path: Path) -> None:
    elements = shutil.disk_usage(tmp_path).free // 4 + (1 << 20)
    path = save(gguf(tensors=(tensor("huge", (elements,)),)))
    with path.open("r+b") as file:  # most of it is a hole
        file.truncate(path.stat().st_size + 4 * elements)
    with pytest.raises(errors.QuantizeError, match="bytes are needed .* are free"):
        split(path, tmp_path / "part")
    assert listing(tmp_path) == ["model.gguf"]


FULL_DISK = """
import os, resource, sys
from llama_cpp import errors, gguf
source, folder = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    gguf.split(source, os.path.join(folder, "part"), max_tensors=10)
except errors.QuantizeError as error:
    assert "cannot be written" in str(error), error
    assert "Nothing was left behind" in str(error), error
else:
    raise SystemExit("it was written")
assert os.listdir(folder) == [], os.listdir(folder)
"""


def test_a_disk_that_gets_full(run_python: RunPython, tmp_path: Path) -> None:
    run_python(FULL_DISK, TINYCHAT, tmp_path)


READ_ONLY = """
import os, sys
from llama_cpp import errors, gguf
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
try:
    gguf.split("model.gguf", "part")
except errors.QuantizeError as error:
    assert "cannot be written: Permission denied" in str(error), error
else:
    raise SystemExit("it was written")
"""


def test_a_folder_that_may_not_be_written(run_python: RunPython, tmp_path: Path) -> None:
    shutil.copyfile(TINYCHAT, tmp_path / "model.gguf")
    tmp_path.chmod(0o555)
    run_python(READ_ONLY, tmp_path)
    tmp_path.chmod(0o755)
    assert listing(tmp_path) == ["model.gguf"]

"""``quantize``: every kind of result, every option, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf as upstream
import numpy as np
import numpy.typing as npt
import pytest
from isolated import RunPython
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

import llama_cpp
from llama_cpp import errors, gguf, quantize
from llama_cpp import llama_cpp as raw
from llama_cpp.gguf.imatrix import open_imatrix
from llama_cpp.gguf.quantization import ftypes
from llama_cpp.native import logs

TINYCHAT = Path(__file__).parents[3] / "llama_cpp" / "models" / "tinychat.gguf"

Matrix = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(scope="session")
def matrix(zoo: Zoo) -> Matrix:
    """An importance matrix for the llama model; real ones have no entry for the embeddings."""
    random = np.random.default_rng(1)
    return {
        tensor.name: random.uniform(0.5, 2, tensor.shape[0]).astype(np.float32)
        for tensor in gguf.read(zoo.llama).tensors
        if len(tensor.shape) == 2 and tensor.name != "token_embd.weight"
    }


def types_of(path: Path | str) -> dict[str, str]:
    return {tensor.name: tensor.type for tensor in gguf.read(path).tensors}


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Every kind of result


@pytest.mark.parametrize("name", sorted(ftypes()))
def test_every_ftype(name: str, zoo: Zoo, matrix: Matrix, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    result = quantize(zoo.llama, path, name.lower(), imatrix=matrix)
    assert result.paths == (str(path),)
    assert listing(tmp_path) == ["small.gguf"]
    file, source = gguf.read(path), gguf.read(zoo.llama)
    assert file.metadata["general.file_type"] == ftypes()[name]
    assert result.source_bytes == source.tensor_bytes
    assert result.n_bytes == file.tensor_bytes
    assert result.n_params == file.n_params == source.n_params
    assert sum(result.types.values()) == len(file.tensors) == len(source.tensors)
    assert (result.n_bytes < source.tensor_bytes) == (name != "F32")
    with open_llama(path) as llm:
        assert text_of(llm, PROMPT, max_tokens=4)


def test_names_and_numbers_mean_the_same(zoo: Zoo, tmp_path: Path) -> None:
    same: list[str | int] = ["Q4_K", "q4_k_m", raw.LLAMA_FTYPE_MOSTLY_Q4_K_M]
    for index, ftype in enumerate(same):
        quantize(zoo.llama, tmp_path / f"{index}.gguf", ftype)
    contents = {(tmp_path / f"{index}.gguf").read_bytes() for index in range(3)}
    assert len(contents) == 1


def test_every_ftype_of_the_header_is_known_or_cannot_be_made() -> None:
    numbers = {
        value for name in dir(raw)
        if name.startswith("LLAMA_FTYPE_") and isinstance(value := getattr(raw, name), int)
    }  # fmt: skip
    assert numbers - set(ftypes().values()) == {
        raw.LLAMA_FTYPE_MOSTLY_NVFP4,
        raw.LLAMA_FTYPE_GUESSED,
    }


@pytest.mark.parametrize(
    "member",
    ["llama_bpe", "mamba", "hybrid", "sliding_window", "t5", "bert", "reranker", "image_mmproj",
     "audio_mmproj"],
)  # fmt: skip
def test_every_kind_of_model(member: str, zoo: Zoo, tmp_path: Path) -> None:
    source, path = getattr(zoo, member), tmp_path / "small.gguf"
    result = quantize(source, path, "Q8_0")
    assert result.n_bytes < 0.7 * result.source_bytes
    assert "Q8_0" in types_of(path).values()
    assert gguf.read(path).metadata.keys() >= gguf.read(source).metadata.keys()


def test_a_quantized_model_still_talks(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    result = quantize(TINYCHAT, path, "Q5_K_M", allow_requantize=True)
    assert 5 < result.bits_per_weight < 7
    question: Any = [{"role": "user", "content": "What is the capital of France?"}]
    answers = []
    for model in (TINYCHAT, path):
        with open_llama(model) as llm:
            reply: Any = llm.create_chat_completion(question, temperature=0, max_tokens=20)
            answers.append(reply["choices"][0]["message"]["content"])
    assert "Paris" in answers[0]
    assert "Paris" in answers[1]


# Options


def test_types_of_the_ends(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    source = zoo.sliding_window  # has an output tensor
    quantize(source, path, "Q8_0", output_tensor_type="f16", token_embedding_type="Q5_0")
    types = types_of(path)
    assert (types["output.weight"], types["token_embd.weight"]) == ("F16", "Q5_0")
    quantize(source, path, "Q8_0", quantize_output_tensor=False, overwrite=True)
    assert types_of(path)["output.weight"] == "F32"


def test_pure_and_types_by_name(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    quantize(zoo.llama, path, "Q4_K_M", pure=True)
    assert set(types_of(path).values()) == {"F32", "Q4_K"}
    patterns: dict[str, str | int] = {r"ffn_(up|gate)": "Q8_0", "attn_q": raw.GGML_TYPE_Q5_1}
    quantize(zoo.llama, path, "Q4_K_M", tensor_types=patterns, overwrite=True)
    types = types_of(path)
    assert types["blk.0.ffn_up.weight"] == types["blk.1.ffn_gate.weight"] == "Q8_0"
    assert types["blk.0.attn_q.weight"] == "Q5_1"
    assert types["blk.0.attn_k.weight"] == "Q4_K"


def test_threads_and_memory_change_nothing(zoo: Zoo, tmp_path: Path) -> None:
    contents = set()
    ways: list[dict[str, Any]] = [{}, {"nthread": 1}, {"nthread": 7}, {"max_buf_size": 5000}]
    for options in ways:
        quantize(zoo.llama, tmp_path / "small.gguf", "Q4_K_M", overwrite=True, **options)
        contents.add((tmp_path / "small.gguf").read_bytes())
    assert len(contents) == 1


def test_copies(zoo: Zoo, tmp_path: Path) -> None:
    source = gguf.read(TINYCHAT)
    wanted = {tensor.name: tensor.read() for tensor in source.tensors}
    ways: list[tuple[str, dict[str, Any]]] = [("copy", {}), ("Q4_0", {"only_copy": True})]
    for ftype, options in ways:
        path = tmp_path / "copy.gguf"
        quantize(TINYCHAT, path, ftype, overwrite=True, **options)
        assert {tensor.name: tensor.read() for tensor in gguf.read(path).tensors} == wanted


def test_metadata_is_changed(zoo: Zoo, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "general.name": "Ada",
        "my.count": 7,
        "my.share": 0.5,
        "my.flag": True,
    }
    quantize(zoo.llama, tmp_path / "small.gguf", "Q8_0", kv_overrides=changes)
    metadata = gguf.read(tmp_path / "small.gguf").metadata
    assert {key: metadata[key] for key in changes} == changes


def test_layers_are_left_out(zoo: Zoo, matrix: Matrix, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    quantize(zoo.llama, path, "IQ2_XS", prune_layers=[0], imatrix=matrix)
    file, source = gguf.read(path), gguf.read(zoo.llama)
    assert source.metadata["llama.block_count"] == 2
    assert file.metadata["llama.block_count"] == 1
    assert {t.name for t in file.tensors} == {
        t.name for t in source.tensors if "blk.1" not in t.name
    }
    kept = {tensor.name: tensor.read() for tensor in file.tensors}
    norm = next(t for t in source.tensors if t.name == "blk.1.attn_norm.weight")
    assert kept["blk.0.attn_norm.weight"] == norm.read()
    with open_llama(path) as llm:
        assert text_of(llm, PROMPT, max_tokens=2)


def test_requantizing(zoo: Zoo, tmp_path: Path) -> None:
    quantize(zoo.llama, tmp_path / "q8.gguf", "Q8_0")
    with pytest.raises(errors.QuantizeError, match="quantized already.*allow_requantize=True"):
        quantize(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0")
    assert listing(tmp_path) == ["q8.gguf"]
    result = quantize(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0", allow_requantize=True)
    assert result.types["Q4_0"] > 10
    quantize(tmp_path / "q8.gguf", tmp_path / "same.gguf", "Q8_0")  # which changes nothing
    assert types_of(tmp_path / "same.gguf") == types_of(tmp_path / "q8.gguf")


def test_dry_runs_tell_what_would_be(zoo: Zoo, tmp_path: Path) -> None:
    told = quantize(zoo.llama, tmp_path / "small.gguf", "Q3_K_M", dry_run=True)
    assert told.paths == ()
    assert listing(tmp_path) == []
    done = quantize(zoo.llama, tmp_path / "small.gguf", "Q3_K_M")
    assert done._replace(paths=()) == told


def test_split_models(zoo: Zoo, tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    quantize(zoo.llama, whole, "Q4_K_M")
    for first in (True, False):
        parts = gguf.split(zoo.llama, tmp_path / "part", max_tensors=6, tensors_in_first=first)
        joined = quantize(parts[0], tmp_path / "joined.gguf", "Q4_K_M", overwrite=True)
        assert types_of(joined.paths[0]) == types_of(whole)
        result = quantize(
            parts[0], tmp_path / "small.gguf", "Q4_K_M", keep_split=True, overwrite=True
        )
        assert [Path(path).name for path in result.paths] == [
            Path(part).name.replace("part", "small") for part in parts
        ]
        assert types_of(result.paths[0]) == types_of(whole)
        assert gguf.read(result.paths[0]).paths == result.paths
        with open_llama(whole) as one, open_llama(result.paths[0]) as other:
            assert text_of(one, PROMPT) == text_of(other, PROMPT)
        for path in (*result.paths, *parts):
            Path(path).unlink()
    quantize(zoo.llama, tmp_path / "single.gguf", "Q4_K_M", keep_split=True)
    assert listing(tmp_path) == ["joined.gguf", "single.gguf", "whole.gguf"]


def test_other_alignments(zoo: Zoo, tmp_path: Path) -> None:
    source = upstream.GGUFReader(zoo.llama)
    writer = upstream.GGUFWriter(tmp_path / "aligned.gguf", "llama")
    writer.add_custom_alignment(256)
    for name, field in source.fields.items():
        if "GGUF." not in name and name != "general.architecture":
            writer.add_key_value(name, field.contents(), field.types[0], *field.types[1:2])
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert gguf.read(tmp_path / "aligned.gguf").alignment == 256
    quantize(tmp_path / "aligned.gguf", tmp_path / "small.gguf", "Q4_K_M")
    quantize(zoo.llama, tmp_path / "expected.gguf", "Q4_K_M")
    found, wanted = (
        {tensor.name: tensor.read() for tensor in gguf.read(tmp_path / name).tensors}
        for name in ("small.gguf", "expected.gguf")
    )
    assert found == wanted


# Importance matrices


def write_imatrix(path: Path, matrix: Matrix, counts: float = 4.0, **left_out: bool) -> Path:
    writer = upstream.GGUFWriter(path, "")
    writer.add_type("imatrix")
    if not left_out:
        writer.add_array("imatrix.datasets", ["wiki.txt"])
    writer.add_uint32("imatrix.chunk_count", 12)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in matrix.items():
        writer.add_tensor(f"{name}.in_sum2", (values * counts)[None, :])
        writer.add_tensor(f"{name}.counts", np.array([[counts]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_legacy_imatrix(path: Path, matrix: Matrix, calls: int = 4) -> Path:
    content = struct.pack("=i", len(matrix))
    for name, values in matrix.items():
        content += struct.pack("=i", len(name)) + name.encode()
        content += struct.pack("=ii", calls, len(values)) + (values * calls).tobytes()
    path.write_bytes(content + struct.pack("=ii", 12, 8) + b"wiki.txt")
    return path


def test_files_and_mappings_are_the_same_matrix(zoo: Zoo, matrix: Matrix, tmp_path: Path) -> None:
    sources: list[Any] = [
        matrix,
        {name: values.tolist() for name, values in matrix.items()},
        write_imatrix(tmp_path / "i.gguf", matrix),
        write_legacy_imatrix(tmp_path / "i.dat", matrix),
    ]
    contents = []
    for source in sources:
        path = tmp_path / "small.gguf"
        quantize(zoo.llama, path, "IQ2_XS", imatrix=source, overwrite=True)
        contents.append([tensor.read() for tensor in gguf.read(path).tensors])
        metadata = gguf.read(path).metadata
        assert metadata["quantize.imatrix.entries_count"] == len(matrix)
        if source == sources[2]:
            assert metadata["quantize.imatrix.file"] == str(sources[2])[:127]
            assert metadata["quantize.imatrix.dataset"] == "wiki.txt"
            assert metadata["quantize.imatrix.chunks_count"] == 12
    assert all(content == contents[0] for content in contents)
    quantize(zoo.llama, tmp_path / "other.gguf", "IQ2_XS", imatrix=dict.fromkeys(matrix, [1] * 256)
             | {name: np.ones(values.size) for name, values in matrix.items()})  # fmt: skip
    assert [t.read() for t in gguf.read(tmp_path / "other.gguf").tensors] != contents[0]


def test_an_expert_that_was_never_asked(tmp_path: Path) -> None:
    writer = upstream.GGUFWriter(tmp_path / "i.gguf", "")
    for key in ("chunk_count", "chunk_size"):
        writer.add_uint32(f"imatrix.{key}", 1)
    writer.add_array("imatrix.datasets", ["x"])
    writer.add_tensor("e.in_sum2", np.array([[2, 4], [0, 0], [9, 3]], np.float32))
    writer.add_tensor("e.counts", np.array([[2], [0], [3]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert open_imatrix(tmp_path / "i.gguf").entries["e"].tolist() == [1, 2, 1, 1, 3, 1]


def test_small_types_need_a_matrix(zoo: Zoo, matrix: Matrix, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    for ftype in ("IQ1_S", "IQ2_M", "IQ3_XXS", "Q2_K_S"):
        with pytest.raises(errors.QuantizeError, match="importance matrix: pass imatrix="):
            quantize(zoo.llama, path, ftype)
    some = {name: values for name, values in matrix.items() if "ffn_up" not in name}
    with pytest.raises(errors.QuantizeError, match=r"'blk.0.ffn_up.weight' needs values"):
        quantize(zoo.llama, path, "IQ1_S", imatrix=some)
    assert listing(tmp_path) == []


# Progress, and being stopped


def test_progress(zoo: Zoo, tmp_path: Path) -> None:
    told: list[float] = []
    threads = set()

    def tell(fraction: float) -> None:
        told.append(fraction)
        threads.add(threading.current_thread())

    quantize(zoo.llama, tmp_path / "small.gguf", "Q8_0", progress=tell)
    assert told == sorted(told)
    assert (told[0], told[-1], len(told)) == (0.0, 1.0, 21)
    assert threads == {threading.current_thread()}
    quantize(zoo.llama, tmp_path / "other.gguf", "Q8_0", progress=True)  # no terminal here


def test_what_a_progress_callback_raises_stops(zoo: Zoo, tmp_path: Path) -> None:
    def fail(fraction: float) -> bool:
        if fraction > 0.3:
            raise LookupError("mine")
        return True

    with pytest.raises(LookupError, match="mine"):
        quantize(zoo.llama, tmp_path / "small.gguf", "Q8_0", progress=fail)
    with pytest.raises(errors.QuantizeError, match="cancelled by the progress callback"):
        quantize(zoo.llama, tmp_path / "small.gguf", "Q8_0", progress=lambda done: done < 0.3)
    assert listing(tmp_path) == []
    assert not [t for t in threading.enumerate() if t.name == "llama_cpp.quantize"]
    quantize(zoo.llama, tmp_path / "small.gguf", "Q8_0")


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal; a shell's background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_leaves_nothing_behind(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_text("old")
    told: list[float] = []

    def interrupt(fraction: float) -> None:
        told.append(fraction)
        if len(told) == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        quantize(
            zoo.llama, tmp_path / "small.gguf", "Q8_0", nthread=1, overwrite=True,
            progress=interrupt,
        )  # fmt: skip
    assert len(told) == 5
    assert listing(tmp_path) == ["small.gguf"]
    assert (tmp_path / "small.gguf").read_text() == "old"
    assert not [t for t in threading.enumerate() if t.name == "llama_cpp.quantize"]


def test_several_at_once(zoo: Zoo, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            quantize(zoo.llama, tmp_path / f"{index}.gguf", "Q4_0", nthread=1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_the_log_of_the_caller_stays(zoo: Zoo, tmp_path: Path) -> None:
    texts: list[bytes] = []

    @raw.ggml_log_callback
    def listen(level: int, text: bytes, user_data: Any) -> None:
        texts.append(text)

    llama_cpp.llama_log_set(listen, None)
    try:
        quantize(zoo.llama, tmp_path / "small.gguf", "Q4_0")
        heard = len(texts)
        assert any(b"quant size" in text for text in texts)
        quantize(zoo.llama, tmp_path / "other.gguf", "Q4_0")
        assert len(texts) == 2 * heard
    finally:
        logs.install()


# Where to write


def test_what_is_there_stays(zoo: Zoo, tmp_path: Path) -> None:
    source, path = tmp_path / "model.gguf", tmp_path / "small.gguf"
    shutil.copyfile(zoo.llama, source)
    content = source.read_bytes()
    (tmp_path / "soft.gguf").symlink_to(source)
    (tmp_path / "hard.gguf").hardlink_to(source)
    path.write_text("mine")
    before = listing(tmp_path)
    for same in (source, tmp_path / "soft.gguf", tmp_path / "hard.gguf"):
        with pytest.raises(errors.QuantizeError, match="file to read from"):
            quantize(source, same, "Q8_0", overwrite=True)
    with pytest.raises(errors.QuantizeError, match="overwrite=True"):
        quantize(source, path, "Q8_0")
    with pytest.raises(errors.QuantizeError, match="is a folder"):
        quantize(source, tmp_path, "Q8_0", overwrite=True)
    with pytest.raises(errors.QuantizeError, match="no folder"):
        quantize(source, tmp_path / "no" / "x.gguf", "Q8_0")
    assert listing(tmp_path) == before
    assert (source.read_bytes(), path.read_text()) == (content, "mine")
    quantize(source, path, "Q8_0", overwrite=True)
    assert types_of(path)["token_embd.weight"] == "Q8_0"
    parts = gguf.split(source, tmp_path / "part", max_tensors=10)
    with pytest.raises(errors.QuantizeError, match="file to read from"):
        quantize(parts[0], parts[1], "Q8_0", overwrite=True)


def test_names_without_a_folder(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert quantize(bytes(zoo.llama), "größer 1.gguf", "Q8_0").paths == ("größer 1.gguf",)
    assert listing(tmp_path) == ["größer 1.gguf"]


LIMITED = """
import os, resource, sys
from llama_cpp import errors, gguf, quantize
source, folder, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    quantize(source, os.path.join(folder, "small.gguf"), "Q8_0")
except errors.QuantizeError as error:
    assert "written" in str(error), error
    assert "disk is full" in str(error), error
else:
    raise SystemExit("it was written")
assert os.listdir(folder) == [], os.listdir(folder)
"""


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_disk_that_gets_full(
    share: float, zoo: Zoo, run_python: RunPython, tmp_path: Path
) -> None:
    quantize(zoo.llama, tmp_path / "whole.gguf", "Q8_0")
    limit = int(share * (tmp_path / "whole.gguf").stat().st_size)
    (tmp_path / "folder").mkdir()
    run_python(LIMITED, zoo.llama, tmp_path / "folder", limit)


READ_ONLY = """
import os, sys
from llama_cpp import errors, quantize
os.chdir(sys.argv[1])
quantize("model.gguf", "x", "Q8_0", dry_run=True)
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
try:
    quantize("model.gguf", "small.gguf", "Q8_0")
except errors.QuantizeError as error:
    assert "cannot be written: Permission denied" in str(error), error
else:
    raise SystemExit("it was written")
"""


def test_a_folder_that_may_not_be_written(zoo: Zoo, run_python: RunPython, tmp_path: Path) -> None:
    shutil.copyfile(zoo.llama, tmp_path / "model.gguf")
    tmp_path.chmod(0o555)
    run_python(READ_ONLY, tmp_path)
    tmp_path.chmod(0o755)
    assert listing(tmp_path) == ["model.gguf"]


def test_a_model_that_turns_out_damaged(zoo: Zoo, tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    shutil.copyfile(zoo.llama, source)
    tensor = next(t for t in gguf.read(source).tensors if t.name == "blk.1.ffn_up.weight")
    with source.open("r+b") as file:
        file.seek(tensor.offset)
        file.write(np.full(64, np.nan, np.float32).tobytes())
    with pytest.raises(errors.QuantizeError, match="cannot be quantized") as caught:
        quantize(source, tmp_path / "small.gguf", "Q8_0")
    assert caught.value.native_log
    assert listing(tmp_path) == ["model.gguf"]
    assert os.path.getsize(source) == zoo.llama.stat().st_size

"""Files whose headers lie: one of each kind that has ended the process, and what is right instead.

``python -m tools.fuzz_gguf`` looks for more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from isolated import RunPython
from zoo import Zoo, write_audio_mmproj, write_image_mmproj
from zoo_vision import write_gemma3_mmproj, write_qwen2vl, write_qwen2vl_mmproj

from tools.fuzz_gguf.lies import Liar

OPEN_AND_USE = """
import sys
from tools.fuzz_gguf.use import outcome_of
print(outcome_of(*sys.argv[1:]))
"""
KINDS = {"lora": "adapter", "image_mmproj": "projector", "audio_mmproj": "projector"}
WRITE_PROJECTOR: dict[str, Callable[[Path], Path]] = {
    "llava": write_image_mmproj,
    "whisper": write_audio_mmproj,
    "gemma3": write_gemma3_mmproj,
    "qwen2vl": write_qwen2vl_mmproj,
}
REFUSED = "refused: ModelLoadError"
LIES = {
    "image_mmproj: v.blk.0.attn_q.bias type 1": REFUSED,
    "image_mmproj: v.blk.0.attn_v.weight renamed": REFUSED,
    "image_mmproj: clip.vision.image_size = 64": REFUSED,
    "audio_mmproj: clip.audio.attention.layer_norm_epsilon = -1.0": REFUSED,
    "lora: blk.0.ffn_down.weight.lora_b type 27": REFUSED,
    # An operation has no kernel for the type, and asserts; for matrices of numbers it crashes.
    "llama: output_norm.weight type 2": REFUSED,
    "llama: output_norm.weight type 30": REFUSED,
    "llama: blk.0.attn_v.weight type 26": REFUSED,
    "llama: blk.0.ffn_up.weight type 28": REFUSED,
    "mamba: blk.0.ssm_d type 26": REFUSED,
    "mamba: blk.0.ssm_conv1d.weight type 1": REFUSED,
    "hybrid: blk.0.shortconv.conv.weight type 1": REFUSED,
    # No token for a byte: an exception in the tokenizer, which no C caller catches.
    "llama: tokenizer.ggml.tokens filled with 0": "used",
    "bert: tokenizer.ggml.model = 'llama'": "refused: InvalidArgumentError",
    # It has tokens that stand for a byte, of which the tokenizer of that name knows nothing.
    "llama: tokenizer.ggml.model = 'bert'": "used",
    # A text that begins like a token and is none was begun again for ever.
    "llama_whole_spm: tokenizer.ggml.model = 'rwkv'": "used",
    # Numbers that cannot be.
    "llama: llama.attention.head_count = 0": REFUSED,
    "llama: llama.block_count = 0": "refused: InvalidArgumentError",
    "llama: llama.attention.layer_norm_rms_epsilon = -1.0": "refused: InvalidArgumentError",
}


def lying(zoo: Zoo, lie: str, folder: Path) -> Path:
    """Write the file that ``MODEL: LIE`` describes."""
    model, _, name = lie.partition(": ")
    liar = Liar(getattr(zoo, model))
    (found,) = [each for each in liar.lies if each.name == name]
    path = folder / "lie.gguf"
    liar.write(path, found)
    return path


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_does_no_harm(
    lie: str, zoo: Zoo, tmp_path: Path, run_python: RunPython
) -> None:
    path, kind = lying(zoo, lie, tmp_path), KINDS.get(lie.partition(":")[0], "model")
    assert run_python(OPEN_AND_USE, path, kind, zoo.llama).stdout == f"{LIES[lie]}\n"


LOSE_EACH_TENSOR = """
import sys
from pathlib import Path
from tools.fuzz_gguf.lies import Liar
from tools.fuzz_gguf.use import outcome_of

path, base = sys.argv[1:]
liar, lost = Liar(Path(path)), Path(path).with_name("lost.gguf")
for lie in liar.lies:
    if lie.name.endswith("renamed"):
        liar.write(lost, lie)
        print(outcome_of(str(lost), "projector", base), "without", lie.name)
"""


@pytest.mark.parametrize("kind", ["llava", "whisper", "gemma3", "qwen2vl"])
def test_a_projector_needs_its_tensors(
    kind: str, zoo: Zoo, tmp_path: Path, run_python: RunPython
) -> None:
    path, base = tmp_path / "mmproj.gguf", zoo.llama
    if kind == "qwen2vl":
        base = write_qwen2vl(tmp_path / "base.gguf")
    WRITE_PROJECTOR[kind](path)
    outcomes = run_python(LOSE_EACH_TENSOR, path, base).stdout.splitlines()
    assert len(outcomes) > 20
    assert [each for each in outcomes if not each.startswith(("used", "refused"))] == []
    assert any("refused: ModelLoadError" in each for each in outcomes)


def test_the_tensor_without_a_kernel_is_named(zoo: Zoo, tmp_path: Path) -> None:
    from llama_cpp.errors import ModelLoadError
    from llama_cpp.handles.model import Model

    with pytest.raises(ModelLoadError, match=r"output_norm\.weight has the type F16, .*kernel\. C"):
        Model(lying(zoo, "llama: output_norm.weight type 1", tmp_path))


def test_text_that_no_token_fits_is_unknown(
    zoo: Zoo, tmp_path: Path, run_python: RunPython
) -> None:
    code = """
import sys
from llama_cpp.handles import Model
vocab = Model(sys.argv[1]).vocab
print(vocab.tokenize("\\u20ac", add_special=False))
"""
    wordpieces = lying(zoo, "bert: tokenizer.ggml.model = 'llama'", tmp_path)
    tokens = run_python(code, wordpieces).stdout
    assert set(re.findall(r"\d+", tokens)) == {"1"}  # the unknown token of the file


def test_the_fuzzer_finds_what_ends_a_process(tmp_path: Path) -> None:
    from tools.fuzz_gguf.__main__ import Child

    child = Child()
    assert child.outcome(tmp_path / "nothing.gguf") == "refused: ModelNotFoundError"
    child._process.kill()
    assert child.outcome(tmp_path / "nothing.gguf").startswith("ENDED")
    assert child.outcome(tmp_path / "nothing.gguf") == "refused: ModelNotFoundError"
    child.close()

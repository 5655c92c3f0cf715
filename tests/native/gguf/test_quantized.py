"""Quantizing through the binding, and the quantized kernels of this processor."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import llama_cpp
from llama_cpp import llama_cpp as raw
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

Logits = npt.NDArray[np.float32]

# The root mean square error against the f32 model, in standard deviations of its logits. Random
# weights of this size lose far more to rounding than trained ones; twice what was measured.
TOLERANCES = {
    "Q8_0": (raw.LLAMA_FTYPE_MOSTLY_Q8_0, 0.1),
    "Q6_K": (raw.LLAMA_FTYPE_MOSTLY_Q6_K, 0.3),
    "Q5_K_M": (raw.LLAMA_FTYPE_MOSTLY_Q5_K_M, 0.5),
    "Q4_K_M": (raw.LLAMA_FTYPE_MOSTLY_Q4_K_M, 0.8),
    "Q4_0": (raw.LLAMA_FTYPE_MOSTLY_Q4_0, 1.0),
}
# The same against f32 weights made from the quantized ones: what is left is the rounding of the
# activations to 8 bits, and a kernel that computes something else stands out.
KERNEL_TOLERANCE = 0.1

PROMPT = 96  # tokens in one batch: enough for the matrix kernels, which start at 32
SINGLE = 4  # tokens one by one, for the vector kernels


def quantize(source: Path, target: Path, ftype: int, **options: int) -> Path:
    params = raw.llama_model_quantize_default_params()
    params.nthread, params.ftype = 1, ftype
    for name, value in options.items():
        setattr(params, name, value)
    code = raw.llama_model_quantize(bytes(source), bytes(target), ctypes.byref(params))
    assert code == 0
    return target


def dequantize(source: Path, target: Path) -> Path:
    return quantize(
        source, target, raw.LLAMA_FTYPE_ALL_F32, allow_requantize=True,
        output_tensor_type=raw.GGML_TYPE_F32, token_embedding_type=raw.GGML_TYPE_F32,
    )  # fmt: skip


def logits_of(path: Path, *, repacked: bool = True) -> Logits:
    """The logits of a prompt and of single tokens after it, a row for each."""
    params = Model.default_params()
    params.use_extra_bufts = repacked  # AMX and the other repacking kernels need it
    with Model(path, params) as model:
        context_params = Context.default_params()
        context_params.n_ctx = 2 * PROMPT
        context = Context(model, context_params)
        words = "the quick brown fox jumps over the lazy dog and once upon a little time "
        tokens = model.vocab.tokenize(words * 10)[: PROMPT + SINGLE]
        assert len(tokens) == PROMPT + SINGLE
        batch = Batch(PROMPT)
        batch.add_sequence(tokens[:PROMPT], output_all=True)
        context.decode(batch)
        rows = [context.logits(index) for index in range(PROMPT)]
        for position, token in enumerate(tokens[PROMPT:], PROMPT):
            batch.clear()
            batch.add_sequence([token], position)
            context.decode(batch)
            rows.append(context.logits())
    return np.stack(rows)


def error(found: Logits, wanted: Logits) -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / np.std(wanted))


@pytest.mark.parametrize("name", TOLERANCES)
def test_quantized_models_compute_what_f32_does(
    name: str, tiny_llama: Path, tmp_path: Path
) -> None:
    ftype, tolerance = TOLERANCES[name]
    path = quantize(tiny_llama, tmp_path / "quantized.gguf", ftype)
    assert path.stat().st_size < 0.3 * tiny_llama.stat().st_size
    dequantized = dequantize(path, tmp_path / "dequantized.gguf")
    assert dequantized.stat().st_size > 0.99 * tiny_llama.stat().st_size
    found, exact, original = (logits_of(each) for each in (path, dequantized, tiny_llama))
    assert np.isfinite(found).all()
    prompt, single = slice(None, PROMPT), slice(PROMPT, None)
    for part in (prompt, single):
        assert error(found[part], exact[part]) < KERNEL_TOLERANCE
        assert error(found[part], original[part]) < tolerance
    assert error(logits_of(path, repacked=False), found) < KERNEL_TOLERANCE


def test_less_precise_types_lose_more(tiny_llama: Path, tmp_path: Path) -> None:
    original = logits_of(tiny_llama)
    errors = [
        error(logits_of(quantize(tiny_llama, tmp_path / f"{name}.gguf", ftype)), original)
        for name, (ftype, _) in TOLERANCES.items()
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_amx_is_used_where_the_processor_has_it() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    info = llama_cpp.build_info()
    native = info["options"]["GGML_NATIVE"] == "ON"
    built = info["features"]["CPU"].get("AMX_INT8") == "1"
    assert built == (native and "amx_int8" in flags)

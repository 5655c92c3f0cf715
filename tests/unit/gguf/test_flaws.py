"""Which tensors are refused before the engine ends the process on them."""

from __future__ import annotations

import pytest

from llama_cpp.gguf.flaws import tensor_flaws
from llama_cpp.gguf.layout import TensorEntry

F32, F16, Q4_0, I32, I64 = 0, 1, 2, 26, 27


def entry(name: str, type_id: int, *shape: int) -> TensorEntry:
    return TensorEntry(name.encode(), shape, type_id, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "type_id", "shape"),
    [
        # As published files have them.
        ("token_embd.weight", Q4_0, (64, 100)),
        ("cls.output.weight", F16, (64, 1)),
        ("v.patch_embd.weight.1", F16, (14, 14, 3, 64)),
        ("v.position_embd.weight", F16, (64, 577)),
        ("resampler.query", F16, (64, 32)),
        ("blk.0.ssm_a", F32, (1, 64)),
        ("blk.0.attn_q.weight.lora_a", F16, (64, 8)),
        ("blk.0.ffn_gate_tid2eid.weight", I32, (8, 100)),
        ("d2t", I64, (100,)),
    ],
)
def test_what_files_have_is_taken(name: str, type_id: int, shape: tuple[int, ...]) -> None:
    assert list(tensor_flaws([entry(name, type_id, *shape)])) == []


@pytest.mark.parametrize(
    ("name", "type_id", "shape"),
    [
        ("output_norm.weight", F16, (64,)),
        ("blk.0.attn_q_norm.weight", F16, (64, 8)),
        ("blk.0.ffn_down_exps.bias", F16, (64, 8)),
        ("blk.0.ssm_a", F16, (1, 64)),
        ("blk.0.ssm_conv1d.weight", F16, (4, 64)),
        ("a.position_embd.weight", F16, (64, 100)),
        ("blk.0.attn_q.weight", I32, (64, 64)),
    ],
)
def test_what_has_no_kernel_is_refused(name: str, type_id: int, shape: tuple[int, ...]) -> None:
    (flaw,) = tensor_flaws([entry(name, type_id, *shape)])
    assert flaw.startswith(f"{name} has the type ")


def test_queries_of_a_projector_need_keys_and_values() -> None:
    parts = [entry(f"v.blk.0.attn_{part}.weight", F16, 64, 64) for part in "qkv"]
    assert list(tensor_flaws(parts)) == []
    assert list(tensor_flaws(parts[:2])) == ["v.blk.0.attn_q.weight is there without attn_v.weight"]

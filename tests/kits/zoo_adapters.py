"""What can be added to the model of ``write_llama`` while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gguf.constants import GGUFValueType, Keys
from zoo_file import TinyFile


def write_lora(
    path: Path,
    *,
    seed: int = 1,
    n_embd: int = 256,
    n_layer: int = 2,
    n_ff: int = 256,
    rank: int = 4,
    alpha: float = 8.0,
    invocation: Sequence[int] = (),
) -> Path:
    """A LoRA adapter for `write_llama` of the same sizes, strong enough to change its answers.

    With tokens that invoke it, it is an activated one.
    """
    out = TinyFile(path, "llama", seed)
    out.writer.add_type("adapter")
    out.writer.add_string(Keys.Adapter.TYPE, "lora")
    out.writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
    if invocation:
        out.writer.add_key_value(
            Keys.Adapter.ALORA_INVOCATION_TOKENS,
            list(invocation),
            GGUFValueType.ARRAY,
            sub_type=GGUFValueType.UINT32,
        )
    for layer in range(n_layer):
        for name, n_in in (("attn_output", n_embd), ("ffn_down", n_ff)):
            target = f"blk.{layer}.{name}.weight"
            out.add(f"{target}.lora_a", out.normal(rank, n_in, scale=n_in**-0.5))
            out.add(f"{target}.lora_b", out.normal(n_embd, rank, scale=rank**-0.5))
    return out.finish()


def write_control_vector(
    path: Path, *, seed: int = 2, n_embd: int = 256, n_layer: int = 2, strength: float = 0.5
) -> Path:
    """A control vector for `write_llama` of the same sizes, as llama-cvector-generator writes it.

    The engine adds `direction.N` to what comes out of layer N. There is none for layer 0.
    """
    out = TinyFile(path, "controlvector", seed)
    out.writer.add_string("controlvector.model_hint", "llama")
    out.writer.add_int32("controlvector.layer_count", n_layer - 1)
    for layer in range(1, n_layer):
        out.add(f"direction.{layer}", out.normal(n_embd, scale=strength))
    return out.finish()

"""Checks of numbers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from llama_cpp.cache.ram import LlamaRAMCache
from llama_cpp.embeddings.batches import normalized
from llama_cpp.engine.speculative.prompt_lookup import LlamaPromptLookupDecoding
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.generation.params import GenerationParams
from llama_cpp.models.params import ContextParams, ModelParams
from llama_cpp.sampling.defaults import SamplingDefaults
from llama_cpp.sampling.params import SamplingParams
from llama_cpp.validation.numbers import integer, number, plain, truth


class Indexed:
    """An integer of a library of its own."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.int64(-3), -3),
        (np.uint8(200), 200),
        (np.array(7), 7),
        (Indexed(9), 9),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (True, True),
        ("5", "5"),
        (None, None),
    ],
)
def test_numbers_of_other_libraries_become_pythons(given: Any, expected: object) -> None:
    own = plain(given)
    assert own == expected
    assert type(own) is type(expected)


def test_several_numbers_are_left_as_they_are() -> None:
    several = np.array([1, 2])
    assert plain(several) is several


@pytest.mark.parametrize("value", [np.bool_(True), 1.0, np.float32(1), "1", None])
def test_an_integer_is_nothing_else(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="count=.* must be an integer from 0 to 9"):
        integer("count", value, 0, 9)


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", None, float("nan")])
def test_a_number_is_nothing_else(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="share=.* must be a number from 0 to 9"):
        number("share", value, 0, 9)


@pytest.mark.parametrize("value", [0, np.int64(1), "true", None])
def test_a_truth_value_is_nothing_else(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="flag=.* must be True or False"):
        truth("flag", value)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, Indexed])
def test_what_keeps_an_integer_keeps_pythons(kind: Any) -> None:
    """Arithmetic with eight bits would overflow, and the C API takes no other object."""
    model = ModelParams(split_mode=kind(0), main_gpu=kind(0))
    context = ContextParams(
        n_ctx=kind(128), n_parallel=kind(2), n_batch=kind(64), n_ubatch=kind(32),
        n_threads=kind(1), n_threads_batch=kind(1), yarn_orig_ctx=kind(5),
    )  # fmt: skip
    generation = GenerationParams(max_tokens=kind(4), logprobs=kind(2), n=kind(1))
    sampling = SamplingParams(top_k=kind(40), seed=kind(7), logit_bias={kind(3): 1.0})
    lookup = LlamaPromptLookupDecoding(kind(3), kind(10), kind(2))
    kept = [
        *vars(model).values(), *vars(context).values(), generation.max_tokens, generation.logprobs,
        generation.n, sampling.top_k, sampling.seed, *sampling.logit_bias,
        lookup.max_ngram_size, lookup.num_pred_tokens, lookup.min_ngram_size,
        LlamaRAMCache(kind(100)).capacity_bytes, SamplingDefaults(kind(7), 64).seed,
    ]  # fmt: skip
    assert not [value for value in kept if isinstance(value, np.generic | Indexed)]
    row = np.ones(4, np.float32)
    assert normalized(row, kind(2)).tolist() == normalized(row, 2).tolist()


def test_truth_values_of_numpy_are_taken() -> None:
    yes, no = cast("tuple[bool, bool]", (np.bool_(True), np.bool_(False)))
    assert SamplingParams(ignore_eos=yes).ignore_eos is True
    struct = ContextParams(flash_attn=no).struct(
        128, n_ctx_train=128, has_encoder=False, has_state=False, drafts=False
    )
    assert struct.flash_attn_type == 0

"""Sampling parameters: what they are by default, and what is no value for them."""

from __future__ import annotations

import dataclasses
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.chat.params import ChatParams
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.generation.params import CompletionParams
from llama_cpp.sampling.options import WITHOUT_EFFECT, SamplingOptions
from llama_cpp.sampling.params import DEFAULT_ORDER, NAMES, SAMPLERS, SamplingParams

NOT_NEGATIVE = [
    "dynatemp_range", "dynatemp_exponent", "top_p", "min_p", "typical_p",
    "xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base", "repeat_penalty",
    "mirostat_tau", "mirostat_eta", "adaptive_decay",
]  # fmt: skip
ANY_SIGN = [
    "temperature",
    "top_n_sigma",
    "frequency_penalty",
    "presence_penalty",
    "adaptive_target",
]
INTEGERS = [
    "top_k", "min_keep", "penalty_last_n", "dry_allowed_length", "dry_penalty_last_n",
    "mirostat_mode", "seed",
]  # fmt: skip
NO_NUMBERS: list[Any] = [math.nan, True, None, "1", 1j, [1.0]]
NO_INTEGERS: list[Any] = [1.0, math.nan, False, None, "1", 2**32, -(2**31)]


def with_value(name: str, value: Any) -> SamplingParams:
    values: dict[str, Any] = {name: value}
    return SamplingParams(**values)


# Defaults.


def test_the_defaults_are_those_that_scripts_know() -> None:
    params = SamplingParams()
    assert (params.temperature, params.top_k, params.top_p) == (0.8, 40, 0.95)
    assert (params.min_p, params.typical_p, params.repeat_penalty) == (0.05, 1.0, 1.0)
    assert (params.frequency_penalty, params.presence_penalty) == (0.0, 0.0)
    assert (params.mirostat_mode, params.mirostat_tau, params.mirostat_eta) == (0, 5.0, 0.1)


def test_nothing_beyond_them_is_on_by_default() -> None:
    params = SamplingParams()
    assert params.dynatemp_range == params.xtc_probability == params.dry_multiplier == 0
    assert params.top_n_sigma <= 0 and params.adaptive_target < 0
    assert params.logit_bias == {} and not params.ignore_eos and not params.penalizes


def test_every_sampler_of_the_default_order_exists() -> None:
    assert SamplingParams().samplers == DEFAULT_ORDER
    assert set(DEFAULT_ORDER) <= set(SAMPLERS)
    assert len(set(SAMPLERS)) == len(SAMPLERS)


def test_parameters_cannot_be_changed_behind_the_check() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SamplingParams().temperature = math.nan  # type: ignore[misc]


# Numbers.


@pytest.mark.parametrize("name", NOT_NEGATIVE + ANY_SIGN)
@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_number_is_no_nan_and_no_other_type(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name}=.* must be a number from"):
        with_value(name, value)


@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_what_cannot_be_negative_is_refused_below_zero(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name}=-0.01 must be a number from 0 to"):
        with_value(name, -0.01)


@pytest.mark.parametrize("name", ANY_SIGN)
def test_what_may_be_negative_is_taken_below_zero(name: str) -> None:
    assert getattr(with_value(name, -0.5), name) == -0.5


@pytest.mark.parametrize(
    ("name", "highest"),
    [
        ("xtc_probability", 1),
        ("xtc_threshold", 1),
        ("adaptive_target", 1),
        ("adaptive_decay", 0.99),
        ("mirostat_mode", 2),
        ("seed", 2**32 - 1),
    ],
)
def test_the_highest_value_is_the_last_that_is_taken(name: str, highest: float) -> None:
    assert getattr(with_value(name, highest), name) == highest
    above: float = highest + 1 if isinstance(highest, int) else math.nextafter(highest, 2)
    with pytest.raises(InvalidArgumentError, match=f"^{name}=.* to {highest}$"):
        with_value(name, above)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_an_integer_is_no_other_type_and_fits(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name}=.* must be an integer from"):
        with_value(name, value)


@pytest.mark.parametrize(
    ("name", "lowest"),
    [
        ("min_keep", 0),
        ("penalty_last_n", -1),
        ("dry_allowed_length", 0),
        ("dry_penalty_last_n", -1),
        ("mirostat_mode", 0),
        ("seed", 0),
    ],
)
def test_the_lowest_integer_is_the_last_that_is_taken(name: str, lowest: int) -> None:
    assert getattr(with_value(name, lowest), name) == lowest
    with pytest.raises(InvalidArgumentError, match=f"^{name}={lowest - 1} .* from {lowest} "):
        with_value(name, lowest - 1)


def test_an_integer_may_stand_for_a_number() -> None:
    assert SamplingParams(temperature=1, top_p=1).temperature == 1


def test_a_negative_top_k_keeps_all() -> None:
    assert SamplingParams(top_k=-1).top_k == -1


def test_a_repeat_penalty_of_zero_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"repeat_penalty=0 .* divide by zero"):
        SamplingParams(repeat_penalty=0)


# Biases.


def test_biases_take_ids_as_numbers_and_as_texts() -> None:
    biases: Any = MappingProxyType({5: 1, "7": -0.5, np.int64(9): -math.inf})
    checked = SamplingParams(logit_bias=biases).logit_bias
    assert checked == {5: 1.0, 7: -0.5, 9: -math.inf}
    assert all(type(token) is int for token in checked)
    assert all(type(bias) is float for bias in checked.values())


def test_biases_are_a_copy() -> None:
    biases = {5: 1.0}
    params = SamplingParams(logit_bias=biases)
    biases[6] = 2.0
    assert params.logit_bias == {5: 1.0}


@pytest.mark.parametrize("key", ["five", "", "5.0", 1.5, math.inf, math.nan, None, (5,), b"x"])
def test_a_bias_belongs_to_a_token_id(key: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="logit_bias: .* is no token id"):
        SamplingParams(logit_bias={key: 1.0})


@pytest.mark.parametrize("value", [*NO_NUMBERS, math.inf, 1e39], ids=repr)
def test_a_bias_is_a_number_that_a_float_holds(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^logit_bias\[5\]=.* must be a number"):
        SamplingParams(logit_bias={5: value})


@pytest.mark.parametrize("value", [[(5, 1.0)], [5], "5", None, 5])
def test_biases_are_a_mapping(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="logit_bias must map token ids to numbers"):
        SamplingParams(logit_bias=value)


# Samplers.


@given(st.permutations(SAMPLERS), st.integers(0, len(SAMPLERS)))
def test_samplers_may_stand_in_any_order(order: list[str], count: int) -> None:
    samplers: Any = order[:count]
    assert SamplingParams(samplers=samplers).samplers == tuple(order[:count])


@pytest.mark.parametrize("samplers", [("topk",), ("top_k", "top_k"), "top_k", ("",), (5,), ([],)])
def test_a_sampler_that_is_unknown_or_comes_twice_is_refused(samplers: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^samplers=.* top_k, .* may be named once"):
        SamplingParams(samplers=samplers)


@pytest.mark.parametrize(
    ("values", "penalizes"),
    [
        ({}, False),
        ({"repeat_penalty": 1.1}, True),
        ({"frequency_penalty": -0.1}, True),
        ({"presence_penalty": 0.1}, True),
        ({"repeat_penalty": 1.1, "penalty_last_n": 0}, False),
        ({"dry_multiplier": 0.8}, True),
        ({"dry_multiplier": 0.8, "penalty_last_n": 0}, True),
    ],
)
def test_penalties_look_back_only_where_there_are_any(
    values: dict[str, Any], penalizes: bool
) -> None:
    assert SamplingParams(**values).penalizes is penalizes


# Arguments of the generating methods.


def test_every_option_is_a_parameter() -> None:
    assert set(SamplingOptions.__annotations__) - WITHOUT_EFFECT == NAMES
    assert {field.name for field in dataclasses.fields(SamplingParams)} == NAMES


def test_params_are_made_of_options() -> None:
    options: SamplingOptions = {
        "temperature": 0.5, "logit_bias": {"3": 1}, "min_keep": 2, "tfs_z": 0.5,
        "dry_sequence_breakers": ["\n", "."], "samplers": ["min_p", "temperature"], "seed": 11,
    }  # fmt: skip
    given = dict(options)
    assert SamplingParams.of(options) == SamplingParams(
        temperature=0.5,
        logit_bias={3: 1.0},
        min_keep=2,
        dry_sequence_breakers=("\n", "."),
        samplers=("min_p", "temperature"),
        seed=11,
    )
    assert options == given


def test_none_is_what_was_left_out() -> None:
    assert SamplingParams.of({"logit_bias": None, "seed": None}) == SamplingParams()
    assert SamplingParams.of({"seed": -1}) == SamplingParams()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "; did you mean 'temperature'?"),
        ("max_token", "; did you mean 'max_tokens'?"),
        ("stops", "; did you mean 'stop'?"),
        ("xtc_probabilty", "; did you mean 'xtc_probability'?"),
        ("strem", "; did you mean 'stream'?"),
        ("qqqq", ""),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, hint: str) -> None:
    misspelt: Any = {name: 1}
    for make in (CompletionParams.of, ChatParams.of):
        with pytest.raises(TypeError) as raised:
            make(misspelt)
        assert str(raised.value) == f"unexpected keyword argument {name!r}{hint}"


def test_a_value_of_an_option_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="xtc_threshold=2 must be a number from 0 to 1"):
        SamplingParams.of({"xtc_threshold": 2})

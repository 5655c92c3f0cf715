"""Loading: progress, unknown names, copies, and what is refused."""

from __future__ import annotations

import io
import math
import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import (
    ContextError,
    InvalidArgumentError,
    ModelIsDirectoryError,
    ModelLoadError,
    ModelNotFoundError,
    NotGGUFError,
    OutOfMemoryError,
    TruncatedModelError,
    UnknownArchitectureError,
)
from llama_cpp.llama import Llama


@pytest.fixture(scope="module")
def plain(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as llm:
        yield llm


# Progress.


def test_progress_rises_to_one(zoo: Zoo) -> None:
    fractions: list[float] = []
    with open_llama(zoo.llama, progress=fractions.append):
        assert len(fractions) > 2
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


def test_progress_can_stop_the_loading(zoo: Zoo) -> None:
    fractions: list[float] = []

    def stop(fraction: float) -> bool:
        fractions.append(fraction)
        return fraction < 0.3

    with pytest.raises(ModelLoadError, match="cancelled by the progress callback"):
        open_llama(zoo.llama, progress=stop)
    assert 0.3 <= fractions[-1] < 1


@pytest.mark.parametrize("error", [LookupError("no such display"), KeyboardInterrupt()])
def test_what_a_progress_callback_raises_ends_the_loading(
    zoo: Zoo, plain: Llama, error: BaseException
) -> None:
    def fail(fraction: float) -> None:
        if fraction > 0.3:
            raise error

    with pytest.raises(type(error)) as raised:
        open_llama(zoo.llama, progress=fail)
    assert raised.value is error
    with open_llama(zoo.llama) as llm:
        assert text_of(llm, PROMPT) == text_of(plain, PROMPT)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal_only(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with open_llama(zoo.llama, progress=True):
        assert ("loading" in terminal.getvalue()) is is_terminal
        assert bool(terminal.getvalue()) is is_terminal


# Words that it does not know.


def test_unknown_names_are_told_once_and_change_nothing(zoo: Zoo, plain: Llama) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        llm = Llama(str(zoo.llama), n_ctx=256, n_threads=1, verbose=False, f16_kv=True, n_gqa=8)
    [warning] = told
    assert str(warning.message) == "Llama does not know these arguments: f16_kv, n_gqa"
    assert warning.filename == __file__
    with llm:
        assert text_of(llm, PROMPT) == text_of(plain, PROMPT)


def test_a_copy_by_pickle_has_the_same_parameters(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=512, rope_freq_base=500.0, seed=9) as llm:
        copy: Llama = pickle.loads(pickle.dumps(llm))
        with copy:
            assert copy.n_ctx() == 512
            assert copy.context_params.rope_freq_base == 500.0
            assert text_of(copy, PROMPT) == text_of(llm, PROMPT)
            assert text_of(copy, PROMPT, temperature=1) == text_of(llm, PROMPT, temperature=1)


# Values that it refuses.

NUMBERS = "must be an integer from"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_ctx": -1}, InvalidArgumentError, f"n_ctx=-1 {NUMBERS} 0"),
        ({"n_ctx": "512"}, InvalidArgumentError, f"n_ctx='512' {NUMBERS} 0"),
        ({"n_ctx": 2**31 - 1}, OutOfMemoryError, "do not fit .* lower it"),
        ({"n_batch": 0}, InvalidArgumentError, f"n_batch=0 {NUMBERS} 1"),
        ({"n_ubatch": 0}, InvalidArgumentError, f"n_ubatch=0 {NUMBERS} 1"),
        ({"n_threads": 0}, InvalidArgumentError, f"n_threads=0 {NUMBERS} 1"),
        ({"n_threads": 2.0}, InvalidArgumentError, f"n_threads=2.0 {NUMBERS} 1"),
        ({"n_threads_batch": 9999}, InvalidArgumentError, f"n_threads_batch=9999 {NUMBERS} 1"),
        ({"n_parallel": 0}, InvalidArgumentError, f"n_parallel=0 {NUMBERS} 1 to 256"),
        ({"n_gpu_layers": -2}, InvalidArgumentError, f"n_gpu_layers=-2 {NUMBERS} -1"),
        ({"n_gpu_layers": "all"}, InvalidArgumentError, f"n_gpu_layers='all' {NUMBERS} -1"),
        ({"split_mode": 7}, InvalidArgumentError, f"split_mode=7 {NUMBERS} 0 to 3"),
        ({"main_gpu": None}, InvalidArgumentError, f"main_gpu=None {NUMBERS} -1"),
        ({"numa": 99}, InvalidArgumentError, f"numa=99 {NUMBERS} 0 to 4"),
        ({"poll": 101}, InvalidArgumentError, "poll=101 must be an integer from 0 to 100"),
        ({"seed": 2**32}, InvalidArgumentError, "seed=4294967296 must be an integer below"),
        ({"seed": 1.5}, InvalidArgumentError, "seed=1.5 must be an integer below"),
        ({"flash_attn": "yes"}, InvalidArgumentError, 'must be True, False or "auto"'),
        ({"flash_attn": []}, InvalidArgumentError, 'must be True, False or "auto"'),
        ({"tensor_split": [-1.0]}, InvalidArgumentError, "none of them negative"),
        ({"tensor_split": [1.0] * 99}, InvalidArgumentError, "at most [0-9]+ shares"),
        ({"tensor_split": ["a"]}, InvalidArgumentError, "tensor_split=.'a'. must be"),
        ({"tensor_split": 0.5}, InvalidArgumentError, "tensor_split=0.5 must be"),
        ({"kv_overrides": {"a": []}}, InvalidArgumentError, "must be a bool, an int, a float"),
        ({"kv_overrides": {"a": 2**63}}, InvalidArgumentError, f"kv_overrides.'a'.=.* {NUMBERS}"),
        ({"kv_overrides": {"a": "x" * 128}}, InvalidArgumentError, "at most 127 bytes"),
        ({"kv_overrides": {"": 1}}, InvalidArgumentError, "must have 1 to 127 bytes"),
        ({"kv_overrides": {1: 1}}, InvalidArgumentError, "the key 1 must"),
        ({"kv_overrides": ["a"]}, InvalidArgumentError, "kv_overrides=.* must map"),
        (
            {"kv_overrides": {"general.architecture": "nope"}}, UnknownArchitectureError,
            "architecture 'nope'",
        ),
        ({"type_k": "f16"}, InvalidArgumentError, "type_k='f16' is of a wrong type"),
        ({"type_k": 99}, ContextError, "type_k=99 cannot hold a KV cache: use one of .*q8_0"),
        ({"type_v": 8, "flash_attn": False}, ContextError, "quantized V cache requires flash_attn"),
        ({"pooling_type": 9}, InvalidArgumentError, "pooling_type=9 must be between -1 and 4"),
        ({"attention_type": 4}, InvalidArgumentError, "attention_type=4 must be between -1 and"),
        ({"rope_scaling_type": 9}, InvalidArgumentError, "rope_scaling_type=9 must be between"),
        ({"rope_freq_base": -1.0}, InvalidArgumentError, "rope_freq_base=-1.0 .*the model's own"),
        ({"yarn_ext_factor": math.nan}, InvalidArgumentError, "yarn_ext_factor=nan must be"),
        ({"yarn_orig_ctx": -5}, InvalidArgumentError, f"yarn_orig_ctx=-5 {NUMBERS} 0"),
        ({"lora_path": "nowhere.gguf"}, ModelNotFoundError, "no model file at 'nowhere.gguf'"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_values_are_refused_with_a_word_on_what_goes(
    zoo: Zoo, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_llama(zoo.llama, **arguments)


def test_a_scale_that_is_no_number_is_refused(zoo: Zoo) -> None:
    for scale in (math.nan, "much"):
        with pytest.raises(InvalidArgumentError, match="scales must be"):
            open_llama(zoo.llama, lora_path=str(zoo.lora), lora_scale=scale)


def test_files_that_are_no_models_are_told_apart(zoo: Zoo, tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("This is no model.")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(zoo.llama.read_bytes()[:50_000])
    for path, error in (
        (tmp_path / "none.gguf", ModelNotFoundError),
        (tmp_path, ModelIsDirectoryError),
        (text, NotGGUFError),
        (cut, TruncatedModelError),
    ):
        with pytest.raises(error, match=re.escape(str(path))):
            open_llama(path)

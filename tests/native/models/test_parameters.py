"""The constructor's parameters: each reaches the engine, or has the effect that it promises."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from isolated import RunPython
from llama_kit import PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.llama import Llama
from llama_cpp.llama_tokenizer import BaseLlamaTokenizer

EVERY_LAYER = 2**31 - 1
LINEAR, YARN = raw.LLAMA_ROPE_SCALING_TYPE_LINEAR, raw.LLAMA_ROPE_SCALING_TYPE_YARN


@pytest.fixture(scope="module")
def plain(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as llm:
        yield llm


@pytest.fixture
def log_level() -> Iterator[None]:
    logger = logging.getLogger("llama_cpp")
    level = logger.level
    yield
    logger.setLevel(level)


def logits(llm: Llama) -> Any:
    llm.reset()
    llm.eval(PROMPT)
    return llm.logits()


def logits_with(zoo: Zoo, **arguments: Any) -> Any:
    with open_llama(zoo.llama, **arguments) as llm:
        return logits(llm)


# What reaches the structs.


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        ({}, "n_gpu_layers", 0),
        ({"n_gpu_layers": 1}, "n_gpu_layers", 1),
        ({"n_gpu_layers": -1}, "n_gpu_layers", EVERY_LAYER),
        ({}, "split_mode", raw.LLAMA_SPLIT_MODE_LAYER),
        ({"split_mode": raw.LLAMA_SPLIT_MODE_ROW}, "split_mode", raw.LLAMA_SPLIT_MODE_ROW),
        ({}, "main_gpu", 0),
        ({"main_gpu": 3}, "main_gpu", 3),
        ({}, "vocab_only", False),
        ({"vocab_only": True}, "vocab_only", True),
        ({}, "load_mode", raw.LLAMA_LOAD_MODE_MMAP),
        ({"use_mmap": False}, "load_mode", raw.LLAMA_LOAD_MODE_NONE),
        ({"use_mlock": True}, "load_mode", raw.LLAMA_LOAD_MODE_MMAP_MLOCK),
        ({"use_mmap": False, "use_mlock": True}, "load_mode", raw.LLAMA_LOAD_MODE_MLOCK),
    ],
)
def test_model_parameters_reach_the_engine(
    zoo: Zoo, arguments: dict[str, Any], field: str, expected: int
) -> None:
    with open_llama(zoo.llama, **arguments) as llm:
        assert getattr(llm.model_params, field) == expected


def test_shares_of_the_gpus_reach_the_engine(zoo: Zoo) -> None:
    with open_llama(zoo.llama, tensor_split=[0.75, 0.25]) as llm:
        assert llm.model_params.tensor_split[:3] == [0.75, 0.25, 0.0]
    with open_llama(zoo.llama) as llm:
        assert not llm.model_params.tensor_split


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"n_ctx": 512, "n_batch": 512, "n_ubatch": 512, "n_seq_max": 1}),
        ({"n_ctx": 0}, {"n_ctx": 512}),  # what the model was trained with
        ({"n_ctx": 128}, {"n_ctx": 128, "n_batch": 128, "n_ubatch": 128}),
        ({"n_ctx": 64, "n_parallel": 3}, {"n_ctx": 192, "n_seq_max": 3, "n_batch": 192}),
        ({"n_batch": 64}, {"n_batch": 64, "n_ubatch": 64}),
        ({"n_batch": 64, "n_ubatch": 16}, {"n_batch": 64, "n_ubatch": 16}),
        ({"n_threads": 2, "n_threads_batch": 1}, {"n_threads": 2, "n_threads_batch": 1}),
        ({}, {"rope_scaling_type": -1, "pooling_type": -1, "attention_type": -1}),
        ({"rope_scaling_type": None}, {"rope_scaling_type": -1}),
        ({"rope_scaling_type": LINEAR}, {"rope_scaling_type": LINEAR}),
        ({"pooling_type": raw.LLAMA_POOLING_TYPE_LAST}, {"pooling_type": 3}),
        ({"attention_type": raw.LLAMA_ATTENTION_TYPE_CAUSAL}, {"attention_type": 0}),
        ({}, {"rope_freq_base": 0.0, "rope_freq_scale": 0.0}),
        (
            {"rope_freq_base": 5000.0, "rope_freq_scale": 0.5},
            {"rope_freq_base": 5000.0, "rope_freq_scale": 0.5},
        ),
        # Negative: the model's own.
        ({}, {"yarn_ext_factor": -1.0, "yarn_attn_factor": -1.0, "yarn_orig_ctx": 0}),
        ({}, {"yarn_beta_fast": -1.0, "yarn_beta_slow": -1.0}),
        ({"yarn_ext_factor": 0.5}, {"yarn_ext_factor": 0.5}),
        ({"yarn_attn_factor": 0.5}, {"yarn_attn_factor": 0.5}),
        ({"yarn_beta_fast": 16.0}, {"yarn_beta_fast": 16.0}),
        ({"yarn_beta_slow": 2.0}, {"yarn_beta_slow": 2.0}),
        ({"yarn_orig_ctx": 128}, {"yarn_orig_ctx": 128}),
        ({}, {"embeddings": False, "offload_kqv": True, "no_perf": False}),
        ({"embedding": True}, {"embeddings": True}),
        ({"offload_kqv": False, "no_perf": True}, {"offload_kqv": False, "no_perf": True}),
        ({}, {"op_offload": True, "swa_full": True}),  # the engine's
        ({"op_offload": False, "swa_full": False}, {"op_offload": False, "swa_full": False}),
        ({"flash_attn": False}, {"flash_attn_type": raw.LLAMA_FLASH_ATTN_TYPE_DISABLED}),
        ({"flash_attn": True}, {"flash_attn_type": raw.LLAMA_FLASH_ATTN_TYPE_ENABLED}),
        ({}, {"flash_attn_type": raw.LLAMA_FLASH_ATTN_TYPE_AUTO}),
        ({}, {"type_k": raw.GGML_TYPE_F16, "type_v": raw.GGML_TYPE_F16}),
        ({"type_k": raw.GGML_TYPE_Q8_0}, {"type_k": raw.GGML_TYPE_Q8_0}),
        ({"type_v": raw.GGML_TYPE_F32}, {"type_v": raw.GGML_TYPE_F32}),
    ],
)
def test_context_parameters_reach_the_engine(
    zoo: Zoo, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    with Llama(str(zoo.llama), verbose=False, **arguments) as llm:
        given = {name: getattr(llm.context_params, name) for name in expected}
        assert given == expected
        # The engine has them too, as far as it tells.
        n_seq_max = llm.context_params.n_seq_max
        assert raw.llama_n_seq_max(llm.ctx) == n_seq_max
        assert raw.llama_n_ubatch(llm.ctx) == llm.context_params.n_ubatch
        assert raw.llama_n_threads(llm.ctx) == llm.context_params.n_threads
        assert raw.llama_n_threads_batch(llm.ctx) == llm.context_params.n_threads_batch
        assert llm.n_ctx() == raw.llama_n_ctx_seq(llm.ctx)


def test_threads_follow_the_cores_that_this_process_may_use(
    zoo: Zoo, run_python: RunPython
) -> None:
    code = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from llama_cpp import Llama
params = Llama(sys.argv[1], verbose=False).context_params
assert (params.n_threads, params.n_threads_batch) == (1, 1)
params = Llama(sys.argv[1], verbose=False, n_threads=3).context_params
assert (params.n_threads, params.n_threads_batch) == (3, 1)
"""
    assert run_python(code, zoo.llama).stdout == ""


# What they do.


@pytest.mark.parametrize("arguments", [{"use_mmap": False}, {"use_mlock": True}, {"poll": 0}])
def test_how_it_is_loaded_and_waited_for_changes_no_result(
    zoo: Zoo, plain: Llama, arguments: dict[str, Any]
) -> None:
    assert np.array_equal(logits_with(zoo, **arguments), logits(plain))


@pytest.mark.parametrize(
    "arguments",
    [
        {"rope_freq_base": 500.0},
        {"rope_freq_scale": 0.25},
        {"rope_scaling_type": YARN, "rope_freq_scale": 0.5, "yarn_orig_ctx": 16},
        {"type_k": raw.GGML_TYPE_Q4_0},
        {"type_v": raw.GGML_TYPE_Q4_0, "flash_attn": True},
        {"kv_overrides": {"llama.attention.layer_norm_rms_epsilon": 0.5}},
        {"kv_overrides": {"llama.rope.scaling.factor": 8.0}},
    ],
)
def test_parameters_of_the_computation_change_it(
    zoo: Zoo, plain: Llama, arguments: dict[str, Any]
) -> None:
    assert np.abs(logits_with(zoo, **arguments) - logits(plain)).max() > 1e-3


@pytest.mark.parametrize("flash_attn", [True, "auto"])
def test_flash_attention_computes_the_same(zoo: Zoo, plain: Llama, flash_attn: bool | str) -> None:
    assert logits_with(zoo, flash_attn=flash_attn) == pytest.approx(logits(plain), abs=2e-2)


def test_yarn_parameters_count_where_yarn_is_on(zoo: Zoo) -> None:
    yarn: dict[str, Any] = {
        "rope_scaling_type": YARN, "rope_freq_scale": 0.25, "yarn_orig_ctx": 64,
        "yarn_ext_factor": 1.0,
    }  # fmt: skip
    # The engine works out the magnitude by itself where it extrapolates.
    without = {**yarn, "yarn_ext_factor": 0.0}
    for reference, change in (
        (yarn, {"yarn_beta_fast": 2.0}), (yarn, {"yarn_beta_slow": 8.0}),
        (yarn, {"yarn_orig_ctx": 400}), (yarn, {"yarn_ext_factor": 0.0}),
        (without, {"yarn_attn_factor": 2.0}),
    ):  # fmt: skip
        changed = logits_with(zoo, **{**reference, **change})
        assert np.abs(changed - logits_with(zoo, **reference)).max() > 1e-3, change


def test_overrides_of_every_type_take_effect(zoo: Zoo, plain: Llama) -> None:
    assert (plain.token_eos(), plain.tokenize(b"the")[0]) == (2, plain.token_bos())
    overrides: dict[str, bool | int | float | str] = {
        "tokenizer.ggml.eos_token_id": 420,
        "tokenizer.ggml.add_bos_token": False,
        "llama.rope.scaling.factor": 4.0,
        "llama.rope.scaling.type": "none",
    }
    with open_llama(zoo.llama, kv_overrides=overrides) as llm:
        assert llm.token_eos() == 420
        assert llm.tokenize(b"the") == plain.tokenize(b"the")[1:]
        # The factor is known, and the type says not to use it.
        assert llm._model.rope_freq_scale_train() == 0.25
        assert np.array_equal(logits(llm), logits(plain))


def test_numbers_of_numpy_override_too(zoo: Zoo) -> None:
    overrides: Any = {
        "tokenizer.ggml.eos_token_id": np.int64(420),
        "tokenizer.ggml.add_bos_token": np.bool_(False),
        "llama.rope.scaling.factor": np.float32(4.0),
    }
    with open_llama(zoo.llama, kv_overrides=overrides) as llm:
        assert llm.token_eos() == 420
        assert llm.tokenize(b"the")[:1] != [llm.token_bos()]
        assert llm._model.rope_freq_scale_train() == 0.25


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokenizer.ggml.add_bos_token", 0, "must be of type bool, not int"),
        ("tokenizer.ggml.eos_token_id", "5", "must be of type int, not str"),
        ("tokenizer.ggml.eos_token_id", 5.0, "must be of type int, not float"),
        ("tokenizer.ggml.tokens", 5, "the file has a list there"),
        # Not in the file, so that only the engine knows the type.
        ("llama.rope.scaling.type", 5, "must be of type str, not int"),
    ],
)
def test_overrides_of_another_type_are_refused(
    zoo: Zoo, key: str, value: int | float | str, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"kv_overrides.'{key}'.*{message}"):
        open_llama(zoo.llama, kv_overrides={key: value})


def test_overrides_that_nobody_reads_bring_a_warning(zoo: Zoo) -> None:
    overrides: dict[str, bool | int | float | str] = {
        "llama.rope.frequency_base": 1.0, "tokenizer.ggml.eos_token_id": 420,
    }  # fmt: skip
    told = "kv_overrides without effect on this model: llama.rope.frequency_base$"
    with (
        pytest.warns(UserWarning, match=told) as caught,
        Llama(str(zoo.llama), n_ctx=64, verbose=False, kv_overrides=overrides) as llm,
    ):
        assert llm.token_eos() == 420
    assert [each.filename for each in caught] == [__file__]


def test_pooling_decides_what_an_embedding_is(zoo: Zoo) -> None:
    text = "once upon a time"
    pooled = {}
    for name in ("NONE", "MEAN", "LAST"):
        kind = getattr(raw, f"LLAMA_POOLING_TYPE_{name}")
        with open_llama(zoo.llama, embedding=True, pooling_type=kind) as llm:
            assert llm.pooling_type() == kind
            pooled[name] = np.array(llm.embed(text))
    assert pooled["NONE"].shape == (5, 256)
    assert pooled["MEAN"] == pytest.approx(pooled["NONE"].mean(axis=0), abs=1e-4)
    assert pooled["LAST"] == pytest.approx(pooled["NONE"][-1], abs=1e-4)


def test_attention_without_causality_sees_what_follows(zoo: Zoo) -> None:
    first = []
    for kind in (raw.LLAMA_ATTENTION_TYPE_CAUSAL, raw.LLAMA_ATTENTION_TYPE_NON_CAUSAL):
        with open_llama(zoo.llama, embedding=True, pooling_type=0, attention_type=kind) as llm:
            first += [llm.embed("once upon a time")[1], llm.embed("once upon the water")[1]]
    assert first[0] == pytest.approx(first[1], abs=1e-5)
    assert np.abs(np.subtract(first[2], first[3])).max() > 1e-3


def test_an_adapter_changes_the_logits_by_its_scale(zoo: Zoo, plain: Llama) -> None:
    without = logits(plain)
    lora = {"lora_path": str(zoo.lora)}
    assert np.array_equal(logits_with(zoo, **lora, lora_scale=0.0), without)
    whole = logits_with(zoo, **lora)
    half = logits_with(zoo, **lora, lora_scale=0.5)
    assert np.abs(whole - without).max() > np.abs(half - without).max() > 1e-2
    assert np.array_equal(logits_with(zoo, **lora, lora_base="ignored"), whole)


@pytest.mark.parametrize(("numa", "told"), [(False, []), (True, [1]), (3, [3])])
def test_numa_strategies_reach_the_engine(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, numa: bool | int, told: list[int]
) -> None:
    # It counts for the whole process: the engine itself is not told here.
    calls: list[int] = []
    monkeypatch.setattr(raw, "llama_numa_init", calls.append)
    with open_llama(zoo.llama, numa=numa, vocab_only=True):
        assert calls == told


def test_a_vocabulary_alone_can_tokenize_and_nothing_else(zoo: Zoo, plain: Llama) -> None:
    with open_llama(zoo.llama, vocab_only=True) as llm:
        assert llm.tokenize(b"once upon") == plain.tokenize(b"once upon")
        assert llm.n_vocab() == plain.n_vocab()
        for refused in (
            lambda: complete(llm, PROMPT), lambda: llm.eval(PROMPT), llm.logits, llm.n_ctx,
            llm.save_state, lambda: llm.embed("the"), lambda: llm.ctx, lambda: llm.n_tokens,
            lambda: llm.create_chat_completion([{"role": "user", "content": "the"}]),
        ):  # fmt: skip
            with pytest.raises(InvalidArgumentError, match="vocab_only"):
                refused()


@pytest.mark.parametrize("verbose", [True, False])
def test_verbose_lets_the_messages_of_the_engine_reach_logging(
    zoo: Zoo, caplog: pytest.LogCaptureFixture, capfd: Any, log_level: None, verbose: bool
) -> None:
    with Llama(str(zoo.llama), n_ctx=64, verbose=verbose) as llm:
        assert llm.verbose is verbose
        complete(llm, PROMPT, max_tokens=2)
    lines = [record.getMessage() for record in caplog.records if record.name == "llama_cpp"]
    assert any("n_ctx" in line for line in lines) is verbose
    assert bool(lines) is verbose
    assert capfd.readouterr() == ("", "")


def test_several_sequences_leave_each_its_context(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=256, n_parallel=4) as llm:
        assert llm.n_ctx() == 256
        answer = complete(llm, [PROMPT] * 4, max_tokens=None)
        assert answer["usage"]["completion_tokens"] == 4 * (256 - len(PROMPT))


def test_the_seed_decides_what_calls_without_one_draw(zoo: Zoo) -> None:
    def texts(**arguments: Any) -> list[str]:
        options: dict[str, Any] = {"temperature": 1.5, "top_k": 0, "min_p": 0.0}
        with open_llama(zoo.llama, **arguments) as llm:
            return [text_of(llm, PROMPT, **options) for _ in range(2)]

    first, second = texts(seed=7)
    assert first != second
    assert texts(seed=7) == [first, second]
    assert texts(seed=8)[0] != first
    assert texts()[0] != texts()[0]
    assert texts(seed=-1)[0] != texts(seed=-1)[0]


def test_penalties_look_back_as_far_as_they_are_told(zoo: Zoo, plain: Llama) -> None:
    free = text_of(plain, PROMPT, max_tokens=40)
    penalized = text_of(plain, PROMPT, max_tokens=40, repeat_penalty=50.0)
    assert penalized != free
    with open_llama(zoo.llama, last_n_tokens_size=0) as llm:
        assert text_of(llm, PROMPT, max_tokens=40, repeat_penalty=50.0) == free


def test_the_suffix_comes_first_where_that_is_wanted(zoo: Zoo) -> None:
    prompts: list[list[int]] = []

    def note(ids: Any, _: Any) -> None:
        prompts.append(ids.tolist())

    for spm_infill in (False, True):
        with open_llama(zoo.llama, spm_infill=spm_infill) as llm:
            complete(llm, "once", suffix="time", max_tokens=1, logits_processor=[note])
            bos, pre, suf, mid = (
                llm.token_bos(),
                *(
                    llm.tokenize(f"<|fim_{name}|>".encode(), False, True)[0]
                    for name in ("prefix", "suffix", "middle")
                ),
            )
            once, time = llm.tokenize(b"once", False), llm.tokenize(b"time", False)
    assert prompts[0] == [bos, pre, *once, suf, *time, mid]
    assert prompts[1] == [bos, suf, *time, pre, *once, mid]


def test_another_tokenizer_takes_the_place_of_the_own(zoo: Zoo) -> None:
    class Bytes(BaseLlamaTokenizer):
        def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> list[int]:
            return [300 + byte for byte in text]

        def detokenize(
            self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
        ) -> bytes:
            return bytes(token - 300 for token in tokens)

    tokenizer = Bytes()
    with open_llama(zoo.llama, tokenizer=tokenizer) as llm:
        assert llm.tokenize(b"ab") == [397, 398]
        assert llm.detokenize([397, 398]) == b"ab"
        assert llm.tokenizer_ is tokenizer
        assert complete(llm, "abcd")["usage"]["prompt_tokens"] == 5  # with BOS

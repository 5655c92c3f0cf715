"""``memory_limit`` and ``n_gpu_layers="auto"``: what is decided before a model is loaded."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import (
    ContextError,
    InvalidArgumentError,
    ModelNotFoundError,
    OutOfMemoryError,
)
from llama_cpp.handles import Context, Model
from llama_cpp.handles.footprint import estimate, fit_layers

KINDS = ["llama", "llama_bpe", "sliding_window", "mamba", "hybrid", "bert", "t5"]


def sketch(path: Path) -> Model:
    params = Model.default_params()
    params.no_alloc, params.load_mode = True, raw.LLAMA_LOAD_MODE_NONE
    return Model(path, params)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_parallel", [1, 3])
@pytest.mark.parametrize("logits_all", [False, True])
def test_an_estimate_is_what_is_taken_then(
    zoo: Zoo, kind: str, n_parallel: int, logits_all: bool
) -> None:
    path = getattr(zoo, kind)
    with open_llama(
        path, n_parallel=n_parallel, n_ctx=512, logits_all=logits_all, pooling_type=0
    ) as llm:
        taken = llm.memory()
        with sketch(path) as model:
            expected = estimate(model, llm.context_params)
    assert (expected.weights, expected.cache) == (taken.weights, taken.cache)
    assert expected.compute == pytest.approx(taken.compute, rel=0.01)


def test_an_estimate_is_right_for_weights_that_are_repacked(zoo: Zoo, tmp_path: Path) -> None:
    target = tmp_path / "q4_0.gguf"
    params = raw.llama_model_quantize_default_params()
    params.ftype, params.pure = raw.LLAMA_FTYPE_MOSTLY_Q4_0, True
    assert raw.llama_model_quantize(bytes(zoo.llama), bytes(target), params) == 0
    with open_llama(target, use_mmap=False) as llm, sketch(target) as model:
        assert estimate(model, llm.context_params).used == llm.memory().used
        # Mapped, they are in the file's pages too.
        with open_llama(target) as mapped:
            assert mapped.memory().used >= llm.memory().used


@pytest.mark.parametrize("kind", ["llama", "sliding_window", "hybrid"])
@pytest.mark.parametrize("n_parallel", [1, 2])
def test_a_limit_chooses_the_largest_context(zoo: Zoo, kind: str, n_parallel: int) -> None:
    def used(n_ctx: int) -> int:
        with open_llama(getattr(zoo, kind), n_ctx=n_ctx, n_parallel=n_parallel) as llm:
            return llm.memory().used

    path = getattr(zoo, kind)
    override: Any = {f"{Model(path).header.architecture}.context_length": 2048}
    for limit, n_ctx in [
        (used(1024), 1024),
        (used(1024) - 1, 768),
        (used(768) + 1, 768),
        (used(256), 256),
        (used(4096), 2048),
    ]:
        with open_llama(
            path, n_ctx=0, n_parallel=n_parallel, memory_limit=limit, kv_overrides=override
        ) as llm:
            assert llm.n_ctx() == n_ctx
            assert llm.memory().used <= limit


def test_a_limit_that_holds_changes_nothing(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        expected, used = text_of(llm, PROMPT), llm.memory().used
    with open_llama(zoo.llama, memory_limit=used) as llm:
        assert llm.n_ctx() == 256
        assert text_of(llm, PROMPT) == expected
        with pickle.loads(pickle.dumps(llm)) as copy:
            assert copy.memory().used == used


@pytest.mark.parametrize("n_ctx", [0, 256, 512])
def test_what_does_not_fit_is_refused_with_figures(zoo: Zoo, n_ctx: int) -> None:
    with open_llama(zoo.llama, n_ctx=n_ctx or 256) as llm:
        memory = llm.memory()
    with pytest.raises(OutOfMemoryError) as caught:
        open_llama(zoo.llama, n_ctx=n_ctx, memory_limit=memory.used - 1)
    for figure in (memory.used, memory.weights, memory.cache, memory.compute, memory.used - 1):
        assert f"{figure:,}" in str(caught.value)
    assert f"n_ctx={n_ctx or 256}" in str(caught.value)
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1 GB", True, 2**63])
def test_bad_limits_are_refused(zoo: Zoo, limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="memory_limit"):
        open_llama(zoo.llama, memory_limit=limit)


def test_other_arguments_are_checked_as_without_a_limit(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="n_batch"):
        open_llama(zoo.llama, memory_limit=1 << 30, n_batch=0)
    with pytest.raises(ContextError, match="type_k"):
        open_llama(zoo.llama, memory_limit=1 << 30, type_k=3000)
    with pytest.raises(ModelNotFoundError):
        open_llama(tmp_path / "nothing.gguf", memory_limit=1 << 30)


def test_progress_is_told_once(zoo: Zoo) -> None:
    told: list[float] = []
    with open_llama(zoo.llama, memory_limit=1 << 30, progress=told.append):
        assert told == sorted(told)
        assert told[-1] == 1


def test_auto_chooses_a_number_of_layers(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        expected = text_of(llm, PROMPT)
    with open_llama(zoo.llama, n_gpu_layers="auto", memory_limit=1 << 30) as llm:
        assert text_of(llm, PROMPT) == expected
        if not raw.llama_supports_gpu_offload():
            assert llm.model_params.n_gpu_layers == 0
            assert [each.device for each in llm.memory().devices] == ["CPU"]


@pytest.mark.parametrize("value", ["all", "", None, 1.5, -2])
def test_other_numbers_of_layers_are_refused(zoo: Zoo, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match='n_gpu_layers.*"auto"'):
        open_llama(zoo.llama, n_gpu_layers=value)


def test_what_fits_as_it_is_keeps_its_parameters(zoo: Zoo) -> None:
    params = Model.default_params()
    before = bytes(params)
    kept = fit_layers(str(zoo.llama), params, Context.default_params())
    assert bytes(params) == before
    assert len(kept) == 2


def test_a_file_that_is_no_model_fits_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(OutOfMemoryError, match="cannot be measured"):
        fit_layers(str(path), Model.default_params(), Context.default_params())

"""How many threads a decode gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llama_cpp.native import threads


@pytest.mark.parametrize(
    ("content", "processors"),
    [("200000 100000\n", 2.0), ("50000 100000\n", 0.5), ("max 100000\n", None), ("", None)],
)
def test_cgroup_quota(tmp_path: Path, content: str, processors: float | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert threads.cgroup_quota(tmp_path / "cpu.max") == processors


@pytest.mark.parametrize(
    ("quota", "processors"), [("150000\n", 1.5), ("-1\n", None), ("0\n", None), ("", None)]
)
def test_cgroup_quota_of_version_1(tmp_path: Path, quota: str, processors: float | None) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.cgroup_quota_v1(tmp_path / "cpu.cfs_quota_us") == processors


def test_no_cgroup_sets_no_limit(tmp_path: Path) -> None:
    assert threads.cgroup_quota(tmp_path / "none") is None
    assert threads.cgroup_quota_v1(tmp_path / "none") is None


def test_a_quota_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr(threads, "_CGROUP_V2_QUOTA", tmp_path / "cpu.max")
    assert threads.usable_cores() == 1


def test_hardware_threads_of_one_core_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for processor, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        (tmp_path / str(processor)).write_text(siblings + "\n")
    monkeypatch.setattr(threads, "_core_of", threads._core_of.__wrapped__)
    monkeypatch.setattr(threads, "_SIBLINGS", str(tmp_path / "{}"))
    monkeypatch.setattr(threads, "_CGROUP_V2_QUOTA", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert threads.usable_cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3}, raising=False)
    assert threads.usable_cores() == 1

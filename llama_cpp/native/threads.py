"""Threads of a decode: how many fit on this machine, how eagerly they look for work."""

from __future__ import annotations

import functools
import os
from pathlib import Path

POLL = 50
"""ggml's default: how eagerly an idle worker looks for work, 0 (sleep at once) to 100 (spin).
benchmarks/threads.py measures it."""

_CGROUP_V2_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def usable_cores() -> int:
    """Return the physical cores that this process may use, at least 1.

    Affinity masks and cgroup quotas count; the second hardware thread of a core does not, because
    matrix kernels fill a core with one. Where the system tells nothing, all processors count.
    """
    if hasattr(os, "sched_getaffinity"):
        processors = os.sched_getaffinity(0)
    else:
        processors = set(range(os.cpu_count() or 1))
    cores = len({_core_of(processor) for processor in processors})
    quota = cgroup_quota(_CGROUP_V2_QUOTA) or cgroup_quota_v1(_CGROUP_V1_QUOTA)
    return max(1, cores if quota is None else min(cores, round(quota)))


def cgroup_quota(cpu_max: Path) -> float | None:
    """Return the processors that a cgroup v2 ``cpu.max`` file grants; None if it sets no limit."""
    try:
        quota, period = cpu_max.read_text("ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None


def cgroup_quota_v1(cfs_quota_us: Path) -> float | None:
    """Return the processors that the files of cgroup v1 grant; None if they set no limit."""
    try:
        quota = int(cfs_quota_us.read_text("ascii"))
        period = int(cfs_quota_us.with_name("cpu.cfs_period_us").read_text("ascii"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError):
        return None


@functools.cache
def _core_of(processor: int) -> str:
    try:
        return Path(_SIBLINGS.format(processor)).read_text("ascii").strip()
    except OSError:
        return str(processor)

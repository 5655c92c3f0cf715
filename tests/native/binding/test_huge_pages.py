"""Large buffers ask for huge pages (vendor/patches/0001-huge-pages.patch)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from isolated import RunPython

from llama_cpp.models import tinychat

KERNEL_HAS_THEM = Path("/sys/kernel/mm/transparent_hugepage/enabled").exists()

ADVISED_BYTES = """
import re, sys
from pathlib import Path
from llama_cpp import Llama

def advised_bytes():
    total = 0
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        if re.search(r"VmFlags:.* hg\\b", mapping):
            total += 1024 * int(re.search(r"Size: +([0-9]+) kB", mapping)[1])
    return total

llm = Llama(sys.argv[1], n_ctx=int(sys.argv[2]), n_batch=8, verbose=False)
print(advised_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
def test_a_large_cache_asks_for_huge_pages(run_python: RunPython) -> None:
    small, large = (
        int(run_python(ADVISED_BYTES, tinychat(), n_ctx).stdout) for n_ctx in (256, 8192)
    )
    cache_bytes = 4096 * (8192 - 256)
    assert large - small >= cache_bytes * KERNEL_HAS_THEM
    assert KERNEL_HAS_THEM or not large

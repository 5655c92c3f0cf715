"""Models beside each other: cores and threads are the process's (bridge/cores.cpp)."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from handles_kit import batch_of, decode, open_context
from isolated import Cases, Files, Outcomes, RunPython

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.handles.context import Context
from llama_cpp.handles.threadpool import shared_threadpool
from llama_cpp.native.backend import bridge

cases = Cases(__file__)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

OPEN = """
import os, sys
from pathlib import Path
from llama_cpp.handles import Batch, Context, Model, samplers

def open_context(n_threads, poll=50):
    params = Context.default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, n_threads, n_threads
    return Context(model, params, poll=poll)

def decode(context, n_tokens=256):
    batch = Batch(n_tokens)
    batch.add_sequence([5] * n_tokens)
    context.memory.clear()
    context.decode(batch)
    return context.logits()

def n_threads():
    return len(os.listdir("/proc/self/task"))

model = Model(sys.argv[1])
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
"""


@linux
def test_contexts_share_the_threads_of_the_process(run_python: RunPython, tiny_llama: Any) -> None:
    code = """
from llama_cpp.handles import threadpool
threadpool.usable_cores = lambda: 3
before = n_threads()
contexts = [open_context(3) for _ in range(4)]
for context in contexts:
    decode(context)
print(n_threads() - before)
"""
    assert run_python(OPEN + code, tiny_llama).stdout == "2\n"


@linux
def test_a_thread_that_waits_long_at_a_barrier_sleeps(
    run_python: RunPython, tiny_llama: Any
) -> None:
    """Where there are more threads than cores, one that spins keeps another from running."""
    code = """
from llama_cpp.handles import threadpool
threadpool.usable_cores = lambda: 16
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

def sleeps():
    lines = [line for task in Path("/proc/self/task").iterdir()
             for line in (task / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

context = open_context(16, poll=0)
decode(context, 8)
before = sleeps()
decode(context, 8)
print(sleeps() - before)
"""
    # One for each thread and graph is where workers wait for the next graph, not at a barrier.
    assert int(run_python(OPEN + code, tiny_llama).stdout) > 200


def test_a_forked_process_has_threads_of_its_own(run_python: RunPython, tiny_llama: Any) -> None:
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
expected = decode(open_context(2))
child = os.fork()
if not child:
    os._exit(0 if numpy.array_equal(decode(open_context(2)), expected) else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run_python(OPEN + code, tiny_llama).stdout == "0\n"


@linux
def test_a_forked_process_has_its_cores_too(run_python: RunPython, tiny_llama: Any) -> None:
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
from llama_cpp.handles import threadpool
threadpool.usable_cores = lambda: 2
decode(open_context(2))
child = os.fork()
if not child:
    decode(open_context(2))
    os._exit(n_threads() - 2)
print(os.waitpid(child, 0)[1])
"""
    assert run_python(OPEN + code, tiny_llama).stdout == "0\n"


@linux
def test_cores_are_free_where_there_were_no_threads(run_python: RunPython, tiny_llama: Any) -> None:
    code = """
import resource
from llama_cpp.errors import EngineAssertionError
from llama_cpp.handles import threadpool
threadpool.usable_cores = lambda: 3
decode(open_context(2))
context = open_context(3)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), most))
try:
    decode(context)
except EngineAssertionError:
    print("no threads")
resource.setrlimit(resource.RLIMIT_AS, (most, most))
decode(open_context(2))
print("done")
"""
    assert run_python(OPEN + code, tiny_llama).stdout == "no threads\ndone\n"


@cases.add
def contexts_of_many_sizes_compute_at_once(files: Files) -> None:
    def work(n_threads: int) -> bool:
        context = open_context(files.model, n_threads=n_threads, n_threads_batch=n_threads)
        expected = decode(context)
        for _ in range(30):
            context.memory.clear()
            if not np.array_equal(decode(context), expected):
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, (1, 2, 3, 4, 1, 2, 3, 64)))


@cases.add
def a_pool_that_is_shared_serves_the_raw_api(files: Files) -> None:
    expected = decode(open_context(files.model))
    pointer: Any = raw.llama_init_from_model(files.model.pointer, Context.default_params())
    raw.llama_attach_threadpool(pointer, shared_threadpool(), None)
    batch = batch_of()
    assert raw.llama_decode(pointer, batch.struct) == 0
    row = np.ctypeslib.as_array(raw.llama_get_logits_ith(pointer, -1), expected.shape)
    assert np.allclose(row, expected, atol=1e-4)
    raw.llama_free(pointer)


@cases.add
def cores_are_free_while_a_python_callback_runs(files: Files) -> None:
    everything = {"n_threads": 64, "n_threads_batch": 64}
    asking, other = (open_context(files.model, **everything) for _ in range(2))
    decode(other)
    answers: list[bool] = []

    def decode_the_other() -> bool:
        if not answers:
            answers.append(True)
            thread = threading.Thread(target=decode, args=(other, [400], 10))
            thread.start()
            thread.join(60)
            answers.append(thread.is_alive())
        return False

    asking.set_abort_callback(decode_the_other)
    decode(asking)
    assert answers == [True, False]


@cases.add
def fewer_cores_than_before_admit_who_waits(files: Files) -> None:
    contexts = [open_context(files.model, n_threads_batch=8) for _ in range(4)]
    stop = threading.Event()

    def work(context: Context) -> None:
        while not stop.is_set():
            context.memory.clear()
            decode(context)

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(work, context) for context in contexts]
        for n_cores in (8, 1, 16, 2) * 10:
            bridge("bridge_threadpool")(n_cores, 0)
        stop.set()
        for each in done:
            each.result(60)


@cases.add
def poll_is_checked(files: Files) -> None:
    for wrong in (-1, 101, 1.5, "50"):
        with pytest.raises(InvalidArgumentError, match="poll"):
            Context(files.model, poll=wrong)  # type: ignore[arg-type]
    assert shared_threadpool(0) is shared_threadpool(0)


@pytest.mark.parametrize("name", cases.names)
def test_company(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""

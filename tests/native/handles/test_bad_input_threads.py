"""Handles that several threads use and close at once, and interpreters that end meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from handles_kit import TOKENS, batch_of, decode, open_context
from isolated import Cases, Files, Outcomes, RunPython
from zoo import write_llama

from llama_cpp.errors import ClosedError, DecodeAbortedError, LlamaError
from llama_cpp.handles.adapter import LoraAdapter
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import SamplerChain
from llama_cpp.handles.sampler_kinds import dry, greedy, python

cases = Cases(__file__)


class Worker:
    """A thread that keeps what its function returns or raises."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.function = function
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error

    def join(self) -> Worker:
        self.thread.join(60)
        assert not self.thread.is_alive(), "the thread hangs"
        return self


class Pause:
    """An abort callback that holds a decode until it is told to go on."""

    def __init__(self, context: Context) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        context.set_abort_callback(self)

    def __call__(self) -> bool:
        self.reached.set()
        assert self.go_on.wait(60)
        return False

    def hold(self, function: Callable[[], Any]) -> Worker:
        worker = Worker(function)
        assert self.reached.wait(60)
        return worker


@cases.add
def closing_aborts_a_long_decode(files: Files) -> None:
    path = write_llama(files.scratch / "deep.gguf", n_layer=24, n_ctx_train=4096)
    for close_model in (False, True):
        model = Model(path)
        context = open_context(model, n_ctx=4096, n_batch=4096, n_threads_batch=2)
        decoding = threading.Event()
        batch = batch_of([5] * 4096)

        def run(
            context: Context = context, batch: Any = batch, decoding: threading.Event = decoding
        ) -> None:
            decoding.set()
            context.decode(batch)

        worker = Worker(run)
        assert decoding.wait(60)
        Worker(model.close if close_model else context.close).join()
        worker.join()
        assert isinstance(worker.error, DecodeAbortedError | ClosedError | None)
        assert context.closed
        if not close_model:
            decode(open_context(model))


@cases.add
def closing_waits_for_the_call_that_is_running(files: Files) -> None:
    model = Model(files.llama)
    context = open_context(model)
    pause = Pause(context)
    running = pause.hold(lambda: decode(context))
    closers = [Worker(context.close), Worker(model.close), Worker(context.close)]
    waiting = Worker(lambda: decode(context))
    assert all(worker.thread.is_alive() for worker in (running, *closers))
    pause.go_on.set()
    for worker in (*closers, waiting, running):
        worker.join()
    assert isinstance(running.error, DecodeAbortedError)
    assert isinstance(waiting.error, ClosedError)
    assert [worker.error for worker in closers] == [None] * 3
    assert model.closed


@cases.add
def context_that_is_created_while_its_model_closes_is_closed_too(files: Files) -> None:
    for _ in range(30):
        model = Model(files.llama)
        start = threading.Barrier(2)

        def create(model: Model = model, start: threading.Barrier = start) -> Context:
            start.wait()
            return open_context(model)

        creator = Worker(create)
        start.wait()
        model.close()
        creator.join()
        if creator.error is None:
            assert creator.result.closed
        else:
            assert isinstance(creator.error, ClosedError)


@cases.add
def one_context_serves_its_threads_one_after_another(files: Files) -> None:
    context = open_context(files.model, n_seq_max=4, n_ctx=1024)
    alone = open_context(files.model, n_seq_max=4, n_ctx=1024)
    expected = decode(alone)

    def work(seq_id: int) -> None:
        for _ in range(10):
            context.memory.seq_rm(seq_id)
            context.decode(batch_of(seq_id=seq_id))
            context.state.get_sequence(seq_id)
            context.memory.seq_pos_max(seq_id)

    for worker in [Worker(partial(work, seq_id)) for seq_id in range(4)]:
        assert worker.join().error is None
    context.memory.clear()
    assert np.array_equal(decode(context), expected)


@cases.add
def one_model_serves_several_contexts_at_once(files: Files) -> None:
    expected = decode(open_context(files.model))

    def work() -> bool:
        context, chain = open_context(files.model), SamplerChain([greedy()])
        rows = []
        for _ in range(10):
            context.memory.clear()
            rows.append(decode(context))
            chain.sample(context)
            files.model.vocab.tokenize("hello world")
        return all(np.array_equal(row, expected) for row in rows)

    for worker in [Worker(work) for _ in range(4)]:
        assert worker.join().result is True


@cases.add
def samplers_are_closed_and_used_by_several_threads(files: Files) -> None:
    for _ in range(20):
        context, vocab = open_context(files.model), files.model.vocab
        decode(context)
        chain = SamplerChain([dry(vocab, 1.0), greedy()])

        def work(chain: SamplerChain = chain, context: Context = context) -> None:
            while True:
                chain.sample(context)
                chain.clone().close()

        workers = [Worker(work), Worker(work)]
        chain.close()
        context.close()
        assert all(isinstance(worker.join().error, LlamaError) for worker in workers)


@cases.add
def errors_of_python_samplers_reach_their_own_thread(files: Files) -> None:
    def fail(_: Any) -> None:
        raise ValueError(threading.get_ident())

    context = open_context(files.model)
    decode(context)
    first = SamplerChain([python(fail), greedy()])

    def work(chain: SamplerChain) -> bool:
        for _ in range(50):
            with pytest.raises(ValueError) as caught:
                chain.sample(context)
            if caught.value.args != (threading.get_ident(),):
                return False
        return True

    chains = [first, *(first.clone() for _ in range(3))]
    for worker in [Worker(partial(work, chain)) for chain in chains]:
        assert worker.join().result is True


@cases.add
def adapters_are_closed_and_applied_by_several_threads(files: Files) -> None:
    context = open_context(files.model)
    expected = decode(context)
    for _ in range(30):
        adapter = LoraAdapter(files.model, files.lora)

        def apply(adapter: LoraAdapter = adapter) -> None:
            while True:
                context.set_adapters([(adapter, 1.0)])

        worker = Worker(apply)
        adapter.close()
        assert isinstance(worker.join().error, ClosedError)
        context.memory.clear()
        assert np.array_equal(decode(context), expected)


@cases.add
def a_sampler_in_use_is_not_given_to_a_chain(files: Files) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        reached.set()
        assert go_on.wait(60)

    context = open_context(files.model)
    decode(context)
    inner = SamplerChain([python(wait), greedy()])
    using = Worker(lambda: inner.sample(context))
    assert reached.wait(60)
    adding = Worker(lambda: SamplerChain([inner]))
    assert adding.thread.is_alive()
    go_on.set()
    using.join()
    assert adding.join().error is None
    assert adding.result.names == ["chain"]


@pytest.mark.parametrize("name", cases.names)
def test_several_threads(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""


OPEN = """
import sys, threading
from llama_cpp.handles import Batch, Context, Model, SamplerChain, samplers

model = Model(sys.argv[1])
params = Context.default_params()
params.n_threads = params.n_threads_batch = 1
context = Context(model, params)
batch = Batch(256)
batch.add_sequence([5] * 256)
"""


def test_interpreter_ends_while_a_daemon_thread_decodes(
    run_python: RunPython, tiny_llama: Any
) -> None:
    loop = """
from llama_cpp.errors import LlamaError

started = threading.Event()

def run():
    while True:
        try:
            context.memory.clear()
            started.set()
            context.decode(batch)
        except LlamaError:
            pass

threading.Thread(target=run, daemon=True).start()
started.wait()
"""
    for _ in range(5):
        assert run_python(OPEN + loop, tiny_llama).stderr == ""
    # Exit functions run in reverse order: this one comes after those that free what is open.
    close = "import atexit\natexit.register(lambda: (context.close(), model.close()))\n"
    assert run_python(close + OPEN + loop, tiny_llama).stderr == ""


def test_what_the_end_stops_writes_no_traceback(run_python: RunPython, tiny_llama: Any) -> None:
    code = """
import sys, threading
from llama_cpp import Llama

llm = Llama(sys.argv[1], n_ctx=256, n_threads=1, n_parallel=2, verbose=False)
started = threading.Event()

def complete():
    while True:
        for _ in llm([5] * 20, max_tokens=200, stream=True):
            started.set()

def embed():
    while True:
        llm.embed([5] * 200)

def evaluate():
    while True:
        llm.reset()
        llm.eval([5] * 200)

for work in WORK:
    threading.Thread(target=work, daemon=True).start()
if complete in WORK:
    started.wait()
"""
    for work in ("complete, complete", "embed,", "evaluate,"):
        for _ in range(3):
            finished = run_python(code.replace("WORK", f"({work})"), tiny_llama)
            assert finished.stderr == "", work


def test_interpreter_ends_with_everything_open(run_python: RunPython, tiny_llama: Any) -> None:
    code = """
context.decode(batch)
chain = SamplerChain([samplers.python(len), samplers.dry(model.vocab, 1.0), samplers.greedy()])
chain.sample(context)
cycle = [model, context, chain]
cycle.append(cycle)
print("end")
"""
    finished = run_python(OPEN + code, tiny_llama)
    assert (finished.stdout, finished.stderr) == ("end\n", "")


def test_handles_are_closed_by_exit_functions_of_the_program(
    run_python: RunPython, tiny_llama: Any
) -> None:
    code = "import atexit\natexit.register(lambda: (model.close(), print(context.closed)))\n" + OPEN
    finished = run_python(code, tiny_llama)
    assert (finished.stdout, finished.stderr) == ("True\n", "")


def test_words_of_the_vocabulary_are_where_the_tests_expect_them(model: Model) -> None:
    assert len(model.vocab.detokenize(TOKENS).split()) > 3

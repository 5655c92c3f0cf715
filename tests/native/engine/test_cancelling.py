"""EndTokens that come early: closed iterators, Ctrl-C, close, fork, callbacks that raise."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from isolated import RunPython
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import BusyError, ClosedError, LlamaError
from llama_cpp.llama import Llama


@pytest.fixture
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


def stream(llm: Llama, **options: Any) -> Any:
    return llm(PROMPT, **{"stream": True, "max_tokens": 100, **GREEDY, **options})


def test_closing_an_iterator_frees_its_slot_at_once(llm: Llama) -> None:
    expected = text_of(llm, PROMPT)
    chunks = stream(llm)
    next(chunks)
    assert len(llm.engine) == 1
    chunks.close()
    assert len(llm.engine) == 0
    assert text_of(llm, PROMPT) == expected


def test_dropping_an_iterator_frees_its_slot(llm: Llama) -> None:
    chunks = stream(llm)
    next(chunks)
    del chunks
    gc.collect()
    assert len(llm.engine) == 0


def test_an_iterator_that_was_never_begun_leaves_nothing(llm: Llama) -> None:
    chunks = stream(llm)
    assert len(llm.engine) == 0
    del chunks
    complete(llm, PROMPT)
    assert len(llm.engine) == 0


def test_a_text_that_waits_is_finished_before_the_next(llm: Llama) -> None:
    expected = text_of(llm, PROMPT, max_tokens=100)
    chunks = stream(llm)
    first = next(chunks)["choices"][0]["text"]
    complete(llm, PROMPT[:10])
    rest = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert first + rest == expected


@pytest.mark.parametrize("hook", ["logits_processor", "stopping_criteria"])
def test_what_a_hook_raises_reaches_the_caller(llm: Llama, hook: str) -> None:
    expected = text_of(llm, PROMPT)

    def fail(ids: Any, scores: Any) -> Any:
        raise LookupError("missing package")

    with pytest.raises(LookupError, match="missing package"):
        complete(llm, PROMPT, **{hook: [fail]})
    with pytest.raises(LookupError, match="missing package"):
        list(stream(llm, **{hook: [fail]}))
    assert len(llm.engine) == 0
    assert text_of(llm, PROMPT) == expected


def test_a_hook_cannot_call_the_model_that_waits_for_it(llm: Llama) -> None:
    with pytest.raises(BusyError, match="callback"):
        complete(llm, PROMPT, logits_processor=[lambda ids, scores: complete(llm, PROMPT)])
    complete(llm, PROMPT)


def test_the_failure_of_one_text_leaves_the_others_alone(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=2) as llm:
        expected = text_of(llm, PROMPT, max_tokens=40)
        seen: list[str] = []
        chunks = stream(llm, max_tokens=40)
        seen.append(next(chunks)["choices"][0]["text"])
        with pytest.raises(ZeroDivisionError):
            complete(llm, PROMPT[:9], logits_processor=[lambda ids, scores: 1 / 0])
        seen += [chunk["choices"][0]["text"] for chunk in chunks]
        assert "".join(seen) == expected


def test_close_ends_what_other_threads_generate(zoo: Zoo) -> None:
    llm = open_llama(zoo.llama, n_parallel=2)
    errors: list[BaseException] = []
    running = threading.Barrier(4)

    def generate() -> None:
        try:
            chunks = stream(llm, max_tokens=None, logprobs=5)
            next(chunks)
            running.wait()
            while True:
                complete(llm, PROMPT, max_tokens=150)
        except LlamaError as error:
            errors.append(error)

    threads = [threading.Thread(target=generate) for _ in range(3)]
    for thread in threads:
        thread.start()
    running.wait()
    llm.close()
    for thread in threads:
        thread.join(30)
    assert [type(error) for error in errors] == [ClosedError] * 3
    with pytest.raises(ClosedError):
        complete(llm, PROMPT)
    llm.close()


CTRL_C = """
import os, signal, sys, threading
from llama_cpp.llama import Llama

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
llm = Llama(sys.argv[1], n_ctx=2048, n_batch=2048, n_ubatch=16, n_threads=1, verbose=False)
prompt = [300 + i % 60 for i in range(2000)]
expected = llm(prompt[:100], max_tokens=8, temperature=0)["choices"][0]["text"]
llm.reset()
decode, count = llm.engine._decode, 0

def decode_and_interrupt(chunks):
    global count
    count += 1
    if count == 20:
        os.kill(os.getpid(), signal.SIGINT)
    decode(chunks)

llm.engine._decode = decode_and_interrupt
try:
    llm(prompt, max_tokens=8, temperature=0)
    raise SystemExit("the prompt was finished")
except KeyboardInterrupt:
    pass
assert count in (20, 21), count
assert len(llm.engine) == 0
assert llm(prompt[:100], max_tokens=8, temperature=0)["choices"][0]["text"] == expected
print("went on")
"""


def test_ctrl_c_during_a_long_prompt_stops_within_a_micro_batch(
    zoo: Zoo, run_python: RunPython
) -> None:
    assert run_python(CTRL_C, zoo.llama).stdout.strip() == "went on"


FORK = """
import os, sys
from llama_cpp.errors import ForkError
from llama_cpp.llama import Llama

llm = Llama(sys.argv[1], n_ctx=256, verbose=False)
llm("once", max_tokens=2)
child = os.fork()
if not child:
    try:
        llm("once", max_tokens=2)
    except ForkError as error:
        assert "forked" in str(error)
        with Llama(sys.argv[1], n_ctx=256, verbose=False) as own:
            own("once", max_tokens=2)
        sys.exit(7)  # and the handles of the parent are finalized here
    os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
llm("once", max_tokens=2)
print("both went on")
"""


def test_a_forked_process_is_told_to_load_for_itself(zoo: Zoo, run_python: RunPython) -> None:
    assert run_python(FORK, zoo.llama).stdout.strip() == "both went on"

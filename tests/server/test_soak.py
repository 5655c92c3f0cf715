"""Two minutes of sixteen clients that cancel, ask for nonsense and read slowly."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

import httpx
import psutil
from server_kit import RunningServer, serving

SECONDS = 120
CLIENTS = 16


def completes(client: httpx.Client, choose: random.Random) -> str:
    count = choose.randrange(1, 40)
    body = {"prompt": f"Once {choose.random()}", "max_tokens": count, "ignore_eos": True}
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == count
    return "completed"


def chats(client: httpx.Client, choose: random.Random) -> str:
    numbers = [choose.randrange(10), choose.randrange(10)]
    body = {
        "messages": [{"role": "user", "content": f"What is {numbers[0]} + {numbers[1]}?"}],
        "stream": True, "temperature": 0, "max_tokens": 40,
    }  # fmt: skip
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]" and '"finish_reason":"' in lines[-2]
    return "streamed"


def cancels(client: httpx.Client, choose: random.Random) -> str:
    body = {
        "prompt": "word " * choose.randrange(300), "max_tokens": 500, "ignore_eos": True,
        "stream": True,
    }  # fmt: skip
    with client.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        for _ in range(choose.randrange(6)):
            next(lines)
    return "cancelled"


def gives_up(client: httpx.Client, choose: random.Random) -> str:
    body = {"prompt": "word " * choose.randrange(300), "max_tokens": 500, "ignore_eos": True}
    try:
        client.post("/v1/completions", json=body, timeout=choose.uniform(0.001, 0.05))
    except httpx.TimeoutException:
        return "gave up"
    return "was in time"


def asks_nonsense(client: httpx.Client, choose: random.Random) -> str:
    bodies: list[Any] = [
        {"prompt": 5}, {"prompt": "x", "n": -1}, {"prompt": [-1]}, {"prompt": "word " * 4000},
        {"prompt": "x", "grammar": "root ::= ("}, {"prompt": "x", "top_p": -1}, [],
    ]  # fmt: skip
    answer = client.post("/v1/completions", json=choose.choice(bodies))
    assert answer.status_code == 400 and answer.json()["error"]["message"]
    return "refused"


def reads_slowly(client: httpx.Client, choose: random.Random) -> str:
    body = {"prompt": "Once", "max_tokens": 60, "ignore_eos": True, "stream": True}
    n_chunks = 0
    with client.stream("POST", "/v1/completions", json=body) as answer:
        for line in answer.iter_lines():
            n_chunks += '"text":"' in line
            if choose.random() < 0.05:
                time.sleep(0.02)
    assert n_chunks >= 2
    return "read slowly"


KINDS = (
    completes,
    completes,
    chats,
    chats,
    cancels,
    cancels,
    gives_up,
    asks_nonsense,
    reads_slowly,
)


def hammer(server: RunningServer, seconds: float, seed: int) -> Counter[str]:
    """Let all clients go on for so long; return what they did."""
    done: Counter[str] = Counter()
    failures: list[BaseException] = []
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        choose = random.Random(f"{seed} {number}")
        with httpx.Client(base_url=server.url, timeout=120) as client:
            while time.monotonic() < end and not failures:
                try:
                    done[choose.choice(KINDS)(client, choose)] += 1
                except BaseException as failure:
                    failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return done


def test_everything_that_was_begun_is_finished_or_was_cancelled_by_its_client() -> None:
    process = psutil.Process()
    with serving({"n_parallel": 6}) as server:
        runner = server.context.registry.runners["tinychat"]
        hammer(server, SECONDS / 6, 0)  # what is allocated once is there after that
        before = process.memory_info().rss
        done = hammer(server, SECONDS, 1)
        while runner.n_active or server.busy_slots:
            time.sleep(0.01)
        grown = process.memory_info().rss - before
        assert len(runner.llama.engine) == 0
        assert server.post("/v1/completions", {"prompt": "Once"}).status_code == 200
    assert done.keys() >= {
        "completed",
        "streamed",
        "cancelled",
        "gave up",
        "refused",
        "read slowly",
    }
    assert sum(done.values()) > 500
    assert grown < 30 << 20, f"{grown} bytes for {done}"

"""Two processes that complete through one disk cache, one of them killed again and again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from llama_kit import cached_tokens, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.llama_cache import LlamaDiskCache

SECONDS = 30
CAPACITY = 3 << 20
"""So small that states are dropped all the time."""

WORKER = """
import json, logging, random, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from test_disk_cache_processes import CAPACITY, cached_tokens, complete, open_llama
from llama_cpp.llama_cache import LlamaDiskCache

logging.basicConfig(level=logging.WARNING)
model, folder, seconds, seed = sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])
expected = json.loads(sys.stdin.readline())
choose = random.Random(seed)
end = time.monotonic() + seconds
n_calls = n_hits = 0
with open_llama(model) as llm:
    llm.set_cache(LlamaDiskCache(folder, CAPACITY))
    print("begins", flush=True)
    while time.monotonic() < end:
        prompt, text = choose.choice(expected)
        answer = complete(llm, prompt)
        assert answer["choices"][0]["text"] == text, (prompt, answer)
        n_calls += 1
        n_hits += cached_tokens(answer) == len(prompt) - 1
print(json.dumps([n_calls, n_hits]))
"""


def test_nothing_wrong_comes_from_a_cache_whose_writers_are_killed(
    zoo: Zoo, tmp_path: Path
) -> None:
    choose = random.Random(7)
    shared = [choose.randrange(300, 600) for _ in range(80)]
    tails = [[choose.randrange(300, 600) for _ in range(60)] for _ in range(24)]
    prompts = [shared[: choose.randrange(20, 80)] + tail for tail in tails]
    with open_llama(zoo.llama) as llm:
        expected = [(prompt, text_of(llm, prompt)) for prompt in prompts]
    folder = tmp_path / "states"

    def start(seconds: float, seed: int) -> subprocess.Popen[str]:
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "kits")]
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(paths), str(zoo.llama), str(folder),
             str(seconds), str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(expected) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "begins\n"
        return process

    survivor = start(SECONDS, 0)
    end = time.monotonic() + SECONDS - 2
    n_killed = 0
    while time.monotonic() < end:
        victim = start(SECONDS, n_killed + 1)
        time.sleep(choose.uniform(0.05, 1.5))
        victim.kill()
        _, errors = victim.communicate()
        assert errors == ""
        n_killed += 1
    output, errors = survivor.communicate(timeout=60)
    assert (survivor.returncode, errors) == (0, "")
    n_calls, n_hits = json.loads(output)
    assert n_killed > 3 and n_calls > 100 and n_hits > n_calls // 10

    with open_llama(zoo.llama) as llm:
        cache = LlamaDiskCache(str(folder), CAPACITY)
        llm.set_cache(cache)
        for prompt, text in expected:
            answer: Any = complete(llm, prompt)
            assert answer["choices"][0]["text"] == text
        assert cached_tokens(complete(llm, prompts[-1])) == len(prompts[-1]) - 1

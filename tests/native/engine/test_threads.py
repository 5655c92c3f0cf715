"""Many threads, one model: each gets what it would get alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from llama_kit import complete, joined, open_llama
from zoo import Zoo

PROMPTS = [list(range(300 + 7 * i, 330 + 9 * i)) for i in range(8)]
GRAMMAR = "root ::= [a-z ]*"
THREADS, CALLS = 8, 30


@pytest.mark.parametrize("n_parallel", [1, 4])
def test_every_thread_gets_its_solo_result(zoo: Zoo, n_parallel: int) -> None:
    with open_llama(zoo.llama, n_parallel=n_parallel) as llm:
        kinds: dict[str, dict[str, Any]] = {
            "plain": {}, "grammar": {"grammar": GRAMMAR}, "logprobs": {"logprobs": 3},
        }  # fmt: skip
        solo = {
            (kind, index): complete(llm, prompt, **options)["choices"][0]
            for kind, options in kinds.items()
            for index, prompt in enumerate(PROMPTS)
        }
        wrong: list[object] = []

        def work(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(CALLS):
                kind, index = choose.choice(list(kinds)), choose.randrange(len(PROMPTS))
                expected = solo[kind, index]
                options = {**kinds[kind], "stream": choose.random() < 0.7}
                try:
                    answer = complete(llm, PROMPTS[index], **options)
                    if not options["stream"]:
                        found = answer["choices"][0]
                    elif choose.random() < 0.5:
                        found = joined(list(answer))
                    else:  # left half-way
                        parts = [next(answer) for _ in range(choose.randrange(1, 6))]
                        answer.close()
                        if not expected["text"].startswith(joined(parts)["text"]):
                            wrong.append((kind, index, parts))
                        continue
                    if found["text"] != expected["text"]:
                        wrong.append((kind, index, found))
                    if found["logprobs"] is not None:
                        assert found["logprobs"]["tokens"] == expected["logprobs"]["tokens"]
                        assert found["logprobs"]["token_logprobs"] == pytest.approx(
                            expected["logprobs"]["token_logprobs"], abs=1e-3
                        )
                except BaseException as error:
                    wrong.append((kind, index, error))

        run_all(work)
        assert wrong == []
        assert len(llm.engine) == 0
        run_all(work)
        before = psutil.Process().memory_info().rss
        run_all(work)
        run_all(work)
        grown = psutil.Process().memory_info().rss - before
        assert wrong == []
        assert grown < 2 << 20


def run_all(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_requests_of_threads_are_decoded_together(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=4) as llm:
        sizes: list[int] = []
        decode = llm.engine._decode

        def measured(chunks: Any) -> None:
            sizes.append(len(chunks))
            decode(chunks)

        llm.engine._decode = measured  # type: ignore[method-assign]
        start = threading.Barrier(4)

        def work(seed: int) -> None:
            if seed < 4:
                start.wait()
                complete(llm, PROMPTS[seed], max_tokens=150)

        run_all(work)
        assert max(sizes) == 4
        assert len(sizes) < 4 * 150

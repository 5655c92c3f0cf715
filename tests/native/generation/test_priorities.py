"""``priority``: who comes first, and that who made way loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.llama import Llama

OTHER = list(range(400, 450))


@pytest.fixture(params=["llama", "mamba"])
def llm(zoo: Zoo, request: pytest.FixtureRequest) -> Iterator[Llama]:
    with open_llama(getattr(zoo, request.param)) as model:
        yield model


def begin(llm: Llama, prompt: Any, **options: Any) -> tuple[Any, str]:
    """A stream whose first text has come, and that text."""
    chunks: Any = llm(prompt, stream=True, **{"max_tokens": 100, **GREEDY, **options})
    return chunks, next(chunks)["choices"][0]["text"]


def rest_of(chunks: Any) -> str:
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


@pytest.mark.parametrize("n_read", [0, 20])
def test_a_text_that_made_way_is_as_if_nothing_had_happened(llm: Llama, n_read: int) -> None:
    expected, urgent = text_of(llm, PROMPT, max_tokens=100), text_of(llm, OTHER)
    llm.reset()
    chunks, text = begin(llm, PROMPT)
    text += "".join(next(chunks)["choices"][0]["text"] for _ in range(n_read))
    [running] = [slot.request for slot in llm.engine.slots]
    assert running is not None
    assert text_of(llm, OTHER, priority=1) == urgent
    assert not running.finished, "the urgent one has waited for it"
    assert text + rest_of(chunks) == expected


def test_random_choices_go_on_where_they_were(llm: Llama) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "seed": 7}
    expected = text_of(llm, PROMPT, max_tokens=100, **options)
    llm.reset()
    chunks, text = begin(llm, PROMPT, **options)
    complete(llm, OTHER, priority=1)
    assert text + rest_of(chunks) == expected


@pytest.mark.parametrize("priority", [-1, 0, None])
def test_who_is_not_higher_waits(llm: Llama, priority: int | None) -> None:
    chunks, _ = begin(llm, PROMPT)
    [running] = [slot.request for slot in llm.engine.slots]
    assert running is not None
    complete(llm, OTHER, priority=priority)
    assert running.finished
    chunks.close()


def test_a_text_whose_beginning_is_forgotten_keeps_its_sequence(zoo: Zoo) -> None:
    with open_llama(zoo.llama, context_shift=True) as llm:
        expected = text_of(llm, PROMPT, max_tokens=300)
        llm.reset()
        chunks, text = begin(llm, PROMPT, max_tokens=300)
        while llm.engine.slots[0].n_exact > 256:
            text += next(chunks)["choices"][0]["text"]
        complete(llm, OTHER, priority=1)
        assert text + rest_of(chunks) == expected


def test_the_least_important_makes_way(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=3) as llm:
        streams = [begin(llm, [*PROMPT, 500 + n], priority=n)[0] for n in (1, 0, 2)]
        requests = {s.request.terms.priority: s.request for s in llm.engine.slots if s.request}
        complete(llm, OTHER, priority=5, max_tokens=3)
        assert [slot.request for slot in llm.engine.slots].count(None) == 1
        running = [slot.request for slot in llm.engine.slots]
        assert requests[0] not in running
        assert requests[1] in running and requests[2] in running
        for stream in streams:
            stream.close()

"""Caches of states: completions begin from them, and say the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_kit import PROMPT, cached_tokens, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.llama import BaseLlamaCache, Llama, LlamaCache, LlamaDiskCache, LlamaRAMCache

OTHER = PROMPT[::-1]
Make = Callable[..., BaseLlamaCache]


@pytest.fixture(params=["ram", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "ram":
        return LlamaRAMCache

    def disk(**arguments: Any) -> BaseLlamaCache:
        return LlamaDiskCache(str(tmp_path / "states"), **arguments)

    return disk


def longest_answers(llm: Llama) -> tuple[str, str]:
    return text_of(llm, PROMPT, max_tokens=20), text_of(llm, OTHER, max_tokens=20)


def test_a_prompt_of_before_is_not_computed_again(zoo: Zoo, make: Make) -> None:
    with open_llama(zoo.llama) as llm:
        expected = longest_answers(llm)
        llm.set_cache(cache := make())
        assert longest_answers(llm) == expected
        # The sequence holds the other text by now.
        again = complete(llm, PROMPT, max_tokens=20)
        assert again["choices"][0]["text"] == expected[0]
        assert cached_tokens(again) == len(PROMPT) - 1
        assert PROMPT in cache
        assert [9] * 9 not in cache
        assert cache.cache_size > 0


@pytest.mark.parametrize("kind", ["llama", "sliding_window", "mamba", "hybrid"])
def test_every_memory_gives_the_same_text(zoo: Zoo, make: Make, kind: str) -> None:
    with open_llama(getattr(zoo, kind)) as llm:
        expected = longest_answers(llm)
        llm.set_cache(make())
        for _ in range(3):
            assert longest_answers(llm) == expected


def test_another_model_of_the_same_file_begins_from_it(zoo: Zoo, make: Make) -> None:
    cache = make()
    with open_llama(zoo.llama) as first:
        first.set_cache(cache)
        expected = text_of(first, PROMPT)
    with open_llama(zoo.llama) as second:
        second.set_cache(cache)
        answer = complete(second, [*PROMPT, 400])
        assert cached_tokens(answer) >= len(PROMPT) - 1
        assert text_of(second, PROMPT) == expected


def test_streams_and_chats_use_it_too(zoo: Zoo, make: Make) -> None:
    messages: list[Any] = [{"role": "user", "content": "what is the answer " * 8}]
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 0}
    with open_llama(zoo.llama) as llm:
        llm.set_cache(make())
        first: Any = llm.create_chat_completion(messages, **options)
        text_of(llm, OTHER)
        chunks: Any = llm(OTHER, stream=True, stream_options={"include_usage": True}, **options)
        assert cached_tokens(list(chunks)[-1]) == len(OTHER) - 1
        second: Any = llm.create_chat_completion(messages, **options)
        assert cached_tokens(second) == first["usage"]["prompt_tokens"] - 1
        assert second["choices"] == first["choices"]


def test_a_state_of_another_model_does_no_harm(zoo: Zoo, make: Make) -> None:
    cache = make()
    with open_llama(zoo.llama, type_k=8) as other:
        other.set_cache(cache)
        text_of(other, PROMPT)
    with open_llama(zoo.llama) as llm:
        expected = text_of(llm, PROMPT)
        llm.reset()
        llm.set_cache(cache)
        assert text_of(llm, PROMPT) == expected


def test_what_was_used_longest_ago_goes_first(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        llm.set_cache(LlamaRAMCache())
        text_of(llm, PROMPT)
        assert llm.cache is not None
        size = llm.cache.cache_size
        llm.set_cache(cache := LlamaRAMCache(capacity_bytes=2 * size + size // 2))
        longest_answers(llm)
        text_of(llm, PROMPT)
        text_of(llm, list(range(400, 450)))
        assert cache.cache_size <= cache.capacity_bytes
        assert PROMPT in cache and OTHER not in cache


def test_a_cache_can_be_removed(zoo: Zoo) -> None:
    assert LlamaCache is LlamaRAMCache
    with open_llama(zoo.llama) as llm:
        llm.set_cache(cache := LlamaCache())
        text_of(llm, PROMPT)
        size = cache.cache_size
        llm.set_cache(None)
        text_of(llm, OTHER)
        assert (llm.cache, cache.cache_size) == (None, size)


def test_files_of_a_cache_outlive_their_object(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "states"
    with open_llama(zoo.llama) as llm:
        llm.set_cache(LlamaDiskCache(str(folder)))
        expected = text_of(llm, PROMPT)
    assert folder.stat().st_mode & 0o077 == 0
    with open_llama(zoo.llama) as llm:
        llm.set_cache(LlamaDiskCache(str(folder)))
        answer = complete(llm, PROMPT)
        assert cached_tokens(answer) == len(PROMPT) - 1
        assert answer["choices"][0]["text"] == expected

"""Caches of states: completions begin from them, and say the same."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diskcache
import pytest
from isolated import RunPython
from llama_kit import PROMPT, cached_tokens, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import BusyError, InvalidArgumentError
from llama_cpp.llama import BaseLlamaCache, Llama, LlamaCache, LlamaDiskCache, LlamaRAMCache
from llama_cpp.llama_cache import LlamaTrieCache

OTHER = PROMPT[::-1]
Make = Callable[..., BaseLlamaCache]


@pytest.fixture(params=["ram", "trie", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param != "disk":
        return LlamaRAMCache if request.param == "ram" else LlamaTrieCache

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


@pytest.mark.parametrize("kind", ["llama", "sliding_window", "mamba", "hybrid"])
def test_a_reply_is_part_of_what_is_found(zoo: Zoo, make: Make, kind: str) -> None:
    cache = make()
    with open_llama(getattr(zoo, kind)) as llm:
        llm.set_cache(cache)
        text_of(llm, PROMPT)
        prompt = [*llm.eval_tokens, 400, 401, 402]
        expected = text_of(llm, prompt)
        again = text_of(llm, PROMPT)
    with open_llama(getattr(zoo, kind)) as llm:
        llm.set_cache(cache)
        for wanted, text in ((prompt, expected), (PROMPT, again)):
            text_of(llm, OTHER)
            answer = complete(llm, wanted)
            assert cached_tokens(answer) == len(wanted) - 1
            assert answer["choices"][0]["text"] == text


def test_parallel_sequences_use_it_too(zoo: Zoo, make: Make) -> None:
    prompts = [[*range(start, start + 40)] for start in range(300, 380, 10)]
    with open_llama(zoo.llama) as llm:
        expected = [text_of(llm, prompt) for prompt in prompts]
    cache = make()
    with open_llama(zoo.llama, n_parallel=3) as llm, ThreadPoolExecutor(3) as threads:
        for _ in range(3):
            llm.set_cache(cache)
            assert list(threads.map(lambda prompt: text_of(llm, prompt), prompts)) == expected
        llm.set_cache(cache)
        for prompt in prompts:
            text_of(llm, prompt)
            llm.set_cache(cache)  # what was to be kept is there
        answers = [complete(llm, prompt) for prompt in prompts]
        assert [cached_tokens(answer) for answer in answers] == [39] * len(prompts)
        assert [answer["choices"][0]["text"] for answer in answers] == expected


def test_models_share_a_cache(zoo: Zoo, make: Make) -> None:
    cache = make()
    variants: list[dict[str, Any]] = [{}, {"lora_path": str(zoo.lora)}, {"type_k": 8}]
    expected = []
    for _ in range(2):
        for number, arguments in enumerate(variants):
            with open_llama(zoo.llama, **arguments) as llm:
                expected.append(text_of(llm, PROMPT))
                llm.reset()
                llm.set_cache(cache)
                answer = complete(llm, PROMPT)
                assert answer["choices"][0]["text"] == expected[number]
                known = len(expected) > len(variants)
                assert cached_tokens(answer) == (len(PROMPT) - 1 if known else 0)


def test_log_probabilities_of_a_prompt_are_computed(zoo: Zoo, make: Make) -> None:
    options: dict[str, Any] = {"echo": True, "logprobs": 2}
    with open_llama(zoo.llama) as llm:
        expected = complete(llm, PROMPT, **options)["choices"][0]
        llm.set_cache(make())
        for prompt in (PROMPT, OTHER, PROMPT):
            answer = complete(llm, prompt, **options)["choices"][0]
        assert answer == expected


@pytest.mark.parametrize("value", [5, "text", b"", {}, [], LlamaRAMCache, object()])
def test_what_is_no_cache_is_refused(llm: Llama, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a cache of states"):
        llm.set_cache(value)
    assert llm.cache is None


class Broken(LlamaRAMCache):
    def find(self, *arguments: Any, **more: Any) -> Any:
        raise RuntimeError("found nothing")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise OSError("no room")


def test_text_comes_without_a_cache_that_works(zoo: Zoo, caplog: pytest.LogCaptureFixture) -> None:
    with open_llama(zoo.llama) as llm, caplog.at_level(logging.WARNING, "llama_cpp"):
        expected = longest_answers(llm)
        llm.set_cache(Broken())
        assert longest_answers(llm) == expected
        llm.set_cache(None)
    assert "RuntimeError: found nothing" in caplog.text and "OSError: no room" in caplog.text


def test_other_peoples_entries_do_no_harm(
    zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with diskcache.Cache(str(tmp_path)) as foreign:
        foreign["key"] = {"a": "value"}
    with open_llama(zoo.llama) as llm, caplog.at_level(logging.WARNING, "llama_cpp"):
        expected = longest_answers(llm)
        llm.set_cache(LlamaDiskCache(str(tmp_path)))
        assert longest_answers(llm) == expected
    assert "entries that are not this package's" in caplog.text


FULL_DISK = """
import logging, resource, sys
from llama_cpp.llama import LlamaDiskCache
from llama_kit import PROMPT, open_llama, text_of
with open_llama(sys.argv[1]) as llm:
    expected = text_of(llm, PROMPT), text_of(llm, PROMPT[::-1])
    llm.set_cache(LlamaDiskCache(sys.argv[2]))
    logging.basicConfig()
    logging.getLogger("llama_cpp").setLevel("WARNING")
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    for _ in range(2):
        assert (text_of(llm, PROMPT), text_of(llm, PROMPT[::-1])) == expected
"""


def test_text_comes_on_a_full_disk(zoo: Zoo, tmp_path: Path, run_python: RunPython) -> None:
    finished = run_python(FULL_DISK, zoo.llama, tmp_path)
    assert "the cache folder cannot be used" in finished.stderr


def test_callbacks_may_not_generate_and_do_not_wait_for_ever(zoo: Zoo, make: Make) -> None:
    errors: list[BusyError] = []

    def processor(ids: Any, scores: Any) -> Any:
        try:
            text_of(llm, OTHER)
        except BusyError as error:
            errors.append(error)
        return scores

    with open_llama(zoo.llama) as llm:
        llm.set_cache(make())
        text_of(llm, OTHER)
        text_of(llm, PROMPT, logits_processor=processor)
        assert len(errors) == 12


def test_a_model_is_freed_with_what_is_to_be_kept(zoo: Zoo, make: Make) -> None:
    cache = make()
    llm = open_llama(zoo.llama)
    llm.set_cache(cache)
    text_of(llm, PROMPT)
    context = weakref.ref(llm._ctx.handle)
    del llm
    assert PROMPT in cache
    assert context() is None

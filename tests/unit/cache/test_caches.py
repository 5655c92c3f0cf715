"""Caches of states: what is found, what goes first, and that nothing is ever unpickled."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import diskcache
import numpy as np
import pytest
from engine_kit import naive_shared
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.cache.byte_store import Key
from llama_cpp.errors import InvalidArgumentError, StateError
from llama_cpp.llama_cache import (
    BaseLlamaCache,
    LlamaCache,
    LlamaDiskCache,
    LlamaRAMCache,
    LlamaState,
    LlamaTrieCache,
)

KEYS = st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple)


ONE, OTHER = b"1" * 16, b"2" * 16


def state(
    tokens: Sequence[int] = (1, 2), size: int = 10, *, n_vocab: int = 3, **more: Any
) -> LlamaState:
    ids = np.array(tokens, np.intc)
    scores = np.arange(n_vocab, dtype=np.single).reshape(1, -1)
    memory = bytes(range(256)) * size
    return LlamaState(ids, scores, len(tokens), memory, len(memory), seed=7, **more)


def assert_same(one: LlamaState, other: LlamaState) -> None:
    assert one.input_ids.tolist() == other.input_ids.tolist()
    assert one.scores.tolist() == other.scores.tolist()
    assert (one.n_tokens, one.seed) == (other.n_tokens, other.seed)
    assert (one.llama_state, one.llama_state_size) == (other.llama_state, other.llama_state_size)
    assert (one.model, one.checkpoints) == (other.model, other.checkpoints)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LlamaDiskCache]:
    cache = LlamaDiskCache(str(tmp_path / "cache"))
    yield cache
    cache.cache.close()


@pytest.fixture(params=["memory", "tree", "disk"])
def cache(request: pytest.FixtureRequest) -> BaseLlamaCache:
    if request.param != "disk":
        return LlamaRAMCache() if request.param == "memory" else LlamaTrieCache()
    found: LlamaDiskCache = request.getfixturevalue("disk")
    return found


# States as bytes.


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), max_size=4),
    st.binary(max_size=20),
    st.integers(-(2**63), 2**63 - 1),
)
def test_a_state_comes_back_from_its_bytes(
    tokens: list[int], row: list[float], memory: bytes, seed: int
) -> None:
    scores = np.array([row], np.single) if row else np.zeros((0, 4), np.single)
    ids = np.array(tokens, np.intc)
    before = LlamaState(ids, scores, len(tokens), memory, len(memory), seed)
    after = LlamaState.from_bytes(before.to_bytes())
    assert_same(after, before)
    assert after.input_ids.dtype == np.intc and after.scores.dtype == np.single


def test_a_state_that_was_read_may_be_changed() -> None:
    after = LlamaState.from_bytes(state().to_bytes())
    after.input_ids[0] = 5
    after.scores[0, 0] = 5


def test_only_the_tokens_in_use_and_the_last_logits_are_written() -> None:
    before = state([1, 2, 3])
    before.n_tokens = 2
    before.scores = np.arange(6, dtype=np.single).reshape(2, 3)
    after = LlamaState.from_bytes(before.to_bytes())
    assert after.input_ids.tolist() == [1, 2]
    assert after.scores.tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no state that"),
        (b"x" * 100, "no state that"),
        (pickle.dumps({"a": 1}), "no state that"),
        (b"llmstat1" + bytes(100), "another version"),
        (b"llmstat2", "cut off"),
        (b"llmstat2" + bytes(100), "damaged"),
    ],
)
def test_other_bytes_are_no_state(data: bytes, problem: str) -> None:
    with pytest.raises(StateError, match=problem):
        LlamaState.from_bytes(data)


def test_a_state_that_is_cut_off_is_refused() -> None:
    whole = state(n_vocab=4, size=0).to_bytes()
    for length in range(len(whole)):
        with pytest.raises(StateError):
            LlamaState.from_bytes(whole[:length])
    assert LlamaState.from_bytes(whole).n_tokens == 2


# Both caches.


def test_a_cache_gives_back_what_it_got(cache: BaseLlamaCache) -> None:
    cache[[1, 2]] = state()
    assert_same(cache[[1, 2]], state())
    cache[(1, 2)] = state([3, 4])
    assert_same(cache[[1, 2]], state([3, 4]))


def test_the_longest_beginning_is_found(cache: BaseLlamaCache) -> None:
    keys = [(1,), (1, 2, 3), (1, 2, 3, 4, 5), (2, 2, 3)]
    for key in keys:
        cache[key] = state(key)
    assert cache[[1, 2, 3, 4]].input_ids.tolist() == [1, 2, 3, 4, 5]
    assert cache[[1, 2, 3, 9]].input_ids.tolist() in ([1, 2, 3], [1, 2, 3, 4, 5])
    assert cache[[2]].input_ids.tolist() == [2, 2, 3]


def test_what_no_state_begins_with_is_missing(cache: BaseLlamaCache) -> None:
    assert [1] not in cache
    cache[[1, 2]] = state()
    assert [1] in cache and [1, 5, 6] in cache
    assert [2, 1] not in cache and [] not in cache
    for missing in ([2, 1], []):
        with pytest.raises(KeyError, match="no state holds a beginning"):
            cache[missing]


def test_a_state_of_another_model_is_not_found(cache: BaseLlamaCache) -> None:
    cache[[1, 2, 3]] = state([1, 2, 3], model=ONE)
    cache[[1, 2]] = state([1, 2], model=OTHER)
    assert_same(cache.find([1, 2, 3], ONE), state([1, 2, 3], model=ONE))
    assert_same(cache.find([1, 2, 3], OTHER), state([1, 2], model=OTHER))
    assert_same(cache[[1, 2, 3]], state([1, 2, 3], model=ONE))
    with pytest.raises(KeyError):
        cache.find([1, 2, 3], b"3" * 16)
    assert cache.holds([1, 2], ONE) and not cache.holds([1, 2, 4], ONE)
    assert not cache.holds([1, 2, 3], OTHER) and not cache.holds([1], b"3" * 16)
    cache[[1, 2]] = state([1, 2], model=ONE)
    assert_same(cache.find([1, 2], OTHER), state([1, 2], model=OTHER))


def test_a_memory_that_cannot_forget_needs_all_of_a_beginning(cache: BaseLlamaCache) -> None:
    long = state([1, 2, 3, 4], model=ONE, checkpoints=((2, b"earlier"),))
    cache[[1, 2, 3, 4]] = long
    assert_same(cache.find([1, 2, 9], ONE, whole=True), long)
    assert cache.holds([1, 2], ONE, whole=True) and not cache.holds([1, 2, 3], ONE, whole=True)
    with pytest.raises(KeyError):
        cache.find([1, 9], ONE, whole=True)
    assert_same(cache.find([1, 9], ONE), long)
    with pytest.raises(KeyError):
        cache.find([1, 2, 9], ONE, minimum=3)


@pytest.mark.parametrize("key", [5, "text", [1.5], [2**40], None, [None]])
def test_keys_are_token_ids(cache: BaseLlamaCache, key: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="sequence of token ids"):
        cache[key] = state()
    with pytest.raises(InvalidArgumentError, match="sequence of token ids"):
        cache[key]


def test_values_are_states(cache: BaseLlamaCache) -> None:
    value: Any = b"bytes"
    with pytest.raises(InvalidArgumentError, match="what save_state returns"):
        cache[[1]] = value
    assert [1] not in cache


@pytest.mark.parametrize("kind", [LlamaRAMCache, LlamaTrieCache, LlamaDiskCache])
@pytest.mark.parametrize("capacity", ["2 GB", 1.5, None, True])
def test_a_capacity_is_an_integer(kind: Any, capacity: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="must be an integer"):
        kind(capacity_bytes=capacity)


def test_a_cache_of_somebody_elses_works_by_tokens() -> None:
    class Own(BaseLlamaCache):
        def __init__(self) -> None:
            self.state = state(model=ONE)

        @property
        def cache_size(self) -> int:
            return 0

        def __contains__(self, key: Sequence[int]) -> bool:
            return True

        def __getitem__(self, key: Sequence[int]) -> LlamaState:
            return self.state

        def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
            self.state = value

    own = Own()
    assert own.find([1], ONE) is own.state and not own.holds([1], ONE)
    with pytest.raises(KeyError):
        own.find([1], OTHER)


def test_a_cache_without_room_keeps_nothing_too_large() -> None:
    cache = LlamaRAMCache(capacity_bytes=256)
    cache[[1]] = state(size=2)
    assert [1] not in cache and cache.cache_size == 0


# In memory.


@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers(1, 4)), max_size=25))
def test_a_cache_in_memory_is_a_list_in_order_of_use(
    actions: list[tuple[bool, tuple[int, ...], int]],
) -> None:
    capacity = 8 * 256
    cache = LlamaRAMCache(capacity)
    kept: list[tuple[tuple[int, ...], int]] = []
    for is_write, key, size in actions:
        if is_write:
            cache[key] = state(key, size)
            kept = [*(entry for entry in kept if entry[0] != key), (key, size)]
            while sum(entry[1] for entry in kept) * 256 > capacity:
                del kept[0]
        elif key in cache:
            most = max(naive_shared(entry[0], key) for entry in kept)
            found = tuple(cache[key].input_ids.tolist())
            assert most > 0
            assert naive_shared(found, key) == most
            kept.sort(key=lambda entry: entry[0] == found)
        else:
            assert not any(naive_shared(entry[0], key) for entry in kept)
        assert cache.cache_size == sum(entry[1] for entry in kept) * 256 <= capacity
        assert list(cache.cache_state) == [entry[0] for entry in kept]


def test_the_known_name_is_the_cache_in_memory() -> None:
    assert LlamaCache is LlamaRAMCache
    assert LlamaCache().capacity_bytes == LlamaRAMCache(2 << 30).capacity_bytes


# On disk.


def test_states_outlive_the_process(tmp_path: Path) -> None:
    folder = str(tmp_path / "deep" / "cache")
    first = LlamaDiskCache(folder)
    first[[1, 2, 3]] = state([1, 2, 3], size=500)
    first.cache.close()
    second = LlamaDiskCache(folder)
    assert_same(second[[1, 2, 3, 4]], state([1, 2, 3], size=500))
    second.cache.close()


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    cache = LlamaDiskCache(str(tmp_path / "cache"))
    cache.cache.close()
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_full_folder_loses_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = LlamaDiskCache(str(tmp_path / "cache"), capacity_bytes=1 << 20)
    for number in range(8):
        cache[[number, number]] = state([number], size=1000)
        assert cache[[0]].input_ids.tolist() == [0]
        assert cache.cache_size <= 1 << 20
    # Each takes a quarter, and the store itself a little.
    assert [number for number in range(8) if [number] in cache] == [0, 6, 7]
    cache.cache.close()


def test_a_large_state_takes_the_place_of_many(tmp_path: Path) -> None:
    cache = LlamaDiskCache(str(tmp_path / "cache"), capacity_bytes=1 << 20)
    for number in range(1, 30):
        cache[[number]] = state([number], size=120)
    cache[[0]] = state([0], size=3800)
    assert cache.cache_size <= 1 << 20
    assert [0] in cache and not any([number] in cache for number in range(1, 28))
    cache[[0]] = state([0], size=5000)
    assert [0] not in cache
    cache.cache.close()


def test_a_state_whose_file_is_gone_is_missing(disk: LlamaDiskCache) -> None:
    disk[[1, 2]] = state(size=500)
    for path in Path(disk.cache.directory).rglob("*.val"):
        path.unlink()
    with pytest.raises(KeyError, match="no state holds"):
        disk[[1, 2]]


@pytest.mark.parametrize("damage", ["other", "bit", "cut", "empty"])
def test_a_damaged_entry_is_missing_and_dropped(disk: LlamaDiskCache, damage: str) -> None:
    disk[[1]] = state([1], size=500)
    disk[[1, 2]] = state(size=500)
    for path in Path(disk.cache.directory).rglob("*.val"):
        data = path.read_bytes()
        if LlamaState.from_bytes(data).n_tokens == 2:
            changed = bytes([data[200_00] ^ 1])
            path.write_bytes(
                {
                    "other": b"something else" * 10,
                    "bit": data[:20_000] + changed + data[20_001:],
                    "cut": data[:-1],
                    "empty": b"",
                }[damage]
            )
    assert_same(disk[[1, 2]], state([1], size=500))
    assert len(disk.cache) == 1


def test_processes_see_what_others_write_and_drop(tmp_path: Path) -> None:
    one, other = (LlamaDiskCache(str(tmp_path), 1 << 20) for _ in range(2))
    for number in range(1, 5):
        one[[number]] = state([number], 100, model=ONE)
        assert_same(other.find([number, 9], ONE), state([number], 100, model=ONE))
    other.cache.delete(Key(ONE, (1,), (4,)).pack())
    assert [3] in one and one.find([3], ONE).n_tokens == 1
    with pytest.raises(KeyError):
        one.find([4], ONE)
    other[[5]] = state([5], model=ONE)
    assert one.find([5], ONE).input_ids.tolist() == [5]
    one[[6]] = state([6], size=3800, model=ONE)
    with pytest.raises(KeyError):
        other.find([1], ONE)
    for cache in (one, other):
        cache.cache.close()


WRITER = """
import sys, numpy as np
from llama_cpp.llama_cache import LlamaDiskCache, LlamaState
cache = LlamaDiskCache(sys.argv[1], 4 << 20)
number = 0
while True:
    number = (number + 1) % 50
    memory = bytes([number]) * 300_000
    ids = np.full(20, number, np.intc)
    cache[ids] = LlamaState(ids, np.zeros((0, 1), np.single), 20, memory, len(memory), number)
    print(number, flush=True)
"""


def test_a_process_that_is_killed_leaves_nothing_damaged(tmp_path: Path) -> None:
    cache = LlamaDiskCache(str(tmp_path), 4 << 20)
    found = 0
    for pause in (1, 3, 4, 6, 9):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(pause):
                writer.stdout.readline()
            writer.kill()
        for number in range(50):
            if [number] in cache:
                each = cache[[number]]
                assert each.input_ids.tolist() == [number] * 20 and each.seed == number
                assert each.llama_state == bytes([number]) * 300_000
                found += 1
        assert cache.cache_size <= (4 << 20) + 400_000  # it was killed before it made room
    assert found
    cache[[7]] = state([7])
    assert_same(cache[[7]], state([7]))
    cache.cache.close()


@pytest.mark.parametrize("folder", ["file", "file/below", "\0", 5, None])
def test_a_folder_that_cannot_be(tmp_path: Path, folder: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StateError, InvalidArgumentError), match="folder"):
        LlamaDiskCache(str(tmp_path / folder) if isinstance(folder, str) else folder)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    cache = LlamaDiskCache(str(tmp_path / "cache"))
    cache.cache.close()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(StateError, match="cache folder cannot be used"):
        cache[[1]] = state([1])
    with pytest.raises(StateError, match="cache folder cannot be used"):
        cache[[1]]


def test_files_elsewhere_are_neither_read_nor_deleted(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(state().to_bytes())
    cache = LlamaDiskCache(str(tmp_path / "cache"), 1 << 20)
    cache[[1, 2]] = state(size=500)
    for name in (str(outside), "../outside"):
        cache.cache._sql("UPDATE Cache SET filename = ?", (name,))
        with pytest.raises(StateError, match="entries that are not this package's"):
            cache[[1, 2]]
    cache[[3]] = state(size=3800)
    assert [1] not in cache and outside.exists()
    cache.cache.close()


class Trap:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "x")


KEY = Key(b"", (2,), (1, 2)).pack()


@pytest.mark.parametrize("size", [0, 100_000], ids=["in the database", "in a file"])
@pytest.mark.parametrize("place", ["key", "value"])
def test_nothing_in_the_folder_is_unpickled(tmp_path: Path, place: str, size: int) -> None:
    folder, proof = tmp_path / "cache", tmp_path / "proof"
    trap = (Trap(proof), "x" * size)
    with diskcache.Cache(str(folder)) as foreign:
        foreign[KEY if place == "value" else trap] = trap
    cache = LlamaDiskCache(str(folder))
    with pytest.raises(StateError, match="entries that are not this package's"):
        cache[[1, 2]]
    cache.cache.close()
    assert not proof.exists()


@pytest.mark.parametrize("key", ["text", 5, 1.5, b"abc"])
def test_keys_of_others_are_refused(tmp_path: Path, key: object) -> None:
    with diskcache.Cache(str(tmp_path)) as foreign:
        foreign[key] = b"value"
    cache = LlamaDiskCache(str(tmp_path))
    with pytest.raises(StateError, match="entries that are not this package's"):
        cache[[1, 2]]
    cache.cache.close()


@pytest.mark.parametrize("value", ["text", 5, 1.5, None, [1]])
def test_values_of_others_are_refused(tmp_path: Path, value: object) -> None:
    with diskcache.Cache(str(tmp_path)) as foreign:
        foreign[KEY] = value
    cache = LlamaDiskCache(str(tmp_path))
    with pytest.raises(StateError):
        cache[[1, 2]]
    cache.cache.close()


def test_only_bytes_are_written(disk: LlamaDiskCache) -> None:
    for key, value in ((KEY, "text"), ("text", KEY), (KEY, {"a": 1}), (5, KEY)):
        with pytest.raises(StateError, match="entries that are not this package's"):
            disk.cache.set(key, value)
    assert len(disk.cache) == 0

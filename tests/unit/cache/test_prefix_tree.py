"""The tree of token sequences, against a list of them."""

from __future__ import annotations

import pytest
from engine_kit import naive_shared
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.cache.prefix_tree import PrefixTree

KEYS = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=20), st.lists(KEYS, max_size=8))
def test_a_tree_finds_what_a_list_would(
    actions: list[tuple[bool, tuple[int, ...]]], wanted: list[tuple[int, ...]]
) -> None:
    tree: PrefixTree[tuple[int, ...]] = PrefixTree()
    kept: set[tuple[int, ...]] = set()
    for is_added, key in actions:
        if is_added:
            tree.add(key, key)
            kept.add(key)
        else:
            tree.discard(key, key)
            kept.discard(key)
        for prompt in (*wanted, key):
            most = max((naive_shared(each, prompt) for each in kept), default=0)
            nearest = tree.nearest(prompt)
            if most:
                assert nearest is not None and nearest[0] == most
                assert nearest[1] in kept and naive_shared(nearest[1], prompt) == most
            else:
                assert nearest is None
            whole = [each for each in kept if prompt[: len(each)] == each]
            longest = max(whole, key=len, default=None)
            assert tree.longest(prompt) == (longest and (len(longest), longest))


def test_an_empty_tree_keeps_no_nodes() -> None:
    tree: PrefixTree[int] = PrefixTree()
    for number in range(20):
        tree.add((1, 2, number), number)
    for number in range(20):
        tree.discard((1, 2, number), number)
    assert not tree._root.children


def test_entries_may_share_their_tokens() -> None:
    tree: PrefixTree[str] = PrefixTree()
    tree.add((1, 2), "one")
    tree.add((1, 2), "other")
    assert tree.nearest((1, 2, 3)) == (2, "other")
    tree.discard((1, 2), "other")
    assert tree.nearest((1, 2, 3)) == (2, "one")
    tree.discard((1, 3), "one")
    tree.discard((1,), "one")
    assert tree.longest((1, 2)) == (2, "one")


@pytest.mark.parametrize("length", [1, 2000])
def test_nothing_is_found_for_no_tokens(length: int) -> None:
    tree: PrefixTree[str] = PrefixTree()
    tree.add(tuple(range(length)), "entry")
    assert tree.nearest(()) is None and tree.longest(()) is None
    assert tree.nearest((0, -1)) == (1, "entry")

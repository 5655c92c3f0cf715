"""``PrefixTree``: which of many token sequences begins like a prompt. Pure Python."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..engine.slots import shared_prefix

Entry = TypeVar("Entry", bound=Hashable)
Tokens = tuple[int, ...]


@dataclass
class _Node(Generic[Entry]):
    edge: Tokens
    entries: dict[Entry, None] = field(default_factory=dict)
    children: dict[int, _Node[Entry]] = field(default_factory=dict)


class PrefixTree(Generic[Entry]):
    """Entries by tokens. Each edge has as many tokens as the sequences below have in common.

    Slices of tuples compare at the speed of C, so a search takes microseconds.
    """

    def __init__(self) -> None:
        self._root: _Node[Entry] = _Node(())

    def add(self, tokens: Tokens, entry: Entry) -> None:
        """Put an entry under at least one token."""
        node, start = self._root, 0
        while start < len(tokens):
            child = node.children.get(tokens[start])
            if child is None:
                child = node.children[tokens[start]] = _Node(tokens[start:])
            shared = shared_prefix(child.edge, tokens[start : start + len(child.edge)])
            if shared < len(child.edge):
                upper: _Node[Entry] = _Node(child.edge[:shared])
                child.edge = child.edge[shared:]
                upper.children[child.edge[0]] = child
                child = node.children[tokens[start]] = upper
            node, start = child, start + shared
        node.entries[entry] = None

    def discard(self, tokens: Tokens, entry: Entry) -> None:
        """Take an entry out, if it is there."""
        path, start = [self._root], 0
        while start < len(tokens):
            child = path[-1].children.get(tokens[start])
            if child is None or child.edge != tokens[start : start + len(child.edge)]:
                return
            path.append(child)
            start += len(child.edge)
        path[-1].entries.pop(entry, None)
        while len(path) > 1:
            node = path.pop()
            if node.entries or len(node.children) > 1:
                return
            if not node.children:
                del path[-1].children[node.edge[0]]
                continue
            (only,) = node.children.values()
            only.edge = node.edge + only.edge
            path[-1].children[node.edge[0]] = only
            return

    def nearest(self, tokens: Tokens) -> tuple[int, Entry] | None:
        """Return the entry that has most in common with the beginning, and how many tokens."""
        node, start = self._root, 0
        while start < len(tokens):
            child = node.children.get(tokens[start])
            if child is None:
                break
            shared = shared_prefix(child.edge, tokens[start : start + len(child.edge)])
            node, start = child, start + shared
            if shared < len(child.edge):
                break
        if not start:
            return None
        while not node.entries:
            node = next(reversed(node.children.values()))
        return start, next(reversed(node.entries))

    def longest(self, tokens: Tokens) -> tuple[int, Entry] | None:
        """Return the longest entry that is all of a beginning, and how many tokens that are."""
        node, start, best = self._root, 0, None
        while start < len(tokens):
            child = node.children.get(tokens[start])
            if child is None or child.edge != tokens[start : start + len(child.edge)]:
                break
            node, start = child, start + len(child.edge)
            if node.entries:
                best = start, next(reversed(node.entries))
        return best

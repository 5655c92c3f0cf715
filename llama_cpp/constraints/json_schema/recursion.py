"""Which schemas of a document lead back to themselves without end."""

from __future__ import annotations

from collections import defaultdict

Needs = dict[str, tuple[bool, list[str]]]
"""For each place the places that it needs: all of them, or (False) one of them."""


def stuck(needs: Needs) -> str | None:
    """Give the first place whose needs are never met, or None."""
    return next(iter(all_stuck(needs)), None)


def all_stuck(needs: Needs) -> dict[str, int]:
    """Give the places whose needs are never met, and how many of them."""
    parents: defaultdict[str, list[str]] = defaultdict(list)
    missing: dict[str, int] = {}
    for place, (every, places) in needs.items():
        missing[place] = len(places) if every else 1
        for other in places:
            parents[other].append(place)
    ready = [place for place, count in missing.items() if count == 0]
    while ready:
        for parent in parents[ready.pop()]:
            missing[parent] -= 1
            if missing[parent] == 0:
                ready.append(parent)
    return {place: count for place, count in missing.items() if count > 0}

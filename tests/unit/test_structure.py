"""The package as a house: floors without circles, few rooms at the door, no reflection."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

import llama_cpp
from llama_cpp.llama import Llama

PACKAGE = Path(llama_cpp.__file__).parent

# A parent and its child in one file each, which name each other in annotations.
PARENTS = {
    "llama_cpp.handles.context": {"adapter", "memory", "state"},
    "llama_cpp.handles.media": {"media_chunk"},
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, for type checking too."""
    return grimp.build_graph("llama_cpp", exclude_type_checking_imports=False)


def folders(graph: grimp.ImportGraph) -> list[str]:
    return sorted({"llama_cpp", *(each.rpartition(".")[0] for each in graph.modules)} - {""})


def test_no_circles(graph: grimp.ImportGraph) -> None:
    found = []
    for folder in folders(graph):
        rooms = sorted(graph.find_children(folder))
        doors = {room: imported_rooms(graph, room, rooms) for room in rooms}
        found += [circle for circle in circles(doors) if not is_family(circle)]
    assert found == []


def imported_rooms(graph: grimp.ImportGraph, room: str, rooms: list[str]) -> set[str]:
    """Which of its siblings a module or folder imports from."""
    inside = {room, *graph.find_descendants(room)}
    imported = {
        each for module in inside for each in graph.find_modules_directly_imported_by(module)
    }
    return {
        other
        for other in rooms
        if other != room and any(each == other or each.startswith(f"{other}.") for each in imported)
    }


def circles(doors: dict[str, set[str]]) -> list[set[str]]:
    """Groups of rooms from each of which every other one can be reached."""
    reached = {room: reachable(doors, room) for room in doors}
    groups = {
        frozenset(each for each in reached[room] if room in reached[each])
        for room in doors
        if room in reached[room]
    }
    return [set(group) for group in groups]


def reachable(doors: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = set(doors[start])
    while waiting:
        room = waiting.pop()
        if room not in seen:
            seen.add(room)
            waiting |= doors[room]
    return seen


def is_family(circle: set[str]) -> bool:
    for parent, children in PARENTS.items():
        folder = parent.rpartition(".")[0]
        if circle == {parent, *(f"{folder}.{child}" for child in children)}:
            return True
    return False


def test_circles_are_found() -> None:
    doors = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set[str]()}
    assert circles(doors) == [{"a", "b", "c"}]


def test_few_modules_lie_at_the_top() -> None:
    assert len([*PACKAGE.glob("*.py")]) <= 18


def test_llama_has_no_base() -> None:
    assert Llama.__mro__ == (Llama, object)


@pytest.mark.parametrize("what", [r"\blocals\(\)", r"\binspect\.signature\(", r"\bvars\(\)"])
def test_no_reflection(what: str) -> None:
    files = [path for path in PACKAGE.rglob("*.py") if "generated" not in path.parts]
    assert [path for path in files if re.search(what, path.read_text())] == []

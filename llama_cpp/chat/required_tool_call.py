"""A grammar that admits nothing but calls of tools, and thoughts where they are wanted.

The engine's own grammar for a demanded call lets text come first, and a model may then write text
until there is no room left. The parser that comes with it tells what is text: the rule ``root`` is
derived from it once more, without that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

_UNTIL_NEXT_RULE = r"^root ::= .*(?:\n(?![\w-]+ ::=).*)*"


Thoughts = Literal["wanted", "unwanted", "begun"]


def calls_only(grammar: str, parser: str, thoughts: Thoughts) -> str | None:
    """Take the content out of a grammar.

    Args:
        grammar: What the engine made for a demanded call.
        parser: The parser that it made with it.
        thoughts: Whether there may be any; "begun": the prompt has begun one, which has to end, or
            has ended it already.

    Returns:
        The grammar, or None if the parser knows of no calls.
    """
    parsed = json.loads(parser)
    if not has_calls(parsed):
        return None
    unwanted = {"content", "reasoning"} if thoughts == "unwanted" else {"content"}
    root = _Root(parsed, unwanted, {"reasoning"} if thoughts == "begun" else set()).rule
    grammar = re.sub(_UNTIL_NEXT_RULE, lambda _: f"root ::= {root}", grammar, flags=re.MULTILINE)
    for number in _contents(parsed):  # some let text follow inside of the rule of the calls
        grammar = re.sub(rf"^until-{number} ::= .*", f'until-{number} ::= ""', grammar, flags=re.M)
    return grammar


def _contents(parser: Mapping[str, Any]) -> list[int]:
    """The parsers that read content up to something, and nothing else."""
    found: list[int] = []
    for node in parser["parsers"]:
        if node.get("tag") == "content":
            number = node["child"]
            while (child := parser["parsers"][number])["type"] == "repetition":
                number = child["child"]
            if child["type"] == "until":
                found.append(number)
    return found


def one_call(grammar: str) -> str:
    """Let a grammar of the engine admit one call only, where it admits any number regardless."""
    return re.sub(r"^(tool-calls|tools) ::= (\(.*\))\+$", r"\1 ::= \2", grammar, flags=re.MULTILINE)


def has_calls(parser: Mapping[str, Any]) -> bool:
    """Whether a parser, in the engine's JSON form, knows of calls."""
    return _has_tag(parser, parser["root"], "tool")


def _has_tag(parser: Mapping[str, Any], number: int, beginning: str) -> bool:
    """Whether a node, or one below it, has a tag that begins so."""
    waiting, seen = [number], set()
    while waiting:
        number = waiting.pop()
        node = parser["parsers"][number]
        if node.get("tag", "").startswith(beginning):
            return True
        if number not in seen:
            seen.add(number)
            waiting += _children(parser, node)
    return False


def _is_call(node: Mapping[str, Any]) -> bool:
    return node["type"] == "rule" and bool(node["trigger"])


def _children(parser: Mapping[str, Any], node: Mapping[str, Any]) -> list[int]:
    if node["type"] == "ref":
        return [parser["rules"][node["name"]]]
    return list(node.get("children", [node["child"]] if "child" in node else []))


class _Root:
    """The rule ``root`` without what has one of some tags.

    Args:
        parser: A parser in the engine's JSON form: nodes by number, and rules by name.
        unwanted: The tags.
        empty: Tags of what stays in its place, with nothing but white space in it.
    """

    def __init__(self, parser: Mapping[str, Any], unwanted: set[str], empty: set[str]) -> None:
        self._parser = parser
        self._nodes = parser["parsers"]
        self._unwanted = unwanted
        self._empty = empty
        self._checked: dict[int, bool] = {}
        self.rule = self._rule(parser["root"])

    def _is_touched(self, number: int) -> bool:
        """Whether there is something unwanted below a node, calls aside."""
        if number not in self._checked:
            self._checked[number] = False  # a rule may come back to itself
            node = self._nodes[number]
            self._checked[number] = node.get("tag") in self._unwanted | self._empty or (
                not _is_call(node) and any(map(self._is_touched, _children(self._parser, node)))
            )
        return self._checked[number]

    def _is_text(self, number: int) -> bool:
        """Whether a node is content up to something."""
        node = self._nodes[number]
        return bool(node.get("tag") == "content" and self._nodes[node["child"]]["type"] == "until")

    def _is_avoidable(self, number: int) -> bool:
        """Whether there is a way through a node without what is unwanted."""
        node = self._nodes[number]
        if not self._is_touched(number):
            return True
        if node.get("tag") in self._unwanted:
            return False
        if node["type"] == "repetition" and node["min_count"] == 0:
            return True
        children = _children(self._parser, node)
        if node["type"] == "sequence" and _has_tag(self._parser, number, "reasoning"):
            # Text up to a call may be none; without this way a thought could not end (DeepSeek V4).
            children = [each for each in children if not self._is_text(each)]
        ways = map(self._is_avoidable, children)
        return any(ways) if node["type"] == "choice" else all(ways)

    def _rule(self, number: int) -> str:
        node = self._nodes[number]
        kind, children = node["type"], _children(self._parser, node)
        if node.get("tag") in self._unwanted:
            return ""
        if node.get("tag") in self._empty:
            return r"[ \n]{0,2}"
        if _is_call(node) or (kind in ("rule", "ref") and not self._is_touched(number)):
            return str(node["name"])
        if kind == "choice":
            wanted = [each for each in children if self._is_avoidable(each)] or children
            return "(" + " | ".join(self._rule(each) for each in wanted) + ")"
        if kind == "repetition":
            if node["min_count"] == 0 and not self._is_avoidable(children[0]):
                return ""
            low, high = node["min_count"], node["max_count"]
            inner = self._rule(children[0])
            return f"({inner}){{{low},{'' if high < 0 else high}}}" if inner else ""
        if kind == "sequence":
            return " ".join(filter(None, map(self._rule, children)))
        if kind in ("and", "not"):
            return ""
        if kind == "ac" and not self._is_touched(number):
            return f"ac-{number}"
        if children:  # tags and the like
            return self._rule(children[0])
        return self._leaf(number, node)

    def _leaf(self, number: int, node: Mapping[str, Any]) -> str:
        kind = node["type"]
        if kind == "literal":
            return json.dumps(node["literal"], ensure_ascii=False) if node["literal"] else ""
        if kind == "until":
            return f"until-{number}" if node["delimiters"] else ".*"
        if kind == "chars":
            low, high = node["min_count"], node["max_count"]
            return f"{node['pattern']}{{{low},{'' if high < 0 else high}}}"
        return {"space": "space", "any": "."}.get(kind, "")

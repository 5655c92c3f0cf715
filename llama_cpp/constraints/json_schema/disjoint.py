"""Whether two JSON schemas certainly have no value in common."""

from __future__ import annotations

from typing import Any

from .spots import Spot, followed
from .value_types import TYPES, canonical, type_of, values_of

_DEPTH_MAX = 4
_STEPS_MAX = 20_000  # half a second


def types_allowed(node: Any) -> set[str]:
    """The types that the keywords of a schema alone leave; an integer is a number."""
    types = set(TYPES)
    if isinstance(node, dict):
        if "type" in node:
            types = {node["type"]} if isinstance(node["type"], str) else set(node["type"])
        if (values := values_of(node)) is not None:
            types &= {type_of(value) for value in values} | (
                {"number"} if any(type_of(value) == "integer" for value in values) else set()
            )
    return {"number" if name == "integer" else name for name in types}


class Comparison:
    """Compares the schemas of one document, for some steps; then it tells nothing more."""

    def __init__(self) -> None:
        self._steps = 0

    def apart(self, one: Spot, other: Spot, depth: int = 0) -> bool:
        """Whether it is certain that no value satisfies both."""
        self._steps += 1
        if one.node is False or other.node is False:
            return True
        if depth > _DEPTH_MAX or self._steps > _STEPS_MAX:
            return False
        return any(
            self._nodes_apart(left, right, depth)
            for left in followed(one)
            for right in followed(other)
        )

    def _nodes_apart(self, one: Spot, other: Spot, depth: int) -> bool:
        if not isinstance(one.node, dict) or not isinstance(other.node, dict):
            return False
        if not types_allowed(one.node) & types_allowed(other.node):
            return True
        values, others = values_of(one.node), values_of(other.node)
        if values is not None and others is not None:
            return not set(map(canonical, values)) & set(map(canonical, others))
        for first, second in ((one, other), (other, one)):
            for keyword in ("anyOf", "oneOf"):
                if keyword in first.node and all(
                    self.apart(each, second, depth + 1) for each in first.numbered(keyword)
                ):
                    return True
            parts = first.numbered("allOf") if "allOf" in first.node else ()
            if any(self.apart(part, second, depth + 1) for part in parts):
                return True
        return types_allowed(one.node) == types_allowed(other.node) == {"object"} and (
            self._members_apart(one, other, depth)
        )

    def _members_apart(self, one: Spot, other: Spot, depth: int) -> bool:
        """Whether a member that one of them needs cannot satisfy both."""
        own, others = one.named("properties"), other.named("properties")
        for name in {*one.node.get("required", ()), *other.node.get("required", ())}:
            if name in own and name in others:
                if self.apart(own[name], others[name], depth + 1):
                    return True
            elif any(_lacks(spot.node, name) for spot in (one, other)):
                return True
        return False


def _lacks(node: dict[str, Any], name: str) -> bool:
    return (
        node.get("additionalProperties") is False
        and name not in node.get("properties", ())
        and "patternProperties" not in node
    )

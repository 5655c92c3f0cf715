"""JSON schemas in the keywords that llguidance enforces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Set
from dataclasses import replace
from typing import Any

from ...errors import GrammarError
from .array_forms import arrangements, containing
from .disjoint import Comparison
from .evaluated import closed_to
from .expressible import any_of_patterns, few_values, joined, pattern_of
from .keyword_shapes import check_shapes
from .negation import Negation
from .object_forms import counted
from .scalars import BOUNDS, ScalarKeywords
from .spots import Spot, meant
from .value_types import canonical, values_of

Key = tuple[int, str]
"""What tells the target of a reference: the id of its node, and the address of its document."""

_STEPS_MAX = 20_000  # a second
_PAIRS_MAX = 2000
_KEPT = (
    "type", "minLength", "maxLength", "minItems", "maxItems", "required",
)  # fmt: skip


class Rewriter:
    """Rewrites one document.

    Args:
        root: The document.
        refusal: Tells why llguidance does not take a schema, or None if it does.
        without: Keywords to leave out.
        circular: References (of ``circular``) beside which nothing may stand.
    """

    def __init__(
        self,
        root: Spot,
        refusal: Callable[[Any], str | None],
        without: Set[str] = frozenset(),
        circular: Collection[Key] = (),
    ) -> None:
        self._root = root
        self._refusal = refusal
        self._without = without
        self._circular = circular
        self._negation = Negation(self)
        self._comparison = Comparison()
        self._scalars = ScalarKeywords(self._report, refusal)
        self._names: dict[Key, str] = {}
        self._uses: dict[str, set[str]] = {}
        self._inside = ""
        self._closing: set[str] = set()
        self._steps = 0
        self._waiting: deque[tuple[str, Spot]] = deque()
        self._well_shaped: set[int] = set()
        self._nodes: list[Any] = []  # ids are names only while the nodes live
        self.unenforced: dict[str, str] = {}
        """The way to each keyword that is not enforced, and why."""

    def document(self) -> Any:
        """The whole schema.

        Raises:
            GrammarError: A reference leads nowhere, or a pattern is none.
        """
        schema = self.rewritten(self._root)
        definitions = {}
        while self._waiting:
            name, spot = self._waiting.popleft()
            self._inside = name
            definitions[name] = self.rewritten(spot)
        if not definitions or isinstance(schema, bool):
            return schema
        return {**schema, "$defs": definitions}

    def rewritten(self, spot: Spot) -> Any:
        """One schema of the document."""
        node = spot.node
        if isinstance(node, bool):
            return node
        self.step()
        if spot.ref_is_alone and "$ref" in node:
            return self._reference(spot, "$ref")
        for keyword in node.keys() & self._without:
            self._report(spot, keyword, "it is too much for llguidance beside the others")
            node = {name: value for name, value in node.items() if name != keyword}
        spot = replace(spot, node=node)
        base = {keyword: node[keyword] for keyword in _KEPT if keyword in node}
        also: list[Any] = []
        for way in dict.fromkeys(way for keyword, way in _WAYS.items() if keyword in node):
            way(self, spot, base, also)
        return joined(base, self._alone(spot, base, also) if self._circular else also)

    def circular(self) -> set[Key]:
        """The references that lead back to themselves."""
        return {key for key, name in self._names.items() if name in self._reached(name)}

    def _reached(self, start: str) -> set[str]:
        reached: set[str] = set()
        waiting = [start]
        while waiting:
            for name in self._uses.get(waiting.pop(), set()) - reached:
                reached.add(name)
                waiting.append(name)
        return reached

    def step(self) -> None:
        """Count how often a part of the schema is needed.

        Raises:
            GrammarError: It is too often.
        """
        self._steps += 1
        if self._steps > _STEPS_MAX:
            raise GrammarError("the JSON schema is too complex: its parts are needed too often")

    def negated(self, spot: Spot) -> Any:
        """A schema of other values, or None if there is none."""
        return self._negation.of(spot)

    def _report(self, spot: Spot, keyword: str, why: str) -> None:
        self.unenforced[f"{spot.place}/{keyword}"] = why

    def _alone(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> list[Any]:
        """Leave out what stands beside a reference that leads back to itself."""
        circular = {f"#/$defs/{self._names[key]}" for key in self._circular if key in self._names}
        found = [part for part in also if isinstance(part, dict) and part.get("$ref") in circular]
        if not found or (len(also) == 1 and not base):
            return also
        for keyword in spot.node:
            if (keyword in _WAYS or keyword in _KEPT) and keyword != "$ref":
                self._report(spot, keyword, "it stands beside a $ref that leads back to itself")
        base.clear()
        return found[:1]

    def _reference(self, spot: Spot, keyword: str) -> Any:
        ref = spot.node[keyword]
        target = spot.target(ref)
        if target is None:
            if not ref.startswith("#/"):
                self._report(spot, keyword, f"{ref!r} leads to nothing in the schema")
                return {}
            raise GrammarError(f"the JSON schema at {spot.place}: {keyword} {ref!r} leads nowhere")
        check_shapes(target.node, target.place, "the JSON schema", self._well_shaped)
        key = (id(target.node), target.resolver._base_uri)
        if key not in self._names:
            self._nodes.append(target.node)
            self._names[key] = f"d{len(self._names)}"
            self._waiting.append((self._names[key], target))
        self._uses.setdefault(self._inside, set()).add(self._names[key])
        return {"$ref": f"#/$defs/{self._names[key]}"}

    # Each keyword either goes into the schema itself, or becomes another one that holds, too.

    def _references(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if keyword in spot.node:
                also.append(self._reference(spot, keyword))
                if keyword != "$ref":
                    self._report(spot, keyword, "it is followed as a $ref is")

    def _items(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        node = spot.node
        prefix = "prefixItems" if "prefixItems" in node else None
        rest = "items"
        if isinstance(node.get("items"), list):
            prefix, rest = "items", "additionalItems"
        if prefix:
            base["prefixItems"] = [self.rewritten(each) for each in spot.numbered(prefix)]
        if rest in node:
            base["items"] = self.rewritten(spot[rest,])

    def _contains(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        fewest, most = spot.node.get("minContains", 1), spot.node.get("maxContains")
        if spot.specification.name.startswith("draft-0"):
            fewest, most = 1, None
        inside = self.rewritten(spot["contains",])
        outside = {} if most is None else self._negation.of(spot["contains",])
        if outside is None:
            self._report(spot, "maxContains", "what contains does not allow cannot be said")
            most = None
        if (most is None and fewest == 0) or inside is True or inside == {}:
            if inside in (True, {}):
                also.append({"minItems": fewest} | ({} if most is None else {"maxItems": most}))
            return
        options = containing(inside, outside, fewest, most)
        also.append({"anyOf": options} if options else _NO_ARRAY)

    def _unique(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        node = spot.node
        if node["uniqueItems"] is not True or node.get("maxItems", 2) < 2:
            return
        values = None
        if "prefixItems" not in node and isinstance(node.get("items"), dict):
            values = few_values(meant(spot["items",]))
        found = None
        if values is not None:
            distinct = list({canonical(value): value for value in values}.values())
            found = arrangements(distinct, node.get("minItems", 0), node.get("maxItems"))
        if found is None:
            self._report(spot, "uniqueItems", "a grammar does not remember items")
            return
        also.append({"anyOf": [_NO_ARRAY, {"enum": found}]})

    def _members(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        node = spot.node
        if "properties" in node:
            base["properties"] = {k: self.rewritten(v) for k, v in spot.named("properties").items()}
        patterns = self._by_pattern(spot) if "patternProperties" in node else {}
        if patterns:
            base["patternProperties"] = patterns
        if "additionalProperties" in node and patterns is not None:
            base["additionalProperties"] = self.rewritten(spot["additionalProperties",])
        kept, more = counted(node)
        base.update(kept)
        also.extend(more)
        open_names = node.get("additionalProperties") is not False or "patternProperties" in node
        known = [name for name, inner in node.get("properties", {}).items() if inner is not False]
        others = node.get("minProperties", 0) - len({*known, *node.get("required", ())})
        if others > 1 and open_names:
            self._report(spot, "minProperties", "a name that is written twice counts twice")

    def _by_pattern(self, spot: Spot) -> dict[str, Any] | None:
        """The schemas by patterns of names, of which no two match the same name."""
        if any(map(self._scalars.looks_around, spot.node["patternProperties"])):
            for keyword in spot.node.keys() & {"patternProperties", "additionalProperties"}:
                self._report(spot, keyword, "a pattern looks around itself")
            return None
        found = {
            name: self.rewritten(each) for name, each in spot.named("patternProperties").items()
        }
        problem = self._refusal({"type": "object", "patternProperties": dict.fromkeys(found, True)})
        if problem and "disjoint" in problem:
            return {any_of_patterns(found): {"allOf": list(found.values())}}
        if problem:
            raise GrammarError(
                f"the JSON schema at {spot.place}: patternProperties cannot be used: "
                f"{problem.rpartition('error: ')[2]:.200}"
            )
        return found

    def _names_of_members(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        node = meant(spot["propertyNames",]).node
        values = values_of(node) if isinstance(node, dict) else None
        if node is False or not any(isinstance(value, str) for value in values or [""]):
            also.append({"maxProperties": 0})
        elif isinstance(node, dict):
            pattern = pattern_of(node)
            if pattern is None or self._scalars.looks_around(pattern):
                self._report(spot, "propertyNames", "only enum, const, pattern or lengths alone go")
            elif pattern:
                also.append({"patternProperties": {pattern: True}, "additionalProperties": False})

    def _all_of(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        also.extend(self.rewritten(each) for each in spot.numbered("allOf"))

    def _any_of(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        also.append({"anyOf": [self.rewritten(each) for each in spot.numbered("anyOf")]})

    def _one_of(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        spots = spot.numbered("oneOf")
        options = []
        if len(spots) ** 2 > _PAIRS_MAX:
            self._many(spot, spots, also)
            return
        for index, each in enumerate(spots):
            others = [
                s for i, s in enumerate(spots) if i != index and not self._comparison.apart(each, s)
            ]
            negated = [self._negation.of(other) for other in others]
            if None in negated:
                self._report(spot, "oneOf", "the options may have values in common")
            parts = [self.rewritten(each), *(other for other in negated if other is not None)]
            options.append(parts[0] if len(parts) == 1 else {"allOf": parts})
        also.append({"anyOf": options})

    def _many(self, spot: Spot, spots: list[Spot], also: list[Any]) -> None:
        """A union of too many options to compare each with each."""
        values = [values_of(each.node) if isinstance(each.node, dict) else None for each in spots]
        texts = [canonical(value) for some in values for value in some or ()]
        if None in values or len(set(texts)) < len(texts):
            self._report(spot, "oneOf", "there are too many options to compare")
        also.append({"anyOf": [self.rewritten(each) for each in spots]})

    def _not(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        other = self._negation.of(spot["not",])
        if other is None:
            self._report(spot, "not", "what it does not allow cannot be said")
        else:
            also.append(other)

    def _if(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        if not spot.node.keys() & {"then", "else"}:
            return
        other = self._negation.of(spot["if",])
        if other is None:
            self._report(spot, "if", "what it does not allow cannot be said")
            return
        then = self.rewritten(spot["then",]) if "then" in spot.node else {}
        otherwise = self.rewritten(spot["else",]) if "else" in spot.node else {}
        first = {"allOf": [self.rewritten(spot["if",]), then]}
        also.append({"anyOf": [first, {"allOf": [other, otherwise]}]})

    def _dependent(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, needed in spot.node.get(keyword, {}).items():
                if isinstance(needed, list):
                    present: Any = {"required": [name, *needed]}
                else:
                    inner = self.rewritten(spot[keyword, name])
                    present = {"allOf": [{"required": [name]}, inner]}
                also.append({"anyOf": [{"properties": {name: False}}, present]})

    def _unevaluated(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        if spot.place in self._closing:
            self._report(spot, "unevaluatedProperties", "it leads back to itself")
            return
        self._closing.add(spot.place)
        also.append(closed_to(self, spot))
        self._closing.remove(spot.place)


_NO_ARRAY = {"type": ["null", "boolean", "number", "string", "object"]}


def _scalar(way: Callable[[ScalarKeywords, Spot, dict[str, Any], list[Any]], None]) -> _Way:
    return lambda rewriter, *where: way(rewriter._scalars, *where)


_Way = Callable[[Rewriter, Spot, dict[str, Any], list[Any]], None]
_WAYS: dict[str, _Way] = {
    **dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef"), Rewriter._references),
    **dict.fromkeys(("const", "enum"), _scalar(ScalarKeywords.values)),
    **dict.fromkeys(BOUNDS, _scalar(ScalarKeywords.bounds)),
    "multipleOf": _scalar(ScalarKeywords.multiple),
    "pattern": _scalar(ScalarKeywords.pattern),
    "format": _scalar(ScalarKeywords.format),
    **dict.fromkeys(("items", "prefixItems"), Rewriter._items),
    "contains": Rewriter._contains,
    "uniqueItems": Rewriter._unique,
    **dict.fromkeys(
        ("properties", "patternProperties", "additionalProperties", "minProperties",
         "maxProperties"), Rewriter._members,
    ),
    "propertyNames": Rewriter._names_of_members,
    "allOf": Rewriter._all_of,
    "anyOf": Rewriter._any_of,
    "oneOf": Rewriter._one_of,
    "not": Rewriter._not,
    "if": Rewriter._if,
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "dependencies"), Rewriter._dependent),
    "unevaluatedProperties": Rewriter._unevaluated,
    "unevaluatedItems": Rewriter._unevaluated,
}  # fmt: skip

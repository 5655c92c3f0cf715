"""Which JSON schemas the engine's converter turns into a grammar that admits nothing else.

It ignores what it cannot honour. This module goes through a schema as the converter does and finds
the keywords that would be lost.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ...errors import GrammarError
from .keyword_shapes import check_shapes
from .keyword_shapes import joined as _join
from .keywords import (
    CHECKS,
    Problem,
    all_of_honours,
    all_of_problems,
    lost_keywords,
    object_honours,
)
from .recursion import Needs, stuck
from .value_types import Branches, Schema, canonical, kind_of, values_of

# What the converter makes something else of, or no grammar at all, where it cannot be honoured.
_MISREAD = frozenset({"pattern", "maxLength", "maxItems"})


class SchemaCheck:
    """Goes through one schema, once.

    Args:
        root: The schema.
        what: What it is, for messages.
        warn: Is told what will be ignored; without it, that is an error.
    """

    def __init__(self, root: Any, what: str, warn: Callable[[str], object] | None = None) -> None:
        self._root = root
        self._what = what
        self._warn = warn
        self._branches = Branches(lambda ref: self._target(ref, "#")[0])
        self._well_shaped: set[int] = set()
        self._waiting: deque[tuple[Any, str]] = deque()
        self._misread: defaultdict[str, set[str]] = defaultdict(set)
        self._unions: list[tuple[Schema, str]] = []
        # By place: what a value is made of, and what may stand at its very beginning.
        self._needs: Needs = {}
        self._begins: Needs = {}

    def run(self) -> None:
        """Check it; what is ignored and would be taken for something else is taken out.

        Raises:
            GrammarError: It is no schema or, without ``warn``, asks for what no grammar can honour.
        """
        self._check_shape(self._root, "#")
        self._waiting.append((self._root, "#"))
        while self._waiting:
            schema, place = self._waiting.popleft()
            if place not in self._needs:
                self._visit(schema, place)
            for keyword in self._misread.pop(place, ()):
                schema.pop(keyword, None)
        for schema, place in self._unions:
            self._check_disjoint(schema, place)
        if circle := stuck(self._begins):
            self._refuse(circle, "$ref leads back to itself without an object or array in between")
        if endless := stuck(self._needs):
            self._refuse(endless, "a value of this has to hold another one, and so on without end")

    def _refuse(self, place: str, message: str) -> NoReturn:
        raise GrammarError(f"{self._what} at {place}: {message}")

    def _report(self, place: str, keyword: str, why: str = "") -> None:
        """Say that a keyword will be ignored, if that is allowed."""
        if not keyword:
            self._refuse(place, why)
        because = f": {why}" if why else ""
        if self._warn is None:
            self._refuse(place, f"no grammar can honour {keyword}{because}")
        self._warn(f"{self._what} at {place}: {keyword} is ignored{because}")
        if keyword in _MISREAD:
            self._misread[place].add(keyword)

    def _check_shape(self, schema: Any, place: str) -> None:
        """Refuse what is no schema, here and inside."""
        check_shapes(schema, place, self._what, self._well_shaped)

    def _target(self, ref: str, place: str) -> tuple[Any, str]:
        """What a ``$ref`` leads to, and where that is."""
        if not ref.startswith("#/"):
            self._refuse(
                place, f"$ref {ref!r} leads out of the schema: only those like '#/$defs/name' go"
            )
        if "~" in ref or "%" in ref:
            self._refuse(place, f"$ref {ref!r} has an escaped name: name it without ~, % and /")
        names = ref[2:].split("/")
        node: Any = self._root
        for name in names:
            if isinstance(node, list) and name.isdecimal() and int(name[:9]) < len(node):
                node = node[int(name)]
            elif isinstance(node, dict) and name in node:
                node = node[name]
            else:
                self._refuse(place, f"$ref {ref!r} leads to nothing: there is no {name!r}")
        target = _join("#", *names)
        self._check_shape(node, target)
        return node, target

    def _visit(self, schema: Any, place: str, node: str = "") -> None:
        """Check one schema as the converter takes it, and have those inside of it visited.

        Args:
            schema: The schema.
            place: Where it is.
            node: Its name in the graphs, where several share a place.
        """
        node = node or place
        self._needs[node] = self._begins[node] = (True, [])
        if isinstance(schema, bool):
            self._refuse(
                place, "write {} instead of true" if schema else "no grammar can honour false"
            )
        if place != "#" and isinstance(schema.get("$id"), str):
            self._report(place, "$id", "references are looked up from the root")
        kind = kind_of(schema)
        if kind == "types":
            self._visit_types(schema, place, node)
            return
        honoured = self._honoured_by(kind, schema, place, node)
        for keyword, why in CHECKS.get(kind, _no_problems)(schema):
            self._report(place, keyword, why)
        for keyword, why in lost_keywords(schema, kind, honoured):
            self._report(place, keyword, why)

    def _honoured_by(self, kind: str, schema: Schema, place: str, node: str) -> set[str]:
        """Go on inside a schema; what is honoured of it besides what always is."""
        if kind == "$ref":
            target, where = self._target(schema["$ref"], place)
            self._waiting.append((target, where))
            self._needs[node] = self._begins[node] = (True, [where])
            return {"$ref", *self._implied_type(schema, {"$ref": schema["$ref"]})}
        if kind in ("oneOf", "anyOf"):
            places = self._go_on(_numbered(schema[kind]), place, kind)
            self._needs[node], self._begins[node] = (False, places), (True, places)
            if kind == "oneOf":
                self._unions.append((schema, place))
            return {kind, *self._implied_type(schema, {kind: schema[kind]})}
        if kind == "allOf":
            return self._visit_all_of(schema, place, node)
        if kind == "object":
            self._visit_object(schema, place, node)
            return object_honours(schema)
        if kind == "array":
            self._visit_array(schema, place, node)
            return {"unevaluatedItems"} if schema.keys() & {"items", "prefixItems"} else set()
        if kind in ("const", "enum"):
            same = canonical(schema.get("const")) in map(canonical, schema.get("enum", ()))
            return {"const", "enum", "type"} if same else {kind, "type"}
        return {"multipleOf"} if (kind, schema.get("multipleOf")) == ("integer", 1) else set()

    def _visit_types(self, schema: Schema, place: str, node: str) -> None:
        if values_of(schema) is not None:
            # The type says the same of each value, whichever of its list comes first.
            for keyword, why in CHECKS["enum"](schema):
                self._report(place, keyword, why)
            self._visit({k: v for k, v in schema.items() if k != "type"}, place, node)
            return
        if "allOf" in schema:
            self._refuse(place, "allOf beside a list of types: put it into an anyOf for each type")
        nodes = [f"{node}/type/{name}" for name in schema["type"]]
        for name, each in zip(schema["type"], nodes, strict=True):
            self._visit({**schema, "type": name}, place, each)
        self._needs[node] = (False, nodes)

    def _visit_all_of(self, schema: Schema, place: str, node: str) -> set[str]:
        self._go_on(_numbered(schema["allOf"]), place, "allOf")
        parts: list[Schema] = []
        needed: list[str] = []
        for number, part in _numbered(schema["allOf"]).items():
            where = _join(place, "allOf", number)
            passed = set[str]()
            while isinstance(part, dict) and kind_of(part) == "$ref":
                part, where = self._target(part["$ref"], where)
                if where in passed:
                    self._refuse(where, "$ref leads back to itself")
                passed.add(where)
            if not isinstance(part, dict):
                self._refuse(where, "write {} instead of true")
            parts.append(part)
            if kind_of(part) == "object":
                # All properties become required.
                needed += [_join(where, "properties", name) for name in part.get("properties", ())]
        for keyword, why in all_of_problems(parts):
            self._report(place, keyword, why)
        self._needs[node] = (True, needed)
        return all_of_honours(schema, parts) | self._implied_type(
            schema, {"allOf": schema["allOf"]}
        )

    def _visit_object(self, schema: Schema, place: str, node: str) -> None:
        properties = schema.get("properties", {})
        places = dict(zip(properties, self._go_on(properties, place, "properties"), strict=True))
        required = [places[name] for name in schema.get("required", ()) if name in places]
        self._needs[node] = (True, required)
        if isinstance(schema.get("additionalProperties"), dict):
            self._waiting.append(
                (schema["additionalProperties"], _join(place, "additionalProperties"))
            )

    def _visit_array(self, schema: Schema, place: str, node: str) -> None:
        key = "items" if "items" in schema else "prefixItems"
        items = schema.get(key, {})
        if isinstance(items, list):
            self._needs[node] = (True, self._go_on(_numbered(items), place, key))
        elif items is False and "prefixItems" in schema:
            self._refuse(place, "leave items out: there will be as many as prefixItems has")
        elif key in schema:
            where = _join(place, key)
            self._waiting.append((items, where))
            self._needs[node] = (True, [where] if schema.get("minItems") else [])

    def _implied_type(self, schema: Schema, bare: Schema) -> set[str]:
        """``type``, if it says nothing that what it stands beside does not say."""
        wanted = schema.get("type", [])
        allowed = {wanted} if isinstance(wanted, str) else set(wanted)
        if "number" in allowed:
            allowed.add("integer")
        return {"type"} if self._branches.types_written(bare) <= allowed else set()

    def _check_disjoint(self, schema: Schema, place: str) -> None:
        branches = schema["oneOf"]
        for i, one in enumerate(branches):
            for j in range(i):
                if not self._branches.apart(one, branches[j]):
                    why = f"branches {j} and {i} may have values in common"
                    if self._branches.gave_up:
                        why = "there are too many branches to tell whether they are disjoint"
                    hint = "or give each a required property with a const of its own"
                    self._report(place, "oneOf", f"{why}; write anyOf, {hint}")
                    return

    def _go_on(self, schemas: Mapping[str, Any], place: str, keyword: str) -> list[str]:
        """Have schemas visited; where they are."""
        places = [_join(place, keyword, name) for name in schemas]
        self._waiting.extend(zip(schemas.values(), places, strict=True))
        return places


def _no_problems(schema: Schema) -> list[Problem]:
    return []


def _numbered(schemas: list[Any]) -> dict[str, Any]:
    return {str(index): schema for index, schema in enumerate(schemas)}

"""Places in a JSON schema, and what references lead to from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from referencing import Specification
    from referencing._core import Resolver

_OLD_DRAFTS = ("draft-03", "draft-04", "draft-06", "draft-07")


@dataclass(frozen=True)
class Spot:
    """A schema inside of a document.

    Args:
        node: The schema.
        place: The way to it from the root.
        resolver: Looks references up from here.
        specification: The draft that counts here.
        ref_is_alone: Whether keywords beside ``$ref`` say nothing, as in drafts up to 7.
    """

    node: Any
    place: str
    resolver: Resolver[Any]
    specification: Specification[Any]
    ref_is_alone: bool

    def __getitem__(self, way: tuple[str | int, ...]) -> Spot:
        """The schema that stands inside."""
        node = self.node
        for step in way:
            node = node[step]
        names = (str(step).replace("~", "~0").replace("/", "~1") for step in way)
        return _spot(node, "/".join((self.place, *names)), self.resolver, self)

    def numbered(self, keyword: str) -> list[Spot]:
        """The schemas of a list."""
        return [self[keyword, index] for index in range(len(self.node[keyword]))]

    def named(self, keyword: str) -> dict[str, Spot]:
        """The schemas of an object."""
        return {name: self[keyword, name] for name in self.node.get(keyword, ())}

    def target(self, ref: str) -> Spot | None:
        """The schema that a reference leads to, or None if there is none."""
        from referencing.exceptions import Unresolvable

        try:
            found = self.resolver.lookup(ref)
        except (Unresolvable, ValueError, KeyError, IndexError):
            return None
        place = ref if ref.startswith("#") else f"$ref {ref}"
        return _spot(found.contents, place, found.resolver, self)


def root_spot(schema: Any) -> Spot:
    """The place of a whole document."""
    import jsonschema_specifications
    from referencing.jsonschema import DRAFT202012

    specification = _specification(schema, DRAFT202012)
    resource = specification.create_resource(schema)
    resolver = jsonschema_specifications.REGISTRY.resolver_with_root(resource)
    return Spot(schema, "#", resolver, specification, _is_old(schema, False))


def _spot(node: Any, place: str, resolver: Resolver[Any], outer: Spot) -> Spot:
    specification = _specification(node, outer.specification)
    if isinstance(node, Mapping) and isinstance(node.get("$id", node.get("id")), str):
        resolver = resolver.in_subresource(specification.create_resource(node))
    return Spot(node, place, resolver, specification, _is_old(node, outer.ref_is_alone))


def _specification(node: Any, default: Specification[Any]) -> Specification[Any]:
    from referencing.exceptions import CannotDetermineSpecification
    from referencing.jsonschema import UnknownDialect, specification_with

    uri = node.get("$schema") if isinstance(node, Mapping) else None
    if not isinstance(uri, str):
        return default
    try:
        return specification_with(uri)
    except (UnknownDialect, CannotDetermineSpecification):
        return default


def _is_old(node: Any, default: bool) -> bool:
    uri = node.get("$schema") if isinstance(node, Mapping) else None
    if not isinstance(uri, str):
        return default
    return any(name in uri for name in _OLD_DRAFTS)


def followed(spot: Spot) -> Iterator[Spot]:
    """The schema and, one after the other, what its references alone lead to."""
    passed: set[int] = set()
    current: Spot | None = spot
    while current is not None and id(current.node) not in passed:
        passed.add(id(current.node))
        yield current
        node = current.node
        ref = node.get("$ref") if isinstance(node, dict) else None
        current = current.target(ref) if isinstance(ref, str) else None


def meant(spot: Spot) -> Spot:
    """What a reference leads to where nothing stands beside it, else the schema itself."""
    for each in followed(spot):
        spot = each
        beside = each.node.keys() - _ANNOTATIONS if isinstance(each.node, dict) else set()
        if beside != {"$ref"} and not (each.ref_is_alone and "$ref" in beside):
            break
    return spot


_ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "$comment"}

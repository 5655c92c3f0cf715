"""Keywords of numbers and texts, and values, as far as llguidance has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ...errors import GrammarError
from . import formats
from .expressible import EXACT_MAX, is_inexact
from .spots import Spot

_MULTIPLE_DIGITS_MAX = 100_000  # its automaton has as many states
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class ScalarKeywords:
    """Puts such keywords into a schema, or among others that hold besides.

    Args:
        report: Is told the place of a keyword that is not enforced, the keyword, and why.
        refusal: Tells why llguidance does not take a schema, or None if it does.
    """

    def __init__(
        self, report: Callable[[Spot, str, str], None], refusal: Callable[[Any], str | None]
    ) -> None:
        self._report = report
        self._refusal = refusal

    def values(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        """``const`` and ``enum``."""
        if "enum" in spot.node:
            self._one_of_values(spot, "enum", spot.node["enum"], also)
        if "const" in spot.node:
            self._one_of_values(spot, "const", [spot.node["const"]], also)

    def _one_of_values(self, spot: Spot, keyword: str, values: list[Any], also: list[Any]) -> None:
        if any(map(is_inexact, values)):
            self._report(spot, keyword, "it has numbers of many digits, or control characters")
        else:
            also.append({"enum": values})

    def bounds(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        """``minimum`` and the like."""
        found = {name: spot.node[name] for name in BOUNDS if name in spot.node}
        for name, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if found.get(name) is False:  # as drafts up to 4 have it
                del found[name]
            elif found.get(name) is True:
                del found[name]
                if limit in found:
                    found[name] = found.pop(limit)
        for name, bound in list(found.items()):
            alone = {"type": "number", name: bound}
            if abs(bound) > EXACT_MAX or (self._refusal(alone) or "").startswith("Failed"):
                self._report(spot, name, "the number has more digits than llguidance keeps")
                del found[name]
        base.update(found)

    def multiple(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        """``multipleOf``."""
        digits = Decimal(str(spot.node["multipleOf"])).normalize().as_tuple().digits
        number = int("".join(map(str, digits)))
        alone = {"type": "number", "multipleOf": spot.node["multipleOf"]}
        exponent = math.log10(spot.node["multipleOf"]) if spot.node["multipleOf"] > 0 else math.inf
        if number > _MULTIPLE_DIGITS_MAX or not -12 < exponent < 5 or self._refusal(alone):
            self._report(spot, "multipleOf", "the number has too many digits")
        else:
            base["multipleOf"] = spot.node["multipleOf"]

    def pattern(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        """``pattern``, in parts that all have to match."""
        parts = formats.without_look_ahead(spot.node["pattern"].replace(r"\Z", r"\z"))
        for part in parts:
            alone = {"type": "string", "pattern": part}
            problem = self._refusal(alone)
            if self.looks_around(part):
                self._report(spot, "pattern", "it looks around itself")
            elif problem and not problem.startswith("Unsatisfiable"):
                why = problem.rpartition("error: ")[2].strip()
                raise GrammarError(
                    f"the JSON schema at {spot.place}: pattern {part!r:.100} cannot be used: "
                    f"{why:.200}; write it without look-behind and back-references, in the syntax "
                    "that JavaScript and Rust share"
                )
            else:
                also.append({"pattern": part})

    def looks_around(self, pattern: str) -> bool:
        """Whether a pattern has a look-ahead, or a word boundary, which are not enforced."""
        problem = self._refusal({"type": "string", "pattern": pattern}) or ""
        return "WordUnicode" in problem or (
            "look-around" in problem and ("(?=" in pattern or "(?!" in pattern)
        )

    def format(self, spot: Spot, base: dict[str, Any], also: list[Any]) -> None:
        """``format``."""
        name = spot.node["format"]
        if name in formats.PATTERNS:
            also.append({"pattern": formats.PATTERNS[name]})
        elif name in formats.NATIVE:
            also.append({"format": name})
        elif name in formats.WITHOUT_PATTERN:
            self._report(spot, "format", f"{name} is not known")

"""``ConfigFile``: settings in JSON or YAML, and in which line each of them stands."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import InvalidArgumentError

Place = tuple[str | int, ...]
"""The names and numbers that lead to a value."""


class ConfigFile:
    """A file of settings.

    Args:
        path: JSON, or YAML if it is called ``.yaml`` or ``.yml``.

    Raises:
        InvalidArgumentError: It cannot be read, or holds something else than a mapping.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._text = Path(path).read_text(encoding="utf-8")
            if path.endswith((".yaml", ".yml")):
                import yaml

                values = yaml.safe_load(self._text)
            else:
                values = json.loads(self._text)
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(
                f"config_file={path} cannot be read: {error}. It must be JSON, or YAML and be "
                "called .yaml or .yml"
            ) from None
        except Exception as error:  # yaml has a tree of errors of its own
            raise InvalidArgumentError(f"config_file={path} is no YAML: {error}") from None
        if not isinstance(values, dict):
            raise InvalidArgumentError(f"config_file={path} must hold a mapping")
        self.values: dict[str, Any] = values

    def where(self, place: Place) -> str:
        """Say where something stands, as exactly as that is known."""
        while place and place not in self._lines:
            place = place[:-1]
        line = self._lines.get(place)
        return f"config_file={self.path}" + ("" if line is None else f", line {line}")

    def has(self, place: Place) -> bool:
        """Whether the file tells something."""
        return place in self._lines

    def places_of(self, setting: str) -> list[Place]:
        """Where a setting stands."""
        return [place for place in self._lines if place[-1:] == (setting,)]

    def check_names(self, place: Place, given: Mapping[Any, Any], known: Collection[str]) -> None:
        """Refuse what is no setting.

        Args:
            place: Where the settings stand.
            given: The settings.
            known: The names that there are.

        Raises:
            InvalidArgumentError: A name is none of them.
        """
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f": is {near[0]!r} meant?" if near else ""
                where = self.where((*place, name))
                raise InvalidArgumentError(f"{where}: {name!r} is no setting{hint}")

    @cached_property
    def _lines(self) -> dict[Place, int]:
        """The lines of all values; the parser of YAML reads JSON too, but for tabs."""
        import yaml

        lines: dict[Place, int] = {}

        def look(node: Any, place: Place) -> None:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    inner = (*place, key.value)
                    lines[inner] = key.start_mark.line + 1
                    look(value, inner)
            elif isinstance(node, yaml.SequenceNode):
                for number, value in enumerate(node.value):
                    inner = (*place, number)
                    lines[inner] = value.start_mark.line + 1
                    look(value, inner)

        try:
            look(yaml.compose(self._text.replace("\t", " "), yaml.SafeLoader), ())
        except yaml.YAMLError:
            return {}
        return lines

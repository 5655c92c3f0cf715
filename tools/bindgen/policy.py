"""What the headers do not say: see ``policy.toml``, the one place where it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .headers import read_toml


@dataclass
class Policy:
    """The contents of ``policy.toml``, and which of its entries were never used."""

    nullable: set[str]
    owned: set[str]
    handles: set[str]
    renamed: dict[str, str]
    parameters: dict[str, str]
    anonymous: dict[str, str]
    excluded: dict[str, str]
    names: dict[str, dict[str, str]]
    conversions: dict[str, list[str]]
    _used: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Read the policy from its file."""
        data = read_toml(path)
        return cls(
            nullable=_parameters(data["nullable"]),
            owned=_parameters(data["owned"]),
            handles=set(data["handles"]),
            renamed=data["renamed"],
            parameters=data["parameters"],
            anonymous=data["anonymous"],
            excluded=data["excluded"],
            names=data["names"],
            conversions=data["conversions"],
        )

    def is_nullable(self, function: str, parameter: str) -> bool:
        """Tell whether NULL means something for this parameter."""
        return self._use("nullable", f"{function}.{parameter}", self.nullable)

    def is_owned(self, function: str, parameter: str) -> bool:
        """Tell whether a ``char *`` parameter takes memory over, and is no string or buffer."""
        return self._use("owned", f"{function}.{parameter}", self.owned)

    def is_handle(self, tag: str) -> bool:
        """Tell whether a struct is handled as if it were opaque, although its layout is public."""
        return self._use("handles", tag, self.handles)

    def python_name(self, tag: str) -> str:
        """Return the name of the Python class for a struct."""
        return self.renamed[tag] if self._use("renamed", tag, self.renamed) else tag

    def parameter_name(self, function: str, name: str) -> str:
        """Return the name of a parameter in Python."""
        key = f"{function}.{name}"
        return self.parameters[key] if self._use("parameters", key, self.parameters) else name

    def anonymous_name(self, record: str) -> str | None:
        """Return the name for the record inside of this one that has none in C."""
        return self.anonymous[record] if self._use("anonymous", record, self.anonymous) else None

    def reason_to_exclude(self, function: str) -> str | None:
        """Return why a function is not bound, or None if it is to be."""
        return self.excluded[function] if self._use("excluded", function, self.excluded) else None

    def stale(self) -> list[str]:
        """Return the entries that no header gave a use for: they are mistakes, or outdated."""
        tables = (
            "nullable", "owned", "handles", "renamed", "parameters", "anonymous", "excluded",
        )  # fmt: skip
        entries = {f"{table} {key}" for table in tables for key in getattr(self, table)}
        return sorted(entries - self._used)

    def _use(self, table: str, key: str, entries: set[str] | dict[str, str]) -> bool:
        if key not in entries:
            return False
        self._used.add(f"{table} {key}")
        return True


def _parameters(table: dict[str, list[str]]) -> set[str]:
    return {f"{function}.{name}" for function, names in table.items() for name in names}

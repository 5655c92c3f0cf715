"""The official JSON Schema test suite, as the source distribution of ``jsonschema`` carries it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRAFTS = ("draft7", "draft2020-12")
_META = {
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
# These are about other documents, or say that formats are not checked.
_LEFT_OUT = ("refRemote", "format", "vocabulary", "content", "default", "infinite-loop-detection")
FORMATS = (
    "date-time", "date", "time", "duration", "uuid", "uri", "email", "ipv4", "ipv6",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A schema of the suite with an instance.

    Args:
        name: The file, and what both are for.
        schema: The schema, with the draft that it is of.
        instance: A JSON value.
        is_valid: Whether the schema allows it.
    """

    name: str
    schema: Any
    instance: Any
    is_valid: bool


def cases(folder: Path, draft: str) -> Iterator[Case]:
    """All cases of a draft, and those of formats that are enforced.

    Args:
        folder: The suite's folder ``tests``.
        draft: One of ``DRAFTS``.
    """
    files = [path for path in sorted((folder / draft).glob("*.json")) if path.stem not in _LEFT_OUT]
    files += [folder / draft / "optional" / "format" / f"{name}.json" for name in FORMATS]
    for path in files:
        for group in json.loads(path.read_text("utf-8")) if path.exists() else ():
            schema = group["schema"]
            if isinstance(schema, dict):
                schema = {"$schema": _META[draft], **schema}
            for test in group["tests"]:
                name = f"{draft}/{path.stem}: {group['description']}: {test['description']}"
                yield Case(name, schema, test["data"], test["valid"])

"""Logits processors in Python that the operator registers and requests name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from ..errors import InvalidArgumentError
from ..sampling.hooks import is_batch


def registered(entries: Sequence[str]) -> dict[str, Any]:
    """Import processors, by the names that requests may say.

    A class is made an object for each request, so that it may keep what it knows of one text; a
    batch-wise one is made once, because texts share a call by sharing the object.

    Args:
        entries: ``module:name``, or ``alias=module:name``.

    Raises:
        InvalidArgumentError: One has another form, cannot be imported or called, or has the name of
            another one.
    """
    processors: dict[str, Any] = {}
    for entry in entries:
        alias, _, path = entry.rpartition("=")
        module, _, name = path.partition(":")
        if not (module and name):
            raise _wrong(entry, "it must be module:name or alias=module:name")
        try:
            processor = getattr(import_module(module), name)
            if isinstance(processor, type) and is_batch(processor):
                processor = processor()
        except Exception as error:  # whatever a module raises as it runs
            raise _wrong(entry, f"{type(error).__name__}: {error}") from error
        if not callable(processor):
            raise _wrong(entry, "it is not callable")
        if (alias or name) in processors:
            raise _wrong(entry, f"another one is called {alias or name!r}: say alias={path}")
        processors[alias or name] = processor
    return processors


def named(processors: Mapping[str, Any], name: str) -> Any:
    """Return what a request names.

    Raises:
        InvalidArgumentError: There is none of that name.
    """
    if name not in processors:
        known = f"there are {', '.join(processors)}" if processors else "the server has none"
        raise InvalidArgumentError(f"logits_processor={name!r} is not known: {known}")
    processor = processors[name]
    return processor() if isinstance(processor, type) else processor


def _wrong(entry: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"logits_processors={entry!r} cannot be used: {reason}")

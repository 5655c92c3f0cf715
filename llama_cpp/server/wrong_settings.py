"""Telling what is wrong with settings: by the flag, the variable or the line of a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pydantic import ValidationError

from .config_file import ConfigFile
from .environment import names_of, variable_of


def origin_of(setting: str, flags: Collection[str], file: ConfigFile | None = None) -> str | None:
    """Say what told a setting; None if nothing did.

    Args:
        setting: Its name.
        flags: The names of those that are flags.
        file: The file of settings.
    """
    if setting in flags:
        return f"--{setting}"
    if file is not None and len(places := file.places_of(setting)) == 1:
        return file.where(places[0])
    variable = variable_of(setting)
    return None if variable is None else variable[0]


def with_origin(message: str, flags: Collection[str], file: ConfigFile | None = None) -> str:
    """Add to a message that begins with ``setting=value`` what told the setting."""
    found = re.match(r"([a-z_]+)=", message)
    origin = None if found is None else origin_of(found[1], flags, file)
    return message if origin is None else f"{origin}: {message}"


def explained(
    error: ValidationError,
    known: Collection[str],
    flags: Collection[str],
    file: ConfigFile | None = None,
    *,
    is_flat: bool = False,
) -> Iterator[str]:
    """Say what is wrong with each setting.

    Args:
        error: What the settings class found.
        known: The names of all settings.
        flags: The names of those that are flags.
        file: The file of settings.
        is_flat: Whether the settings of the only model stand beside the server's in it.
    """
    for problem in error.errors():
        place = problem["loc"][2:] if is_flat and len(problem["loc"]) > 2 else problem["loc"]
        setting = next((each for each in place if each in known), None)
        what = f"{setting or '.'.join(map(str, place)) or 'settings'}: {problem['msg']}"
        if setting is None or problem["type"] == "missing":
            origin = None if file is None else file.where(place)
            if setting is not None:
                what += f" (--{setting}, {names_of(str(setting))})"
        elif file is not None and setting not in flags and file.has(place):
            origin = file.where(place)
        else:
            origin = origin_of(str(setting), flags)
        yield what if origin is None else f"{origin}: {what}"

"""How the lines of the log look: text, or JSON."""

from __future__ import annotations

import logging
from typing import Literal, TextIO

LogFormat = Literal["text", "json"]

# Texts of clients and models are in messages: none of them colours a terminal or begins a line.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))} | {
    ord("\u2028"): "\\u2028",
    ord("\u2029"): "\\u2029",
}


class TextFormatter(logging.Formatter):
    """One line for each message, in which control characters are written as escapes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Write the message; a traceback comes below it."""
        return super().formatMessage(record).translate(_CONTROLS)


def configure_logging(log_format: LogFormat = "text") -> None:
    """Have the log of the process written to stderr, unless the program has it written already.

    Args:
        log_format: How its lines look; "json" is one object for each.
    """
    if not logging.root.handlers:
        logging.basicConfig(level=logging.INFO, handlers=[_Handler()])
    for handler in logging.root.handlers:
        if isinstance(handler, _Handler):
            handler.setFormatter(_formatter(log_format))


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of this module, whose format may be set again."""


def _formatter(log_format: LogFormat) -> logging.Formatter:
    if log_format == "text":
        return TextFormatter("%(asctime)s %(levelname)s %(message)s")
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, for terminals
        json_ensure_ascii=False,
    )

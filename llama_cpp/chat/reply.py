"""Replies while they come: what of the message is new after each part of the text."""

from __future__ import annotations

import json
import logging
import secrets
import string
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from ..errors import ChatParseError, InvalidArgumentError
from .json_elision import json_cut

# A parser reads all of a text again after each token. Of one longer than this, the middle is left
# out as soon as it is seen that this changes nothing else, so a token costs the same everywhere.
_WINDOW = 1024
# So much of the beginning and of the end stays; no tag is longer.
_MARGIN = 128

_logger = logging.getLogger("llama_cpp")

_TEXTS = ("reasoning_content", "content")
_ID_CHARACTERS = string.ascii_letters + string.digits

Place = str | int
"""Where a text stands in a message: by its name, or the number of the call that has it."""


class Parser(Protocol):
    """What reads replies to one prompt."""

    def parse(self, text: str, *, partial: bool = False) -> dict[str, Any]:
        """Return the assistant's message that a text, or its beginning, means."""

    def close(self) -> None:
        """Free what it holds."""


class PlainText:
    """Reads replies that are nothing but their content."""

    def parse(self, text: str, *, partial: bool = False) -> dict[str, Any]:
        """Return the message."""
        return {"role": "assistant", "content": text}

    def close(self) -> None:
        """Free nothing."""


def new_call_id() -> str:
    """Return an id for a call: nine letters and digits, as the templates of Mistral demand."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(9))


class ReplyReader:
    """Reads one reply as it comes.

    A reply that is not of the template's form becomes what could be read of it, and the rest of its
    text the content, so that nothing is lost; after calls the rest is only logged.

    Args:
        parser: Reads replies; it is closed with the reader.
    """

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._text = ""
        self._shortened = ""
        self._limit = 2 * _WINDOW
        # Lengths, in the message that the shortened text gives, of what was handed out.
        self._told: dict[Place, int] = {}
        self._grew: Place = "content"
        # What the prompt already says of the reply is not part of it.
        begun = self._read("", partial=True) or {}
        self._begun = {name: begun.get(name) or "" for name in _TEXTS}
        self._told.update((name, len(text)) for name, text in self._begun.items())
        self.message: dict[str, Any] = {"role": "assistant", "content": ""}
        """The message so far; ``content`` is None if there are calls and no text."""

    def add(self, text: str) -> list[dict[str, Any]]:
        """Take more of the text.

        Returns:
            What is new in the message, as OpenAI's deltas.
        """
        self._text += text
        self._shortened += text
        read = self._read(self._shortened, partial=True)
        if read is None:
            return []
        deltas = self._news(read)
        if len(self._shortened) > self._limit:
            self._shorten(read)
        return deltas

    def finish(self, text: str = "", *, partial: bool = False) -> list[dict[str, Any]]:
        """Take the end of the text.

        Args:
            text: What came last, or all of it.
            partial: Whether it was cut off.

        Returns:
            What is new in the message, as OpenAI's deltas.
        """
        self._text += text
        read = self._read(self._text, partial=partial)
        if read is None:
            read, partial = self._salvaged(), True
        message = self.message
        for name, begun in self._begun.items():
            self._told[name] = len(begun + message.get(name, ""))
        for index, call in enumerate(message.get("tool_calls", [])):
            self._told[index] = len(_arguments(call))
        deltas = self._news(read, is_last=True)
        if calls := message.get("tool_calls"):
            message["content"] = message["content"] or None
            if partial and not _is_json(_arguments(calls[-1])):
                calls[-1]["status"] = "incomplete"
                deltas.append({"tool_calls": [{"index": len(calls) - 1, "status": "incomplete"}]})
        return deltas

    def close(self) -> None:
        """Free the parser."""
        self._parser.close()

    def _read(self, text: str, *, partial: bool) -> dict[str, Any] | None:
        try:
            return self._parser.parse(text, partial=partial)
        except (ChatParseError, InvalidArgumentError):  # of another form, or nested too deeply
            return None

    def _salvaged(self) -> dict[str, Any]:
        """The message of a text that cannot be read to its end."""
        reader = ReplyReader(self._parser)
        for character in self._text:
            reader.add(character)
        if reader.message.get("tool_calls"):
            _logger.warning(
                "the reply goes on after its calls, by none of its rules: %r", self._text
            )
            return self._begun | reader.message
        thought = reader.message.get("reasoning_content", "")
        rest = self._text.partition(thought)[2] if thought else self._text
        return {
            "reasoning_content": self._begun["reasoning_content"] + thought,
            "content": self._begun["content"] + rest,
        }

    def _is_space_before_call(self, read: Mapping[str, Any], *, is_last: bool) -> bool:
        """Whether there is nothing but white space, which before a call is no content."""
        new = read["content"][len(self._begun["content"]) :]
        may_call = not is_last or "tool_calls" in read
        return may_call and not self.message["content"] and not new.strip()

    def _news(self, read: Mapping[str, Any], *, is_last: bool = False) -> list[dict[str, Any]]:
        """Add to the message what is new in it."""
        deltas: list[dict[str, Any]] = []
        for name in _TEXTS:
            if name == "content" and self._is_space_before_call(read, is_last=is_last):
                continue
            if new := self._new(name, read.get(name) or ""):
                self.message[name] = self.message.get(name, "") + new
                deltas.append({name: new})
        for index, call in enumerate(read.get("tool_calls", [])):
            function = call["function"]
            if index not in self._told:
                start = {"id": call.get("id") or new_call_id(), "type": "function"}
                head = {"name": function["name"], "arguments": ""}
                self.message.setdefault("tool_calls", []).append({**start, "function": dict(head)})
                deltas.append({"tool_calls": [{"index": index, **start, "function": head}]})
                self._told[index] = 0
                self._grew = index
            if new := self._new(index, function["arguments"]):
                self.message["tool_calls"][index]["function"]["arguments"] += new
                delta = {"index": index, "function": {"arguments": new}}
                deltas.append({"tool_calls": [delta]})
        return deltas

    def _new(self, place: Place, text: str) -> str:
        new = text[self._told.get(place, 0) :]
        if new:
            self._told[place] = len(text)
            self._grew = place
        return new

    def _shorten(self, read: Mapping[str, Any]) -> None:
        """Leave out the middle of the text that grows, if the rest then reads as before."""
        place = self._grew
        value = _text_at(read, place)
        start, end = _MARGIN, len(value) - _MARGIN
        if isinstance(place, int):
            start, end = json_cut(value, _MARGIN)
        self._limit = 2 * len(self._shortened)
        if end - start < _WINDOW // 2:
            return
        for middle, rest in _spellings(value, start, end, is_json=isinstance(place, int)):
            before, found, after = self._shortened.rpartition(rest)
            if not found or not before.endswith(middle):
                continue
            shorter = before[: -len(middle)] + rest + after
            if self._read(shorter, partial=True) == _with_text_at(
                read, place, value[:start] + value[end:]
            ):
                self._shortened = shorter
                self._told[place] -= end - start
                self._limit = len(self._shortened) + _WINDOW
                return


def _text_at(message: Mapping[str, Any], place: Place) -> str:
    if isinstance(place, int):
        calls = message.get("tool_calls", [])  # nonsense may make one disappear again
        return _arguments(calls[place]) if place < len(calls) else ""
    return str(message.get(place) or "")


def _arguments(call: Mapping[str, Any]) -> str:
    return str(call["function"]["arguments"])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _with_text_at(message: Mapping[str, Any], place: Place, text: str) -> dict[str, Any]:
    if isinstance(place, str):
        return {**message, place: text}
    calls = list(message["tool_calls"])
    function = {**calls[place]["function"], "arguments": text}
    calls[place] = {**calls[place], "function": function}
    return {**message, "tool_calls": calls}


def _spellings(text: str, start: int, end: int, *, is_json: bool) -> list[tuple[str, str]]:
    """How a part of a text and its rest may stand in a reply: some write strings without JSON."""
    spellings = [(text[start:end], text[end:])]
    if is_json:
        with suppress(ValueError):
            middle, rest = (json.loads(f'"{part}"') for part in spellings[0])
            spellings.append((middle, rest))
    return spellings

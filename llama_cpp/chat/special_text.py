"""Special tokens in what people write are text.

A user who writes ``<|im_end|>`` must not end a message. So the texts of special tokens get a mark
before a template renders them, and where the mark is found in the prompt they are tokenized as
text, while those that the template itself writes stand for their tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..handles import Vocab
from ..llama_cpp import LLAMA_TOKEN_ATTR_LSTRIP, LLAMA_TOKEN_ATTR_RSTRIP

# Noncharacters, which no text has to have: the first that it does not have is the mark.
_MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


class SpecialTexts:
    """The texts of a vocabulary's control tokens.

    Args:
        vocab: The vocabulary.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._ids = vocab.special_texts
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def found_in(self, value: Any) -> bool:
        """Whether a text, or one inside of lists and dicts, has the text of a special token."""
        return _any_text(value, lambda text: self._pattern.search(text) is not None)

    def marked(
        self, messages: Sequence[Mapping[str, Any]], unmarked: Sequence[str] = ()
    ) -> tuple[list[dict[str, Any]], str]:
        """Mark the texts of special tokens in messages.

        Args:
            messages: The messages.
            unmarked: Texts that stay as they are in what the assistant said: a template looks for
                the tags of thoughts there.

        Returns:
            The messages, and the mark.
        """

        def is_free(mark: str) -> bool:
            return not _any_text(messages, lambda text: mark in text)

        mark = next(filter(is_free, _MARKS), _MARKS[0])

        def put(found: re.Match[str]) -> str:
            return found[0][0] + mark + found[0][1:]

        def put_unless_tag(found: re.Match[str]) -> str:
            return found[0] if found[0] in unmarked else put(found)

        marked: list[dict[str, Any]] = []
        for message in messages:
            put_here = put_unless_tag if message.get("role") == "assistant" else put
            marked.append(
                {
                    name: value if name == "role" else self._replaced(value, put_here)
                    for name, value in message.items()
                }
            )
        return marked, mark

    def tokenize(self, prompt: str, mark: str) -> list[int]:
        """Tokenize a rendered prompt in which some texts are marked."""
        parts = prompt.split(mark)
        plain = "".join(parts)
        protected: set[int] = set()
        end = 0
        for part in parts[:-1]:
            end += len(part)
            protected.add(end - 1)
        ids: list[int] = []
        start = position = 0
        while found := self._pattern.search(plain, position):
            if found.start() in protected:
                position = found.start() + 1
                continue
            token = self._ids[found[0]]
            attributes = self._vocab.attr(token)
            before = plain[start : found.start()]
            start = position = found.end()
            if attributes & LLAMA_TOKEN_ATTR_LSTRIP:
                before = before.rstrip()
            if attributes & LLAMA_TOKEN_ATTR_RSTRIP:
                while plain[start : start + 1].isspace():
                    start = position = start + 1
            ids += [*self._text(before), token]
        return ids + self._text(plain[start:])

    def _text(self, text: str) -> list[int]:
        return self._vocab.tokenize(text, add_special=False, parse_special=False) if text else []

    def _replaced(self, value: Any, put: Callable[[re.Match[str]], str]) -> Any:
        if isinstance(value, str):
            return self._pattern.sub(put, value)
        if isinstance(value, Mapping):
            return {name: self._replaced(child, put) for name, child in value.items()}
        if isinstance(value, list | tuple):
            return [self._replaced(child, put) for child in value]
        return value


def _any_text(value: Any, is_wanted: Callable[[str], bool]) -> bool:
    if isinstance(value, str):
        return is_wanted(value)
    children = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, Mapping | Sequence) and any(
        _any_text(child, is_wanted) for child in children
    )

"""Values of names that nothing in this package needs."""

from __future__ import annotations

import pathlib
import re
from typing import TypeAlias

from ..llama_types import ChatCompletionMessageToolCall
from ..native.library import search_folders

libggml_base_path = pathlib.Path(search_folders()[0])

# As in llama.cpp's converter of JSON schemas.
INVALID_RULE_CHARS_RE = re.compile(r"[^a-zA-Z0-9-]+")
GRAMMAR_LITERAL_ESCAPE_RE = re.compile(r'[\r\n"]')

ChatCompletionMessageToolCalls: TypeAlias = list[ChatCompletionMessageToolCall]

"""Which template a model's chats are rendered with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ChatTemplateError, InvalidArgumentError
from ..handles import Vocab
from .conversation import LoadedTemplate
from .formats.known_templates import guess_chat_format_from_gguf_metadata
from .formats.named import FORMATS
from .render import TemplateRenderer

_KEY = "tokenizer.chat_template"
FALLBACK = "llama-2"
"""The format of models whose file has no template, as in llama-cpp-python."""


class Templates:
    """The chat templates of a model. Each is loaded when it is first used.

    Args:
        vocab: The model's vocabulary.
        metadata: The model's.
        override: In place of the model's template: Jinja, the path of a file, or the name of a
            format or of another template of the model.
    """

    def __init__(
        self,
        vocab: Vocab,
        metadata: Mapping[str, str],
        override: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(override, str | os.PathLike | None):
            raise InvalidArgumentError(
                f"chat_template={override!r} must be a template, a path or a name"
            )
        self._vocab = vocab
        self._metadata = metadata
        self._override = override
        self._loaded: dict[str, LoadedTemplate] = {}

    @property
    def default_format(self) -> str:
        """What llama-cpp-python calls the format that it finds in the model."""
        if not self.has_own:
            return FALLBACK
        known = guess_chat_format_from_gguf_metadata(self._metadata)
        return known or "chat_template.default"

    @property
    def has_own(self) -> bool:
        """Whether the model's file has a template."""
        return _KEY in self._metadata

    def knows(self, name: str) -> bool:
        """Whether a chat format is one of the named ones, or of the model's own templates."""
        return name in FORMATS or name.startswith("chat_template.")

    def renderer(self, chat_format: str | None, *, has_tools: bool) -> TemplateRenderer:
        """Return what renders a conversation.

        Args:
            chat_format: The name of a format; None takes the model's template.
            has_tools: Whether the conversation has tools, for which some models have a template of
                their own.

        Raises:
            ChatTemplateError: The template does not parse, or cannot be read.
            InvalidArgumentError: The format is unknown.
        """
        override = self._override
        name = chat_format or "chat_template.default"
        if isinstance(override, str) and override in FORMATS:
            name, override = override, None
        if override is not None:
            return TemplateRenderer(self.load(self._overriding(override)))
        if name in FORMATS:
            return TemplateRenderer(self.load(FORMATS[name].template), FORMATS[name].stops)
        return TemplateRenderer(self.load(self._own(name, has_tools)))

    def load(self, source: str) -> LoadedTemplate:
        """Load a template for this model.

        Raises:
            ChatTemplateError: It does not parse.
        """
        if source not in self._loaded:
            vocab = self._vocab
            bos, eos = (
                vocab.text(token).decode("utf-8", "replace") if token >= 0 else ""
                for token in (vocab.bos, vocab.eos)
            )
            self._loaded[source] = LoadedTemplate(source, bos, eos)
        return self._loaded[source]

    def _own(self, name: str, has_tools: bool) -> str:
        key = f"tokenizer.{name}".removesuffix(".default")
        if has_tools and key == _KEY:
            key = f"{_KEY}.tool_use" if f"{_KEY}.tool_use" in self._metadata else key
        if key in self._metadata:
            return self._metadata[key]
        if key == _KEY:
            return FORMATS[FALLBACK].template
        own = [each.removeprefix("tokenizer.") for each in self._metadata if each.startswith(_KEY)]
        raise InvalidArgumentError(
            f"chat_format={name!r}: the model has no such template; it has "
            f"{', '.join(own) or 'none'}"
        )

    def _overriding(self, override: str | os.PathLike[str]) -> str:
        if isinstance(override, str):
            if "{" in override:
                return override
            if f"{_KEY}.{override}" in self._metadata:
                return self._metadata[f"{_KEY}.{override}"]
        try:
            return Path(override).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ChatTemplateError(
                f"chat_template={os.fspath(override)!r} is neither a template nor the name of one, "
                f"and as a file it cannot be read: {error}"
            ) from None

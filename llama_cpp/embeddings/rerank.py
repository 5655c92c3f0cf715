"""Prompts of models that score how well a document answers a query."""

from __future__ import annotations

from collections.abc import Mapping

from ..handles import Vocab

_KEY = "tokenizer.chat_template.rerank"


class PairPrompts:
    """Tokenizes pairs of a query and a document as a model wants them.

    Args:
        vocab: The model's vocabulary.
        metadata: The model's: it may have a template for pairs.
    """

    def __init__(self, vocab: Vocab, metadata: Mapping[str, str]) -> None:
        self._vocab = vocab
        self._template = metadata.get(_KEY)

    def tokenize(self, query: str, document: str) -> list[int]:
        """Return the tokens of a pair, as llama.cpp's server has them.

        Special tokens in the two texts are text.

        Raises:
            ChatTemplateError: The model's template is in Jinja, and cannot be rendered.
        """
        if self._template is None:
            return self._joined(query, document)
        if "{query}" in self._template or "{document}" in self._template:
            return self._filled(self._template, {"{query}": query, "{document}": document})
        from ..chat.sandbox import ChatTemplate

        # The texts come in afterwards, so that none of them is taken for a part of the template.
        rendered = ChatTemplate(self._template).render(query="{query}", document="{document}")
        return self._filled(rendered, {"{query}": query, "{document}": document})

    def _filled(self, template: str, texts: Mapping[str, str]) -> list[int]:
        """Tokenize a template, with special tokens, and the texts in it, without."""
        ids: list[int] = []
        rest = template
        while rest:
            places = {rest.find(name): name for name in texts if name in rest}
            if not places:
                return ids + self._ids(rest, special=True)
            place = min(places)
            ids += self._ids(rest[:place], special=True) + self._ids(texts[places[place]])
            rest = rest[place + len(places[place]) :]
        return ids

    def _joined(self, query: str, document: str) -> list[int]:
        vocab = self._vocab
        eos = vocab.eos if vocab.eos >= 0 else vocab.sep
        begin = [vocab.bos] if vocab.add_bos and vocab.bos >= 0 else []
        end = [eos] if vocab.add_eos and eos >= 0 else []
        between = [vocab.sep] if vocab.add_sep and vocab.sep >= 0 else []
        return begin + self._ids(query) + end + between + self._ids(document) + end

    def _ids(self, text: str, *, special: bool = False) -> list[int]:
        if not text:
            return []
        return self._vocab.tokenize(text, add_special=False, parse_special=special)

"""Constraints by llguidance: JSON schemas, regular expressions and Lark grammars as token masks."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from ..errors import GrammarError
from ..handles import Model, Vocab
from .regex_length import least_length
from .spelling import spelled

if TYPE_CHECKING:
    import llguidance

_log = logging.getLogger("llama_cpp")

_ASCII_CLASSES = "d"
_WORTH_SPELLING = 3
_WAITS_MAX = 1
_LENGTH_MAX = 20_000
_ROW_ITEMS_MAX = 50_000  # an object takes four for each optional property
_MESSAGE_MAX = 500


def is_installed() -> bool:
    """Whether llguidance is there, and jsonschema, which looks references up."""
    return all(find_spec(name) is not None for name in ("llguidance", "jsonschema"))


@functools.lru_cache(maxsize=64)
def json_schema(schema: str, *, strict: bool = False) -> GuidedText:
    """JSON that a schema allows; see ``constraint.json_schema``."""
    from .json_schema.enforceable import enforceable

    found = enforceable(schema, closes=True)
    if found.unenforced and strict:
        raise GrammarError(f"the JSON schema cannot be strict: not enforced is {found.rest}")
    if found.unenforced:
        _log.warning("the JSON schema is enforced but for %s", found.rest)
    return GuidedText(found.grammar)


def regex(pattern: str) -> GuidedText:
    """What a regular expression matches as a whole."""
    from llguidance import regex_to_lark

    if (length := least_length(pattern)) > _LENGTH_MAX:
        raise GrammarError(
            f"the regular expression demands at least {length} characters, and at most "
            f"{_LENGTH_MAX} can be: say less often what is repeated"
        )
    return lark(f"start: /{regex_to_lark(pattern, _ASCII_CLASSES)}/")


@functools.lru_cache(maxsize=64)
def lark(grammar: str) -> GuidedText:
    """What a grammar in Lark's syntax derives."""
    from llguidance import LLMatcher

    return GuidedText(LLMatcher.grammar_from_lark(grammar))


class GuidedText:
    """What a text has to look like, compiled once for each model.

    Args:
        grammar: llguidance's own form of a grammar, of ``LLMatcher.grammar_from_*``.

    Raises:
        GrammarError: It does not compile.
    """

    def __init__(self, grammar: str) -> None:
        import llguidance

        self._grammar = grammar
        self._compiled: WeakKeyDictionary[Model, llguidance.LLMatcher] = WeakKeyDictionary()
        is_error, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
        if is_error:
            raise GrammarError(_shortened(messages[0]))
        for message in messages:
            _log.warning("%s", _shortened(message))

    def begin(self, model: Model) -> GuidanceMatcher:
        """Return the state before the first token of a text.

        Raises:
            GrammarError: It does not compile.
        """
        import llguidance

        tokenizer = _tokenizers.of(model)
        compiled = self._compiled.get(model)
        if compiled is None:
            limits = llguidance.LLParserLimits(max_items_in_row=_ROW_ITEMS_MAX)
            compiled = llguidance.LLMatcher(tokenizer, self._grammar, log_level=0, limits=limits)
            if compiled.is_error():
                raise GrammarError(_shortened(compiled.get_error()))
            self._compiled[model] = compiled
        return GuidanceMatcher(compiled.deep_copy(), model.vocab)


class GuidanceMatcher:
    """The state of a constraint in one text: see ``Matcher``."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab: Vocab) -> None:
        import numpy as np

        self._matcher = matcher
        self._n_free = self._n_waits = 0
        self._mask = np.zeros(-(-vocab.n_tokens // 32), np.uint32)

    def accept(self, token: int) -> bool:
        """Take a token; False, and nothing has changed, if it is not allowed here."""
        return bool(self._matcher.try_consume_tokens([token]))

    def mask(self) -> int:
        """The address of a bit for each token that is allowed.

        Raises:
            GrammarError: llguidance gave up, because the grammar became too complex.
        """
        address: int = self._mask.ctypes.data
        self._matcher.unsafe_compute_mask_ptr(address, self._mask.nbytes)
        if self._matcher.is_error():
            raise GrammarError(_shortened(self._matcher.get_error()))
        return address

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow."""
        return self._matcher.validate_tokens(list(tokens))

    def forced(self) -> Sequence[int]:
        """The tokens that have to follow."""
        # In the middle of a free text it is asked less often: an answer takes a tenth of a step.
        if self._n_waits:
            self._n_waits -= 1
            return ()
        # A byte or two seldom make a token: what comes next may be in it.
        if len(self._matcher.compute_ff_bytes()) < _WORTH_SPELLING:
            self._n_free = min(self._n_free + 1, _WAITS_MAX)
            self._n_waits = self._n_free
            return ()
        self._n_free = 0
        return self._matcher.compute_ff_tokens()

    @property
    def is_complete(self) -> bool:
        """Whether nothing can follow but the end."""
        return self._matcher.is_stopped()


class _TokenizerSource:
    """What llguidance asks of a tokenizer (its ``TokenizerWrapper``)."""

    is_tokenizer_wrapper = True

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self.bos_token_id = None if vocab.bos < 0 else vocab.bos
        self.eos_token_id = vocab.eos if vocab.eos >= 0 else min(vocab.eog_tokens, default=0)
        said = vocab.pieces()
        self.tokens: Sequence[bytes] = vocab.pieces(special=True)
        # Those that say nothing, whatever their names are: no text is written with them.
        self.special_token_ids = [
            token for token, piece in enumerate(said) if not piece and self.tokens[token]
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        text = text if isinstance(text, str) else text.decode()
        return spelled(self._vocab, text, parse_special=False)


class _Tokenizers:
    """Those of the models that are open."""

    def __init__(self) -> None:
        self._by_model: WeakKeyDictionary[Model, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, model: Model) -> Any:
        import llguidance

        with self._lock:
            found = self._by_model.get(model)
            if found is None:
                source = _TokenizerSource(model.vocab)
                ends = sorted(model.vocab.eog_tokens) or [source.eos_token_id]
                found = llguidance.LLTokenizer(cast("Any", source), model.n_vocab, eos_token=ends)
                self._by_model[model] = found
            return found


_tokenizers = _Tokenizers()


def _shortened(message: str) -> str:
    """A message of llguidance without the dump of the grammar that may follow."""
    line = message.strip().split("\n<state>")[0]
    return line if len(line) <= _MESSAGE_MAX else line[:_MESSAGE_MAX] + "..."

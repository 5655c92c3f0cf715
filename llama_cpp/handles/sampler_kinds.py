"""Constructors of every sampler that the engine has: one function per ``llama_sampler_init_*``.

Sources of the algorithms are in the docstrings; the ranges are the engine's.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import llama_cpp as raw
from ..errors import GrammarError
from ..native.backend import bridge, collect_errors, take_string
from ..validation import native_arguments as checks
from .candidates import Candidates
from .grammar_errors import check_repetitions, refused_grammar
from .python_sampler import PythonSampler
from .sampler import Sampler
from .vocab import Vocab

RANDOM_SEED = raw.LLAMA_DEFAULT_SEED
"""The seed that stands for a random one."""

_ANY = float("inf")
_TOKENS_BACK_MAX = 1 << 24  # the engine makes room for all of them at once
# What a token's name in a grammar must not be mistaken for, and such a name.
_GRAMMAR_PARTS = re.compile(
    rb'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|(?P<token>!?<(?!\[)[^>\n]*>)', re.DOTALL
)


def greedy() -> Sampler:
    """Choose the candidate with the highest logit."""
    return Sampler(raw.llama_sampler_init_greedy(), selects=True)


def dist(seed: int = RANDOM_SEED) -> Sampler:
    """Choose a candidate at random, by its probability."""
    return Sampler(raw.llama_sampler_init_dist(_seed(seed)), selects=True)


def top_k(k: int) -> Sampler:
    """Keep the k most likely; k <= 0 keeps all (https://arxiv.org/abs/1904.09751)."""
    checks.in_range("k", k, -checks.INT32_MAX, checks.INT32_MAX)
    return Sampler(raw.llama_sampler_init_top_k(k))


def top_p(p: float, min_keep: int = 1) -> Sampler:
    """Keep the most likely that sum up to p, "nucleus" (https://arxiv.org/abs/1904.09751)."""
    _number("p", p)
    return Sampler(raw.llama_sampler_init_top_p(p, _keep(min_keep)))


def min_p(p: float, min_keep: int = 1) -> Sampler:
    """Keep those at least p times as likely as the best (llama.cpp pull request 3841)."""
    _number("p", p)
    return Sampler(raw.llama_sampler_init_min_p(p, _keep(min_keep)))


def typical(p: float, min_keep: int = 1) -> Sampler:
    """Keep those of about average information (https://arxiv.org/abs/2202.00666)."""
    _number("p", p)
    return Sampler(raw.llama_sampler_init_typical(p, _keep(min_keep)))


def temp(t: float) -> Sampler:
    """Divide the logits by t; t <= 0 leaves only the best one."""
    _number("t", t)
    return Sampler(raw.llama_sampler_init_temp(t))


def temp_ext(t: float, delta: float, exponent: float) -> Sampler:
    """A temperature in [t - delta, t + delta] by the entropy (https://arxiv.org/abs/2309.02772)."""
    for name, value in (("t", t), ("delta", delta), ("exponent", exponent)):
        _number(name, value)
    return Sampler(raw.llama_sampler_init_temp_ext(t, delta, exponent))


def xtc(p: float, t: float, min_keep: int = 1, seed: int = RANDOM_SEED) -> Sampler:
    """With probability p, drop all but the least likely of those above t.

    "Exclude top choices", text-generation-webui pull request 6335.
    """
    _number("p", p)
    _number("t", t)
    return Sampler(raw.llama_sampler_init_xtc(p, t, _keep(min_keep), _seed(seed)))


def top_n_sigma(n: float) -> Sampler:
    """Keep logits within n standard deviations of the best (https://arxiv.org/abs/2411.07641)."""
    _number("n", n)
    return Sampler(raw.llama_sampler_init_top_n_sigma(n))


def mirostat(
    n_vocab: int, seed: int = RANDOM_SEED, tau: float = 5.0, eta: float = 0.1, m: int = 100
) -> Sampler:
    """Choose so that the surprise stays near tau (https://arxiv.org/abs/2007.14966)."""
    checks.in_range("n_vocab", n_vocab, 2, checks.INT32_MAX)
    checks.in_range("m", m, 2, checks.INT32_MAX)
    _number("tau", tau)
    _number("eta", eta)
    pointer = raw.llama_sampler_init_mirostat(n_vocab, _seed(seed), tau, eta, m)
    return Sampler(pointer, selects=True)


def mirostat_v2(seed: int = RANDOM_SEED, tau: float = 5.0, eta: float = 0.1) -> Sampler:
    """Mirostat 2.0: like ``mirostat``, by truncation (https://arxiv.org/abs/2007.14966)."""
    _number("tau", tau)
    _number("eta", eta)
    pointer = raw.llama_sampler_init_mirostat_v2(_seed(seed), tau, eta)
    return Sampler(pointer, selects=True)


def adaptive_p(target: float, decay: float = 0.9, seed: int = RANDOM_SEED) -> Sampler:
    """Choose near the probability ``target`` over time; negative: off.

    llama.cpp pull request 17927.
    """
    checks.in_range("target", target, -_ANY, 1.0)
    checks.in_range("decay", decay, 0.0, 0.99)
    pointer = raw.llama_sampler_init_adaptive_p(target, decay, _seed(seed))
    return Sampler(pointer, selects=True)


def penalties(
    n_vocab: int, last_n: int = 64, repeat: float = 1.0, freq: float = 0.0, present: float = 0.0
) -> Sampler:
    """Lower the logits of the last tokens.

    Args:
        n_vocab: Tokens in the vocabulary.
        last_n: How many tokens to look back on; 0 is off.
        repeat: Divides them, > 0; 1 is off.
        freq: Is subtracted once per occurrence; 0 is off.
        present: Is subtracted once; 0 is off.
    """
    checks.in_range("n_vocab", n_vocab, 1, checks.INT32_MAX)
    checks.in_range("last_n", last_n, 0, _TOKENS_BACK_MAX, "the engine knows no 'whole context'")
    checks.in_range("repeat", repeat, 1e-6, 1e6)
    checks.in_range("freq", freq, -1e6, 1e6)
    checks.in_range("present", present, -1e6, 1e6)
    return Sampler(raw.llama_sampler_init_penalties(n_vocab, last_n, repeat, freq, present))


def dry(
    vocab: Vocab,
    multiplier: float,
    base: float = 1.75,
    allowed_length: int = 2,
    penalty_last_n: int = 1024,
    seq_breakers: Sequence[str | bytes] = ("\n", ":", '"', "*"),
) -> Sampler:
    """Penalize repeated sequences (text-generation-webui pull request 5677).

    Args:
        vocab: The vocabulary.
        multiplier: Strength; 0 is off.
        base: Growth of the penalty per repeated token.
        allowed_length: Repeats up to this many tokens are free.
        penalty_last_n: How many tokens to look back on; 0 is off.
        seq_breakers: Texts that end a sequence.
    """
    _number("multiplier", multiplier)
    _number("base", base)
    checks.in_range("allowed_length", allowed_length, 0, checks.INT32_MAX)
    checks.in_range("penalty_last_n", penalty_last_n, 0, _TOKENS_BACK_MAX)
    breakers = _strings(seq_breakers, "sequence breaker")
    pointer = raw.llama_sampler_init_dry(
        vocab.pointer, multiplier, base, allowed_length, penalty_last_n, breakers, len(breakers)
    )
    return Sampler(pointer, vocab=vocab)


def logit_bias(n_vocab: int, biases: Mapping[int, float]) -> Sampler:
    """Add a bias to the logits of some tokens; ``-inf`` forbids one.

    Raises:
        TokenError: An id is not in the vocabulary.
        InvalidArgumentError: A bias is NaN or no number.
    """
    checks.integer("n_vocab", n_vocab, 1, checks.INT32_MAX)
    entries = (raw.llama_logit_bias * len(biases))()
    for entry, (token, bias) in zip(entries, biases.items(), strict=True):
        checks.in_range(f"the bias of token {token}", bias, -_ANY, _ANY)
        entry.token, entry.bias = checks.token_id(token, n_vocab), bias
    return Sampler(raw.llama_sampler_init_logit_bias(n_vocab, len(biases), entries))


def infill(vocab: Vocab) -> Sampler:
    """For fill-in-the-middle, after top-k and top-p: join equal prefixes, end when in doubt."""
    return Sampler(raw.llama_sampler_init_infill(vocab.pointer), vocab=vocab)


_PATTERN_MAX = 1000


def grammar(vocab: Vocab, text: str | bytes, root: str | bytes = "root") -> Sampler:
    """Allow only what a GBNF grammar derives.

    Args:
        vocab: The vocabulary.
        text: The rules.
        root: The rule to start from.

    Raises:
        GrammarError: It does not parse; the native log tells where.
    """
    return _grammar(vocab, text, root, lazy=False)


def check_grammar(text: str | bytes, root: str | bytes = "root") -> None:
    """Parse a GBNF grammar for its errors alone. A model is not needed; names of tokens may be any.

    Args:
        text: The rules.
        root: The rule to start from.

    Raises:
        GrammarError: It does not parse.
    """
    rules = checks.c_string(text, "grammar")
    # Any character, and spaces so that columns stay what they are.
    blank = _GRAMMAR_PARTS.sub(
        lambda part: b".".ljust(len(part[0])) if part["token"] else part[0], rules
    )
    _grammar(None, blank, root, lazy=False).close()


def grammar_lazy(
    vocab: Vocab,
    text: str | bytes,
    root: str | bytes = "root",
    trigger_patterns: Sequence[str | bytes] = (),
    trigger_tokens: Sequence[int] = (),
) -> Sampler:
    """A grammar that begins to apply when a pattern matches the output or a token is chosen.

    Args:
        vocab: The vocabulary.
        text: The rules.
        root: The rule to start from.
        trigger_patterns: Regular expressions (ECMAScript) over the whole output; the grammar
            is fed from the first group that matched on.
        trigger_tokens: The grammar is fed from this token on.

    Raises:
        GrammarError: The grammar or a pattern does not parse.
        TokenError: A trigger is not in the vocabulary.
    """
    return _grammar(vocab, text, root, True, trigger_patterns, trigger_tokens)


def python(
    apply: Callable[[Candidates], Any],
    accept: Callable[[int], Any] | None = None,
    reset: Callable[[], Any] | None = None,
    *,
    name: str = "python",
) -> Sampler:
    """A sampler in Python.

    Args:
        apply: Changes the candidates in place; may set ``candidates.selected``. What it raises
            reaches the caller of ``sample`` or ``apply``.
        accept: Is told each token that was chosen.
        reset: Is called when a new text begins.
        name: What the sampler is called in ``SamplerChain.names``.
    """
    callbacks = PythonSampler(apply, accept, reset, name)
    return Sampler(callbacks.create(), python=callbacks)


def _grammar(
    vocab: Vocab | None,
    text: str | bytes,
    root: str | bytes,
    lazy: bool,
    patterns: Sequence[str | bytes] = (),
    tokens: Sequence[int] = (),
) -> Sampler:
    rules = checks.c_string(text, "grammar")
    if not rules.strip():
        raise GrammarError("the grammar is empty: give at least a rule `root ::= ...`")
    checks.grammar_size(rules)
    check_repetitions(rules)
    c_root = checks.c_string(root, "root rule")
    c_patterns = _strings(patterns, "trigger pattern")
    for pattern in c_patterns:  # std::regex calls itself once per character and per bracket
        if len(pattern) > _PATTERN_MAX:
            raise GrammarError(
                f"a trigger pattern has {len(pattern)} bytes, at most {_PATTERN_MAX} go"
            )
    ids = checks.token_array(tokens, 0 if vocab is None else vocab.n_tokens)
    c_ids = (ctypes.c_int32 * len(ids)).from_buffer(ids) if ids else None

    def init(rules: bytes) -> tuple[Any, ctypes.c_char_p, list[str]]:
        error = ctypes.c_char_p()
        with collect_errors(are_told=True) as log:
            pointer = bridge("bridge_sampler_init_grammar")(
                None if vocab is None else vocab.pointer, rules, c_root, lazy,
                c_patterns, len(c_patterns), c_ids, len(ids), ctypes.byref(error),
            )  # fmt: skip
        return pointer, error, list(log)

    def parses(rules: str) -> bool:
        pointer, error, _ = init(rules.encode())
        if pointer is None:
            return bool(error) and not take_string(error)
        Sampler(pointer, vocab=vocab).close()
        return True

    pointer, error, log = init(rules)
    if error:
        raise GrammarError(f"the grammar cannot be used: {take_string(error)}", log)
    if pointer is None:
        raise refused_grammar(
            rules.decode("utf-8", "replace"), c_root.decode("utf-8", "replace"), log, parses
        )
    return Sampler(pointer, vocab=vocab)


def _seed(seed: int) -> int:
    checks.in_range("seed", seed, 0, 2**32 - 1)
    return seed


def _keep(min_keep: int) -> int:
    checks.in_range("min_keep", min_keep, 0, checks.INT32_MAX)
    return min_keep


def _number(name: str, value: float) -> None:
    checks.in_range(name, value, -_ANY, _ANY, "not NaN")


def _strings(texts: Sequence[str | bytes], what: str) -> Any:
    return (ctypes.c_char_p * len(texts))(*(checks.c_string(text, what) for text in texts))

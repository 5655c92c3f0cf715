"""Why the engine does not take a grammar, and where in its text: made of what the parser logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..errors import GrammarError

_REPETITIONS_MAX = 2000  # of one item in a grammar; llama-grammar.cpp has the number
_RULES_TRIED_MAX = 64
# Texts, classes and comments, in which braces are none; and a repetition with a maximum.
_REPETITION = re.compile(
    rb'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\{\s*\d+\s*,\s*(?P<most>\d+)', re.DOTALL
)
_RULE = re.compile(r"^[ \t]*([a-zA-Z0-9-]+)[ \t]*::=", re.MULTILINE)


def refused_grammar(
    rules: str, root: str, log: Sequence[str], parses: Callable[[str], bool]
) -> GrammarError:
    """Say what the parser did not like, and where; its log, which has the whole text, else.

    Args:
        rules: The text of the grammar.
        root: The rule to start from.
        log: What the parser logged.
        parses: Tells whether another grammar is taken.
    """
    # It logs the reason, mostly with the rest of the text from where it stopped, and then the whole
    # text; white space at their ends may be lost on the way.
    whole = "\n".join(log)
    _, found, said = whole.partition("error parsing grammar: ")
    if not found:
        if "left recursion" in whole:
            return _left_recursion(rules, log, parses)
        names = ", ".join(list(dict.fromkeys(_RULE.findall(rules)))[:10]) or "none"
        return GrammarError(
            f"the grammar has no such root rule: {root!r}; the rules are: {names}", log
        )
    said = said.strip().removesuffix("failed to parse grammar").strip()
    said = said.removesuffix(rules.strip()).strip()
    what, _, rest = said.partition(" at ")
    if said == "unexpected end of input" or said.endswith(" at"):
        what, offset = said.removesuffix(" at"), len(rules.rstrip())
    elif rest:
        offset = rules.rfind(rest)
    else:
        what, offset = _found_by_name(what, rules)
    what = what.replace("no vocab to parse token", "expecting '>' after the name of a token")
    if offset < 0:
        return GrammarError(f"the grammar does not parse: {what}", log)
    return GrammarError(_at(rules, offset, what))


def check_repetitions(rules: bytes) -> None:
    """Refuse a repetition of which the engine would forget the maximum.

    Args:
        rules: The text of the grammar.

    Raises:
        GrammarError: A maximum is above what the engine counts to.
    """
    for part in _REPETITION.finditer(rules):
        if part["most"] and int(part["most"]) > _REPETITIONS_MAX:
            raise GrammarError(
                _at(
                    rules.decode("utf-8", "replace"),
                    len(rules[: part.start()].decode("utf-8", "replace")),
                    f"more than {_REPETITIONS_MAX} repetitions; leave the maximum out, "
                    "or repeat a group of fewer",
                )
            )


def _at(rules: str, offset: int, what: str) -> str:
    line, column = rules.count("\n", 0, offset) + 1, offset - rules.rfind("\n", 0, offset)
    return f"the grammar does not parse: line {line}, column {column}: {what}"


def _left_recursion(rules: str, log: Sequence[str], parses: Callable[[str], bool]) -> GrammarError:
    """Find the rule that begins with itself: with another in its place the grammar is taken."""
    for number, rule in enumerate(_RULE.finditer(rules)):
        if number == _RULES_TRIED_MAX:
            break
        if parses(f'{rules}\n{rule[1]} ::= "x"'):
            what = (
                f"the rule {rule[1]} begins with itself, directly or by way of others; put "
                "something before it, or write a repetition: (...)*"
            )
            return GrammarError(_at(rules, rule.start(1), what), log)
    return GrammarError("the grammar does not parse: rules begin with themselves", log)


def _found_by_name(what: str, rules: str) -> tuple[str, int]:
    """Look for what the parser complains about without saying where it is."""
    if name := re.search(r"Undefined rule identifier '(.*)'", what):
        use = re.search(rf"(?<![\w-]){re.escape(name[1])}(?![\w-])", rules)
        return what, use.start() if use else -1
    if token := re.search(r"invalid token '(.*)'", what):
        return what, rules.find(token[1])
    if what == "stoull" or what.startswith("number of repetitions"):
        for count in re.finditer(r"\{[\d\s,]+", rules):
            if any(int(number) > _REPETITIONS_MAX for number in re.findall(r"\d+", count[0])):
                return f"more than {_REPETITIONS_MAX} repetitions", count.start()
    return what, -1

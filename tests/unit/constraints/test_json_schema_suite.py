"""The official test suite of JSON Schema, byte by byte; ``make test`` fetches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llama_cpp.constraints.json_schema.enforceable import enforceable
from llama_cpp.errors import GrammarError
from tools.schema_conformance.__main__ import verdicts
from tools.schema_conformance.readers import ours
from tools.schema_conformance.suite import DRAFTS, Case, cases

SUITE = Path(__file__).parents[2] / ".cache" / "json-schema-suite" / "tests"

# Where valid instances are refused, because what is enforced is narrower than the schema.
NARROWER = (
    "leap second",
    "nul characters in strings",
    "oneOf: second oneOf valid",  # a number that is no integer
    "multiple simultaneous patternProperties",
    "patternProperties with boolean schemas",
    "dynamicRef",
    "$dynamicRef",
    "collect annotations inside a 'not'",
    "unevaluatedItems depends on",  # contains
    "unevaluatedItems and contains",
    "e-mail addresses",  # quoted names, addresses of IPv6
)


@pytest.mark.parametrize("draft", DRAFTS)
def test_verdicts_are_right_or_the_schema_names_why_not(draft: str) -> None:
    found = [*cases(SUITE, draft)]
    assert len(found) > 900
    told, counts = verdicts(found, ours)
    wrongly_accepted = [case for case, accepted in told if accepted and not case.is_valid]
    wrongly_refused = [case for case, accepted in told if case.is_valid and not accepted]
    assert [case.name for case in wrongly_accepted if not is_partial(case)] == []
    assert [
        case.name for case in wrongly_refused if not any(each in case.name for each in NARROWER)
    ] == []
    assert counts["right"] > 0.95 * len(told)


def is_partial(case: Case) -> bool:
    return bool(enforceable(case.schema).unenforced)


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_check_at_the_end_tells_all_that_is_invalid(draft: str) -> None:
    for case in cases(SUITE, draft):
        try:
            found = enforceable(case.schema)
        except GrammarError:
            continue
        if found.unenforced and not case.is_valid and "/format" not in str(found.unenforced):
            with pytest.raises(GrammarError):
                found.check(case.instance)

"""What an exception tells is no error of the program: the log has it at DEBUG."""

from __future__ import annotations

import logging

import pytest

from llama_cpp.errors import GrammarError
from llama_cpp.handles import Model, samplers
from llama_cpp.native.generated.ggml import GGML_LOG_LEVEL_ERROR
from llama_cpp.native.logs import collect_errors, handle


@pytest.mark.parametrize("rules", ["root ::= (", 'root ::= root "a"', 'x ::= "a"', "root ::= a"])
def test_a_grammar_that_is_refused(
    model: Model, caplog: pytest.LogCaptureFixture, rules: str
) -> None:
    with caplog.at_level(logging.DEBUG, "llama_cpp"), pytest.raises(GrammarError):
        samplers.grammar(model.vocab, rules)
    assert caplog.records
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_what_comes_after_is_an_error_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "llama_cpp"):
        with collect_errors(are_told=True) as log:
            handle(GGML_LOG_LEVEL_ERROR, b"told\n")
        handle(GGML_LOG_LEVEL_ERROR, b"not told\n")
    assert list(log) == ["told"]
    assert [(each.getMessage(), each.levelno) for each in caplog.records] == [
        ("told", logging.DEBUG), ("not told", logging.ERROR),
    ]  # fmt: skip

"""``ServiceParams``: how a call is served, from its arguments to the engine's terms."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from llama_cpp.chat.formats.handlers import handler_arguments
from llama_cpp.chat.params import ChatParams
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.generation.params import CompletionParams
from llama_cpp.generation.service import ServiceParams


def test_a_call_says_nothing_about_its_service_by_default() -> None:
    service = ServiceParams.of({})
    assert service == ServiceParams() == ServiceParams.of({"timeout": None, "priority": None})
    assert service.terms == (0, None, None, "")
    assert service.arguments() == {}


def test_a_naive_datetime_is_local_time() -> None:
    now = time.time()
    local = ServiceParams.of({"deadline": datetime.fromtimestamp(now + 1000)}).ends_at
    epoch = ServiceParams.of({"deadline": now + 1000}).ends_at
    assert local is not None and epoch is not None
    assert local == pytest.approx(epoch, abs=60)


@pytest.mark.parametrize("priority", [1.5, "high", True, 2**31])
def test_a_priority_is_an_integer(priority: object) -> None:
    with pytest.raises(InvalidArgumentError, match="priority"):
        ServiceParams.of({"priority": priority})


def test_completions_and_chats_pass_it_on() -> None:
    for params in (CompletionParams.of({"priority": 3}), ChatParams.of({"priority": 3})):
        assert params.generation.service.terms.priority == 3


def test_a_handler_of_somebody_elses_gets_it() -> None:
    handed = handler_arguments(ChatParams.of({"priority": 3, "timeout": 1e6}))
    assert handed["priority"] == 3
    assert 0 < handed["timeout"] <= 1e6
    assert "timeout" not in handler_arguments(ChatParams())

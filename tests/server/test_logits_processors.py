"""Logits processors that the operator registers and requests name."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server_kit import MODEL, RunningServer, serving

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.server.loading import load
from llama_cpp.server.logits_processors import named, registered
from llama_cpp.server.settings import ModelSettings

MODULE = """
from llama_cpp import BatchLogitsProcessor

def only_400(input_ids, scores):
    scores[:400] = scores[401:] = -float("inf")

class Counts:
    'Allows token 300 plus the number of its call.'
    def __init__(self):
        self.token = 300

    def __call__(self, input_ids, scores):
        scores[: self.token] = scores[self.token + 1 :] = -float("inf")
        self.token += 1

class Together(BatchLogitsProcessor):
    made = 0
    sizes = []

    def __init__(self):
        type(self).made += 1

    def __call__(self, input_ids, scores):
        self.sizes.append(len(scores))
        scores[:, :400] = scores[:, 401:] = -float("inf")

class Demanding:
    batch = True
    def __init__(self, more): ...
    def __call__(self, input_ids, scores): ...

def shortens(input_ids, scores):
    return scores[1:]

number = 5
"""
ENTRIES = [
    "some_hooks:only_400",
    "some_hooks:Counts",
    "all=some_hooks:Together",
    "short=some_hooks:shortens",
]


@pytest.fixture(scope="module")
def importable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("hooks")
    (folder / "some_hooks.py").write_text(MODULE)
    (folder / "broken_hooks.py").write_text("1 / 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.fixture(scope="module")
def server(importable: None) -> Iterator[RunningServer]:
    with serving({"logits_processors": ENTRIES}) as running:
        yield running


def complete(server: RunningServer, **body: Any) -> Any:
    plain = {"prompt": "Once upon a time", "temperature": 0, "max_tokens": 4}
    return server.post("/v1/completions", {**plain, **body})


def text_of(server: RunningServer, **body: Any) -> str:
    response = complete(server, **body)
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["text"]
    return text


def spelled(server: RunningServer, tokens: list[int]) -> str:
    text: str = server.post("/detokenize", {"tokens": tokens}).json()["content"]
    return text


def test_a_request_names_a_processor(server: RunningServer) -> None:
    plain = text_of(server)
    assert text_of(server, logits_processor="only_400") == spelled(server, [400] * 4) != plain
    assert text_of(server) == text_of(server, logits_processor=None) == plain


def test_chats_name_one_too(server: RunningServer) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    answer = server.post("/v1/chat/completions", {**body, "logits_processor": "only_400"}).json()
    content = answer["choices"][0]["message"]["content"]
    assert content.strip() == spelled(server, [400] * 3).strip()
    assert answer["usage"]["completion_tokens"] == 3


def test_a_class_is_an_object_for_each_request(server: RunningServer) -> None:
    expected = spelled(server, [300, 301, 302, 303])
    assert [text_of(server, logits_processor="Counts") for _ in range(2)] == [expected] * 2


def test_requests_share_a_batch_wise_one(server: RunningServer) -> None:
    import some_hooks  # type: ignore[import-not-found]

    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: text_of(server, logits_processor="all", max_tokens=40), range(4))
        )
    assert answers == [spelled(server, [400] * 40)] * 4
    assert some_hooks.Together.made == 1
    assert 1 < max(some_hooks.Together.sizes) <= 4


def test_it_goes_with_a_least_number_of_tokens(server: RunningServer) -> None:
    answer = complete(server, logits_processor="only_400", min_tokens=2, max_tokens=3).json()
    assert answer["choices"][0]["text"] == spelled(server, [400] * 3)


@pytest.mark.parametrize("name", ["none", "Together", "some_hooks:only_400", "number", ""])
def test_an_unknown_name_is_refused(server: RunningServer, name: str) -> None:
    response = complete(server, logits_processor=name)
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert repr(name) in message and "only_400, Counts, all" in message


def test_a_processor_that_is_wrong_is_not_the_clients_fault(server: RunningServer) -> None:
    response = complete(server, logits_processor="short")
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert text_of(server, logits_processor="only_400") == spelled(server, [400] * 4)


def test_a_server_without_them_has_none(importable: None) -> None:
    assert ModelSettings(model="x").logits_processors is None
    with serving() as running:
        response = complete(running, logits_processor="some_hooks:only_400")
    assert response.status_code == 400
    assert "the server has none" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (["some_hooks"], "must be module:name or alias=module:name"),
        ([":only_400"], "must be module:name"),
        (["a=some_hooks:"], "must be module:name"),
        (["no_such_hooks:x"], "ModuleNotFoundError"),
        (["broken_hooks:x"], "ZeroDivisionError"),
        (["some_hooks:nothing"], "AttributeError"),
        (["some_hooks:number"], "not callable"),
        (["some_hooks:Demanding"], "TypeError"),
        (["some_hooks:Counts", "some_hooks:Counts"], "another one is called 'Counts'"),
        (["a=some_hooks:Counts", "a=some_hooks:only_400"], "another one is called 'a'"),
    ],
)
def test_what_cannot_be_used_is_refused(importable: None, entries: list[str], reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        registered(entries)
    assert reason in str(raised.value) and entries[-1] in str(raised.value)


def test_a_model_with_a_wrong_one_is_not_served(importable: None) -> None:
    settings = ModelSettings(**MODEL, logits_processors=["some_hooks:nothing"])
    with pytest.raises(InvalidArgumentError, match="some_hooks:nothing"):
        load(settings)


def test_a_registered_function_is_what_is_named(importable: None) -> None:
    processors = registered(ENTRIES)
    assert list(processors) == ["only_400", "Counts", "all", "short"]
    assert named(processors, "only_400") is named(processors, "only_400")
    assert named(processors, "all") is named(processors, "all")
    assert named(processors, "Counts") is not named(processors, "Counts")

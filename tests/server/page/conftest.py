"""The page, opened in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest
from page_kit import HOLD, Chat, open_browser
from playwright.sync_api import Browser, Page, expect


class Served(Protocol):
    @property
    def url(self) -> str: ...


# What the model says is to be the same every time.
GREEDY = "localStorage['llamacpp.settings'] ??= JSON.stringify({ temperature: '0' });"


# For this folder only: while it runs, its event loop counts as running in this thread.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=60_000)
    with open_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(GREEDY)
    yield context.new_page()
    context.close()


@pytest.fixture
def chat(page: Page, server: Served) -> Iterator[Chat]:
    """The opened page, which must be without errors in the end."""
    opened = Chat(page, server.url)
    opened.open()
    yield opened
    assert opened.troubles == []
    assert {request.url for request in opened.requests if not is_own(request.url, server)} == set()


def is_own(url: str, server: Served) -> bool:
    return url.startswith((server.url, "blob:" + server.url))


@pytest.fixture
def held(page: Page, chat: Chat) -> Chat:
    """The page, where every reply stops after a few tokens until `goOn()` is called."""
    page.add_init_script(HOLD)
    chat.open()
    return chat

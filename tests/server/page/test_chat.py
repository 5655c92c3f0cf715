"""Asking, stopping, asking again, and what goes wrong on the way."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from page_kit import Chat, events
from playwright.sync_api import expect

CAPITAL = "What is the capital of France?"
STORY = "Tell me a story."


def go_on(chat: Chat) -> None:
    chat.page.evaluate("goOn()")


def test_reply_is_shown_while_it_is_written(held: Chat) -> None:
    held.send(STORY)
    text = held.replies.locator(".text")
    expect(text).to_have_text(re.compile(r"\w"))
    begun = text.inner_text()
    expect(held.button("Stop")).to_be_visible()
    expect(held.replies.locator("[aria-live=polite]")).to_have_attribute("aria-busy", "true")
    go_on(held)
    whole = held.answered()
    assert whole.startswith(begun) and len(whole) > len(begun)
    expect(held.replies.locator("[aria-live=polite]")).to_have_attribute("aria-busy", "false")
    expect(held.replies.locator(".stats")).to_have_text(
        re.compile(r"\d+ tokens · [\d.]+ tokens/s · prompt \d+")
    )
    [body] = held.sent()
    assert body["stream"] and body["logprobs"] and body["top_logprobs"] == 5
    assert body["messages"] == [{"role": "user", "content": STORY}]


def test_conversation_goes_on(chat: Chat) -> None:
    assert "Paris" in chat.ask(CAPITAL)
    chat.ask("What is 2 plus 3?")
    roles = [message["role"] for message in chat.sent()[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_example_is_sent_with_a_click(chat: Chat) -> None:
    chat.button(CAPITAL).click()
    assert "Paris" in chat.answered()
    expect(chat.page.locator("#empty")).to_be_hidden()


@pytest.mark.parametrize("way", ["button", "key"])
def test_stop(held: Chat, way: str) -> None:
    held.send(STORY)
    expect(held.replies.locator(".text")).to_have_text(re.compile(r"\w"))
    if way == "button":
        held.button("Stop").click()
    else:
        held.page.keyboard.press("Escape")
    assert held.answered()
    expect(held.replies.locator(".stats")).to_contain_text("stopped")
    expect(held.notice).to_have_count(0)
    expect(held.prompt).to_be_focused()


def test_regenerate(chat: Chat) -> None:
    chat.ask(CAPITAL)
    chat.button("Regenerate").click()
    chat.answered()
    expect(chat.replies).to_have_count(1)
    first, second = chat.sent()
    assert first["messages"] == second["messages"]


def test_regenerate_while_a_reply_is_written(held: Chat) -> None:
    go_on(held)
    held.ask(CAPITAL)
    held.open()
    held.send(STORY)
    expect(held.replies.nth(1).locator(".text")).to_have_text(re.compile(r"\w"))
    held.replies.first.hover()
    held.replies.first.get_by_role("button", name="Regenerate").click()
    expect(held.replies).to_have_count(1)
    go_on(held)
    assert "Paris" in held.answered()
    expect(held.replies).to_have_count(1)


def test_edit_and_resend(chat: Chat) -> None:
    chat.ask("What is the capital of Japan?")
    chat.ask(STORY)
    chat.asked.first.hover()
    chat.asked.first.get_by_role("button", name="Edit").click()
    box = chat.page.get_by_role("textbox", name="Edit message")
    expect(box).to_have_value("What is the capital of Japan?")
    box.fill(CAPITAL)
    box.press("Enter")
    assert "Paris" in chat.answered()
    expect(chat.replies).to_have_count(1)
    assert chat.sent()[-1]["messages"] == [{"role": "user", "content": CAPITAL}]


def test_edit_can_be_called_off(chat: Chat) -> None:
    chat.ask(CAPITAL)
    chat.asked.hover()
    chat.asked.get_by_role("button", name="Edit").click()
    chat.page.get_by_role("textbox", name="Edit message").fill("Something else")
    chat.page.keyboard.press("Escape")
    expect(chat.asked.locator(".bubble")).to_have_text(CAPITAL)
    expect(chat.asked.get_by_role("button", name="Edit")).to_be_focused()


def test_deleted_message_comes_back(chat: Chat) -> None:
    reply = chat.ask(CAPITAL)
    chat.asked.hover()
    chat.asked.get_by_role("button", name="Delete").click()
    expect(chat.replies).to_have_count(0)
    chat.button("Undo").click()
    expect(chat.replies.locator(".text")).to_have_text(reply)


BUSY = {
    "status": 429,
    "headers": {"Retry-After": "7"},
    "content_type": "application/json",
    "body": json.dumps({"error": {"message": "Too many requests wait."}}),
}
BROKEN = events(
    json.dumps({"choices": [{"index": 0, "delta": {"content": "It is"}}]}),
    json.dumps({"error": {"message": "The server is shutting down.", "code": 503}}),
)
CUT = {**BROKEN, "body": BROKEN["body"].partition('data: {"error"')[0]}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (BUSY, "Too many requests wait. The server asks to wait 7 s."),
        ({"status": 502, "body": "<h1>Bad gateway</h1>"}, "The server answered 502."),
        (BROKEN, "The server is shutting down."),
        (CUT, "The connection ended before the reply did."),
        (events("{"), "The server sent something that is not JSON."),
    ],
)
def test_error_is_shown_and_retried(chat: Chat, answer: dict[str, Any], told: str) -> None:
    with chat.answering(**answer):
        chat.send(CAPITAL)
        expect(chat.notice).to_contain_text(told)
    expect(chat.asked).to_have_count(1)
    chat.button("Retry").click()
    assert "Paris" in chat.answered()
    expect(chat.notice).to_have_count(0)
    expect(chat.replies).to_have_count(1)


def test_unreachable_server_loses_nothing(chat: Chat) -> None:
    with chat.unreachable():
        chat.send(CAPITAL)
        expect(chat.notice).to_contain_text("cannot be reached")
        chat.open()
        expect(chat.asked.locator(".bubble")).to_have_text(CAPITAL)
    chat.button("Get a reply").click()
    assert "Paris" in chat.answered()


def test_missing_key_leads_to_its_field(chat: Chat) -> None:
    refusal = {"status": 401, "body": json.dumps({"error": {"message": "A key is needed."}})}
    with chat.answering(**refusal):
        chat.send(CAPITAL)
        chat.button("Enter an API key").click()
    expect(chat.page.get_by_role("textbox", name="API key")).to_be_focused()


def test_keyboard_only(chat: Chat) -> None:
    press = chat.page.keyboard.press
    expect(chat.prompt).to_be_focused()
    chat.page.keyboard.type("What is the capital")
    press("Shift+Enter")
    chat.page.keyboard.type("of France?")
    expect(chat.prompt).to_have_value("What is the capital\nof France?")
    press("Enter")
    chat.answered()
    expect(chat.prompt).to_be_focused()
    expect(chat.prompt).to_have_value("")

    def back_to(name: str) -> None:
        focused = chat.page.locator(":focus")
        for _ in range(30):
            press("Shift+Tab")
            if (focused.get_attribute("aria-label") or focused.inner_text()) == name:
                assert focused.evaluate("node => getComputedStyle(node).outlineStyle") != "none"
                return
        raise AssertionError(f"{name} cannot be reached by keys")

    back_to("Tokens")
    press("Space")
    expect(chat.replies.locator(".tokens")).to_be_visible()
    back_to("Settings")
    press("Enter")
    expect(chat.page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(chat.page.get_by_role("dialog")).to_be_hidden()
    expect(chat.button("Settings")).to_be_focused()
    back_to("Metrics")
    press("Enter")
    expect(chat.page.get_by_role("complementary", name="Metrics")).to_be_visible()
    press("Escape")
    expect(chat.page.get_by_role("complementary", name="Metrics")).to_be_hidden()
    back_to("New conversation")
    press("Enter")
    expect(chat.prompt).to_be_focused()
    expect(chat.replies).to_have_count(0)

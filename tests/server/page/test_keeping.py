"""What the browser keeps, the panels, and windows of other sizes."""

from __future__ import annotations

import re
from pathlib import Path

from page_kit import Chat
from playwright.sync_api import expect

CAPITAL = "What is the capital of France?"
STORY = "Tell me a story."


def go_on(chat: Chat) -> None:
    chat.page.evaluate("goOn()")


def test_settings_are_sent_and_survive_a_reload(chat: Chat) -> None:
    chat.set(
        system="You are a helpful assistant.", temperature="0", top_k="20", min_p="0.1",
        top_p="0.9", repeat_penalty="1.1", max_tokens="4", seed="7", key="a secret",
    )  # fmt: skip
    chat.open()
    chat.ask(STORY)
    [body] = chat.sent()
    wanted = {"temperature": 0, "top_k": 20, "min_p": 0.1, "top_p": 0.9, "max_tokens": 4}
    assert body.items() >= {**wanted, "repeat_penalty": 1.1, "seed": 7}.items()
    assert body["messages"][0] == {"role": "system", "content": "You are a helpful assistant."}
    expect(chat.replies.locator(".stats")).to_contain_text("token limit reached")
    posted = next(each for each in chat.requests if each.url.endswith("completions"))
    assert posted.headers["authorization"] == "Bearer a secret"
    assert "a secret" not in chat.page.evaluate("JSON.stringify(localStorage)")
    chat.button("Settings").click()
    chat.button("Reset all settings").click()
    expect(chat.page.locator("#settings [name=temperature]")).to_have_value("")


def test_draft_and_conversation_survive_a_reload(chat: Chat) -> None:
    reply = chat.ask(CAPITAL)
    chat.prompt.fill("not sent yet")
    chat.open()
    expect(chat.prompt).to_have_value("not sent yet")
    expect(chat.replies.locator(".text")).to_have_text(reply)
    expect(chat.button("Tokens")).to_be_visible()


def test_conversations(chat: Chat, tmp_path: Path) -> None:
    listed = chat.page.locator("#conversations .title")
    reply = chat.ask(CAPITAL)
    chat.button("New conversation").click()
    chat.ask(STORY)
    expect(listed).to_have_text([STORY, CAPITAL])
    listed.nth(1).click()
    expect(chat.replies.locator(".text")).to_have_text(reply)

    chat.button(f"Rename {CAPITAL}").click()
    chat.page.get_by_role("textbox", name="Name of the conversation").fill("Capitals")
    chat.page.keyboard.press("Enter")
    expect(listed).to_have_text([STORY, "Capitals"])
    chat.button("Delete Capitals").click()
    expect(listed).to_have_text([STORY])
    expect(chat.replies).to_have_count(0)
    chat.button("Undo").click()
    expect(listed).to_have_text([STORY, "Capitals"])

    with chat.page.expect_download() as download:
        chat.button("Export").click()
    file = tmp_path / "conversations.json"
    download.value.save_as(file)
    chat.page.evaluate("localStorage.clear()")
    chat.open()
    expect(listed).to_have_count(0)
    chat.page.get_by_label("File to import").set_input_files(file)
    expect(listed).to_have_text([STORY, "Capitals"])
    listed.nth(1).click()
    expect(chat.replies.locator(".text")).to_have_text(reply)

    file.write_text('{"format": "something else"}')
    chat.page.get_by_label("File to import").set_input_files(file)
    expect(chat.page.locator("#toast")).to_contain_text("holds no conversations")


def test_reply_goes_on_while_another_conversation_is_shown(held: Chat) -> None:
    held.send(STORY)
    expect(held.replies.locator(".text")).to_have_text(re.compile(r"\w"))
    held.button("New conversation").click()
    expect(held.replies).to_have_count(0)
    go_on(held)
    expect(held.page.locator("#conversations .running")).to_have_count(0)
    held.button(STORY).first.click()
    held.answered()
    expect(held.replies.locator(".stats")).to_contain_text("prompt")


def test_deleted_conversation_is_not_brought_back_by_its_reply(held: Chat) -> None:
    held.send(STORY)
    expect(held.replies.locator(".text")).to_have_text(re.compile(r"\w"))
    held.button(f"Delete {STORY}").click()
    go_on(held)
    held.ask(CAPITAL)
    expect(held.page.locator("#conversations .title")).to_have_text([CAPITAL])
    held.open()
    expect(held.page.locator("#conversations .title")).to_have_text([CAPITAL])


def test_full_storage_gives_up_tokens_before_text(chat: Chat) -> None:
    reply = chat.ask(CAPITAL)
    # All but a few hundred characters, found by halving.
    chat.page.evaluate(
        """() => {
          let filler = "";
          for (let size = 1 << 23; size > 200; size >>= 1) {
            try {
              localStorage.setItem("filler", filler + "x".repeat(size));
              filler += "x".repeat(size);
            } catch {}
          }
        }"""
    )
    chat.ask("What is the opposite of hot?")
    chat.open()
    expect(chat.replies.first.locator(".text")).to_have_text(reply)
    expect(chat.replies).to_have_count(2)


def test_metrics(chat: Chat) -> None:
    chat.ask(CAPITAL)
    chat.button("Metrics").click()
    panel = chat.page.get_by_role("complementary", name="Metrics")
    expect(panel).to_contain_text("Slot 0")
    generated = panel.locator("dl div", has_text="Generated")
    expect(generated).to_have_text(re.compile(r"[1-9]\d* tokens"))
    expect(panel.locator("polyline").first).to_have_attribute("points", re.compile(r"\d \d"))
    expect(panel.locator(".wrong")).to_have_text("")


def test_theme_survives_a_reload(chat: Chat) -> None:
    chat.page.emulate_media(color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = chat.page.evaluate(colour)
    chat.button("Switch between light and dark").click()
    dark = chat.page.evaluate(colour)
    assert dark != light
    chat.open()
    assert chat.page.evaluate(colour) == dark


def test_narrow_window(chat: Chat) -> None:
    chat.page.set_viewport_size({"width": 360, "height": 640})
    chat.ask(CAPITAL)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert chat.page.evaluate(overflow) == 0
    expect(chat.button("New conversation")).to_be_hidden()
    chat.button("Conversations").click()
    chat.button("New conversation").click()
    expect(chat.button("New conversation")).to_be_hidden()
    expect(chat.prompt).to_be_focused()
    chat.button("Settings").click()
    assert chat.page.evaluate(overflow) == 0

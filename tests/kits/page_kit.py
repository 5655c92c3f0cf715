"""A browser for the tests of the page: what is typed and read there, and made-up replies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
    sync_playwright,
)

COMPLETIONS = "**/v1/chat/completions"
TIMEOUT_MS = 60_000
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Lets five events of a reply through, and the rest once `window.goOn()` is called.
HOLD = """
window.held = new Promise((resolve) => { window.goOn = resolve; });
const direct = window.fetch;
window.fetch = async (address, options) => {
  const response = await direct(address, options);
  if (!String(address).endsWith("completions") || !response.ok) return response;
  let rest = "";
  let events = 0;
  const aborted = new Promise((resolve) => options.signal.addEventListener("abort", resolve));
  const hold = new TransformStream({
    async transform(text, controller) {
      const whole = (rest + text).split("\\n\\n");
      rest = whole.pop();
      for (const event of whole) {
        events += 1;
        if (events > 5) await Promise.race([window.held, aborted]);
        options.signal.throwIfAborted();
        controller.enqueue(event + "\\n\\n");
      }
    },
  });
  const body = response.body.pipeThrough(new TextDecoderStream())
    .pipeThrough(hold, { signal: options.signal }).pipeThrough(new TextEncoderStream());
  return new Response(body, response);
};
"""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a headless Chromium.

    Raises:
        RuntimeError: There is none.
    """
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = own if Path(own).exists() else next(filter(None, map(shutil.which, _NAMES)), None)
        if path is None:
            raise RuntimeError("these tests need a Chromium: tools/get_chromium.sh installs one")
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Chat:
    """The page as a person sees it."""

    page: Page
    url: str
    requests: list[Request] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        # A browser reports refused requests by itself; the page need not hide that.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.troubles.append(message.text)

    def open(self) -> None:
        self.page.goto(self.url)
        self.page.locator("#model option:not([value=''])").first.wait_for(state="attached")

    def send(self, text: str) -> None:
        self.prompt.fill(text)
        self.prompt.press("Enter")

    def ask(self, text: str) -> str:
        """Send a message and wait for the whole reply."""
        self.send(text)
        return self.answered()

    def answered(self) -> str:
        """Wait until nothing is being written; return the last reply."""
        self.replies.last.wait_for()
        self.page.locator("#stop").wait_for(state="hidden")
        return self.replies.last.locator(".text").inner_text()

    @property
    def prompt(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def replies(self) -> Locator:
        return self.page.get_by_role("article", name="Reply")

    @property
    def asked(self) -> Locator:
        return self.page.get_by_role("article", name="You")

    @property
    def notice(self) -> Locator:
        return self.page.get_by_role("alert")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def sent(self) -> list[dict[str, Any]]:
        """The bodies of the requests for replies."""
        posts = [request for request in self.requests if request.url.endswith("completions")]
        return [json.loads(request.post_data or "") for request in posts]

    def set(self, **fields: str) -> None:
        """Fill fields of the settings."""
        self.button("Settings").click()
        for name, value in fields.items():
            control = self.page.locator(f"#settings [name={name}]")
            if control.evaluate("node => node.localName") == "select":
                control.select_option(value)
            else:
                control.fill(value)
        self.page.keyboard.press("Escape")

    @contextmanager
    def answering(self, **answer: Any) -> Iterator[None]:
        """Have every request for a reply answered like this, in place of the server."""

        def fulfill(route: Route) -> None:
            route.fulfill(**answer)

        self.page.route(COMPLETIONS, fulfill)
        try:
            yield
        finally:
            self.page.unroute(COMPLETIONS, fulfill)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Have every request for a reply fail on its way."""

        def drop(route: Route) -> None:
            route.abort()

        self.page.route(COMPLETIONS, drop)
        try:
            yield
        finally:
            self.page.unroute(COMPLETIONS, drop)


def stream(*deltas: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    """A streamed reply of these deltas, for `Chat.answering`; "logprobs" goes beside the delta."""
    chunks: list[Any] = [
        {"choices": [{"index": 0, "logprobs": delta.pop("logprobs", None), "delta": delta}]}
        for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    return events(*map(json.dumps, chunks), "[DONE]")


def events(*data: str) -> dict[str, Any]:
    """Server-sent events, for `Chat.answering`."""
    body = ": ping\n\n" + "".join(f"data: {part}\n\n" for part in data)
    return {"status": 200, "content_type": "text/event-stream", "body": body}


def logprobs(tokens: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Log-probabilities as chunks tell them, each token its own only alternative."""
    entries = [{"token": text, "bytes": None, "logprob": logprob} for text, logprob in tokens]
    return {"content": [{**entry, "top_logprobs": [entry]} for entry in entries]}

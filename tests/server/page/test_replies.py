"""What a reply shows: text, tokens, tools, thoughts; and that it stays text."""

from __future__ import annotations

import json
import re

from page_kit import Chat, logprobs, stream
from playwright.sync_api import expect

CAPITAL = "What is the capital of France?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def test_token_view(chat: Chat) -> None:
    reply = chat.ask(CAPITAL)
    chat.button("Tokens").click()
    tokens = chat.replies.locator(".tokens .token")
    assert "".join(tokens.all_text_contents()).strip().startswith(reply)
    popover = chat.page.get_by_role("tooltip")
    tokens.first.hover()
    expect(popover).to_be_visible()
    expect(popover.locator("tr")).to_have_count(5)
    expect(popover.locator(".chosen")).to_have_count(1)
    shares = [float(share) for share in re.findall(r"([\d.]+) %", popover.inner_text())]
    assert shares == sorted(shares, reverse=True) and sum(shares) < 100.5
    chat.prompt.hover()
    expect(popover).to_be_hidden()

    tokens.first.focus()
    chat.page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    expect(tokens.nth(1)).to_have_attribute("aria-describedby", "alternatives")
    expect(popover).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(popover).to_be_hidden()
    chat.page.keyboard.press("End")
    expect(tokens.last).to_be_focused()
    chat.button("Tokens").click()
    expect(chat.replies.locator(".text")).to_have_text(reply)


def test_tool_call_is_shown_and_its_result_continues(chat: Chat) -> None:
    chat.set(tools=json.dumps([WEATHER]), temperature="0")
    chat.send("What is the weather in Oslo?")
    call = chat.page.get_by_role("region", name="Tool call")
    expect(call).to_contain_text("get_weather")
    result = chat.page.get_by_role("textbox", name="Result of call 1")
    result.wait_for()
    assert json.loads(call.locator("pre").first.inner_text()) == {"city": "Oslo"}
    result.fill('{"city": "Oslo", "weather": "sunny", "temperature": 21}')
    result.press("Enter")
    assert "sunny" in chat.answered() or "21" in chat.answered()
    expect(call).to_contain_text('"weather": "sunny"')
    asked, called, told = chat.sent()[-1]["messages"]
    assert asked["role"] == "user" and told["role"] == "tool"
    assert told["tool_call_id"] == called["tool_calls"][0]["id"]


def test_tools_that_are_not_json_are_told(chat: Chat) -> None:
    chat.set(tools="[{")
    chat.send(CAPITAL)
    expect(chat.notice).to_contain_text("not valid JSON")
    chat.set(tools="")
    chat.button("Retry").click()
    assert "Paris" in chat.answered()


def test_thoughts_are_folded(chat: Chat) -> None:
    chat.set(thinking="on", temperature="0")
    chat.ask("What is 7 plus 5?")
    summary = chat.replies.locator("summary")
    expect(summary).to_have_text("Thoughts")
    expect(chat.replies.locator(".thoughts")).to_be_hidden()
    summary.click()
    expect(chat.replies.locator(".thoughts")).to_have_text(re.compile(r"\w"))


PAYLOADS = (
    "<script>hacked = 1</script>",
    "<img src=x onerror='hacked = 1'>",
    '"><svg onload="hacked = 1">',
    "<iframe srcdoc='<script>parent.hacked = 1</script>'></iframe>",
    "[link](javascript:hacked=1) [data](data:text/html,<script>hacked=1</script>)",
    "![picture](https://example.com/pixel.png)",
    "[![x](javascript:hacked=1)](java\tscript:hacked=1) [v](vbscript:hacked) [f](file:///etc)",
    "`</code><script>hacked = 1</script>`",
    "```html\n</code></pre><script>hacked = 1</script>\n```",
    "| <b onclick=hacked=1>a</b> | b |\n|---|---|\n| <img src=x onerror=hacked=1> | c |",
    "# <style>*{display:none}</style>\n> <a href='javascript:hacked=1'>x</a>\n- <script>1</script>",
    "https://example.com/\"onmouseover='hacked=1'",
)


def test_what_a_model_writes_stays_text(chat: Chat) -> None:
    text = "\n\n".join(PAYLOADS)
    call = {"index": 0, "id": text, "function": {"name": text, "arguments": json.dumps([text])}}
    answer = stream(
        {"reasoning_content": text},
        {"content": text, "logprobs": logprobs([(payload, -0.5) for payload in PAYLOADS])},
        {"tool_calls": [call]},
    )
    with chat.answering(**answer):
        chat.send(PAYLOADS[1])
        chat.answered()
    chat.replies.locator("summary").click()
    for link in chat.replies.locator("a").all():
        assert link.get_attribute("href", timeout=0) in {
            "https://example.com/pixel.png",
            "https://example.com/",
        }
        assert "noopener" in str(link.get_attribute("rel"))
    chat.button("Tokens").click()
    for token in chat.replies.locator(".tokens .token").all():
        token.hover()
    chat.button("Rename " + PAYLOADS[1]).click()
    chat.page.keyboard.press("Escape")
    refusal = {"status": 400, "body": json.dumps({"error": {"message": text}})}
    with chat.answering(**refusal):
        chat.button("Regenerate").click()
        expect(chat.notice).to_contain_text(PAYLOADS[1])
    foreign = "#messages :is(script, img, iframe, style, [onerror], [onload], [onclick], [style])"
    expect(chat.page.locator(foreign)).to_have_count(0)
    assert chat.page.evaluate("typeof hacked") == "undefined"


def test_policy_forbids_inline_code(chat: Chat) -> None:
    # Should text ever become markup, this is what still stands in its way.
    response = chat.page.request.get(chat.url)
    policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_code_is_copied(chat: Chat) -> None:
    chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = "if a < b:\n    print('&amp;')"
    with chat.answering(**stream({"content": f"Like this:\n\n```python\n{code}\n```"})):
        chat.ask("How?")
    block = chat.replies.locator(".code")
    expect(block).to_contain_text("python")
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("button", name="Copied")).to_be_visible()
    assert chat.page.evaluate("navigator.clipboard.readText()") == code


MARKDOWN = """# Title
text with **bold**, *italic*, `code`, ~~gone~~ and a
second line
1. one
   - inner
   - other

     more of it
2. two
- bullet
* * *
> quoted
> > twice
| a | b |
|---|:-:|
| 1 | `x` |
after
---and on
```python
def f():

    return "# no heading"
```
- last [link](https://example.com/a_(b)) https://example.com/x_y_z. \\*literal\\*
"""


def test_markdown_does_not_depend_on_how_it_was_cut(chat: Chat) -> None:
    once, cut = chat.page.evaluate(
        """async (source) => {
          const { MarkdownView } = await import("/web/markdown.js");
          const [once, cut] = [0, 1].map(() => document.createElement("div"));
          new MarkdownView(once).show(source);
          const view = new MarkdownView(cut);
          for (let end = 1; end <= source.length; end += 1) view.show(source.slice(0, end));
          return [once.innerHTML, cut.innerHTML];
        }""",
        MARKDOWN,
    )
    assert once == cut
    for part in (
        "<h3>Title</h3>", "<strong>bold</strong>", "<em>italic</em>", "<code>code</code>",
        "<del>gone</del> and a<br>second line",
        "<li>one<ul><li>inner</li><li>other<p>more of it</p>",
        "</ul></li><li>two</li></ol><ul><li>bullet</li></ul><hr>",
        "<blockquote><p>quoted</p><blockquote><p>twice</p></blockquote></blockquote>",
        '<th class="center">b</th>', "<td>1</td>", "<p>after<br>---and on</p>", "# no heading",
        'href="https://example.com/a_(b)"', ">https://example.com/x_y_z</a>. *literal*",
    ):  # fmt: skip
        assert part in once


def test_events_do_not_depend_on_how_they_were_cut(chat: Chat) -> None:
    source = (
        ': ping\r\n\r\ndata: {"a":"é"}\r\n\r\ndata: one\r\ndata:two\n\n\rdata: x\r\rdata: [DONE]'
    )
    for size in (1, 2, 3, 7, 100):
        read = chat.page.evaluate(
            """async ([source, size]) => {
              const { events } = await import("/web/api.js");
              const bytes = new TextEncoder().encode(source);
              const stream = new ReadableStream({ start(controller) {
                for (let at = 0; at < bytes.length; at += size) {
                  controller.enqueue(bytes.slice(at, at + size));
                }
                controller.close();
              } });
              const found = [];
              for await (const event of events(stream)) found.push(event);
              return found;
            }""",
            [source, size],
        )
        assert read == ['{"a":"é"}', "one\ntwo", "x", "[DONE]"]

"""The page of the routes: Swagger UI from this server, under a strict policy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from page_kit import Chat
from playwright.sync_api import Page, expect
from server_kit import RunningServer, serving


@pytest.fixture(scope="module")
def locked() -> Iterator[RunningServer]:
    with serving(api_key="secret") as running:
        yield running


def test_a_route_is_tried_out(page: Page, locked: RunningServer) -> None:
    seen = Chat(page, locked.url)
    page.goto(f"{locked.url}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.locator(".auth-container input").fill("secret")
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()
    route = page.locator(".opblock", has_text=re.compile(r"^GET\s*/v1/models\s*List"))
    route.locator(".opblock-summary-control").click()
    route.get_by_role("button", name="Try it out").click()
    route.get_by_role("button", name="Execute").click()
    expect(route.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(route.locator(".live-responses-table")).to_contain_text('"tinychat"')
    assert seen.troubles == []
    assert all(each.url.startswith((locked.url, "data:")) for each in seen.requests)
    assert "secret" not in page.evaluate("JSON.stringify(localStorage)")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_run_only_scripts_of_this_server(server: RunningServer, path: str) -> None:
    page = server.get(path)
    policy = dict(
        part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page.text)
    assert server.client.head(path).status_code == 200


def test_the_policy_is_enforced(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/docs")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.wasRun = true";
          document.body.append(script);
        }"""
    )
    assert page.evaluate("window.wasRun") is None


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/web/none"])
def test_there_are_no_other_pages(server: RunningServer, path: str) -> None:
    assert server.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/v1/models", "/no-such-page", "/openapi.json", "/web/docs.js"])
def test_every_answer_has_a_policy(server: RunningServer, path: str) -> None:
    answer: httpx.Response = server.get(path)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"

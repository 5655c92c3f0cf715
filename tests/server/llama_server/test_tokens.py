"""Texts to tokens and back over HTTP, by the routes of both servers."""

from __future__ import annotations

from server_kit import RunningServer


def test_tokens(server: RunningServer) -> None:
    tokens = server.post("/extras/tokenize", {"input": "Hello you"}).json()["tokens"]
    count = server.post("/extras/tokenize/count", {"input": "Hello you"}).json()["count"]
    assert len(tokens) == count > 1
    text = server.post("/extras/detokenize", {"tokens": tokens}).json()["text"]
    assert text.strip() == "Hello you"
    body = {"content": "Hello you", "add_special": True, "with_pieces": True}
    pieces = server.post("/tokenize", body).json()["tokens"]
    assert [piece["id"] for piece in pieces] == tokens
    joined = server.post("/detokenize", {"tokens": tokens}).json()["content"]
    assert joined == text

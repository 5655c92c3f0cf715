"""Texts to tokens and back over HTTP, by the routes of both servers."""

from __future__ import annotations

from typing import Any

from server_kit import RunningServer


def test_tokens(server: RunningServer) -> None:
    tokens = server.post("/extras/tokenize", {"input": "Hello you"}).json()["tokens"]
    count = server.post("/extras/tokenize/count", {"input": "Hello you"}).json()["count"]
    assert len(tokens) == count > 1
    text = server.post("/extras/detokenize", {"tokens": tokens}).json()["text"]
    assert text.strip() == "Hello you"


def test_pieces_are_those_of_llama_server(server: RunningServer) -> None:
    content = "<s>Hello \u4f60\U0001f642"
    tokens = server.post("/tokenize", {"content": content}).json()["tokens"]
    answer = server.post("/tokenize", {"content": content, "with_pieces": True}).json()["tokens"]
    assert [each["id"] for each in answer] == tokens
    pieces = [each["piece"] for each in answer]
    assert pieces[0] == "<s>"  # special tokens have their names
    parts = [piece for piece in pieces if isinstance(piece, list)]
    assert bytes(byte for part in parts for byte in part) == "\u4f60\U0001f642".encode()
    joined = server.post("/detokenize", {"tokens": tokens}).json()["content"]
    whole = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
    assert joined == whole.decode()


def test_special_tokens_are_text_if_wanted(server: RunningServer) -> None:
    body = {"content": "<s>", "parse_special": False, "with_pieces": True}
    pieces = server.post("/tokenize", body).json()["tokens"]
    assert len(pieces) > 1 and all(each["piece"] != "<s>" for each in pieces)


def test_texts_may_stand_among_tokens(server: RunningServer) -> None:
    def tokens(content: Any, **options: Any) -> Any:
        answer = server.post("/tokenize", {"content": content, **options})
        assert answer.status_code == 200, answer.text
        return answer.json()["tokens"]

    mixed = tokens(["Hello", 5, "you"], add_special=True)
    assert mixed == [*tokens("Hello", add_special=True), 5, *tokens("you")]
    assert tokens([5, "you"], add_special=True) == [5, *tokens("you")]
    refused = server.post("/tokenize", {"content": [2**30], "with_pieces": True})
    assert refused.status_code == 400

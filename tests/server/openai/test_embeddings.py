"""Embeddings and reranking over HTTP."""

from __future__ import annotations

import pytest
from server_kit import serving
from zoo import Zoo


def test_rerank_and_embeddings(zoo: Zoo) -> None:
    ranker = {"model": str(zoo.reranker), "model_alias": "rank", "n_ctx": 64}
    bert = {"model": str(zoo.bert), "model_alias": "bert", "n_ctx": 64}
    with serving(ranker, bert) as server:
        documents = ["a bear", {"text": "hi"}, "the giant panda is a bear"]
        body = {"query": "what is a panda?", "documents": documents, "model": "rank"}
        answer = server.post("/v1/rerank", body).json()
        assert sorted(each["index"] for each in answer["results"]) == [0, 1, 2]
        scores = [each["relevance_score"] for each in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        assert len(server.post("/v1/rerank", {**body, "top_n": 1}).json()["results"]) == 1
        # Texts of unequal length in one batch have the vectors of each alone.
        texts = ["a", "a longer text that has more tokens", "b c"]
        together = server.post("/v1/embeddings", {"input": texts, "model": "bert"}).json()["data"]
        for text, row in zip(texts, together, strict=True):
            alone = server.post("/v1/embeddings", {"input": text, "model": "bert"}).json()
            assert row["embedding"] == pytest.approx(alone["data"][0]["embedding"], abs=1e-4)
        long = {"input": "a b c d " * 40, "model": "bert"}
        refused = server.post("/v1/embeddings", long)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "context_length_exceeded"
        assert refused.json()["error"]["param"] == "input"
        for cut, count in (
            ({"truncate": True}, 64),
            ({"truncate_prompt_tokens": -1}, 64),
            ({"truncate_prompt_tokens": 9}, 9),
        ):
            told = server.post("/v1/embeddings", {**long, **cut}).json()["usage"]
            assert told == {"prompt_tokens": count, "total_tokens": count}
        pair = {"query": "a b c d " * 40, "documents": ["x"], "model": "rank"}
        assert server.post("/v1/rerank", pair).json()["usage"]["prompt_tokens"] == 64
        refused = server.post("/v1/rerank", {**pair, "truncate": False})
        assert refused.json()["error"]["param"] == "documents"
        wrong = server.post("/v1/rerank", {**body, "model": "bert"})
        assert wrong.status_code == 400
        assert server.post("/v1/completions", {"prompt": "x", "model": "bert"}).status_code == 400

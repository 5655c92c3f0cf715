"""``embed`` and ``create_embedding``."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.embeddings.rerank import PairPrompts
from llama_cpp.errors import ClosedError, ContextWindowError, InvalidArgumentError, TokenError
from llama_cpp.llama import Llama

TEXTS = ["once upon a time", "the water", "what is the answer to this question"]


@pytest.fixture(scope="module")
def bert(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.bert, embedding=True) as model:
        yield model


@pytest.fixture(scope="module")
def minilm_llama(minilm: Path) -> Iterator[Llama]:
    with open_llama(minilm, embedding=True) as model:
        yield model


def test_shape_of_an_answer(bert: Llama) -> None:
    answer: Any = bert.create_embedding(TEXTS, model="some name")
    assert answer["object"] == "list"
    assert answer["model"] == "some name"
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    assert {entry["object"] for entry in answer["data"]} == {"embedding"}
    assert [entry["embedding"] for entry in answer["data"]] == bert.embed(TEXTS)
    count = sum(len(bert.tokenize(text.encode())) for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}
    single: Any = bert.create_embedding(TEXTS[0])
    assert single["model"] == bert.model_path
    assert near(single["data"][0]["embedding"], answer["data"][0]["embedding"])


def test_a_single_text_gives_a_single_row(bert: Llama) -> None:
    row = bert.embed(TEXTS[0])
    assert len(row) == bert.n_embd() == 128
    assert isinstance(row[0], float)
    assert bert.embed([TEXTS[0]]) == [row]
    assert bert.embed(TEXTS[0], return_count=True) == (row, 6)


def near(one: Any, other: Any) -> bool:
    """Whether vectors point the same way: sums of floats depend on the batch in the last bits."""
    a, b = np.array(one, float), np.array(other, float)
    if a.shape != b.shape:
        return False
    cosines = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return bool(np.all(cosines > 1 - 1e-5))


MANY = [" ".join(f"{word} {i}" for word in TEXTS[i % 3].split()[: i % 5 + 1]) for i in range(90)]


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("bert", None), ("bert", 0), ("bert", 2), ("llama", 0), ("llama", 1), ("llama", 3),
        ("llama_bpe", 2), ("mamba", 3), ("hybrid", 1), ("sliding_window", 1), ("t5", 1), ("t5", 0),
    ],
)  # fmt: skip
def test_texts_are_embedded_as_each_alone(zoo: Zoo, kind: str, pooling: int | None) -> None:
    options = {} if pooling is None else {"pooling_type": pooling}
    with open_llama(getattr(zoo, kind), **options) as llm:
        alone = [llm.embed(text) for text in MANY]
        together = llm.embed(MANY)
        assert all(map(near, together, alone))
        assert all(map(near, llm.embed(MANY[::-1]), alone[::-1]))
        assert not near(alone[0], alone[1])


def test_normalization_is_that_of_llama_cpp(bert: Llama) -> None:
    row = np.array(bert.embed(TEXTS[0]))
    for how, expected in (
        (False, row),
        (-1, row),
        (True, row / np.linalg.norm(row)),
        (2, row / np.linalg.norm(row)),
        (1, row / np.abs(row).sum()),
        (0, row / np.abs(row).max() * 32760),
        (3, row / (np.abs(row) ** 3).sum() ** (1 / 3)),
    ):
        assert bert.embed(TEXTS[0], normalize=how) == pytest.approx(expected, rel=1e-5)


def test_without_pooling_there_is_a_row_for_each_token(zoo: Zoo) -> None:
    with open_llama(zoo.llama, embedding=True) as llm:
        rows, count = llm.embed(TEXTS, return_count=True)
        lengths = [len(llm.tokenize(text.encode())) for text in TEXTS]
        assert [np.array(row).shape for row in rows] == [(length, 256) for length in lengths]
        assert count == sum(lengths)
        scaled = np.linalg.norm(llm.embed(TEXTS[0], normalize=True), axis=1)
        assert scaled == pytest.approx(np.ones(lengths[0]), abs=1e-5)


def test_a_ranking_model_gives_scores(zoo: Zoo) -> None:
    for kind, n_scores in (("reranker", 1), ("classifier", 2)):
        with open_llama(getattr(zoo, kind), embedding=True) as llm:
            assert [len(row) for row in llm.embed(TEXTS)] == [n_scores] * 3


def test_scores_of_a_model_without_a_head_are_not_made_up(zoo: Zoo) -> None:
    for options in ({"pooling_type": 4}, {"kv_overrides": {"llama.pooling_type": 4}}):
        with open_llama(zoo.llama, embedding=True, **options) as llm:
            assert text_of(llm, PROMPT)
            for scored in (
                lambda: llm.rerank("a question", ["an answer"]),
                lambda: llm.classify("a text"),
                lambda: llm.embed("a text"),
                lambda: llm.create_embedding("a text"),
            ):
                with pytest.raises(InvalidArgumentError, match="has no classification head"):
                    scored()
    with open_llama(zoo.reranker, embedding=True, pooling_type=1) as llm:
        assert len(llm.embed("a text")) == llm.n_embd()
        with pytest.raises(InvalidArgumentError, match="load it with pooling_type="):
            llm.rerank("a question", ["an answer"])


def test_texts_that_are_too_long_are_cut_or_refused(bert: Llama) -> None:
    long = "the water " * 200
    ids = bert.tokenize(long.encode())
    row, count = bert.embed(long, return_count=True)
    assert count == 256
    assert row == bert.embed(long + "and more", truncate=True)
    assert row == bert.embed([*ids[:255], ids[-1]])  # the separator is still at the end
    too_long = r"of (402|300) tokens .* at most 256 go.*micro-batch.* n_batch and n_ubatch of "
    for refused in (
        lambda: bert.embed([TEXTS[0], long], truncate=False),
        lambda: bert.create_embedding([TEXTS[0], long]),
        lambda: bert.create_embedding(long, truncate=300),
    ):
        with pytest.raises(ContextWindowError, match=too_long):
            refused()
    assert bert.embed(TEXTS[0], truncate=False) == bert.embed(TEXTS[0])
    answer: Any = bert.create_embedding(long, truncate=True)
    assert (answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]) == (row, 256)
    answer = bert.create_embedding([long, TEXTS[0]], truncate=100)
    assert answer["usage"]["prompt_tokens"] == 106
    assert near(answer["data"][0]["embedding"], bert.embed([*ids[:99], ids[-1]]))


def test_cutting_a_text_is_logged(bert: Llama, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "llama_cpp"):
        bert.embed("the water " * 20)
        assert not caplog.records
        bert.embed("the water " * 300)
    assert "602 tokens was cut to the 256" in caplog.text


def test_a_model_reads_no_more_positions_than_it_has_learned(zoo: Zoo) -> None:
    with open_llama(zoo.bert, n_ctx=2048, n_batch=2048) as llm:
        row, count = llm.embed("the water " * 600, return_count=True)
        assert (len(row), count) == (128, 512)
        with pytest.raises(ContextWindowError, match="has learned 512 positions: shorten"):
            llm.create_embedding("the water " * 600)


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("llama", 0), ("llama", 1), ("llama", 2), ("llama", 3), ("mamba", 1), ("hybrid", 3),
        ("sliding_window", 1), ("sliding_window", 0),
    ],
)  # fmt: skip
def test_a_decoder_embeds_what_is_longer_than_a_batch(zoo: Zoo, kind: str, pooling: int) -> None:
    texts: Any = [[300 + i * i % 60 for i in range(length)] for length in (210, 30, 64, 250)]
    path = getattr(zoo, kind)
    # Flash attention adds in another order, and in half precision, for each size of a batch.
    options: dict[str, Any] = {"pooling_type": pooling, "flash_attn": False}
    with open_llama(path, n_batch=256, **options) as whole:
        expected = [whole.embed(text) for text in texts]
    with open_llama(path, n_batch=64, **options) as llm:
        assert near(llm.embed(texts[1]), expected[1])  # before there is room for long ones
        rows, count = llm.embed(texts, return_count=True)
        assert all(map(near, rows, expected))
        assert count == 210 + 30 + 64 + 250
        with pytest.raises(ContextWindowError, match="at most 256 go: create .* with n_ctx=257"):
            llm.create_embedding([300] * 257)
        assert near(llm.embed([300] * 257), llm.embed([300] * 256))


def test_without_causal_attention_a_decoder_reads_a_text_at_once(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_batch=64, pooling_type=1, attention_type=1) as llm:
        with pytest.raises(ContextWindowError, match="at once, in one micro-batch"):
            llm.create_embedding([300] * 65)
        assert llm.embed([300] * 65, return_count=True)[1] == 64


def test_a_model_of_texts_embeds_and_completes(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as plain:
        expected = text_of(plain, PROMPT)
    with open_llama(zoo.llama, embedding=True, pooling_type=1) as llm:
        before = llm.embed(TEXTS[0])
        assert text_of(llm, PROMPT) == expected
        assert llm.embed(TEXTS[0]) == before
        assert text_of(llm, PROMPT) == expected


def test_a_model_that_was_loaded_to_generate_embeds_too(zoo: Zoo) -> None:
    with open_llama(zoo.llama, embedding=True, pooling_type=1) as embedding:
        expected = embedding.embed(TEXTS)
    with open_llama(zoo.llama, pooling_type=1) as llm:
        text = text_of(llm, PROMPT)
        assert all(map(near, llm.embed(TEXTS), expected))
        assert text_of(llm, PROMPT) == text


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_what_cannot_continue_says_so(zoo: Zoo, kind: str) -> None:
    with open_llama(getattr(zoo, kind), embedding=True) as llm:
        for call in (
            lambda: text_of(llm, "the"),
            lambda: llm.create_chat_completion([{"role": "user", "content": "the"}]),
        ):
            with pytest.raises(InvalidArgumentError, match="does not continue texts: use embed"):
                call()


def test_what_is_no_text_is_refused(bert: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="nothing to embed: give at least one text"):
        bert.embed([])
    bad: Any
    for bad in (5, None, {"a": 1}, b"text", [None], [["the"]], [1.5]):
        with pytest.raises((InvalidArgumentError, TypeError)):
            bert.embed(bad)
    for bad in ([-1], [10**9], [[1, 10**9]]):
        with pytest.raises(TokenError):
            bert.embed(bad)
    with pytest.raises(InvalidArgumentError, match="normalize='yes' must be"):
        bert.embed(TEXTS, normalize="yes")  # type: ignore[call-overload]
    assert near(bert.embed(TEXTS[0]), bert.embed(TEXTS)[0])


def test_tokens_are_embedded_as_their_texts(bert: Llama) -> None:
    ids = [bert._model.vocab_handle.tokenize(text) for text in TEXTS]
    assert all(map(near, bert.embed(ids), bert.embed(TEXTS)))
    assert near(bert.embed(ids[0]), bert.embed(TEXTS[0]))


def test_tokens_of_numpy_are_embedded_too(bert: Llama) -> None:
    ids = bert.tokenize(TEXTS[0].encode())
    row = bert.embed(ids)
    array: Any = np.array(ids, np.uint16)
    assert bert.embed(array) == bert.embed(list(array)) == row
    assert bert.embed([array]) == [row]
    assert bert.embed(ids, normalize=np.int64(2)) == bert.embed(ids, normalize=2)
    short: Any = bert.create_embedding(ids, dimensions=np.uint8(8))
    assert len(short["data"][0]["embedding"]) == 8


def test_embedding_and_generating_go_on_together(zoo: Zoo) -> None:
    with open_llama(zoo.llama, pooling_type=1) as llm:
        expected = llm.embed(TEXTS)
        text = text_of(llm, PROMPT, max_tokens=50)
        chunks: Any = llm(PROMPT, stream=True, max_tokens=50, temperature=0, ignore_eos=True)
        parts = [next(chunks)]
        assert llm.embed(TEXTS) == expected
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(llm.embed, [TEXTS] * 8))
            parts += chunks
        assert all(row == expected for row in rows)  # type: ignore[comparison-overlap]
        assert "".join(part["choices"][0]["text"] for part in parts) == text


def test_vectors_come_shorter_and_in_base64(bert: Llama) -> None:
    rows = bert.embed(TEXTS)
    answer: Any = bert.create_embedding(TEXTS, dimensions=16, normalize=True)
    for entry, row in zip(answer["data"], rows, strict=True):
        expected = np.array(row[:16]) / np.linalg.norm(row[:16])
        assert entry["embedding"] == pytest.approx(expected, abs=1e-6)
    encoded: Any = bert.create_embedding(TEXTS, encoding_format="base64")
    for entry, row in zip(encoded["data"], rows, strict=True):
        assert np.frombuffer(base64.b64decode(entry["embedding"]), "<f4").tolist() == row
    with pytest.raises(InvalidArgumentError, match="dimensions=129 must be"):
        bert.create_embedding(TEXTS, dimensions=129)
    with pytest.raises(InvalidArgumentError, match="encoding_format='hex' must be"):
        bert.create_embedding(TEXTS, encoding_format="hex")  # type: ignore[arg-type]


def test_without_pooling_base64_has_a_text_for_each_token(zoo: Zoo) -> None:
    with open_llama(zoo.llama, embedding=True) as llm:
        rows = llm.embed(TEXTS[0])
        encoded: Any = llm.create_embedding(TEXTS[0], encoding_format="base64")
        decoded = [
            np.frombuffer(base64.b64decode(each), "<f4").tolist()
            for each in encoded["data"][0]["embedding"]
        ]
        assert decoded == rows
        short: Any = llm.create_embedding(TEXTS[0], encoding_format="base64", dimensions=3)
        lengths = {len(base64.b64decode(each)) for each in short["data"][0]["embedding"]}
        assert lengths == {12}


def test_documents_are_ordered_by_their_scores(zoo: Zoo) -> None:
    with open_llama(zoo.reranker) as llm:
        answer = llm.rerank("what is the answer", MANY[:20], return_documents=True)
        scores = [entry["relevance_score"] for entry in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        assert sorted(entry["index"] for entry in answer["results"]) == list(range(20))
        assert all(e["document"]["text"] == MANY[e["index"]] for e in answer["results"])
        best = llm.rerank("what is the answer", MANY[:20], top_n=3)["results"]
        assert [each["index"] for each in best] == [e["index"] for e in answer["results"][:3]]
        assert "document" not in best[0]
        vocab = llm._model.vocab_handle
        pair = [vocab.bos, *vocab.tokenize("a question", add_special=False), vocab.eos,
                *vocab.tokenize("the answer", add_special=False), vocab.eos]  # fmt: skip
        [single] = llm.rerank("a question", ["the answer"])["results"]
        assert llm.embed(pair)[0] == pytest.approx(single["relevance_score"], rel=1e-4)
        for query, documents in ((5, ["a"]), ("a", []), ("a", "b"), ("a", [5]), ("a", None)):
            with pytest.raises(InvalidArgumentError, match=r"query=|documents"):
                llm.rerank(query, documents)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="top_n=0 must be"):
            llm.rerank("a", ["b"], top_n=0)
        long = "the water " * 300
        assert llm.rerank("a", [long])["usage"]["prompt_tokens"] == 256
        with pytest.raises(InvalidArgumentError, match="too long to embed"):
            llm.rerank("a", [long], truncate=False)


@pytest.mark.parametrize(
    "template",
    [
        "Q: {query} D: {document}",
        "Q: {{ query }} D: {{ document }}",
        "{% set x = 'Q' %}{{ x }}: {{ query }} D: {{ document }}",
    ],
)
def test_a_model_has_a_form_for_its_pairs(template: str, zoo: Zoo) -> None:
    attack = "{document} {{ 7 * 7 }} {query}"
    with open_llama(zoo.reranker) as llm:
        vocab = llm._model.vocab_handle
        pairs = PairPrompts(vocab, {"tokenizer.chat_template.rerank": template})
        ids = pairs.tokenize(attack, "the [SEP] water")
        assert ids.count(vocab.sep) == 0
        plain = vocab.tokenize("Q:", add_special=False)
        assert ids[: len(plain)] == plain
        text = vocab.detokenize(ids).decode().replace(" ", "")
        assert "49" not in text
        assert text.count("document") == 1


def test_labels_are_scored(zoo: Zoo) -> None:
    with open_llama(zoo.classifier) as llm:
        scored = llm.classify(TEXTS)
        assert [set(each) for each in scored] == [{"negative", "positive"}] * 3
        for each, row in zip(scored, llm.embed(TEXTS), strict=True):
            assert sorted(each.values()) == pytest.approx(sorted(row))
            assert list(each.values()) == sorted(each.values(), reverse=True)
        assert set(llm.classify(TEXTS[0])) == {"negative", "positive"}
    with open_llama(zoo.llama) as llm:
        for call in (lambda: llm.classify("the"), lambda: llm.rerank("the", ["water"])):
            with pytest.raises(InvalidArgumentError, match="no scores to give.* Load one for"):
                call()
        assert text_of(llm, PROMPT)


def test_a_closed_model_embeds_nothing(zoo: Zoo) -> None:
    llm = open_llama(zoo.bert)
    assert llm.embed("the")
    llm.close()
    with pytest.raises(ClosedError):
        llm.embed("the")


def test_an_adapter_changes_embeddings(zoo: Zoo) -> None:
    with open_llama(zoo.llama, pooling_type=1) as plain:
        expected = plain.embed(TEXTS)
    with open_llama(zoo.llama, pooling_type=1, lora_path=str(zoo.lora)) as adapted:
        assert not any(map(near, adapted.embed(TEXTS), expected))


def test_near_meanings_are_near(minilm_llama: Llama) -> None:
    dog, hound, market = (
        np.array(row)
        for row in minilm_llama.embed(
            [
                "A dog is running across the field.",
                "A hound runs over the meadow.",
                "Stock prices fell sharply on Monday.",
            ],
            normalize=True,
        )
    )
    assert minilm_llama.n_embd() == len(dog) == 384
    assert dog @ hound > 0.5
    assert dog @ market < 0.2

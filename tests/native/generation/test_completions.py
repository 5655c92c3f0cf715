"""What ``Llama.create_completion`` returns, whole and in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_kit import GREEDY, PROMPT, cached_tokens, complete, joined, open_llama, text_of
from zoo import Zoo

from llama_cpp.llama import Llama


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


@pytest.mark.parametrize("prompt", ["once upon a time", PROMPT], ids=["text", "tokens"])
@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("logprobs", [None, 0, 3])
@pytest.mark.parametrize("stop", [[], ["e"], ["the"]])
def test_stream_equals_whole(
    llm: Llama, prompt: Any, echo: bool, logprobs: int | None, stop: list[str]
) -> None:
    options: dict[str, Any] = {
        "echo": echo, "logprobs": logprobs, "stop": stop, "max_tokens": 30, "temperature": 0.9,
        "seed": 5,
    }  # fmt: skip
    whole: Any = llm.create_completion(prompt, **options)
    chunks: Any = llm.create_completion(prompt, stream=True, **options)
    part = joined(list(chunks))
    [choice] = whole["choices"]
    assert part["text"] == choice["text"]
    assert part["finish_reason"] == choice["finish_reason"]
    if logprobs is None:
        assert choice["logprobs"] is None
    else:
        assert part["logprobs"]["tokens"] == choice["logprobs"]["tokens"]
        assert part["logprobs"]["text_offset"] == choice["logprobs"]["text_offset"]
        assert part["logprobs"]["token_logprobs"][1:] == pytest.approx(
            choice["logprobs"]["token_logprobs"][1:], abs=1e-4
        )


def test_shape_of_an_answer(llm: Llama) -> None:
    answer = complete(llm, PROMPT, model="some name")
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    assert answer["model"] == "some name"
    assert isinstance(answer["created"], int)
    assert answer["usage"]["prompt_tokens"] == len(PROMPT)
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["total_tokens"] == len(PROMPT) + 12
    [choice] = answer["choices"]
    assert set(choice) == {"text", "index", "logprobs", "finish_reason"}


@pytest.mark.parametrize("max_tokens", [0, 1, 2, 7])
def test_max_tokens_is_exact(llm: Llama, max_tokens: int) -> None:
    answer = complete(llm, PROMPT, max_tokens=max_tokens, logprobs=0)
    assert answer["usage"]["completion_tokens"] == max_tokens
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == max_tokens
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("max_tokens", [None, -1])
def test_without_a_limit_the_context_is_filled(llm: Llama, max_tokens: int | None) -> None:
    answer = complete(llm, PROMPT, max_tokens=max_tokens)
    assert answer["usage"]["total_tokens"] == llm.n_ctx()
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", [[""], "", ["", ""], None, []])
def test_empty_stop_texts_do_not_count(llm: Llama, stop: Any) -> None:
    whole = complete(llm, PROMPT, max_tokens=40)
    answer = complete(llm, PROMPT, max_tokens=40, stop=stop)
    assert answer["choices"] == whole["choices"]
    beside = complete(llm, PROMPT, max_tokens=40, stop=["", whole["choices"][0]["text"][10:14]])
    assert beside["choices"][0]["finish_reason"] == "stop"


def test_a_stop_text_ends_the_text_before_it(llm: Llama) -> None:
    whole = text_of(llm, PROMPT, max_tokens=40)
    stop = whole[10:14]
    answer = complete(llm, PROMPT, max_tokens=40, stop=[stop])
    assert answer["choices"][0]["text"] == whole[: whole.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert text_of(llm, PROMPT, max_tokens=40, stop=stop) == answer["choices"][0]["text"]


def test_logprobs_are_those_of_a_forward_pass(zoo: Zoo) -> None:
    with open_llama(zoo.llama, logits_all=True) as llm:
        answer = complete(llm, PROMPT, max_tokens=5, logprobs=4, echo=True)
        logprobs = answer["choices"][0]["logprobs"]
        tokens = [*PROMPT, *llm.input_ids[len(PROMPT) : len(PROMPT) + 4].tolist()]
        llm.reset()
        llm.eval(tokens)
        expected = Llama.logits_to_logprobs(llm.scores)
        last = int(llm.scores[-1].argmax())
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    following = [*tokens[1:], last]
    assert logprobs["token_logprobs"][1:] == pytest.approx(
        [float(row[token]) for row, token in zip(expected, following, strict=True)], abs=2e-3
    )
    for row, told in zip(expected, logprobs["top_logprobs"][1:], strict=True):
        best = np.sort(row)[::-1][:4]
        assert sorted(told.values(), reverse=True)[:4] == pytest.approx(best.tolist(), abs=2e-3)


def test_text_offsets_find_the_tokens_in_the_text(llm: Llama) -> None:
    choice = complete(llm, "once upon a time", echo=True, logprobs=0)["choices"][0]
    told = choice["logprobs"]
    for name, offset in zip(told["tokens"], told["text_offset"], strict=True):
        if not name.startswith("bytes:"):
            # The tokenizer puts a space in front of the text, which the caller did not write.
            assert choice["text"][offset:].startswith(name if offset else name.lstrip(" "))


def test_several_prompts_and_several_choices(llm: Llama) -> None:
    prompts = [PROMPT, PROMPT[:20], PROMPT[5:30]]
    answer = complete(llm, prompts, n=2)
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert answer["usage"]["prompt_tokens"] == sum(map(len, prompts))
    assert answer["usage"]["completion_tokens"] == 6 * 12
    alone = [text_of(llm, prompt) for prompt in prompts for _ in range(2)]
    assert [choice["text"] for choice in answer["choices"]] == alone


def test_choices_of_one_prompt_differ_when_sampled(llm: Llama) -> None:
    answer: Any = llm.create_completion(PROMPT, n=4, temperature=1.5, top_k=0, seed=3)
    assert len({choice["text"] for choice in answer["choices"]}) == 4
    assert cached_tokens(answer) <= answer["usage"]["prompt_tokens"]


def test_usage_of_a_stream_comes_when_it_is_asked_for(llm: Llama) -> None:
    options = {"stream": True, "max_tokens": 3, **GREEDY}
    plain: Any = list(llm(PROMPT, **options))
    asked: Any = list(llm(PROMPT, stream_options={"include_usage": True}, **options))
    assert all("usage" not in chunk for chunk in plain)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["completion_tokens"] == 3


def test_logit_bias_takes_numbers_and_texts(llm: Llama) -> None:
    wanted = 420
    for bias in ({wanted: 100.0}, {str(wanted): 100}):
        answer = complete(llm, PROMPT, logit_bias=bias, max_tokens=3)
        assert answer["choices"][0]["text"] == llm.detokenize([wanted] * 3).decode()


def test_a_bias_of_minus_infinity_forbids_a_token(llm: Llama) -> None:
    llm.reset()
    llm.eval(PROMPT)
    best, second = np.argsort(llm.logits())[::-1][:2].tolist()
    banned = text_of(llm, PROMPT, logit_bias={best: float("-inf")}, max_tokens=1)
    assert banned == llm.detokenize([second]).decode()


def test_biased_top_k_equals_the_full_row(llm: Llama) -> None:
    # With few candidates, biases are applied to the best of the row and not to all of it.
    bias = {400: 3.0, 401: -5.0, 402: 2.5, 403: float("-inf")}
    few: Any = llm(PROMPT, top_k=5, logit_bias=bias, seed=9, max_tokens=40, temperature=1.0)

    def add(_: Any, scores: Any) -> None:
        for token, value in bias.items():
            scores[token] += value

    full: Any = llm(PROMPT, top_k=5, logits_processor=[add], seed=9, max_tokens=40, temperature=1.0)
    assert few["choices"][0]["text"] == full["choices"][0]["text"]


def test_processors_of_both_styles(llm: Llama) -> None:
    seen: list[int] = []

    def in_place(ids: Any, scores: Any) -> None:
        seen.append(len(ids))
        assert ids.dtype == np.int32 and ids.tolist()[: len(PROMPT)] == PROMPT
        scores[:] = -1e9
        scores[410] = 1.0

    def returned(ids: Any, scores: Any) -> Any:
        fresh = np.full_like(scores, -1e9)
        fresh[410] = 1.0
        return fresh

    expected = llm.detokenize([410] * 4).decode()
    assert text_of(llm, PROMPT, max_tokens=4, logits_processor=[in_place]) == expected
    assert text_of(llm, PROMPT, max_tokens=4, logits_processor=returned) == expected
    assert seen == [len(PROMPT) + index for index in range(4)]


def test_stopping_criteria_see_every_token(llm: Llama) -> None:
    whole = complete(llm, PROMPT, max_tokens=20)
    stopped = complete(
        llm, PROMPT, max_tokens=20, stopping_criteria=lambda ids, _: len(ids) >= len(PROMPT) + 5
    )
    assert stopped["usage"]["completion_tokens"] == 5
    assert whole["choices"][0]["text"].startswith(stopped["choices"][0]["text"])
    assert stopped["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_a_grammar_that_allows_everything_changes_nothing(llm: Llama, temperature: float) -> None:
    options = {"temperature": temperature, "seed": 4, "max_tokens": 30}
    free = text_of(llm, PROMPT, **options)
    assert text_of(llm, PROMPT, grammar="root ::= [^\\x00]*", **options) == free


def test_checking_after_sampling_equals_masking_before(llm: Llama) -> None:
    grammar = "root ::= [a-m ]*"
    allowed = {
        token
        for token in range(llm.n_vocab())
        if (piece := llm.detokenize([token])) and set(piece) <= set(b"abcdefghijklm ")
    }

    def mask(_: Any, scores: Any) -> None:
        scores[[token for token in range(len(scores)) if token not in allowed]] = -np.inf

    masked = text_of(llm, PROMPT, max_tokens=20, logits_processor=[mask])
    assert text_of(llm, PROMPT, max_tokens=20, grammar=grammar) == masked


def test_a_grammar_samples_the_masked_distribution(llm: Llama) -> None:
    # Nothing is truncated: the first token, among those of one letter, has the odds of the logits.
    letters = "abcde"
    options: Any = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": 1}
    grammar = f"root ::= [{letters}]"
    llm.reset()
    llm.eval(PROMPT)
    row = llm.logits()
    tokens = [
        token
        for token in range(llm.n_vocab())
        if llm.detokenize([token]) in map(str.encode, letters)
    ]
    odds = np.exp(row[tokens] - row[tokens].max())
    shares = odds / odds.sum()
    n = 600
    texts = [llm(PROMPT, grammar=grammar, seed=seed, **options) for seed in range(n)]
    found = dict.fromkeys(letters, 0)
    for answer in texts:
        found[answer["choices"][0]["text"]] += 1
    expected: dict[str, float] = dict.fromkeys(letters, 0.0)
    for token, share in zip(tokens, shares, strict=True):
        expected[llm.detokenize([token]).decode()] += n * float(share)
    chi_squared = sum((found[x] - expected[x]) ** 2 / max(expected[x], 1e-9) for x in letters)
    assert chi_squared < 23.5  # 4 degrees of freedom: exceeded once in 10,000 runs


def test_without_tokens_for_filling_in_the_suffix_is_appended(zoo: Zoo) -> None:
    with open_llama(zoo.llama_bpe) as llm:
        assert llm._model.vocab_handle.fim_pre < 0
        text = text_of(llm, "def add(", max_tokens=4)
        assert text_of(llm, "def add(", suffix=")", max_tokens=4) == text + ")"
        chunks: Any = llm("def add(", suffix=")", max_tokens=4, stream=True, **GREEDY)
        assert joined(list(chunks))["text"] == text + ")"

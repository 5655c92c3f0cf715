"""Bad input to ``create_completion``: each has its error, and the model goes on as if nothing was.

What a text should look like and what hooks may return is in ``test_llama_grammars``; what
parameters of the constructor are refused is in ``test_llama_loading``.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import GREEDY, PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import (
    ClosedError,
    ContextWindowError,
    GrammarError,
    InvalidArgumentError,
    LlamaError,
    TextError,
    TokenError,
)
from llama_cpp.llama import Llama

INTEGER, NUMBER = "must be an integer from", "must be a number from"


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


@pytest.fixture(scope="module")
def expected(llm: Llama) -> str:
    return text_of(llm, PROMPT, max_tokens=30)


def raising(_: Any, __: Any) -> Any:
    raise LookupError("no such word")


PROMPTS: list[tuple[Any, type[Exception], str]] = [
    ([], InvalidArgumentError, "the prompt is empty: give a text, or at least one token id"),
    ([[]], InvalidArgumentError, "the prompt is empty"),
    ([PROMPT, []], InvalidArgumentError, "the prompt is empty"),
    (None, InvalidArgumentError, "a prompt is a text, a list of .* not NoneType"),
    (5, InvalidArgumentError, "a prompt is a text, a list of .* not int"),
    (b"the", InvalidArgumentError, "a prompt is a text, a list of .* not bytes"),
    ({"role": "user"}, InvalidArgumentError, "a prompt is a text, a list of .* not dict"),
    ([300] * 256, ContextWindowError, r"Requested tokens \(256\) exceed context window of 256"),
    ([300] * 1000, ContextWindowError, r"Requested tokens \(1000\) exceed .*: shorten the prompt"),
    ("the " * 400, ContextWindowError, r"Requested tokens \(402\) exceed context window of 256"),
    ([PROMPT, [300] * 300], ContextWindowError, r"Requested tokens \(300\) exceed"),
    ([684], TokenError, "token 684 at index 0 is not in the vocabulary, which has ids 0 to 683"),
    ([300, -1], TokenError, "token -1 at index 1 is not in the vocabulary"),
    ([PROMPT, [300, 2**40]], TokenError, "below 684"),
    ([1.5], TokenError, "token ids must be integers"),
    (["the", 5], TokenError, "token ids must be integers"),
    ([5, "the"], TokenError, "token ids must be integers"),
]
OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_tokens": 1.5}, InvalidArgumentError, f"max_tokens=1.5 {INTEGER}"),
    ({"max_tokens": "5"}, InvalidArgumentError, f"max_tokens='5' {INTEGER}"),
    ({"max_tokens": 2**40}, InvalidArgumentError, f"max_tokens=1099511627776 {INTEGER}"),
    ({"temperature": math.nan}, InvalidArgumentError, f"temperature=nan {NUMBER} -inf"),
    ({"temperature": "hot"}, InvalidArgumentError, f"temperature='hot' {NUMBER} -inf"),
    ({"temperature": None}, InvalidArgumentError, f"temperature=None {NUMBER} -inf"),
    ({"top_p": -0.1}, InvalidArgumentError, f"top_p=-0.1 {NUMBER} 0"),
    ({"top_p": math.nan}, InvalidArgumentError, f"top_p=nan {NUMBER} 0"),
    ({"min_p": -1}, InvalidArgumentError, f"min_p=-1 {NUMBER} 0"),
    ({"typical_p": -1}, InvalidArgumentError, f"typical_p=-1 {NUMBER} 0"),
    ({"top_n_sigma": math.nan}, InvalidArgumentError, f"top_n_sigma=nan {NUMBER}"),
    ({"top_k": 1.5}, InvalidArgumentError, f"top_k=1.5 {INTEGER}"),
    ({"min_keep": -1}, InvalidArgumentError, f"min_keep=-1 {INTEGER} 0"),
    ({"xtc_probability": 2}, InvalidArgumentError, f"xtc_probability=2 {NUMBER} 0 to 1"),
    ({"dynatemp_range": -1}, InvalidArgumentError, f"dynatemp_range=-1 {NUMBER} 0"),
    ({"repeat_penalty": 0}, InvalidArgumentError, "repeat_penalty=0 would divide by zero: 1.0 is"),
    ({"repeat_penalty": -1.0}, InvalidArgumentError, f"repeat_penalty=-1.0 {NUMBER} 0"),
    ({"frequency_penalty": math.inf}, InvalidArgumentError, "=inf must be"),
    ({"presence_penalty": "x"}, InvalidArgumentError, f"presence_penalty='x' {NUMBER}"),
    ({"penalty_last_n": -2}, InvalidArgumentError, f"penalty_last_n=-2 {INTEGER} -1"),
    ({"dry_multiplier": math.nan}, InvalidArgumentError, f"dry_multiplier=nan {NUMBER} 0"),
    (
        {"dry_multiplier": 1, "dry_sequence_breakers": ["\0"]}, TextError,
        "the sequence breaker holds a NUL character",
    ),
    ({"mirostat_mode": 3}, InvalidArgumentError, f"mirostat_mode=3 {INTEGER} 0 to 2"),
    ({"mirostat_tau": math.nan}, InvalidArgumentError, f"mirostat_tau=nan {NUMBER} 0"),
    ({"mirostat_eta": -1}, InvalidArgumentError, f"mirostat_eta=-1 {NUMBER} 0"),
    ({"adaptive_target": 2}, InvalidArgumentError, f"adaptive_target=2 {NUMBER} -inf to 1"),
    ({"adaptive_decay": 1}, InvalidArgumentError, f"adaptive_decay=1 {NUMBER} 0 to 0.99"),
    ({"samplers": ["topk"]}, InvalidArgumentError, "each of penalties, .* may be named once"),
    ({"samplers": ["top_k"] * 2}, InvalidArgumentError, "each of penalties, .* may be named once"),
    ({"logprobs": -1}, InvalidArgumentError, f"logprobs=-1 {INTEGER} 0 to 100"),
    ({"logprobs": 101}, InvalidArgumentError, f"logprobs=101 {INTEGER} 0 to 100"),
    ({"n": 0}, InvalidArgumentError, f"n=0 {INTEGER} 1"),
    ({"seed": -2}, InvalidArgumentError, f"seed=-2 {INTEGER} 0"),
    ({"seed": "x"}, InvalidArgumentError, f"seed='x' {INTEGER} 0"),
    ({"logit_bias": {684: 1}}, TokenError, "token 684 is not in the vocabulary, which has ids"),
    ({"logit_bias": {-1: 1}}, TokenError, "token -1 is not in the vocabulary"),
    ({"logit_bias": {"x": 1}}, InvalidArgumentError, "logit_bias: 'x' is no token id"),
    ({"logit_bias": {2.5: 1}}, InvalidArgumentError, "logit_bias: 2.5 is no token id"),
    ({"logit_bias": [300]}, InvalidArgumentError, "logit_bias must map token ids to numbers"),
    ({"logit_bias": {300: math.nan}}, InvalidArgumentError, rf"logit_bias\[300\]=nan {NUMBER}"),
    ({"logit_bias": {300: math.inf}}, InvalidArgumentError, rf"logit_bias\[300\]=inf {NUMBER}"),
    ({"logit_bias": {300: "1"}}, InvalidArgumentError, rf"logit_bias\[300\]='1' {NUMBER}"),
    (
        {"logit_bias": dict.fromkeys(range(684), -math.inf)}, LlamaError,
        "no token can be sampled: every token is forbidden here",
    ),
    ({"stop": ["a", None]}, InvalidArgumentError, "a stop string is None, but each must be"),
    ({"stop": b"a"}, InvalidArgumentError, "a stop string is b'a', but each must be a text"),
    ({"stop": 5}, InvalidArgumentError, "stop=5 must be a text, or a list of texts"),
    ({"grammar": 5}, InvalidArgumentError, "grammar=5 must be a LlamaGrammar, or rules"),
    ({"grammar": "root ::= ("}, GrammarError, "line 1, column 11"),
    ({"grammar": 'root ::= "\\x00" root'}, GrammarError, "the grammar allows no token here"),
    ({"logits_processor": raising}, LookupError, "no such word"),
    ({"logits_processor": [5]}, InvalidArgumentError, "must be callable"),
    ({"stopping_criteria": [raising]}, LookupError, "no such word"),
    ({"tempreture": 1}, TypeError, "'tempreture'; did you mean 'temperature'?"),
    ({"mirostat": 1}, TypeError, "'mirostat'; did you mean 'mirostat_"),
]  # fmt: skip


def check(
    llm: Llama, expected: str, prompt: Any, options: dict[str, Any], error: Any, message: str
) -> None:
    # At a temperature, so that every parameter counts.
    options = {"max_tokens": 4, "temperature": 1.0, **options}
    with pytest.raises(error, match=message):
        llm(prompt, **options)
    with pytest.raises(error, match=message):
        list(llm(prompt, stream=True, **options))
    assert len(llm.engine) == 0
    assert text_of(llm, PROMPT, max_tokens=30) == expected


@pytest.mark.parametrize(("prompt", "error", "message"), PROMPTS, ids=lambda each: str(each)[:30])
def test_bad_prompts_are_refused(
    llm: Llama, expected: str, prompt: Any, error: type[Exception], message: str
) -> None:
    check(llm, expected, prompt, {}, error, message)


@pytest.mark.parametrize(("options", "error", "message"), OPTIONS, ids=lambda each: str(each)[:40])
def test_bad_options_are_refused(
    llm: Llama, expected: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    check(llm, expected, PROMPT, options, error, message)


def test_a_prompt_may_be_empty_where_there_is_a_token_to_begin_with(llm: Llama) -> None:
    assert text_of(llm, "") == text_of(llm, [llm.token_bos()])


def test_a_prompt_that_fills_the_context_can_still_be_measured(llm: Llama, expected: str) -> None:
    answer: Any = llm([300] * 256, max_tokens=0, echo=True, logprobs=0)
    [choice] = answer["choices"]
    assert len(choice["logprobs"]["tokens"]) == 256
    assert answer["usage"]["completion_tokens"] == 0
    nearly: Any = llm([300] * 255, max_tokens=None, **GREEDY)
    assert nearly["usage"]["completion_tokens"] == 1
    assert text_of(llm, PROMPT, max_tokens=30) == expected


@pytest.mark.parametrize("prompt", ["a\ud800b", "a\x00b", "\U0001f469\u200d\U0001f680", "\ufffd"])
def test_odd_texts_are_prompts_too(llm: Llama, expected: str, prompt: str) -> None:
    assert text_of(llm, prompt, max_tokens=3, echo=True).startswith(prompt)
    assert text_of(llm, PROMPT, max_tokens=30) == expected


@pytest.mark.parametrize("options", [{}, {"logprobs": 3}, {"n": 2}, {"echo": True}, {"stop": "@"}])
def test_a_stream_that_is_dropped_half_way_leaves_no_trace(
    llm: Llama, expected: str, options: dict[str, Any]
) -> None:
    chunks: Any = llm(PROMPT, stream=True, max_tokens=100, **GREEDY, **options)
    for _ in range(4):
        next(chunks)
    del chunks
    gc.collect()
    assert len(llm.engine) == 0
    assert text_of(llm, PROMPT, max_tokens=30) == expected


def test_closing_during_a_stream_ends_it_with_an_error(zoo: Zoo, expected: str) -> None:
    llm = open_llama(zoo.llama)
    chunks: Any = llm(PROMPT, stream=True, max_tokens=100, **GREEDY)
    first = next(chunks)["choices"][0]["text"]
    assert expected.startswith(first)
    llm.close()
    llm.close()
    with pytest.raises(ClosedError, match="create a new Llama"):
        list(chunks)
    with open_llama(zoo.llama) as again:
        assert text_of(again, PROMPT, max_tokens=30) == expected


def test_a_processor_cannot_close_the_model_under_itself(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        with pytest.raises(LlamaError):
            llm(PROMPT, max_tokens=5, logits_processor=[lambda ids, scores: llm.close()])
        with pytest.raises(ClosedError):
            llm(PROMPT, max_tokens=5)


def test_everything_is_refused_after_the_end(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        llm.eval(PROMPT)
        state = llm.save_state()
    messages = [{"role": "user", "content": "the"}]
    calls: dict[str, Any] = {
        "completion": lambda: llm(PROMPT),
        "stream": lambda: next(iter(llm(PROMPT, stream=True))),
        "chat": lambda: llm.create_chat_completion(messages),
        "embed": lambda: llm.embed("the"),
        "tokenize": lambda: llm.tokenize(b"the"),
        "detokenize": lambda: llm.detokenize([300]),
        "eval": lambda: llm.eval(PROMPT),
        "generate": lambda: next(llm.generate(PROMPT)),
        "sample": llm.sample,
        "reset": llm.reset,
        "scores": lambda: llm.scores,
        "n_tokens": lambda: llm.n_tokens,
        "n_ctx": llm.n_ctx,
        "n_vocab": llm.n_vocab,
        "token_bos": llm.token_bos,
        "ctx": lambda: llm.ctx,
        "model": lambda: llm.model,
        "save_state": llm.save_state,
        "load_state": lambda: llm.load_state(state),
    }
    for name, call in calls.items():
        with pytest.raises(ClosedError):
            pytest.fail(f"{name} gave {call()!r}")
    llm.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suffix": 5}, "suffix=5 must be a text"),
        ({"logits_processor": 5}, "must be callable, and 5 is not"),
        ({"stopping_criteria": [len, 5]}, "must be callable"),
    ],
)
def test_arguments_of_another_kind_are_named(
    llm: Llama, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        llm.create_completion("x", **arguments)


def test_a_response_format_is_a_dict(llm: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a dict like"):
        llm.create_chat_completion(
            [{"role": "user", "content": "x"}],
            response_format="json_object",
        )


@pytest.mark.parametrize("texts", [5, None, {"a": 1}, b"bytes"])
def test_what_is_embedded_is_text(zoo: Zoo, texts: Any) -> None:
    with open_llama(zoo.llama, embedding=True) as model:
        for embed in (model.embed, model.create_embedding):
            with pytest.raises(InvalidArgumentError, match="must be a text or a list of texts"):
                embed(texts)

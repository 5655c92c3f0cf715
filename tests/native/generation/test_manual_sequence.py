"""Work by hand on sequence 0: tokens, logits, samples."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import (
    BusyError,
    ContextWindowError,
    InvalidArgumentError,
    TextError,
    TokenError,
)
from llama_cpp.llama import Llama
from llama_cpp.llama_grammar import LlamaGrammar

UNKNOWN = "not known: evaluate a token first"


@pytest.fixture(scope="module")
def keeper(zoo: Zoo) -> Iterator[Llama]:
    """One that keeps the logits of all tokens."""
    with open_llama(zoo.llama, logits_all=True) as model:
        yield model


def greedy(llm: Llama, tokens: Any, count: int, **options: Any) -> list[int]:
    return list(itertools.islice(llm.generate(tokens, temp=0, **options), count))


# Tokens.


def test_tokens_and_texts(llm: Llama) -> None:
    tokens = llm.tokenize(b"once upon a time")
    assert tokens[0] == llm.token_bos()
    assert llm.tokenize(b"once upon a time", add_bos=False) == tokens[1:]
    assert llm.detokenize(tokens) == b"once upon a time"
    assert llm.detokenize(tokens[1:]) == b" once upon a time"
    parts = [llm.detokenize([token], prev_tokens=tokens[:index]) for index, token in
             enumerate(tokens)]  # fmt: skip
    assert b"".join(parts) == b" once upon a time"


def test_special_tokens_count_when_they_are_asked_for(llm: Llama) -> None:
    text = b"<|im_start|>the"
    plain, special = llm.tokenize(text, False), llm.tokenize(text, False, special=True)
    assert len(special) < len(plain)
    assert llm.detokenize(special) == b" the"
    assert llm.detokenize(special, special=True).startswith(b"<|im_start|>")
    assert llm.detokenize(plain) == b" " + text


def test_the_tokenizer_alone(llm: Llama) -> None:
    tokenizer = llm.tokenizer()
    tokens = tokenizer.encode("grüße")
    assert tokens == llm.tokenize("grüße".encode())
    assert tokenizer.decode(tokens) == "grüße"
    assert tokenizer.encode("grüße", add_bos=False) == tokens[1:]
    assert tokenizer.decode(tokens[:-2]) == "grü"  # half a letter is left out


def test_facts_about_the_vocabulary(llm: Llama) -> None:
    assert llm.n_vocab() == 684
    assert llm.n_embd() == 256
    assert (llm.token_bos(), llm.token_eos()) == (1, 2)
    assert llm.detokenize([llm.token_nl()]) == b"\n"
    assert llm.model.token_to_piece(300) == llm.detokenize([300])
    assert llm.metadata["general.architecture"] == "llama"


@pytest.mark.parametrize("token", [-1, 684, 2**31])
def test_ids_outside_of_the_vocabulary_are_refused(llm: Llama, token: int) -> None:
    for refused in (
        lambda: llm.detokenize([300, token]), lambda: llm.eval([300, token]),
        lambda: next(llm.generate([300, token])), lambda: complete(llm, [300, token]),
    ):  # fmt: skip
        with pytest.raises(TokenError, match="vocabulary|below 684"):
            refused()
    assert llm.n_tokens == 0


def test_what_is_no_text_is_refused(llm: Llama) -> None:
    with pytest.raises(TextError, match="must be str or bytes"):
        llm.tokenize(None)  # type: ignore[arg-type]
    with pytest.raises(TokenError, match="tokenize first"):
        llm.eval("the")  # type: ignore[arg-type]


# Evaluating.


def test_tokens_add_up(llm: Llama) -> None:
    llm.eval(PROMPT)
    at_once = llm.logits()
    llm.reset()
    for start in range(0, len(PROMPT), 17):
        llm.eval(PROMPT[start : start + 17])
    assert llm.n_tokens == len(PROMPT)
    assert list(llm.eval_tokens) == PROMPT
    assert llm.input_ids.dtype == np.int32
    assert llm.input_ids.shape == (llm.n_ctx(),)
    assert llm.input_ids.tolist() == PROMPT + [0] * (llm.n_ctx() - len(PROMPT))
    assert llm.logits() == pytest.approx(at_once, abs=2e-3)


def test_a_prompt_longer_than_a_batch_is_evaluated_in_parts(zoo: Zoo, llm: Llama) -> None:
    llm.eval(PROMPT)
    with open_llama(zoo.llama, n_batch=16, logits_all=True) as small:
        small.eval(PROMPT)
        assert small.scores.shape == (len(PROMPT), 684)
        assert small.logits() == pytest.approx(llm.logits(), abs=2e-3)


def test_what_does_not_fit_is_refused_and_changes_nothing(llm: Llama) -> None:
    llm.eval(PROMPT)
    before = llm.logits()
    with pytest.raises(ContextWindowError, match=r"Requested tokens \(260\) exceed .* of 256"):
        llm.eval([300] * 200)
    assert llm.n_tokens == len(PROMPT)
    assert np.array_equal(llm.logits(), before)


def test_scores_have_every_row_only_when_all_are_kept(llm: Llama, keeper: Llama) -> None:
    keeper.reset()
    for model in (llm, keeper):
        model.eval(PROMPT[:40])
        model.eval(PROMPT[40:])
        assert model.scores.shape == (len(PROMPT), model.n_vocab())
        assert model.scores.dtype == np.float32
        assert np.array_equal(model.scores[-1], model.logits())
    assert not llm.scores[:-1].any()
    assert len(llm.eval_logits) == 1
    assert len(keeper.eval_logits) == len(PROMPT)
    assert keeper.eval_logits[7] == keeper.scores[7].tolist()
    llm.reset()
    llm.eval(PROMPT[:8])
    assert llm.logits() == pytest.approx(keeper.scores[7], abs=2e-3)


def test_the_end_can_be_forgotten(llm: Llama, keeper: Llama) -> None:
    keeper.reset()
    for model in (llm, keeper):
        model.eval(PROMPT)
        model.n_tokens = 30
        assert list(model.eval_tokens) == PROMPT[:30]
    kept = keeper.logits()
    assert keeper.sample(temp=0) == kept.argmax()
    with pytest.raises(InvalidArgumentError, match=UNKNOWN):
        llm.logits()
    with pytest.raises(InvalidArgumentError, match=UNKNOWN):
        llm.sample()
    assert not llm.scores.any()
    llm.n_tokens = 29
    llm.eval([PROMPT[29]])
    assert llm.logits() == pytest.approx(kept, abs=2e-3)
    for count in (-1, 257):
        with pytest.raises(InvalidArgumentError, match=f"n_tokens={count} must be an integer"):
            llm.n_tokens = count
    llm.n_tokens = 200  # more than there are
    assert llm.n_tokens == 30


def test_assigned_ids_keep_what_the_sequence_has_in_common_with_them(llm: Llama) -> None:
    llm.eval(PROMPT)
    ids = llm.input_ids
    ids[25] = 400
    llm.input_ids = ids
    assert list(llm.eval_tokens) == PROMPT[:25]


def test_nothing_was_evaluated(llm: Llama) -> None:
    llm.eval([])
    assert llm.n_tokens == 0
    assert llm.scores.shape == (1, 684)
    assert not llm.eval_logits
    for refused in (llm.logits, llm.sample):
        with pytest.raises(InvalidArgumentError, match=UNKNOWN):
            refused()
    with pytest.raises(InvalidArgumentError, match="no tokens to go on from"):
        next(llm.generate([]))


def test_assigned_scores_are_those_that_count(llm: Llama) -> None:
    llm.eval(PROMPT)
    scores = llm.scores
    scores[-1, 420] = 1e6
    llm.scores = scores
    assert llm.sample(temp=0) == 420
    assert llm.logits()[420] == 1e6
    llm.eval([300])
    assert llm.sample(temp=0) != 420


# Sampling.


def test_a_sample_changes_nothing_and_follows_its_arguments(llm: Llama, keeper: Llama) -> None:
    keeper.reset()
    keeper.eval(PROMPT)
    llm.eval(PROMPT)
    best = int(llm.logits().argmax())
    assert llm.sample(temp=0) == llm.sample(top_k=1) == llm.sample(min_p=1.0) == best
    assert llm.sample(temp=0, idx=-1) == llm.sample(temp=0, idx=len(PROMPT) - 1) == best
    assert len({llm.sample(temp=1.5, top_k=0, min_p=0, top_p=1) for _ in range(30)}) > 5
    assert keeper.sample(temp=0, idx=7) == keeper.scores[7].argmax()
    letter = llm.sample(grammar=LlamaGrammar.from_string("root ::= [x-z]"))
    assert llm.detokenize([letter]) in (b"x", b"y", b"z")
    assert llm.n_tokens == len(PROMPT)

    def forbid(ids: Any, scores: Any) -> None:
        assert ids.tolist() == PROMPT
        scores[best] = -np.inf

    assert llm.sample(temp=0, logits_processor=forbid) == np.argsort(-llm.logits())[1]


@pytest.mark.parametrize("idx", [7, 60, -2])
def test_rows_that_are_not_kept_cannot_be_sampled_from(llm: Llama, idx: int) -> None:
    llm.eval(PROMPT)
    with pytest.raises(InvalidArgumentError, match=f"idx={idx}: .* logits_all=True"):
        llm.sample(idx=idx)


def test_penalties_of_a_sample_look_back(llm: Llama) -> None:
    llm.eval(PROMPT)
    free = llm.sample(temp=0)
    llm.eval([free])
    llm.n_tokens = len(PROMPT)
    llm.eval([free, free, free])
    again = llm.sample(temp=0)
    seen = {*PROMPT, free, again}
    assert llm.sample(temp=0, presence_penalty=1e4, frequency_penalty=10) not in seen - {again}


# Generating.


@pytest.mark.parametrize("options", [{}, {"presence_penalty": 2.0}, {"repeat_penalty": 1.5}])
def test_generated_tokens_are_those_of_a_completion(llm: Llama, options: dict[str, Any]) -> None:
    expected = text_of(llm, PROMPT, max_tokens=8, **options)
    llm.reset()
    llm.eval([410] * 9)  # what was there before does not count
    tokens = greedy(llm, PROMPT, 8, **options)
    assert llm.detokenize(tokens).decode() == expected
    # The last one was yielded, and not evaluated yet.
    assert list(llm.eval_tokens) == PROMPT + tokens[:-1]


def test_a_common_beginning_is_not_computed_again(llm: Llama) -> None:
    expected = greedy(llm, PROMPT, 5)
    llm.reset()
    greedy(llm, PROMPT[:40] + [400] * 9, 3)
    assert greedy(llm, PROMPT, 5) == expected
    assert greedy(llm, PROMPT, 5) == expected


def test_without_a_reset_tokens_are_appended(llm: Llama) -> None:
    expected = greedy(llm, PROMPT, 5)
    llm.reset()
    llm.eval(PROMPT[:30])
    assert greedy(llm, PROMPT[30:], 5, reset=False) == expected


def test_tokens_can_be_sent_in(llm: Llama) -> None:
    generator = llm.generate(PROMPT, temp=0)
    first = next(generator)
    after = generator.send([400, 410])
    assert list(llm.eval_tokens) == [*PROMPT, first, 400, 410]
    assert after == llm.sample(temp=0)
    following = next(generator)
    generator.close()
    assert greedy(llm, [*PROMPT, first, 400, 410], 2) == [after, following]


def test_criteria_and_processors_have_a_say(llm: Llama) -> None:
    def only_400(_: Any, scores: Any) -> Any:
        return np.where(np.arange(len(scores)) == 400, scores, -np.inf)

    def at_64(ids: Any, logits: Any) -> bool:
        return len(ids) >= 64 and logits.shape == (684,)

    for criteria in (at_64, [at_64]):
        tokens = list(llm.generate(PROMPT, logits_processor=only_400, stopping_criteria=criteria))
        assert tokens == [400] * 4


def test_a_grammar_goes_on_from_token_to_token(llm: Llama) -> None:
    grammar = LlamaGrammar.from_string("root ::= [a-c] [x-z] [0-9]")
    text = llm.detokenize(greedy(llm, PROMPT, 3, grammar=grammar)).decode()
    assert text[0] in "abc" and text[1] in "xyz" and text[2] in "0123456789"


def test_a_full_context_ends_with_an_error(llm: Llama) -> None:
    generator = llm.generate(PROMPT, temp=0)
    count = 0
    with pytest.raises(ContextWindowError, match=r"\(257\) exceed context window of 256"):
        for _ in generator:
            count += 1
    assert count == 256 - len(PROMPT) + 1


# Beside completions.


def test_a_completion_in_the_sequence_keeps_hands_off(llm: Llama) -> None:
    chunks: Any = llm(PROMPT, stream=True, max_tokens=50)
    next(chunks)
    for busy in (
        lambda: llm.eval([300]),
        llm.reset,
        llm.save_state,
        lambda: next(llm.generate([300])),
    ):
        with pytest.raises(BusyError, match="exhaust or close its iterator"):
            busy()
    chunks.close()
    llm.reset()
    llm.eval([300])


@pytest.mark.parametrize("n_parallel", [1, 2])
def test_work_by_hand_waits_for_the_completions_of_other_threads(zoo: Zoo, n_parallel: int) -> None:
    with open_llama(zoo.llama, n_parallel=n_parallel) as llm:
        llm.eval(PROMPT)
        alone = llm.logits()
        expected = text_of(llm, PROMPT[::-1])
        errors: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(10):  # piece by piece, so that others work in between
                    pieces = complete(llm, PROMPT[::-1], stream=True)
                    assert "".join(each["choices"][0]["text"] for each in pieces) == expected
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                llm.reset()
                llm.load_state(llm.save_state())
                llm.eval(PROMPT)
        finally:
            for thread in threads:
                thread.join()
        assert not errors
        llm.reset()
        llm.eval(PROMPT)
        assert llm.logits() == pytest.approx(alone, abs=1e-3)


def test_a_completion_that_another_thread_has_left_is_finished_first(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        expected = text_of(llm, PROMPT)
        chunks: Any = llm(PROMPT, stream=True, max_tokens=12, temperature=0, ignore_eos=True)
        with ThreadPoolExecutor(1) as other:
            first = other.submit(next, chunks).result()
            llm.reset()
            llm.eval(PROMPT[:5])
            assert list(llm.eval_tokens) == PROMPT[:5]
            rest = other.submit(list, chunks).result()
        assert "".join(each["choices"][0]["text"] for each in [first, *rest]) == expected


def test_logits_are_those_of_the_sequence_whatever_else_is_decoded(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=2) as llm:
        llm.eval(PROMPT)
        mine, token = llm.logits(), llm.sample(temp=0)
        other: Any = llm([410, 420, 430], stream=True, max_tokens=20)
        next(other)
        assert llm.engine.slots[1].request is not None
        assert np.array_equal(llm.logits(), mine)
        assert np.array_equal(llm.scores[-1], mine)
        assert llm.sample(temp=0) == token
        other.close()


def test_threads_that_generate_by_hand_and_by_request_do_not_mix(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=2) as llm:
        expected = greedy(llm, PROMPT, 40)
        # Its slot is the other one, and from now on the one for this prompt.
        other = text_of(llm, PROMPT[:9], max_tokens=30)
        assert llm.engine.slots[1].n_cached
        texts: list[str] = []
        is_done = threading.Event()

        def complete_again() -> None:
            while not is_done.is_set():
                texts.append(text_of(llm, PROMPT[:9], max_tokens=30))

        thread = threading.Thread(target=complete_again)
        thread.start()
        try:
            assert greedy(llm, PROMPT, 40) == expected
        finally:
            is_done.set()
            thread.join()
        assert set(texts) == {other}


def test_a_completion_between_two_tokens_changes_neither(llm: Llama) -> None:
    expected, other = greedy(llm, PROMPT, 6), text_of(llm, PROMPT[:9])
    generator = llm.generate(PROMPT, temp=0)
    tokens = []
    for token in itertools.islice(generator, 6):
        tokens.append(token)
        assert text_of(llm, PROMPT[:9]) == other
    assert tokens == expected


def test_logits_of_before_a_completion_are_forgotten(keeper: Llama) -> None:
    keeper.reset()
    keeper.eval(PROMPT)
    complete(keeper, PROMPT[:50], max_tokens=11)
    assert keeper.n_tokens == len(PROMPT)  # as many, but others
    assert not keeper.scores[:-1].any()


# The raw API.


def test_raw_calls_take_the_addresses(llm: Llama) -> None:
    llm.eval(PROMPT)
    assert raw.llama_model_n_embd(llm.model) == 256
    assert raw.llama_get_model(llm.ctx) == llm.model
    assert raw.llama_n_ctx(llm.ctx) == 256
    memory = raw.llama_get_memory(llm.ctx)
    assert raw.llama_memory_seq_pos_max(memory, 0) == len(PROMPT) - 1
    row = raw.llama_get_logits_ith(llm.ctx, -1)
    assert row[:5] == llm.logits()[:5].tolist()

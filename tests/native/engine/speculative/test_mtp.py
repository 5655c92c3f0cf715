"""Heads for multi-token prediction: the text is that without, whatever they guess."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from handles_kit import decode, open_context
from llama_kit import GREEDY, PROMPT, cached_tokens, complete, joined, open_llama, text_of
from zoo import Zoo
from zoo_mtp import write_glm4moe, write_qwen35

from llama_cpp.engine.speculative.mtp import MtpDrafter
from llama_cpp.errors import BatchError, ClosedError, InvalidArgumentError
from llama_cpp.handles import Batch, Model
from llama_cpp.handles.mtp import MtpContext

WRITERS: dict[str, Callable[..., Path]] = {
    "attention": write_glm4moe,
    "hybrid": write_qwen35,
    "hybrid experts": partial(write_qwen35, n_expert=2),
}

MINDS = {
    "right": {"habit": 1.0, "knows": 1.0},
    "half right": {"habit": 1.0, "knows": 0.5},
    "wrong": {"habit": 1.0, "knows": 0.0},
    "now and then right": {"habit": 0.15, "knows": 1.0},
}
"""How model and head agree."""

PROMPTS = [PROMPT, PROMPT[:20] * 2, [*PROMPT[:30], 430], list(range(500, 510)), PROMPT[:31]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mtp")


@pytest.fixture(scope="module", params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=MINDS)
def path(request: pytest.FixtureRequest, folder: Path, kind: str) -> Path:
    return written(folder, kind, request.param)


def written(folder: Path, kind: str, mind: str) -> Path:
    path = folder / f"{kind} {mind}.gguf"
    return path if path.exists() else WRITERS[kind](path, **MINDS[mind])


def guesses(answer: Any) -> tuple[int, int]:
    details = answer["usage"]["completion_tokens_details"]
    return details["accepted_prediction_tokens"], details["rejected_prediction_tokens"]


@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        {"temperature": 0, "repeat_penalty": 1.2, "ignore_eos": True},
        {"temperature": 0, "grammar": "root ::= [a-m ]*", "ignore_eos": True},
        {"temperature": 0, "stop": ["a"], "ignore_eos": True},
    ],
    ids=str,
)
def test_the_text_is_that_without(path: Path, options: dict[str, Any]) -> None:
    with open_llama(path) as llm, open_llama(path, draft_model="mtp") as drafted:
        for prompt in (*PROMPTS, *PROMPTS):
            expected = complete(llm, prompt, max_tokens=40, **options)
            answer = complete(drafted, prompt, max_tokens=40, **options)
            assert answer["choices"] == expected["choices"]
            assert answer["usage"]["completion_tokens"] == expected["usage"]["completion_tokens"]
            chunks = list(complete(drafted, prompt, max_tokens=40, stream=True, **options))
            assert joined(chunks)["text"] == expected["choices"][0]["text"]


@pytest.mark.parametrize(
    ("mind", "accepts", "rejects"),
    [("right", True, False), ("half right", True, True), ("wrong", False, True)],
)
def test_usage_counts_the_guesses(
    folder: Path, kind: str, mind: str, accepts: bool, rejects: bool
) -> None:
    path = written(folder, kind, mind)
    for name in (mind, f"{mind}, again"):
        with open_llama(path, draft_model="mtp") as llm:
            accepted, rejected = guesses(complete(llm, PROMPT, max_tokens=80))
            assert (accepted > 0, rejected > 0) == (accepts, rejects), name
            if not rejects:
                assert accepted > 50


def test_what_the_head_has_read_is_used(folder: Path) -> None:
    """A head that goes by the state before a token is right once if it is the right one."""
    path = write_glm4moe(folder / "states.gguf", by_state=True)
    with open_llama(path) as llm:
        expected = complete(llm, PROMPT, max_tokens=60)
    with open_llama(path, draft_model="mtp", n_ubatch=16) as llm:
        for _ in range(2):
            answer = complete(llm, PROMPT, max_tokens=60)
            assert answer["choices"] == expected["choices"]
            assert guesses(answer)[0] > 20


@pytest.mark.parametrize("n_ubatch", [512, 16])
def test_texts_that_are_drafted_together_do_not_mix(path: Path, n_ubatch: int) -> None:
    with open_llama(path) as llm:
        alone = [text_of(llm, prompt, max_tokens=40) for prompt in PROMPTS]
    with open_llama(path, draft_model="mtp", n_parallel=3, n_ubatch=n_ubatch) as llm:
        for _ in range(3):  # the later ones begin like those before, in other slots
            answer = complete(llm, PROMPTS, max_tokens=40)
            assert [choice["text"] for choice in answer["choices"]] == alone


def test_threads_get_the_texts_that_they_get_alone(path: Path) -> None:
    with open_llama(path) as llm:
        alone = [text_of(llm, prompt, max_tokens=30) for prompt in PROMPTS]
    found: dict[int, str] = {}
    with open_llama(path, draft_model="mtp", n_parallel=3) as llm:

        def ask(index: int) -> None:
            found[index] = text_of(llm, PROMPTS[index], max_tokens=30)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(PROMPTS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[index] for index in range(len(PROMPTS))] == alone


def test_a_reply_is_gone_on_from(path: Path) -> None:
    """Its last guesses may have been rejected, in this slot and in one that copies it."""
    with open_llama(path) as llm:
        reply = complete(llm, PROMPT, max_tokens=21)
        held = llm.sequence.tokens
        expected = [text_of(llm, [*held, token], max_tokens=20) for token in (400, 401, 402)]
    assert reply["usage"]["completion_tokens"] == 21
    for n_parallel in (1, 3):
        with open_llama(path, draft_model="mtp", n_parallel=n_parallel) as llm:
            complete(llm, PROMPT, max_tokens=21)
            answer = complete(llm, [[*held, token] for token in (400, 401, 402)], max_tokens=20)
            assert [choice["text"] for choice in answer["choices"]] == expected
            assert cached_tokens(answer) > len(PROMPT)


def test_a_slot_is_copied_while_it_writes(path: Path) -> None:
    with open_llama(path) as llm:
        expected = text_of(llm, PROMPT, max_tokens=40)
        held = llm.sequence.tokens
        others = [text_of(llm, [*held[:count], 400], max_tokens=20) for count in range(61, 75)]
    with open_llama(path, draft_model="mtp", n_parallel=2) as llm:
        chunks = complete(llm, PROMPT, max_tokens=40, stream=True)
        text = next(chunks)["choices"][0]["text"]
        for count, other in zip(range(61, 75), others, strict=True):
            assert text_of(llm, [*held[:count], 400], max_tokens=20) == other
        assert text + joined(list(chunks))["text"] == expected


def test_an_aborted_decode_changes_no_text(path: Path) -> None:
    with open_llama(path) as llm:
        expected = text_of(llm, PROMPT, max_tokens=60)
    with open_llama(path, draft_model="mtp") as llm:
        text = ""
        for index, chunk in enumerate(complete(llm, PROMPT, max_tokens=60, stream=True)):
            text += chunk["choices"][0]["text"]
            if index % 3 == 1:
                llm._ctx.handle.abort()
        assert text == expected
        assert text_of(llm, PROMPT, max_tokens=60) == expected


def test_a_head_that_is_interrupted_guesses_later(folder: Path, kind: str) -> None:
    path = written(folder, kind, "right")
    with open_llama(path) as llm:
        expected = text_of(llm, PROMPT, max_tokens=60)
    with open_llama(path, draft_model="mtp") as llm:
        drafter = llm.engine._drafter
        assert isinstance(drafter, MtpDrafter)
        text = ""
        for index, chunk in enumerate(complete(llm, PROMPT, max_tokens=60, stream=True)):
            text += chunk["choices"][0]["text"]
            if index % 10 == 5:
                drafter._context.abort()
        assert text == expected
        assert guesses(complete(llm, PROMPT, max_tokens=60))[0] > 30


def test_closing_early_leaves_nothing(path: Path) -> None:
    with open_llama(path, draft_model="mtp") as llm:
        expected = text_of(llm, PROMPT, max_tokens=20)
        for count in (1, 2, 5):
            chunks = complete(llm, PROMPT, max_tokens=200, stream=True)
            for _ in range(count):
                next(chunks)
            chunks.close()
            assert text_of(llm, PROMPT, max_tokens=20) == expected
        chunks = complete(llm, PROMPT, max_tokens=200, stream=True)
        next(chunks)
        llm.close()
        with pytest.raises(ClosedError):
            list(chunks)


def test_closing_while_another_thread_writes(path: Path) -> None:
    errors: list[BaseException] = []
    llm = open_llama(path, draft_model="mtp", n_ctx=2048)
    begun = threading.Event()

    def write() -> None:
        try:
            for _ in range(1000):
                for _ in complete(llm, PROMPT, max_tokens=200, stream=True):
                    begun.set()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    llm.close()
    thread.join()
    assert [type(error) for error in errors] == [ClosedError]


def test_a_full_context_goes_on_with_a_shift(folder: Path) -> None:
    for mind in MINDS:
        path = written(folder, "attention", mind)
        with open_llama(path, context_shift=True) as llm:
            expected = text_of(llm, PROMPT, max_tokens=400)
        with open_llama(path, context_shift=True, draft_model="mtp") as llm:
            assert text_of(llm, PROMPT, max_tokens=400) == expected


def test_tokens_by_hand_and_states_may_come_between(path: Path) -> None:
    with open_llama(path) as llm:
        expected = [text_of(llm, prompt, max_tokens=20) for prompt in PROMPTS]
    with open_llama(path, draft_model="mtp") as llm:
        llm.reset()
        llm.eval(PROMPT)
        state = llm.save_state()
        assert text_of(llm, PROMPT, max_tokens=20) == expected[0]
        llm.reset()
        llm.eval(PROMPTS[1][:25])
        assert text_of(llm, PROMPTS[1], max_tokens=20) == expected[1]
        llm.load_state(state)
        assert text_of(llm, PROMPT, max_tokens=20) == expected[0]
        for prompt, text in zip(PROMPTS, expected, strict=True):
            assert text_of(llm, prompt, max_tokens=20) == text


def test_a_seed_draws_the_same(folder: Path, kind: str) -> None:
    path = written(folder, kind, "half right")
    options: dict[str, Any] = {"temperature": 0.8, "ignore_eos": True, "max_tokens": 25}
    with open_llama(path) as llm, open_llama(path, draft_model="mtp") as drafted:
        for seed in range(5):
            expected = text_of(llm, PROMPT, seed=seed, **options)
            assert text_of(drafted, PROMPT, seed=seed, **options) == expected


# States that roll back: whoever guesses.


@pytest.mark.parametrize("n_parallel", [1, 3])
def test_a_state_forgets_what_was_guessed_wrong(zoo: Zoo, n_parallel: int) -> None:
    prompts = [prompt * 2 for prompt in PROMPTS]
    with open_llama(zoo.hybrid) as llm:
        expected = [text_of(llm, prompt, max_tokens=60) for prompt in prompts]
    with open_llama(zoo.hybrid, draft_model="ngram", n_parallel=n_parallel) as llm:
        for _ in range(2):
            answer = complete(llm, prompts, max_tokens=60)
            assert [choice["text"] for choice in answer["choices"]] == expected
    assert sum(guesses(answer)) > 0


def test_small_micro_batches_leave_no_room_for_guesses(folder: Path) -> None:
    path = written(folder, "hybrid", "right")
    with open_llama(path) as llm:
        expected = text_of(llm, PROMPT)
    for n_ubatch in (1, 2, 3, 4, 5, 6):
        with open_llama(path, draft_model="mtp", n_ubatch=n_ubatch) as llm:
            assert text_of(llm, PROMPT) == expected


def test_more_states_than_a_micro_batch_has_tokens_are_refused(zoo: Zoo) -> None:
    model = Model(zoo.hybrid)
    context = open_context(model, n_ubatch=8, n_rs_seq=6)
    decode(context, list(range(300, 340)))
    assert context.memory.seq_rm(0, 35, -1)
    for n_rs_seq in (7, 100):
        with pytest.raises(InvalidArgumentError, match="below n_ubatch - 1"):
            open_context(model, n_ubatch=8, n_rs_seq=n_rs_seq)


# What is refused.


def test_models_without_a_head_are_refused(zoo: Zoo, folder: Path) -> None:
    none = write_glm4moe(folder / "none.gguf", n_heads=0)
    for path in (zoo.llama, zoo.mamba, none):
        with pytest.raises(InvalidArgumentError, match="no layers for multi-token") as refused:
            open_llama(path, draft_model="mtp")
        for other in ('"ngram"', "a smaller model", "a Llama"):
            assert other in str(refused.value)
    two = write_glm4moe(folder / "two.gguf", n_heads=2)
    with pytest.raises(InvalidArgumentError, match=r"not supported \(glm4moe, 2 layers\)"):
        open_llama(two, draft_model="mtp")


def test_a_head_whose_weights_are_missing_is_refused(folder: Path) -> None:
    path = write_glm4moe(folder / "promised.gguf", n_heads=0, promised=1)
    with open_llama(path) as llm:
        complete(llm, PROMPT)
    with pytest.raises(InvalidArgumentError, match="missing in the file"):
        open_llama(path, draft_model="mtp")


def test_a_head_for_other_positions_is_refused(folder: Path) -> None:
    path = write_glm4moe(folder / "sections.gguf", sections=True)
    with open_llama(path) as llm:
        complete(llm, PROMPT)
    with pytest.raises(InvalidArgumentError, match="of a kind that is not supported"):
        open_llama(path, draft_model="mtp")


def test_contexts_that_pool_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="does not pool"):
        open_llama(written(folder, "attention", "right"), draft_model="mtp", pooling_type=3)


def test_states_go_where_they_belong(folder: Path) -> None:
    path = written(folder, "attention", "right")
    with open_llama(path) as llm:
        with pytest.raises(InvalidArgumentError, match="loaded without"):
            MtpContext(llm._ctx.handle)
        with pytest.raises(InvalidArgumentError, match="loaded without"):
            open_context(llm._model.handle, ctx_type=1)
        batch = Batch(4, state=64)
        batch.add(300, 0)
        with pytest.raises(BatchError, match="states of width 0"):
            llm._ctx.handle.decode(batch)
    with open_llama(path, draft_model="mtp") as llm:
        head = MtpContext(llm._ctx.handle)
        plain = Batch(4)
        plain.add(300, 0)
        with pytest.raises(BatchError, match="states of width 64"):
            head.decode(plain)
        head.decode(batch)
    with pytest.raises(BatchError, match="embd or state"):
        Batch(4, embd=64, state=64)


def test_a_model_loads_without_its_head(folder: Path, kind: str) -> None:
    path = written(folder, kind, "right")
    with open_llama(path) as without, open_llama(path, draft_model="mtp") as llm:
        assert text_of(llm, PROMPT) == text_of(without, PROMPT)
        assert llm.memory().weights > without.memory().weights

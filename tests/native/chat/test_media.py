"""Chats with images and sounds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_kit import cached_tokens, open_llama
from media_bytes import image_part, noise, png, uri
from media_chat_kit import (
    N_IMAGE,
    QUESTION,
    answer,
    ask,
    handler_of,
    picture,
    saying,
    seeing,
    sound,
    text_of,
)
from zoo import Zoo
from zoo_vision import write_gemma3_mmproj, write_qwen2vl, write_qwen2vl_mmproj

from llama_cpp.errors import (
    ContextError,
    ContextWindowError,
    InvalidArgumentError,
)
from llama_cpp.llama import Llama
from llama_cpp.llama_cache import LlamaDiskCache, LlamaRAMCache
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding


@pytest.fixture(scope="module")
def shared(zoo: Zoo) -> Iterator[Llama]:
    """It sees."""
    with open_llama(zoo.llama, chat_handler=handler_of(zoo.image_mmproj)) as model:
        yield model


@pytest.fixture(scope="module")
def hearing(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, chat_handler=handler_of(zoo.audio_mmproj)) as model:
        yield model


# What they see and hear.


def test_choices_read_texts_only(llm: Llama) -> None:
    asked: Any = [{"role": "user", "content": [picture(1), {"type": "text", "text": "what is it"}]}]
    with pytest.raises(InvalidArgumentError, match="texts only"):
        llm.choose(asked, ["yes", "no"])
    assert llm.choose([{"role": "user", "content": "what is it"}], ["yes", "no"]).text


def test_what_an_image_shows_changes_the_reply(llm: Llama) -> None:
    texts = [ask(llm, QUESTION, picture(seed)) for seed in (1, 2, 3, 1)]
    assert texts[3] == texts[0]
    assert len(set(texts)) == 3
    assert ask(llm, QUESTION) not in texts


def test_how_a_sound_sounds_changes_the_reply(hearing: Llama) -> None:
    texts = [ask(hearing, QUESTION, sound(hertz)) for hertz in (440, 880, 440)]
    assert texts[2] == texts[0] != texts[1]


def test_the_order_of_images_and_texts_changes_the_reply(llm: Llama) -> None:
    one, other = picture(1), picture(2)
    orders = (
        (one, other, QUESTION),
        (other, one, QUESTION),
        (one, QUESTION, other),
        (one, QUESTION),
    )
    assert len({ask(llm, *parts) for parts in orders}) == 4


def test_urls_of_all_forms_mean_the_same(llm: Llama) -> None:
    url = uri(png(noise(1)))
    forms: list[Any] = [url, {"url": url}, {"url": url, "detail": "high"}]
    texts = {ask(llm, QUESTION, {"type": "image_url", "image_url": form}) for form in forms}
    assert texts == {ask(llm, QUESTION, picture(1))}


def test_text_alone_is_what_it_is_without_a_projector(llm: Llama, zoo: Zoo) -> None:
    with open_llama(zoo.llama) as plain:
        assert text_of(answer(plain, [{"role": "user", "content": QUESTION}])) == ask(llm, QUESTION)


# What is remembered.


def test_an_image_is_evaluated_once(llm: Llama) -> None:
    first = answer(llm, saying(QUESTION, picture(1)))
    again = answer(llm, saying(QUESTION, picture(1)))
    assert first["usage"]["prompt_tokens"] > N_IMAGE
    assert (cached_tokens(first), cached_tokens(again)) == (0, first["usage"]["prompt_tokens"] - 1)
    other = answer(llm, saying(QUESTION, picture(2)))
    assert 0 < cached_tokens(other) < first["usage"]["prompt_tokens"] - N_IMAGE
    assert text_of(other) != text_of(again)


def second_turn(llm: Llama, reply: Any) -> list[dict[str, Any]]:
    said = {"role": "assistant", "content": text_of(reply)}
    return [*saying(QUESTION, picture(1)), said, *saying("and", picture(2), "then")]


@pytest.mark.parametrize("n_parallel", [1, 3])
@pytest.mark.parametrize(
    "kind", ["llama", "qwen2vl", "gemma3", "sliding_window", "hybrid", "mamba"]
)
def test_every_kind_of_memory_holds_images(
    kind: str, n_parallel: int, zoo: Zoo, tmp_path: Path
) -> None:
    arguments = {**seeing(kind, zoo, tmp_path), "n_ctx": 512}
    with open_llama(**arguments, n_parallel=n_parallel) as llm:
        first = answer(llm, saying(QUESTION, picture(1)))
        n_first = first["usage"]["prompt_tokens"]
        turn = second_turn(llm, first)
        went_on = answer(llm, turn)
        again = answer(llm, saying(QUESTION, picture(1)))
        assert cached_tokens(went_on) >= n_first - 1
        assert text_of(again) == text_of(first)
    with open_llama(**arguments) as fresh:
        assert text_of(answer(fresh, turn)) == text_of(went_on)
        assert text_of(answer(fresh, saying(QUESTION, picture(1)))) == text_of(first)


@pytest.mark.parametrize("kind", [LlamaRAMCache, LlamaDiskCache])
def test_states_with_images_are_kept_and_found(kind: Any, zoo: Zoo, tmp_path: Path) -> None:
    handler = handler_of(zoo.image_mmproj)
    with open_llama(zoo.llama, chat_handler=handler) as llm:
        llm.set_cache(kind() if kind is LlamaRAMCache else kind(str(tmp_path)))
        first = answer(llm, saying(QUESTION, picture(1)))
        ask(llm, "once")
        again = answer(llm, saying(QUESTION, picture(1)))
        assert cached_tokens(again) == first["usage"]["prompt_tokens"] - 1
        assert text_of(again) == text_of(first)
        state = llm.save_state()
        llm.reset()
        llm.load_state(state)
        assert cached_tokens(answer(llm, saying(QUESTION, picture(1)))) == cached_tokens(again)


def test_a_sequence_that_was_cut_inside_an_image_begins_it_anew(llm: Llama) -> None:
    first = answer(llm, saying(QUESTION, picture(1)))
    n_before = len([token for token in llm.input_ids[: llm.n_tokens] if token >= 0])
    llm.n_tokens = first["usage"]["prompt_tokens"] - N_IMAGE // 2
    again = answer(llm, saying(QUESTION, picture(1)))
    assert 0 < cached_tokens(again) < min(n_before, first["usage"]["prompt_tokens"] - N_IMAGE)
    assert text_of(again) == text_of(first)


# All that goes with texts goes with images.


def test_streaming_gives_the_same_reply(llm: Llama) -> None:
    messages = saying(QUESTION, picture(1))
    whole = answer(llm, messages)
    options = {"include_usage": True}
    chunks = list(answer(llm, messages, stream=True, stream_options=options))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert "".join(delta.get("content") or "" for delta in deltas) == text_of(whole)
    assert deltas[0]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert whole["object"] == "chat.completion"


def test_samplers_and_hooks_see_tokens_only(llm: Llama) -> None:
    seen: list[Any] = []

    def look(ids: Any, scores: Any) -> Any:
        seen.append(ids)
        return scores

    plain = ask(llm, QUESTION, picture(1))
    assert ask(llm, QUESTION, picture(1), logits_processor=[look]) == plain
    assert len(seen) == 12
    assert all((ids >= 0).all() for ids in seen)
    penalized = {"repeat_penalty": 1.5, "frequency_penalty": 0.5, "dry_multiplier": 1.0}
    assert ask(llm, QUESTION, picture(1), **penalized) != plain
    reply = answer(llm, saying(QUESTION, picture(1)), logprobs=True, top_logprobs=2)
    assert len(reply["choices"][0]["logprobs"]["content"]) == 12


def test_several_replies_and_forms(llm: Llama) -> None:
    messages = saying(QUESTION, picture(1))
    both = answer(llm, messages, n=2, temperature=1.0, seed=3)
    assert len({choice["message"]["content"] for choice in both["choices"]}) == 2
    form = {"type": "json_object", "schema": {"type": "object", "properties": {}}}
    assert json.loads(ask(llm, QUESTION, picture(1), response_format=form, ignore_eos=False)) == {}


def test_drafts_change_nothing(zoo: Zoo, llm: Llama) -> None:
    drafter = LlamaPromptLookupDecoding(num_pred_tokens=4, max_ngram_size=1)
    handler = handler_of(zoo.image_mmproj)
    with open_llama(zoo.llama, draft_model=drafter, chat_handler=handler) as drafting:
        for parts in ((QUESTION, picture(1)), (picture(2), QUESTION, picture(2), QUESTION)):
            expected = ask(llm, *parts, max_tokens=40)
            assert ask(drafting, *parts, max_tokens=40) == expected


def test_special_tokens_in_a_message_are_text(llm: Llama) -> None:
    plain, special = (
        answer(llm, saying(picture(1), text))["usage"]["prompt_tokens"] for text in ("s", "<s>")
    )
    assert special > plain
    assert ask(llm, picture(1), "<__media__> and <s>") != ask(llm, picture(1), "<s>")


def test_threads_get_what_they_would_alone(zoo: Zoo, llm: Llama) -> None:
    # Elsewhere in a batch, kernels add in another order: these replies do not hang on that.
    asked = [(QUESTION, picture(seed)) for seed in range(1, 5)] + [
        (QUESTION,),
        ("once", picture(1)),
    ]
    expected = [ask(llm, *parts) for parts in asked]
    found: dict[int, str] = {}
    handler = handler_of(zoo.image_mmproj)
    with open_llama(zoo.llama, n_parallel=4, chat_handler=handler) as together:

        def run(index: int) -> None:
            found[index] = ask(together, *asked[index])

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(asked))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[index] for index in range(len(asked))] == expected


# The end of the context, and other ends.


def test_what_does_not_fit_is_refused(llm: Llama) -> None:
    with pytest.raises(ContextWindowError, match="exceed context window of 256"):
        ask(llm, *[picture(seed) for seed in range(20)], QUESTION)
    whole = answer(llm, saying(QUESTION, picture(1)), max_tokens=None)
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["total_tokens"] == 256


def test_cells_count_where_positions_are_fewer(tmp_path: Path) -> None:
    text = write_qwen2vl(tmp_path / "text.gguf")
    handler = handler_of(write_qwen2vl_mmproj(tmp_path / "mmproj.gguf"))
    image = image_part(png(noise(1, 128, 128)))  # 64 cells at 8 positions
    with open_llama(text, chat_handler=handler, n_ctx=256) as llm:
        reply = answer(llm, saying(image, QUESTION), max_tokens=None)
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["total_tokens"] == 256 - 64 + 8
        with pytest.raises(ContextWindowError):
            ask(llm, *[image] * 4, QUESTION)
        assert ask(llm, image, QUESTION, max_tokens=5)


def test_a_context_with_an_image_is_not_shifted(zoo: Zoo) -> None:
    handler = handler_of(zoo.image_mmproj)
    with open_llama(zoo.llama, chat_handler=handler, context_shift=True) as llm:
        seen = answer(llm, saying(QUESTION, picture(1)), max_tokens=300)
        assert seen["usage"]["total_tokens"] == 256
        read = answer(llm, saying(QUESTION), max_tokens=300)
        assert read["usage"]["completion_tokens"] == 300
        again = answer(llm, saying(QUESTION, picture(1)), max_tokens=300)
        assert text_of(again) == text_of(seen)


def test_a_model_that_sees_images_as_a_whole_says_what_it_needs(zoo: Zoo, tmp_path: Path) -> None:
    handler = handler_of(write_gemma3_mmproj(tmp_path / "mmproj.gguf"))
    with open_llama(zoo.sliding_window, n_ubatch=8, chat_handler=handler) as llm:
        with pytest.raises(ContextError, match="n_ubatch of at least"):
            ask(llm, QUESTION, picture(1))
        assert ask(llm, QUESTION)


def test_a_stream_that_is_dropped_leaves_the_model_usable(llm: Llama) -> None:
    expected = ask(llm, QUESTION, picture(1))
    llm.reset()
    for taken in range(3):
        stream = answer(llm, saying(QUESTION, picture(1)), stream=True)
        for _ in range(taken):
            next(stream)
        stream.close()
        assert ask(llm, QUESTION, picture(1)) == expected


@pytest.mark.parametrize("kind", ["llama", "qwen2vl", "sliding_window", "hybrid", "mamba"])
def test_an_interrupted_image_is_evaluated_again(kind: str, zoo: Zoo, tmp_path: Path) -> None:
    with open_llama(**seeing(kind, zoo, tmp_path)) as llm:
        check_interruptions(llm)


def check_interruptions(llm: Llama) -> None:
    expected = ask(llm, QUESTION, picture(1))
    llm.reset()
    context = llm._ctx.handle
    calls = stop_at = 0

    def interrupt() -> bool:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        return False

    for stop_at in range(10, 400, 15):  # in the text before the image, in the image, and after it
        calls = 0
        context.set_abort_callback(interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask(llm, QUESTION, picture(1))
        context.set_abort_callback(None)
        if stop_at % 2:
            assert ask(llm, QUESTION, picture(1)) == expected
            llm.reset()


def test_an_image_that_the_memory_lost_is_evaluated_again(llm: Llama) -> None:
    expected = ask(llm, QUESTION, picture(1))
    stream = answer(llm, saying(QUESTION, picture(1)), stream=True)
    parts = [next(stream) for _ in range(4)]
    llm.engine.sequences.clear(llm.engine.slots[0])  # as when a decode is aborted that cannot be
    parts += stream
    texts = [part["choices"][0]["delta"].get("content") or "" for part in parts]
    assert "".join(texts) == expected

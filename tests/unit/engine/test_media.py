"""Images and sounds among the tokens of a prompt, without a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from engine_kit import a_request, busy_slot, idle_slot

from llama_cpp.engine.media import MediaPrompt, media_at, text_after, without_cut
from llama_cpp.engine.request import Request
from llama_cpp.engine.scheduler import Chunk, plan
from llama_cpp.engine.slots import Slot, place
from llama_cpp.errors import InvalidArgumentError


@dataclass
class Picture:
    """What takes ``n_pos`` positions and ``n_tokens`` cells."""

    n_pos: int = 4
    n_tokens: int = 4
    first: int = -100
    placeholders: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.placeholders = [self.first - index for index in range(self.n_pos)]

    def decode(self, context: Any, pos: int, seq_id: int) -> None:
        raise AssertionError


def slot_of(prompt: MediaPrompt, n_cached: int, number: int = 0) -> Slot:
    request = a_request(prompt, number=number)
    return Slot(number, tokens=request.tokens, n_cached=n_cached, request=request)


PROMPT = MediaPrompt([[1, 2], Picture(), [3, 4, 5], Picture(2, 6, -200), [6]])


def test_a_prompt_has_a_negative_number_for_each_position() -> None:
    assert PROMPT == [1, 2, -100, -101, -102, -103, 3, 4, 5, -200, -201, 6]
    assert [(placed.start, placed.end) for placed in PROMPT.media] == [(2, 6), (9, 11)]
    starts = [7, 8]
    longer = starts + PROMPT
    assert isinstance(longer, MediaPrompt)
    assert longer == [7, 8, *PROMPT]
    assert [(placed.start, placed.end) for placed in longer.media] == [(4, 8), (11, 13)]
    assert isinstance(starts[:0] + PROMPT, MediaPrompt)


@pytest.mark.parametrize("parts", [[], [[]], [[1], Picture()], [Picture(), []]])
def test_a_prompt_ends_with_a_token(parts: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one token"):
        MediaPrompt(parts)


def test_a_request_knows_its_cells_and_its_tokens() -> None:
    request: Request = a_request(PROMPT)
    assert (request.n_prompt, request.n_extra) == (12, 4)
    assert request.ids == [1, 2, 3, 4, 5, 6]
    plain = a_request([1, 2, 3])
    assert (plain.n_extra, plain.media) == (0, ())
    assert plain.ids is plain.tokens


def test_log_probabilities_of_images_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="do not echo"):
        a_request(PROMPT, prompt_logprobs=True)


def test_where_text_and_images_begin() -> None:
    media = PROMPT.media
    found = [text_after(media, position, 12) for position in (0, 1, 2, 6, 9, 11)]
    assert found == [2, 1, 0, 3, 0, 1]
    assert [media_at(media, position) for position in (0, 3, 11)] == [None] * 3
    assert media_at(media, 9) is media[1]


def test_images_are_not_cut() -> None:
    cut = [without_cut(PROMPT.media, count) for count in range(13)]
    assert cut == [0, 1, 2, 2, 2, 2, 6, 7, 8, 9, 9, 11, 12]


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_plan_goes_up_to_the_next_image(checkpoints: bool) -> None:
    for n_cached, count in ((0, 2), (1, 1), (6, 3), (7, 2)):
        slot = slot_of(PROMPT, n_cached)
        assert plan([slot], 100, 8, checkpoints=checkpoints) == [Chunk(slot, count, False)]
    for n_cached in (2, 9):
        assert plan([slot_of(PROMPT, n_cached)], 100, 8, checkpoints=checkpoints) == []
    last = slot_of(PROMPT, 11)
    assert plan([last], 100, 8, checkpoints=checkpoints) == [Chunk(last, 1, False)]


def test_others_are_planned_while_an_image_is_due() -> None:
    due, texting = slot_of(PROMPT, 2), busy_slot(1, [1, 2, 3], n_cached=0)
    assert plan([due, texting], 100, 8) == [Chunk(texting, 3, False)]


def test_a_plan_stops_before_the_last_token_behind_an_image() -> None:
    prompt = MediaPrompt([[1], Picture(), [3, 4, 5]])
    slot = slot_of(prompt, 5)
    assert plan([slot], 100, 8, checkpoints=True) == [Chunk(slot, 2, False)]


def test_an_equal_image_is_found_again_and_another_is_not() -> None:
    slot = idle_slot(0, PROMPT)
    assert place([slot], [*PROMPT, 7]) == (slot, slot, 12)
    other = MediaPrompt([[1, 2], Picture(first=-300), [3]])
    assert place([slot], other) == (slot, slot, 2)

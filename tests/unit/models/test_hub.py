"""Which files of a repository are the model that a pattern means."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.errors import ModelNotFoundError
from llama_cpp.models.hub import model_files

REPOSITORY = [
    "README.md",
    "config.json",
    "small-Q4_K_M.gguf",
    "small-Q8_0.gguf",
    "large-Q4_K_M-00002-of-00003.gguf",
    "large-Q4_K_M-00001-of-00003.gguf",
    "large-Q4_K_M-00003-of-00003.gguf",
    "BF16/large-BF16-00001-of-00002.gguf",
    "BF16/large-BF16-00002-of-00002.gguf",
    "odd[1].gguf",
]
LARGE = [f"large-Q4_K_M-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
BF16 = [f"BF16/large-BF16-{number:05}-of-00002.gguf" for number in (1, 2)]


def files(pattern: str, available: list[str] = REPOSITORY) -> list[str]:
    return model_files(available, pattern, "owner/name")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("small-Q8_0.gguf", ["small-Q8_0.gguf"]),
        ("*Q8_0.gguf", ["small-Q8_0.gguf"]),
        ("small-Q?_0.gguf", ["small-Q8_0.gguf"]),
        ("small-Q[5-8]*", ["small-Q8_0.gguf"]),
        ("odd[1].gguf", ["odd[1].gguf"]),
    ],
)
def test_one_file_is_named_or_fits_a_pattern(pattern: str, expected: list[str]) -> None:
    assert files(pattern) == expected


@pytest.mark.parametrize(
    "pattern", ["large-Q4_K_M*", "large-Q4_K_M-*.gguf", LARGE[0], LARGE[1], "*00003-of-00003.gguf"]
)
def test_any_part_of_a_split_model_stands_for_all(pattern: str) -> None:
    assert files(pattern) == LARGE


@pytest.mark.parametrize("pattern", ["*BF16*", "BF16/*", "large-BF16*", BF16[1], "*of-00002.gguf"])
def test_a_folder_may_be_left_out(pattern: str) -> None:
    assert files(pattern) == BF16


@given(st.integers(1, 12), st.randoms(use_true_random=False), st.data())
def test_the_parts_come_in_their_order(
    total: int, shuffler: random.Random, data: st.DataObject
) -> None:
    parts = [f"folder/m-{number:05}-of-{total:05}.gguf" for number in range(1, total + 1)]
    mixed = [*parts, "n.gguf", "README.md"]
    shuffler.shuffle(mixed)
    assert files("m-*", mixed) == parts
    assert files(data.draw(st.sampled_from(parts)), mixed) == parts


@pytest.mark.parametrize("pattern", ["*.gguf", "small*", "*Q4_K_M*"])
def test_a_pattern_that_fits_two_models_is_refused(pattern: str) -> None:
    with pytest.raises(ModelNotFoundError, match="fits more than one model of owner/name") as error:
        files(pattern)
    assert repr(pattern) in str(error.value) and "small-Q4_K_M.gguf" in str(error.value)


@pytest.mark.parametrize("pattern", ["*Q5_0*", "small", "SMALL-Q8_0.GGUF/", "", "odd[2].gguf"])
def test_a_pattern_that_fits_nothing_is_answered_with_what_there_is(pattern: str) -> None:
    with pytest.raises(ModelNotFoundError, match="has no file like") as error:
        files(pattern)
    for name in REPOSITORY:
        assert name in str(error.value)


def test_an_incomplete_model_is_refused() -> None:
    available = [name for name in REPOSITORY if name != LARGE[1]]
    with pytest.raises(ModelNotFoundError, match="lacks parts of the model") as error:
        files("large-Q4*", available)
    assert LARGE[1] in str(error.value) and LARGE[0] not in str(error.value)


def test_an_empty_repository_has_no_model() -> None:
    with pytest.raises(FileNotFoundError, match=r"owner/name has no file like '\*.gguf'"):
        files("*.gguf", [])

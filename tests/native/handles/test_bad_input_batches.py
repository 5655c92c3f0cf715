"""Batches that hold, or are, what a context cannot decode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from handles_kit import TOKENS, batch_of, decode, open_context
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import (
    BatchError,
    InvalidArgumentError,
    NoKVSlotError,
    SequenceError,
    TokenError,
)
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

cases = Cases(__file__)


def refuse(context: Context, batch: Batch, kind: type[Exception], match: str) -> None:
    """The context refuses the batch, and decodes a good one afterwards."""
    with pytest.raises(kind, match=match):
        context.decode(batch)
    context.memory.clear()
    decode(context)
    context.memory.clear()


@cases.add
def batch_without_room_cannot_be_created(files: Files) -> None:
    for arguments in ((0,), (-1,), (1, 0), (1, -1), (1, 1, -1)):
        with pytest.raises(BatchError, match="a batch needs n_tokens >= 1"):
            Batch(*arguments)


@cases.add
def token_ids_that_are_none_are_refused_at_once(files: Files) -> None:
    batch = Batch(8)
    for bad in (-1, 2**31, 2**40, -(2**40), "x", 1.5, None, b"a", float("nan")):
        with pytest.raises(TokenError):
            batch.add(bad, 0)  # type: ignore[arg-type]
        with pytest.raises(TokenError):
            batch.add_sequence([5, bad])  # type: ignore[list-item]
    for no_ids in ("text", b"text", 5, None, [[5]]):
        with pytest.raises(TokenError):
            batch.add_sequence(no_ids)  # type: ignore[arg-type]
    assert len(batch) == 0


@cases.add
def columns_that_do_not_fit_leave_the_batch_empty(files: Files) -> None:
    good: tuple[Any, ...] = ([5, 6], [0, 1], [0, 0], [False, True])
    batch = Batch(2)
    for column, bad, kind in (
        (0, [5, -1], TokenError), (0, [5, 2**31], TokenError), (0, [5, "x"], TokenError),
        (1, [0, -1], SequenceError), (1, [0, 2**31], SequenceError), (1, [0, None], SequenceError),
        (2, [-1, 0], SequenceError), (2, [0, 1.5], SequenceError), (0, [5], BatchError),
        (1, [0], BatchError), (2, [0] * 3, BatchError), (3, [], BatchError),
    ):  # fmt: skip
        columns = [*good[:column], bad, *good[column + 1 :]]
        batch.fill(*good)
        with pytest.raises(kind):
            batch.fill(*columns)
        assert len(batch) in (0, 2)
    with pytest.raises(BatchError, match="do not fit"):
        batch.fill([5] * 3, [0, 1, 2], [0] * 3, [True] * 3)
    with pytest.raises(BatchError, match="use add_embeddings"):
        Batch(2, embd=4).fill(*good)


@cases.add
def columns_are_what_single_tokens_are(files: Files) -> None:
    for n_seq_max in (1, 3):
        filled, added = Batch(8, n_seq_max), Batch(8, n_seq_max)
        filled.fill([9] * 8, [9] * 8, [9] * 8, [False] * 8)
        filled.fill([5, 6, 7], [0, 1, 0], [0, 0, 1], [False, True, True])
        for entry in ((5, 0, (0,), False), (6, 1, (0,), True), (7, 0, (1,), True)):
            added.add(*entry)
        for name in ("tokens", "positions", "n_seq_ids", "outputs"):
            assert getattr(filled, name)[:3].tolist() == getattr(added, name)[:3].tolist()
        assert filled.seq_ids[:3, 0].tolist() == added.seq_ids[:3, 0].tolist()
        assert len(filled) == len(added) == 3


@cases.add
def true_and_numpy_integers_count_as_token_ids(files: Files) -> None:
    batch = Batch(8)
    batch.add(True, 0)
    batch.add_sequence(np.array([4, 5]), 1)
    assert batch.tokens[:3].tolist() == [1, 4, 5]


@cases.add
def token_ids_beyond_the_vocabulary_are_refused_at_decode(files: Files) -> None:
    context = open_context(files.model)
    for bad in (files.model.n_vocab, 2**31 - 2):
        refuse(context, batch_of([5, bad]), TokenError, f"token {bad} at index 1 .* ids 0 to 683")
    for bad in (-1, -5, 684):
        batch = batch_of()
        batch.tokens[3] = bad
        refuse(context, batch, TokenError, f"token {bad} at index 3")
    batch = batch_of()
    batch.tokens[:] = -1
    refuse(context, batch, TokenError, "token -1 at index 0")


@cases.add
def batch_larger_than_its_room_is_refused(files: Files) -> None:
    batch = Batch(4)
    with pytest.raises(
        BatchError, match="5 more entries do not fit: the batch holds 0 of at most 4"
    ):
        batch.add_sequence([5] * 5)
    batch.add_sequence([5] * 4)
    with pytest.raises(BatchError, match="clear"):
        batch.add(5, 4)
    assert len(batch) == 4


@cases.add
def batch_larger_than_n_batch_or_empty_is_refused(files: Files) -> None:
    context = open_context(files.model, n_batch=16)
    refuse(context, batch_of([5] * 17), BatchError, "a batch of 17 entries .* n_batch=16")
    refuse(context, Batch(4), BatchError, "a batch of 0 entries")


@cases.add
def count_that_was_written_into_the_struct_is_refused(files: Files) -> None:
    context = open_context(files.model)
    for count in (-1, 11, 200, 2**31 - 1):
        batch = batch_of()
        batch.struct.n_tokens = count
        refuse(context, batch, BatchError, f"a batch of {count} entries")


@cases.add
def sequence_ids_that_the_context_lacks_are_refused(files: Files) -> None:
    for unified in (False, True):
        context = open_context(files.model, n_seq_max=2, kv_unified=unified)
        for seq_id in (2, 255, 256, 2**31 - 1):
            batch = batch_of(seq_id=seq_id)
            refuse(context, batch, SequenceError, f"sequence id {seq_id} is not between 0 and 1")


@cases.add
def sequence_ids_and_positions_that_are_none_are_refused_at_once(files: Files) -> None:
    batch = Batch(8, n_seq_max=2)
    for bad in (-1, 2**31, 2**40, "x", 1.5, None):
        with pytest.raises(SequenceError):
            batch.add(5, bad)  # type: ignore[arg-type]
        with pytest.raises(SequenceError):
            batch.add(5, 0, (0, bad))  # type: ignore[arg-type]
        with pytest.raises(SequenceError):
            batch.add_sequence([5], 0, bad)  # type: ignore[arg-type]
    for seq_ids in ((), (0, 1, 2)):
        with pytest.raises(SequenceError, match="belongs to 1 to 2 sequences"):
            batch.add(5, 0, seq_ids)
    with pytest.raises(SequenceError, match="do not fit into an int32"):
        batch.add_sequence([5, 5], 2**31 - 1)
    assert len(batch) == 0


@cases.add
def arrays_that_lead_the_engine_astray_are_read_only(files: Files) -> None:
    batch = batch_of()
    for values in (batch.positions, batch.n_seq_ids, batch.seq_ids):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 100_000


@cases.add
def positions_with_a_gap_or_out_of_order_are_refused(files: Files) -> None:
    for path in (files.llama, files.mamba):
        context = open_context(Model(path))
        for positions in ((0, 2), (1, 0), (5, 4, 3), (0, 0, 2), (0, 1, 0)):
            batch = Batch(4)
            for pos in positions:
                batch.add(5, pos)
            refuse(context, batch, SequenceError, "positions of a sequence must go on")
        for pos in (5, 50, 0):
            decode(context)
            refuse(context, batch_of(pos=pos), SequenceError, "where the memory ends")


@cases.add
def unusual_positions_are_decoded(files: Files) -> None:
    context = open_context(files.model)
    for pos in (5, 300, 2**31 - 20):
        context.memory.clear()
        assert np.isfinite(decode(context, pos=pos)).all()
        assert context.memory.seq_pos_min(0) == pos
    context.memory.clear()
    batch = Batch(4)
    batch.add(5, 0)
    batch.add(6, 0, output=True)
    context.decode(batch)


@cases.add
def full_memory_is_reported_and_can_be_emptied(files: Files) -> None:
    context = open_context(files.model)
    decode(context, [5] * 256)
    with pytest.raises(NoKVSlotError, match="memory of 256 cells has no room for 1 more") as caught:
        decode(context, [5], pos=256)
    assert caught.value.code == 1
    assert context.memory.seq_rm(0, 200)
    decode(context, [5], pos=200)


@cases.add
def entry_of_several_sequences_needs_memory_that_they_share(files: Files) -> None:
    batch = Batch(4, n_seq_max=3)
    batch.add(5, 0, (0, 2), output=True)
    context = open_context(files.model, n_seq_max=3, kv_unified=True)
    context.decode(batch)
    assert context.memory.seq_pos_max(2) == 0
    for path, message in (
        (files.llama, "create it with kv_unified"),
        (files.mamba, "copy it with memory.seq_cp"),
        (files.bert, "this model has no memory"),
    ):
        context = open_context(Model(path), n_seq_max=3, n_ubatch=63)
        refuse(context, batch, SequenceError, message)
    context = open_context(files.model, n_seq_max=3, kv_unified=True)
    decode(context)
    apart = Batch(1, n_seq_max=3)
    apart.add(5, 10, (0, 1))
    refuse(context, apart, SequenceError, "positions of a sequence")


@cases.add
def same_sequence_twice_counts_once(files: Files) -> None:
    context = open_context(files.model)
    batch = Batch(1, n_seq_max=2)
    batch.add(5, 0, (0, 0))
    context.decode(batch)


@cases.add
def embeddings_of_another_width_are_refused(files: Files) -> None:
    context = open_context(files.model)
    for width in (1, 255, 257, 512):
        batch = Batch(4, embd=width)
        batch.add_embeddings(np.ones((4, width)))
        refuse(context, batch, BatchError, f"width 256, .* embd={width}")


@cases.add
def embeddings_that_are_no_rows_of_numbers_are_refused(files: Files) -> None:
    batch = Batch(4, embd=8)
    for shape in ((8,), (4, 7), (1, 4, 8), ()):
        with pytest.raises(BatchError, match="do not fit a batch of embd=8"):
            batch.add_embeddings(np.ones(shape))
    with pytest.raises(BatchError, match="do not fit"):
        batch.add_embeddings(np.ones((5, 8)))
    bad_values: list[Any] = ["text", [["x"] * 8], None, [[float("nan")] * 8], [[float("inf")] * 8]]
    for values in bad_values:
        with pytest.raises((BatchError, InvalidArgumentError)):
            batch.add_embeddings(values)
    assert batch.add_embeddings(np.ones((0, 8))) == 0
    assert len(batch) == 0


@cases.add
def tokens_and_embeddings_do_not_mix(files: Files) -> None:
    of_tokens, of_embeddings = Batch(4), Batch(4, embd=256)
    with pytest.raises(BatchError, match="use add_embeddings"):
        of_embeddings.add(5, 0)
    with pytest.raises(BatchError, match="use add_embeddings"):
        of_embeddings.add_sequence([5])
    with pytest.raises(BatchError, match="do not fit a batch of embd=0"):
        of_tokens.add_embeddings(np.ones((1, 256)))


@cases.add
def rows_that_were_not_asked_for_are_refused(files: Files) -> None:
    context = open_context(files.model)
    with pytest.raises(InvalidArgumentError, match="no row of logits for index -1"):
        context.logits()
    decode(context)
    for index in (0, 8, -2, 10, 10**6, 2**31, -(2**31), 2**40, "x", 1.5, None):
        with pytest.raises(InvalidArgumentError, match="index"):
            context.logits(index)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="no row of embeddings"):
        context.embeddings()
    with pytest.raises(InvalidArgumentError, match="no row of pooled embeddings"):
        context.sequence_embedding()
    for seq_id in (-1, 1, 2**31, "x"):
        with pytest.raises(SequenceError):
            context.sequence_embedding(seq_id)  # type: ignore[arg-type]
    assert context.logits(len(TOKENS) - 1).shape == (684,)


@cases.add
def more_outputs_than_the_context_has_room_for_are_refused(files: Files) -> None:
    context = open_context(files.model, n_outputs_max=2)
    refuse(context, batch_of(output_all=True), BatchError, "10 outputs.*n_outputs_max=2")
    context.set_embeddings(True)
    with pytest.raises(BatchError, match="10 outputs"):
        context.decode(batch_of())
    context.decode(batch_of([5, 6]))


@pytest.mark.parametrize("name", cases.names)
def test_bad_batch(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""

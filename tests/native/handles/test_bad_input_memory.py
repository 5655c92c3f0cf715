"""Memory operations and saved states that cannot be."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handles_kit import batch_of, decode, open_context
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import InvalidArgumentError, NoKVSlotError, SequenceError, StateError
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

cases = Cases(__file__)


@cases.add
def sequences_that_the_context_lacks_are_refused(files: Files) -> None:
    context = open_context(files.model, n_seq_max=2)
    memory = context.memory
    for bad in (-2, 2, 256, 2**31, 2**40, "x", 1.5, None):
        calls: list[Callable[[Any], Any]] = [
            lambda seq_id: memory.seq_rm(seq_id),
            lambda seq_id: memory.seq_cp(seq_id, 0),
            lambda seq_id: memory.seq_cp(0, seq_id),
            lambda seq_id: memory.seq_keep(seq_id),
            lambda seq_id: memory.seq_add(seq_id, 0, -1, 1),
            lambda seq_id: memory.seq_div(seq_id, 0, -1, 2),
            lambda seq_id: memory.seq_pos_min(seq_id),
            lambda seq_id: memory.seq_pos_max(seq_id),
            lambda seq_id: context.state.get_sequence(seq_id),
            lambda seq_id: context.state.set_sequence(bytes(50), seq_id),
        ]
        for call in calls:
            with pytest.raises(SequenceError, match="sequence id"):
                call(bad)


@cases.add
def positions_that_are_no_int32_are_refused(files: Files) -> None:
    memory = open_context(files.model, n_seq_max=2).memory
    for bad in (2**31, -(2**31), 2**40, "x", 1.5, None):
        calls: list[Callable[[Any], Any]] = [
            lambda pos: memory.seq_rm(0, pos, -1),
            lambda pos: memory.seq_rm(0, 0, pos),
            lambda pos: memory.seq_cp(0, 1, pos, -1),
            lambda pos: memory.seq_add(0, pos, -1, 1),
            lambda pos: memory.seq_add(0, 0, -1, pos),
            lambda pos: memory.seq_div(0, 0, pos, 2),
            lambda pos: memory.seq_div(0, 0, -1, pos),
        ]
        for call in calls:
            with pytest.raises(InvalidArgumentError, match="must be"):
                call(bad)


@cases.add
def empty_and_backward_ranges_change_nothing(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    for p0, p1 in ((5, 5), (8, 3), (100, 200), (2**31 - 1, -1)):
        assert context.memory.seq_rm(0, p0, p1)
        context.memory.seq_add(0, p0, p1, 7)
        context.memory.seq_div(0, p0, p1, 7)
        assert (context.memory.seq_pos_min(0), context.memory.seq_pos_max(0)) == (0, 9)


@cases.add
def shifts_out_of_range_lose_tokens_or_are_refused(files: Files) -> None:
    for path in (files.llama, files.mamba):
        context = open_context(Model(path))
        decode(context)
        with pytest.raises(SequenceError, match="would not fit into an int32"):
            context.memory.seq_add(0, 0, -1, 2**31 - 1)
        context.memory.seq_add(0, 0, -1, -500)
        assert context.memory.seq_pos_max(0) == -1
        context.state.set(context.state.get())
        context.state.set_sequence(context.state.get_sequence(0), 0)
        context.memory.clear()
        decode(context)


@cases.add
def divisors_below_one_are_refused(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    for divisor in (0, -1):
        with pytest.raises(InvalidArgumentError, match="divisor"):
            context.memory.seq_div(0, 0, -1, divisor)
    context.memory.seq_div(0, 0, -1, 2)
    decode(context, [5], pos=context.memory.seq_pos_max(0) + 1)


@cases.add
def recurrent_memory_refuses_to_forget_a_part(files: Files) -> None:
    context = open_context(Model(files.mamba), n_seq_max=2)
    decode(context)
    assert not context.memory.seq_rm(0, 5, -1)
    assert not context.memory.seq_rm(-1, 5, -1)
    assert context.memory.seq_pos_max(0) == 9
    decode(context, [5], pos=10)
    assert context.memory.seq_rm(-1)
    assert context.memory.seq_pos_max(0) == -1
    decode(context)
    assert context.memory.seq_rm(0)
    decode(context)


@cases.add
def model_without_memory_keeps_nothing(files: Files) -> None:
    context = open_context(Model(files.bert), embeddings=True)
    context.decode(batch_of())
    memory = context.memory
    assert memory.seq_rm(0)
    assert memory.seq_pos_max(0) == -1
    memory.seq_keep(0)
    memory.seq_cp(0, 0)
    for shift in (memory.seq_add, memory.seq_div):
        with pytest.raises(SequenceError, match="cannot be shifted"):
            shift(0, 0, -1, 1)
    context.state.set(context.state.get())
    context.state.set_sequence(context.state.get_sequence(0), 0)
    context.decode(batch_of())


@cases.add
def part_of_a_sequence_is_not_copied_between_separate_memories(files: Files) -> None:
    context = open_context(files.model, n_seq_max=3)
    decode(context)
    for p0, p1 in ((2, 5), (0, 5), (3, -1)):
        with pytest.raises(SequenceError, match="kv_unified = True"):
            context.memory.seq_cp(0, 1, p0, p1)
    context.memory.seq_cp(0, 1, 0, 10)
    context.memory.seq_cp(2, 2)
    context.memory.seq_cp(1, 2)
    assert [context.memory.seq_pos_max(seq_id) for seq_id in range(3)] == [9, 9, 9]
    decode(context, [5], pos=10, seq_id=2)


def use(context: Context) -> None:
    """Do what reads and writes whatever a state has left in the memory."""
    memory = context.memory
    for seq_id in range(context.n_seq_max):
        with suppress(SequenceError, NoKVSlotError):
            decode(context, [7], memory.seq_pos_max(seq_id) + 1, seq_id)
        memory.seq_rm(seq_id, 2, -1)
        if memory.seq_pos_max(seq_id) < 1_000_000:
            memory.seq_add(seq_id, 0, -1, 1)
        context.state.get_sequence(seq_id)
    context.state.get()


def damage(state: bytes, restore: Callable[[bytes], None], context: Context) -> None:
    """Restore the state cut short and with other bytes in it, using the memory in between."""
    chance = random.Random(1)
    lengths = {*range(100), *(chance.randrange(len(state)) for _ in range(30)), len(state) - 1}
    for length in sorted(lengths):
        with pytest.raises(StateError, match="state"):
            restore(state[:length])
    refused = 0
    for _ in range(200):
        bent = bytearray(state)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(min(len(bent), chance.choice((20, 64, 400, len(bent)))))
            bent[place] = chance.choice((0, 1, 128, 255, chance.randrange(256)))
        try:
            restore(bytes(bent))
        except StateError:
            refused += 1
        use(context)
    assert refused > 20
    for _ in range(30):
        with pytest.raises(StateError):
            restore(chance.randbytes(chance.randrange(5000)))
    context.memory.clear()
    restore(state)


@cases.add
def damaged_states_are_refused_or_harmless(files: Files) -> None:
    for path, unified in ((files.llama, False), (files.llama, True), (files.mamba, False)):
        context = open_context(Model(path), n_seq_max=2, kv_unified=unified)
        for seq_id in range(2):
            decode(context, seq_id=seq_id)
        damage(context.state.get(), context.state.set, context)


@cases.add
def damaged_states_of_a_sequence_are_refused_or_harmless(files: Files) -> None:
    for path, flash, flags in ((files.llama, 1, 0), (files.llama, 0, 0), (files.mamba, 1, 1)):
        context = open_context(Model(path), n_seq_max=2, flash_attn_type=flash)
        decode(context)

        def restore(state: bytes, context: Context = context, flags: int = flags) -> None:
            context.state.set_sequence(state, 1, flags)

        damage(context.state.get_sequence(0, flags), restore, context)


@cases.add
def damaged_state_files_are_refused_or_harmless(files: Files) -> None:
    context = open_context(files.model, n_seq_max=2)
    decode(context)
    path = files.scratch / "state.bin"
    context.state.save_file(path, [1, 2, 3])

    def restore(state: bytes) -> None:
        path.write_bytes(state)
        context.state.load_file(path)

    damage(path.read_bytes(), restore, context)
    assert context.state.load_file(path) == [1, 2, 3]


@cases.add
def states_of_another_model_or_shape_are_refused(files: Files) -> None:
    llama, mamba, bert = files.model, Model(files.mamba), Model(files.bert)
    full = open_context(llama, n_ctx=512)
    decode(full, [5] * 400)
    small, other_cache = open_context(llama), open_context(llama, type_k=8)
    other_layout = open_context(llama, flash_attn_type=0)
    recurrent, encoder = open_context(mamba), open_context(bert)
    decode(recurrent)
    pairs = [(full, small), (full, other_cache), (full, recurrent), (full, encoder)]
    pairs += [(other_layout, small), (recurrent, small), (encoder, small), (encoder, recurrent)]
    decode(other_layout)
    for source, target in pairs:
        with pytest.raises(StateError, match="damaged, or was taken from another model"):
            target.state.set(source.state.get())
        target.state.get()
    for source, target in ((full, small), (full, other_cache), (recurrent, small)):
        with pytest.raises(StateError, match="damaged, or was taken from another model"):
            target.state.set_sequence(source.state.get_sequence(0), 0)
        decode(target)
    assert np.isfinite(decode(full, [5], pos=400)).all()


@cases.add
def states_that_are_no_bytes_and_unknown_flags_are_refused(files: Files) -> None:
    context = open_context(files.model)
    for bad in ("text", bytearray(10), memoryview(b"bytes"), 5, None, [1, 2]):
        with pytest.raises(InvalidArgumentError, match="a state is bytes"):
            context.state.set(bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="a state is bytes"):
            context.state.set_sequence(bad, 0)  # type: ignore[arg-type]
    for flags in (-1, 2, 3, 2**32, "x", None):
        with pytest.raises(InvalidArgumentError, match="flags"):
            context.state.get_sequence(0, flags)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="flags"):
            context.state.set_sequence(b"", 0, flags)  # type: ignore[arg-type]


@cases.add
def state_files_that_cannot_be_written_or_read_are_refused(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    missing = files.scratch / "missing" / "state"
    for path in (files.scratch, missing, Path("/dev/full")):
        with pytest.raises(StateError, match="cannot be written"):
            context.state.save_file(path)
    empty, pipe = files.scratch / "empty", files.scratch / "pipe"
    empty.write_bytes(b"")
    os.mkfifo(pipe)
    for path in (files.scratch, missing, empty, pipe, Path("/dev/zero"), files.llama):
        with pytest.raises(StateError):
            context.state.load_file(path)
    context.memory.clear()
    decode(context)


@pytest.mark.parametrize("name", cases.names)
def test_bad_memory_operation(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""

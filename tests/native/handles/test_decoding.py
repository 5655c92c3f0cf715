"""What comes out of a context does not depend on how its tokens went in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from handles_kit import TOKENS, batch_of, decode, open_context
from zoo import Zoo

from llama_cpp.errors import DecodeAbortedError
from llama_cpp.handles.adapter import ControlVector, LoraAdapter
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

OTHER = (5, 300, 420, 415, 77)


def same(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    # Kernels add in another order for another batch shape. Logits have a deviation of about 1.
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


@pytest.fixture(params=["llama", "mamba", "hybrid", "sliding_window"])
def decoder(request: pytest.FixtureRequest, zoo: Zoo) -> Model:
    return Model(getattr(zoo, request.param))


def one_by_one(context: Context, tokens: Any = TOKENS, seq_id: int = 0) -> npt.NDArray[np.float32]:
    rows = [decode(context, [token], pos, seq_id) for pos, token in enumerate(tokens)]
    return np.stack(rows)


def test_batch_equals_token_by_token(decoder: Model) -> None:
    expected = one_by_one(open_context(decoder))
    for n_ubatch in (512, 3, 1):
        context = open_context(decoder, n_ubatch=n_ubatch)
        context.decode(batch_of(output_all=True))
        rows = np.stack([context.logits(index) for index in range(len(TOKENS))])
        same(rows, expected)
        assert np.array_equal(context.logits(-1), rows[-1])
        assert np.array_equal(context.logits(-3), rows[-3])


def test_logits_depend_on_every_token_and_its_place(decoder: Model) -> None:
    context, expected = open_context(decoder), decode(open_context(decoder))
    for place in range(len(TOKENS)):
        changed = list(TOKENS)
        changed[place] = 77
        context.memory.clear()
        assert not np.allclose(decode(context, changed), expected, atol=1e-4)
    context.memory.clear()
    assert not np.allclose(decode(context, [*TOKENS[1:-1], TOKENS[0], TOKENS[-1]]), expected)


@pytest.mark.parametrize("unified", [False, True])
def test_sequences_in_one_batch_equal_each_alone(decoder: Model, unified: bool) -> None:
    alone = [decode(open_context(decoder), tokens) for tokens in (TOKENS, OTHER, TOKENS[:3])]
    context = open_context(decoder, n_seq_max=3, n_ctx=768, kv_unified=unified)
    batch = Batch(40)
    for seq_id, tokens in enumerate((TOKENS, OTHER, TOKENS[:3])):
        batch.add_sequence(tokens, 0, seq_id)
    context.decode(batch)
    ends = np.flatnonzero(batch.outputs)
    for end, expected in zip(ends.tolist(), alone, strict=True):
        same(context.logits(end), expected)


def test_interleaved_sequences_equal_each_alone(decoder: Model) -> None:
    alone = [one_by_one(open_context(decoder), tokens)[-1] for tokens in (TOKENS[:5], OTHER)]
    context = open_context(decoder, n_seq_max=2, n_ctx=512)
    for pos in range(5):
        batch = Batch(2)
        for seq_id, tokens in enumerate((TOKENS, OTHER)):
            batch.add(tokens[pos], pos, (seq_id,), output=True)
        context.decode(batch)
    for index, expected in enumerate(alone):
        same(context.logits(index), expected)


def test_copied_logits_survive_the_next_decode(model: Model) -> None:
    context = open_context(model)
    first = decode(context)
    kept = first.copy()
    context.decode(batch_of([5] * 200, 10, output_all=True))
    context.close()
    assert np.array_equal(first, kept)


def test_embeddings_batch_equals_tokens(model: Model) -> None:
    context = open_context(model, embeddings=True)
    context.decode(batch_of())
    rows = np.stack([context.embeddings(index) for index in range(len(TOKENS))])
    assert rows.shape == (10, 256)
    batch = Batch(4, embd=256)
    batch.add_embeddings(rows[:4])
    context.memory.clear()
    context.decode(batch)
    assert np.isfinite(context.embeddings()).all()


def test_pooled_embeddings_of_a_batch_equal_each_alone(tiny_bert: Path) -> None:
    model = Model(tiny_bert)
    context = open_context(model, n_seq_max=2, embeddings=True)
    batch = Batch(40)
    alone = []
    for seq_id, tokens in enumerate((TOKENS, OTHER)):
        context.encode(batch_of(tokens))
        alone.append(context.sequence_embedding())
        batch.add_sequence(tokens, 0, seq_id)
    context.decode(batch)
    for seq_id, expected in enumerate(alone):
        same(context.sequence_embedding(seq_id), expected)
    assert not np.allclose(alone[0], alone[1])


def test_classifier_gives_a_score_per_label(tiny_classifier: Path) -> None:
    context = open_context(Model(tiny_classifier), embeddings=True)
    context.encode(batch_of())
    assert context.sequence_embedding().shape == (2,)


def test_encoder_decoder_depends_on_both_texts(tiny_t5: Path) -> None:
    context = open_context(Model(tiny_t5))
    rows = []
    for source, target in ((TOKENS, [0]), (OTHER, [0]), (TOKENS, [0, 5])):
        context.memory.clear()
        context.encode(batch_of(source))
        rows.append(decode(context, target))
    assert not np.allclose(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2])


def continuing(context: Context, seq_id: int = 0) -> npt.NDArray[np.float32]:
    return decode(context, OTHER, len(TOKENS), seq_id)


def test_restored_states_continue_identically(decoder: Model, tmp_path: Path) -> None:
    source = open_context(decoder, n_seq_max=2, n_ctx=512)
    decode(source)
    whole, part = source.state.get(), source.state.get_sequence(0)
    path = tmp_path / "state"
    source.state.save_file(path, TOKENS)
    expected = continuing(source)
    restores: list[Callable[[Context], Any]] = [
        lambda context: context.state.set(whole),
        lambda context: context.state.set_sequence(part, 0),
        lambda context: context.state.load_file(path),
    ]
    for restore in restores:
        target = open_context(decoder, n_seq_max=2, n_ctx=512)
        decode(target, OTHER)
        restored = restore(target)
        assert restored in (None, list(TOKENS))
        assert target.memory.seq_pos_max(0) == len(TOKENS) - 1
        assert np.array_equal(continuing(target), expected)
    target.state.set_sequence(part, 1)
    same(continuing(target, 1), expected)


def test_copied_sequence_continues_like_its_source(decoder: Model) -> None:
    for unified in (False, True):
        context = open_context(decoder, n_seq_max=2, n_ctx=512, kv_unified=unified)
        decode(context)
        context.memory.seq_cp(0, 1)
        expected = continuing(context)
        same(continuing(context, 1), expected)


def test_removed_end_is_as_if_it_had_never_been(model: Model) -> None:
    context = open_context(model)
    expected = decode(context, OTHER)
    context.memory.clear()
    decode(context, [*OTHER[:3], 9, 9, 9])
    assert context.memory.seq_rm(0, 3, -1)
    same(decode(context, OTHER[3:], 3), expected)


def test_part_of_a_sequence_is_shared_in_unified_memory(model: Model) -> None:
    context = open_context(model, n_seq_max=2, kv_unified=True)
    expected = decode(context, OTHER)
    context.memory.clear()
    decode(context, [*OTHER[:3], 9, 9])
    context.memory.seq_cp(0, 1, 0, 3)
    same(decode(context, OTHER[3:], 3, 1), expected)


def test_shifted_positions_keep_their_distances(model: Model) -> None:
    context = open_context(model)
    decode(context)
    expected = continuing(context)
    context.memory.clear()
    decode(context)
    assert context.memory.can_shift
    context.memory.seq_add(0, 0, -1, 30)
    assert (context.memory.seq_pos_min(0), context.memory.seq_pos_max(0)) == (30, 39)
    np.testing.assert_allclose(decode(context, OTHER, 40), expected, atol=0.05)


def test_kept_and_divided_sequences(model: Model) -> None:
    context = open_context(model, n_seq_max=3, kv_unified=True)
    for seq_id in range(3):
        decode(context, seq_id=seq_id)
    context.memory.seq_keep(1)
    assert [context.memory.seq_pos_max(seq_id) for seq_id in range(3)] == [-1, 9, -1]
    context.memory.seq_div(1, 0, -1, 2)
    assert context.memory.seq_pos_max(1) == 4
    context.memory.clear()
    assert context.memory.seq_pos_max(1) == -1


def test_adapter_changes_the_logits_by_its_scale_and_gives_them_back(
    model: Model, tiny_lora: Path
) -> None:
    context, adapter = open_context(model), LoraAdapter(model, tiny_lora)
    plain = decode(context)

    def with_adapters(*scales: float) -> npt.NDArray[np.float32]:
        context.set_adapters([(adapter, scale) for scale in scales])
        context.memory.clear()
        return decode(context)

    half, full = with_adapters(0.5), with_adapters(1.0)
    assert not np.allclose(half, plain, atol=0.01)
    assert not np.allclose(full, half, atol=0.01)
    assert np.array_equal(with_adapters(), plain)
    assert np.array_equal(with_adapters(1.0), full)


def test_control_vector_changes_the_logits_and_gives_them_back(model: Model) -> None:
    context = open_context(model)
    plain = decode(context)
    direction = np.random.default_rng(1).normal(size=(1, 256))
    context.set_control_vector(ControlVector(direction))
    context.memory.clear()
    assert not np.allclose(decode(context), plain, atol=0.01)
    context.set_control_vector(None)
    context.memory.clear()
    assert np.array_equal(decode(context), plain)


def test_abort_stops_a_decode_and_the_context_stays_usable(model: Model) -> None:
    context = open_context(model, n_ubatch=16)
    expected = decode(context)
    calls = 0

    def abort_later() -> bool:
        nonlocal calls
        calls += 1
        if calls == 150:
            context.abort()
        return False

    context.set_abort_callback(abort_later)
    with pytest.raises(DecodeAbortedError, match="micro-batches that were done are still"):
        decode(context, [5] * 200, len(TOKENS))
    context.set_abort_callback(None)
    kept = context.memory.seq_pos_max(0)
    assert kept < len(TOKENS) + 199
    assert (kept + 1 - len(TOKENS)) % 16 == 0
    context.memory.clear()
    assert np.array_equal(decode(context), expected)


def test_abort_callback_stops_a_decode(model: Model) -> None:
    context = open_context(model)
    answers = iter([False] * 20 + [True] * 1000)
    context.set_abort_callback(lambda: next(answers))
    with pytest.raises(DecodeAbortedError):
        decode(context)
    assert next(answers)
    context.set_abort_callback(None)
    decode(context)


def test_threads_do_not_change_the_result(model: Model) -> None:
    context = open_context(model)
    expected = decode(context)
    for threads in (2, 1):
        context.set_threads(threads, threads)
        context.memory.clear()
        same(decode(context), expected)
    context.synchronize()


def test_settings_at_run_time(model: Model) -> None:
    context = open_context(model)
    context.set_embeddings(True)
    context.decode(batch_of())
    assert np.isfinite(context.embeddings()).all()
    context.set_embeddings(False)
    context.memory.clear()
    causal = decode(context)
    context.set_causal_attn(False)
    context.memory.clear()
    assert not np.allclose(decode(context), causal)

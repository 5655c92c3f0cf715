"""Why a batch is not decoded: what is refused before, and what the engine's answers mean."""

from __future__ import annotations

from .. import llama_cpp as raw
from ..errors import (
    BatchError,
    DecodeAbortedError,
    DecodeError,
    LlamaError,
    NoKVSlotError,
    SequenceError,
)
from ..validation import native_arguments as checks
from .batch import Batch
from .model import Model

_ROPE_TYPES_OF_FOUR_POSITIONS = (raw.LLAMA_ROPE_TYPE_MROPE, raw.LLAMA_ROPE_TYPE_IMROPE)


def check_batch(batch: Batch, model: Model, *, n_batch: int, state_width: int) -> None:
    """Refuse what the engine would read past, or end the process on.

    Args:
        batch: What is to be computed.
        model: With what.
        n_batch: The most entries that the context takes at once.
        state_width: The width of the hidden state that the context wants with each token.

    Raises:
        BatchError: The batch does not fit the context.
        InvalidArgumentError: It is none, or a position is beyond those that the model has learned.
    """
    checks.instance(batch, Batch, "batch")
    if not 1 <= batch.n_tokens <= min(n_batch, batch.capacity):
        raise BatchError(
            f"a batch of {batch.n_tokens} entries cannot be decoded: this context takes 1 to "
            f"n_batch={n_batch} at once. Split it, or create the context with more."
        )
    if batch.embd_width not in (0, model.n_embd_inp):  # the engine reads whole rows
        raise BatchError(
            f"this model takes embeddings of width {model.n_embd_inp}, and the batch was "
            f"created with embd={batch.embd_width}"
        )
    if batch.state_width != state_width:
        raise BatchError(
            f"this context takes hidden states of width {state_width} with its tokens, "
            f"and the batch was created with state={batch.state_width}"
        )
    if batch.embd_width and model.rope_type in _ROPE_TYPES_OF_FOUR_POSITIONS:
        raise BatchError(
            "the position of an embedding has four parts in this model, and a batch has room "
            "for one: let llama_cpp.mtmd_cpp evaluate images"
        )
    if model.header.learned_positions is not None:
        checks.learned_positions(batch.positions[: batch.n_tokens], model.header.learned_positions)


def failure(code: int, n_tokens: int, n_ctx: int, log: list[str]) -> LlamaError:
    """Make the exception of what ``llama_decode`` returned, which is not 0.

    Args:
        code: The result.
        n_tokens: How many tokens there were.
        n_ctx: The cells of the memory.
        log: What the call logged.
    """
    if code == 1 and any("coupled" in line for line in log):
        return SequenceError(
            "this context cannot take an entry that belongs to several sequences: create it "
            "with kv_unified, or decode one sequence and copy it with memory.seq_cp",
            log,
        )
    if code == 1:
        return NoKVSlotError(
            f"the memory of {n_ctx} cells has no room for {n_tokens} more: remove "
            "or shorten a sequence, split the batch, or create a larger context",
            log, code,
        )  # fmt: skip
    if code == 2:
        return DecodeAbortedError(
            "the decode was stopped; micro-batches that were done are still in memory", log, code
        )
    return DecodeError(f"the decode failed with code {code}: see the native log", log, code)


def refusal(batch: Batch, n_vocab: int, n_seq_max: int, log: list[str]) -> LlamaError:
    """Find out why the engine refused a batch before computing anything.

    Args:
        batch: The batch.
        n_vocab: The tokens that there are.
        n_seq_max: The sequences that there are.
        log: What the call logged.

    Raises:
        TokenError: An id is not in the vocabulary.
        SequenceError: The context has no such sequence.
    """
    count = batch.n_tokens
    if not batch.embd_width:
        checks.token_array(batch.tokens[:count].tolist(), n_vocab)
    for index in range(count):
        for seq_id in batch.seq_ids[index, : batch.n_seq_ids[index]].tolist():
            checks.sequence_id(seq_id, n_seq_max)
    if any("position" in line or "seq" in line for line in log):
        return SequenceError(
            "the positions of a sequence must go on where the memory ends, without a gap", log
        )
    return BatchError("the engine refused the batch: see the native log", log)

"""``MediaChunk``: an image or a sound in a prompt, on its way into the memory."""

from __future__ import annotations

import ctypes
import hashlib
from typing import TYPE_CHECKING, Any

from .. import mtmd_cpp as raw
from ..errors import ContextError, InvalidArgumentError, MediaError, SequenceError
from ..native.backend import collect_errors
from ..validation import native_arguments as checks
from .base import Handle
from .media_files import Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .context import Context
    from .media import MediaProjector


class MediaChunks(Handle):
    """What one call of ``MediaProjector.tokenize`` gives, before it is split."""

    def __init__(self, projector: MediaProjector) -> None:
        self.projector = projector
        super().__init__(raw.mtmd_input_chunks_init(), raw.mtmd_input_chunks_free, parent=projector)

    def split(self) -> list[list[int] | MediaChunk]:
        """Each text as its tokens, and each chunk between them."""
        count = ctypes.c_size_t()
        parts: list[list[int] | MediaChunk] = []
        for index in range(self.call(raw.mtmd_input_chunks_size)):
            chunk: Any = self.call(raw.mtmd_input_chunks_get, index)
            if raw.mtmd_input_chunk_get_type(chunk) != raw.MTMD_INPUT_CHUNK_TYPE_TEXT:
                media = MediaChunk(self, chunk, index)
                if media.n_tokens < 1:
                    raise MediaError(f"an {media.kind} is too small for this projector")
                parts.append(media)
                continue
            tokens = raw.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
            parts.append(tokens[: count.value])
        return parts


class MediaChunk:
    """An image or a sound, or a part of one, that is evaluated at once.

    Attributes:
        kind: "image" or "audio".
        n_tokens: How many cells of the memory it takes.
        n_pos: How many positions; fewer than cells where the positions of an image have rows and
            columns (M-RoPE).
    """

    def __init__(self, owner: MediaChunks, pointer: Any, index: int) -> None:
        self._owner = owner
        self._pointer = pointer
        self.projector = owner.projector
        is_image = raw.mtmd_input_chunk_get_type(pointer) == raw.MTMD_INPUT_CHUNK_TYPE_IMAGE
        self.kind: Kind = "image" if is_image else "audio"
        self.n_tokens: int = raw.mtmd_input_chunk_get_n_tokens(pointer)
        self.n_pos: int = raw.mtmd_input_chunk_get_n_pos(pointer)
        name = raw.mtmd_input_chunk_get_id(pointer)
        content = f"{self.projector.origin} {name!r} {index} {self.n_tokens}"
        # Not one number per chunk: somebody could make another image with the same one.
        numbers = hashlib.shake_256(content.encode()).digest(4 * self.n_pos)
        self.placeholders: list[int] = [
            -1 - (number & checks.INT32_MAX) for number in memoryview(numbers).cast("I")
        ]
        """A negative number for each position, by which equal chunks are known."""
        self._embeddings: npt.NDArray[np.float32] | None = None

    @property
    def pointer(self) -> Any:
        """The typed address, for raw calls.

        Raises:
            ClosedError: The projector is closed.
        """
        self._owner.pointer  # noqa: B018 - it raises
        return self._pointer

    def decode(self, context: Context, pos: int, seq_id: int = 0) -> None:
        """Evaluate the chunk as the next positions of a sequence. It gives no logits.

        Args:
            context: A context of the projector's model.
            pos: The position of its beginning.
            seq_id: The sequence.

        Raises:
            ContextError: The model wants to see the chunk at once, and a micro-batch is smaller.
            InvalidArgumentError: The context is of another model.
            SequenceError: The sequence or the position cannot be.
            NoKVSlotError: The memory has no room.
            DecodeAbortedError: It was stopped; a part of it may be in memory.
            DecodeError: The computation failed.
            ClosedError: The context or the projector is closed.
        """
        self._check_fits(context, pos, seq_id)
        if self._embeddings is None:
            self._embeddings = self.projector.encode(self)
        rows = self._embeddings.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        end = ctypes.c_int32()
        projector = self.projector.acquire()
        try:
            pointer = context.acquire()
            try:
                with collect_errors() as log:
                    code = context.compute(
                        raw.mtmd_helper_decode_image_chunk, projector, pointer, self.pointer, rows,
                        pos, seq_id, context.n_batch, ctypes.byref(end), None, None,
                    )  # fmt: skip
            finally:
                context.release()
        finally:
            self.projector.release()
        context.raise_for(code, self.n_tokens, list(log))
        self._embeddings = None

    def _check_fits(self, context: Context, pos: int, seq_id: int) -> None:
        model = context.model
        if model is not self.projector.model:
            raise InvalidArgumentError("a projector works with the model that it was loaded for")
        if not context.has_memory:
            raise InvalidArgumentError("this context has no memory that could take an image")
        checks.sequence_id(seq_id, context.n_seq_max)
        checks.integer("pos", pos, 0, checks.INT32_MAX - max(self.n_pos, self.n_tokens))
        learned = model.header.learned_positions
        if learned is not None and pos + self.n_pos > learned:
            raise SequenceError(f"this model learned {learned} positions only: shorten the prompt")
        if context.outputs_everywhere and context.params.n_outputs_max > 0:
            checks.output_count(self.n_tokens, context.params.n_outputs_max)
        at_once = self.projector.call(raw.mtmd_decode_use_non_causal, self.pointer)
        if at_once and self.n_tokens > min(context.n_batch, context.n_ubatch):
            raise ContextError(
                f"this model looks at an {self.kind} as a whole, which has {self.n_tokens} tokens: "
                f"create it with n_batch and n_ubatch of at least that, not of {context.n_batch} "
                f"and {context.n_ubatch}"
            )

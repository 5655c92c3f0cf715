"""``LlamaState``: what a sequence held, as an object, as bytes and as a file."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ..errors import StateError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_HEADER = struct.Struct("<8s32s16sIIIq")
_CHECKPOINT = struct.Struct("<IQ")
_MAGIC = b"llmstat2"
_UNKNOWN = bytes(16)


class LlamaState:
    """What a sequence of a model held: its tokens, the memory of them, the last logits.

    Args:
        input_ids: The tokens: int32, shape (n_tokens,).
        scores: The logits after the last token: float32, shape (1, n_vocab), or (0, n_vocab).
        n_tokens: How many tokens.
        llama_state: The used cells of the memory, as the engine writes them.
        llama_state_size: Bytes of that.
        seed: What the seeds of calls without one follow from.
        model: The fingerprint of the model and of what changes its states; empty if unknown.
        checkpoints: What a memory that cannot forget was before: after how many tokens, and its
            state then.
    """

    # States that llama-cpp-python has pickled have neither.
    model: bytes = b""
    checkpoints: tuple[tuple[int, bytes], ...] = ()

    def __init__(
        self,
        input_ids: npt.NDArray[np.intc],
        scores: npt.NDArray[np.single],
        n_tokens: int,
        llama_state: bytes,
        llama_state_size: int,
        seed: int,
        *,
        model: bytes = b"",
        checkpoints: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.input_ids = input_ids
        self.scores = scores
        self.n_tokens = n_tokens
        self.llama_state = llama_state
        self.llama_state_size = llama_state_size
        self.seed = seed
        self.model = model
        self.checkpoints = checkpoints

    @property
    def n_bytes(self) -> int:
        """Bytes that it takes in a cache."""
        return self.llama_state_size + sum(len(state) for _, state in self.checkpoints)

    def to_bytes(self) -> bytes:
        """Write the state; ``from_bytes`` reads it, and runs nothing that stands in it."""
        n_scores = int(self.scores.shape[-1]) if self.scores.size else 0
        parts = [
            self.input_ids[: self.n_tokens].astype("<i4").tobytes(),
            self.scores[-1:].astype("<f4").tobytes() if n_scores else b"",
        ]
        for n_tokens, state in self.checkpoints:
            parts += [_CHECKPOINT.pack(n_tokens, len(state)), state]
        parts.append(self.llama_state)
        model = self.model or _UNKNOWN
        counts = self.n_tokens, n_scores, len(self.checkpoints), self.seed
        head = _HEADER.pack(_MAGIC, _digest(model, counts, parts), model, *counts)
        return b"".join([head, *parts])

    @classmethod
    def from_bytes(cls, data: bytes) -> LlamaState:
        """Read what ``to_bytes`` wrote.

        Raises:
            StateError: It is something else, damaged or cut off.
        """
        import numpy as np

        if not isinstance(data, bytes) or not data.startswith(_MAGIC[:7]):
            raise StateError("these bytes are no state that LlamaState.to_bytes wrote")
        if not data.startswith(_MAGIC):
            raise StateError("the state was written by another version of this package")
        if len(data) < _HEADER.size:
            raise StateError("the state is cut off")
        _, digest, model, *counts = _HEADER.unpack_from(data)
        view = memoryview(data)[_HEADER.size :]
        if digest != _digest(model, counts, [view]):
            raise StateError("the state is damaged or cut off: its checksum is another one")
        n_tokens, n_scores, n_checkpoints, seed = counts
        middle, end = 4 * n_tokens, 4 * (n_tokens + n_scores)
        ids = np.frombuffer(view[:middle], "<i4").astype(np.intc)
        scores = np.frombuffer(view[middle:end], "<f4").reshape(-1, max(n_scores, 1))
        checkpoints = []
        for _ in range(n_checkpoints):
            position, size = _CHECKPOINT.unpack_from(view, end)
            end += _CHECKPOINT.size + size
            checkpoints.append((position, bytes(view[end - size : end])))
        memory = bytes(view[end:])
        return cls(
            ids, scores.astype(np.single), n_tokens, memory, len(memory), seed,
            model=b"" if model == _UNKNOWN else model, checkpoints=tuple(checkpoints),
        )  # fmt: skip


def _digest(model: bytes, counts: Any, parts: Any) -> bytes:
    digest = blake2b(struct.pack("<16sIIIq", model, *counts), digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.digest()


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that is whole or as it was before, whatever happens meanwhile.

    Raises:
        StateError: It cannot be written.
    """
    name = _file_name(path)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{os.path.basename(name)}.", dir=os.path.dirname(name) or "."
        )
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError | ValueError):
            raise StateError(
                f"the session cannot be written to {name}: {error}. Choose a file in a folder that "
                "is there, may be written to and has room"
            ) from error
        raise


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file that ``write_file`` wrote.

    Raises:
        StateError: It cannot be read, or is no state.
    """
    name = _file_name(path)
    try:
        if not os.path.isfile(name):  # a FIFO would wait for a writer
            raise StateError(f"{name} is not there, or no regular file: pass what was saved")
        with open(name, "rb") as file:
            head = file.read(len(_MAGIC))
            if not head.startswith(_MAGIC[:7]):
                raise StateError(f"{name} is no session that save_session wrote")
            return head + file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"the session {name} cannot be read: {error}") from error


def _file_name(path: str | os.PathLike[str]) -> str:
    try:
        return os.fspath(path) if isinstance(os.fspath(path), str) else os.fsdecode(path)
    except TypeError:
        raise StateError(f"path={path!r} must be the path of a session file") from None

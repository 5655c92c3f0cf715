"""``State``: a context's memory as bytes or files, whole or one sequence at a time."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, StateError
from ..native.backend import collect_errors
from ..validation import native_arguments as checks

if TYPE_CHECKING:
    from .context import Context

_Path = str | bytes | os.PathLike[Any]


class State:
    """Save and restore what a context remembers.

    A state fits only the model and the context parameters that it was taken from. Setting one
    that does not fit raises ``StateError``; the sequence it was meant for is empty then.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def get(self) -> bytes:
        """The state of every sequence."""
        return self._get(raw.llama_state_get_size, raw.llama_state_get_data)

    def set(self, state: bytes) -> None:
        """Restore what ``get`` returned.

        Raises:
            StateError: It is damaged, or of another model or context.
        """
        _check_bytes(state)
        _check_architecture(state[: _ARCHITECTURE_BYTES + 4])
        pointer = self._context.acquire()
        try:
            with collect_errors() as log:
                used = self._context.guarded(
                    raw.llama_state_set_data, pointer, _bytes_in(state), len(state)
                )
            if not used:
                raw.llama_memory_clear(raw.llama_get_memory(pointer), True)
        finally:
            self._context.release()
        if not used:
            raise StateError(_refused(len(state)), list(log))

    def get_sequence(self, seq_id: int, flags: int = 0) -> bytes:
        """The state of one sequence.

        Args:
            seq_id: The sequence.
            flags: ``LLAMA_STATE_SEQ_FLAGS_*``; ``PARTIAL_ONLY`` leaves out attention cells.

        Raises:
            SequenceError: The context has no such sequence.
        """
        checks.sequence_id(seq_id, self._context.n_seq_max)
        _check_flags(flags)
        return self._get(
            raw.llama_state_seq_get_size_ext, raw.llama_state_seq_get_data_ext, seq_id, flags
        )

    def set_sequence(self, state: bytes, seq_id: int, flags: int = 0) -> None:
        """Restore what ``get_sequence`` returned, into any sequence.

        Raises:
            SequenceError: The context has no such sequence.
            StateError: The state is damaged, or of another model or context, or has no room.
        """
        checks.sequence_id(seq_id, self._context.n_seq_max)
        _check_flags(flags)
        _check_bytes(state)
        pointer = self._context.acquire()
        try:
            with collect_errors() as log:
                used = self._context.guarded(
                    raw.llama_state_seq_set_data_ext,
                    pointer,
                    _bytes_in(state),
                    len(state),
                    seq_id,
                    flags,
                )
            if not used:
                raw.llama_memory_seq_rm(raw.llama_get_memory(pointer), seq_id, -1, -1)
        finally:
            self._context.release()
        if not used:
            raise StateError(_refused(len(state)), list(log))

    def save_file(self, path: _Path, tokens: Sequence[int] = ()) -> None:
        """Write every sequence to a file, with the tokens that led to it.

        Raises:
            TokenError: A token is not in the vocabulary.
            StateError: The file cannot be written.
        """
        encoded, ids, count = self._file_arguments(path, tokens)
        checks.writable(encoded, StateError)
        pointer = self._context.acquire()
        try:
            with collect_errors() as log:
                saved = self._context.guarded(
                    raw.llama_state_save_file, pointer, encoded, ids, count
                )
        finally:
            self._context.release()
        if not saved:
            raise StateError(f"the state cannot be written to {os.fsdecode(encoded)}", list(log))

    def load_file(self, path: _Path) -> list[int]:
        """Restore what ``save_file`` wrote and return its tokens.

        Raises:
            StateError: The file is missing or damaged, or of another model or context.
        """
        encoded = self._readable(path)
        capacity = max(os.path.getsize(encoded) // 4, 1)  # more tokens than that cannot be in it
        ids = (ctypes.c_int32 * capacity)()
        count = ctypes.c_size_t()
        pointer = self._context.acquire()
        try:
            with collect_errors() as log:
                loaded = self._context.guarded(
                    raw.llama_state_load_file, pointer, encoded, ids, capacity, ctypes.byref(count)
                )
            if not loaded:
                raw.llama_memory_clear(raw.llama_get_memory(pointer), True)
        finally:
            self._context.release()
        if not loaded:
            raise StateError(
                f"{os.fsdecode(encoded)} is damaged, or of another model or context", list(log)
            )
        return ids[: count.value]

    def _get(self, get_size: Any, get_data: Any, *arguments: int) -> bytes:
        pointer = self._context.acquire()
        try:
            size = self._context.guarded(get_size, pointer, *arguments)
            state = _new_bytes(None, size)
            with collect_errors() as log:
                written = self._context.guarded(
                    get_data, pointer, _bytes_in(state), size, *arguments
                )
        finally:
            self._context.release()
        if size and not written:
            raise StateError("the state cannot be read from the context", list(log))
        return state if written == size else state[:written]

    def _file_arguments(self, path: _Path, tokens: Sequence[int]) -> tuple[bytes, Any, int]:
        ids = checks.token_array(tokens, self._context.model.n_vocab)
        count = len(ids)
        c_ids = (ctypes.c_int32 * count).from_buffer(ids) if count else None
        return checks.encoded_path(path), c_ids, count

    @staticmethod
    def _readable(path: _Path) -> bytes:
        encoded = checks.encoded_path(path)
        try:
            if not stat.S_ISREG(os.stat(encoded).st_mode):  # a FIFO would wait for a writer
                raise StateError(f"{os.fsdecode(encoded)} is no regular file")
            with open(encoded, "rb") as file:
                head = file.read(12)  # magic, version, number of tokens
                file.seek(4 * int.from_bytes(head[8:], sys.byteorder), os.SEEK_CUR)
                _check_architecture(file.read(_ARCHITECTURE_BYTES + 4))
                return encoded
        except OSError as error:
            raise StateError(f"{os.fsdecode(encoded)} cannot be read: {error}") from error


def _check_bytes(state: bytes) -> None:
    if not isinstance(state, bytes):
        raise InvalidArgumentError(f"a state is bytes, not {type(state).__name__}")


_ARCHITECTURE_BYTES = 64  # no architecture has a longer name


def _check_architecture(head: bytes) -> None:
    # The engine makes room for whatever length stands there, 4 GiB perhaps, before it reads on.
    if len(head) < 4 or int.from_bytes(head[:4], sys.byteorder) > _ARCHITECTURE_BYTES:
        raise StateError("the state is damaged: it does not begin with the name of a model kind")


def _check_flags(flags: int) -> None:
    # With ON_DEVICE a state is a reference into the context, and the engine throws across C when
    # it is set elsewhere.
    checks.in_range(
        "flags", flags, 0, raw.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY, "ON_DEVICE is not offered"
    )


# A state may have gigabytes: it is written where it stays. Nobody else has seen these bytes yet.
_new_bytes: Callable[[None, int], bytes] = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t
)(("PyBytes_FromStringAndSize", ctypes.pythonapi))


def _bytes_in(state: bytes) -> Any:
    # The engine reads through a pointer and needs no copy; bytes stay where they are.
    return ctypes.cast(ctypes.c_char_p(state), ctypes.POINTER(ctypes.c_uint8))


def _refused(size: int) -> str:
    return (
        f"the state of {size} bytes does not fit: it is damaged, or was taken from another model "
        "or a context with other parameters"
    )

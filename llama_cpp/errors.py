"""Every exception that this package raises on purpose.

Each class also inherits the builtin that callers already catch::

    LlamaError (Exception)
    ├── LibraryError (RuntimeError)            the native libraries cannot be used
    │   ├── LibraryNotFoundError (OSError)     a library or one of its dependencies is missing
    │   ├── LibraryMismatchError               a library of another llama.cpp version
    │   └── SymbolMissingError (NotImplementedError)  this build lacks one function
    ├── InvalidArgumentError (ValueError)      a value that the native code would choke on
    │   ├── TokenError                         a token id outside of the vocabulary
    │   ├── SequenceError                      a sequence id or position that cannot be
    │   ├── BatchError                         a batch that the context cannot take
    │   ├── TextError                          a text or path that C strings cannot carry
    │   ├── MediaError                         an image or a sound that cannot be used
    │   ├── LogitsProcessorError               scores of a logits processor that cannot be used
    │   └── ContextWindowError                 a prompt that is longer than the context
    ├── PointerTypeError (TypeError)           a pointer of another kind, or NULL
    ├── ClosedError (ValueError, RuntimeError) a handle was used after close()
    ├── BusyError (RuntimeError)               a handle cannot be closed or used while another
    │                                          thread runs on it
    ├── EngineAssertionError (RuntimeError)    an assertion of the engine failed
    ├── ForkError (RuntimeError)               a model was used in a process forked after loading
    ├── ModelLoadError (ValueError, RuntimeError)  a model or adapter file cannot be loaded
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   ├── ModelIsDirectoryError (IsADirectoryError)
    │   ├── ModelPermissionError (PermissionError)
    │   ├── NotGGUFError
    │   ├── TruncatedModelError
    │   ├── GGUFVersionError
    │   ├── UnknownArchitectureError
    │   └── OutOfMemoryError (MemoryError)     also raised when a context cannot be allocated
    ├── ContextError (ValueError, RuntimeError)   a context cannot be created
    ├── GrammarError (ValueError)              a grammar does not parse
    ├── ChatTemplateError (ValueError)         a chat template does not parse, or does not take the
    │                                          messages
    ├── ChatParseError (ValueError)            a reply has not the form of the template's replies
    ├── ReplyValidationError (ValueError)      a reply is not a value of the type that was asked for
    ├── StateError (ValueError, RuntimeError)  a saved state does not fit or is damaged
    ├── QuantizeError (RuntimeError)           a model cannot be quantized or written
    ├── ToolError (RuntimeError)               a tool that a model calls failed
    │   └── MCPServerError                     a server of tools cannot be used
    └── DecodeError (RuntimeError)             llama_decode or llama_encode failed
        ├── NoKVSlotError                      the memory has no room for the batch
        └── DecodeAbortedError                 the abort callback stopped it

``LlamaError.native_log`` holds the last error lines that the native code logged in the failing
call; they are part of the message too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = [
    "BatchError",
    "BusyError",
    "ChatParseError",
    "ChatTemplateError",
    "ClosedError",
    "ContextError",
    "ContextWindowError",
    "DecodeAbortedError",
    "DecodeError",
    "EngineAssertionError",
    "ForkError",
    "GGUFVersionError",
    "GrammarError",
    "InvalidArgumentError",
    "LibraryError",
    "LibraryMismatchError",
    "LibraryNotFoundError",
    "LlamaError",
    "LogitsProcessorError",
    "MCPServerError",
    "MediaError",
    "ModelIsDirectoryError",
    "ModelLoadError",
    "ModelNotFoundError",
    "ModelPermissionError",
    "NoKVSlotError",
    "NotGGUFError",
    "OutOfMemoryError",
    "PointerTypeError",
    "QuantizeError",
    "ReplyValidationError",
    "SequenceError",
    "StateError",
    "SymbolMissingError",
    "TextError",
    "TokenError",
    "ToolError",
    "TruncatedModelError",
    "UnknownArchitectureError",
]


class LlamaError(Exception):
    """Base of all errors of this package.

    Args:
        message: What was wrong, what was expected and what to do.
        native_log: The error lines that the native code logged, oldest first.
    """

    native_log: tuple[str, ...]

    def __init__(self, message: str, native_log: Sequence[str] = ()) -> None:
        self.message = message
        self.native_log = tuple(native_log)
        super().__init__(message)

    def __str__(self) -> str:
        if not self.native_log:
            return self.message
        return "\n  native log: ".join((self.message, *self.native_log))

    def __reduce__(self) -> tuple[type[LlamaError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.message, self.native_log)


class LibraryError(LlamaError, RuntimeError):
    """The native libraries cannot be used."""


class LibraryNotFoundError(LibraryError, OSError):
    """A native library, or something that it depends on, is not there."""


class LibraryMismatchError(LibraryError):
    """A native library belongs to another llama.cpp version than the bindings."""


class SymbolMissingError(LibraryError, NotImplementedError):
    """The loaded library does not have this function."""


class InvalidArgumentError(LlamaError, ValueError):
    """A value that was checked, and refused, before any native call."""


class VocabularyOnlyError(InvalidArgumentError):
    """A model was loaded with ``vocab_only`` and is asked for more."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "this Llama has only a vocabulary (vocab_only=True): it can tokenize and nothing else, "
            f"and has no {name}"
        )


class TokenError(InvalidArgumentError):
    """A token id outside of the vocabulary."""


class SequenceError(InvalidArgumentError):
    """A sequence id or a position that the context cannot have."""


class BatchError(InvalidArgumentError):
    """A batch that the context cannot take."""


class TextError(InvalidArgumentError):
    """A text or a path that cannot cross into C."""


class MediaError(InvalidArgumentError):
    """An image or a sound that cannot be used."""


class LogitsProcessorError(InvalidArgumentError):
    """A logits processor left scores of another shape, or NaN."""


class ContextWindowError(InvalidArgumentError):
    """A prompt is longer than the context window.

    Attributes:
        n_tokens: How many tokens it takes; how many at least, of a text that was too long to be
            tokenized; None where nobody has counted.
        n_ctx: How many there is room for.
    """

    def __init__(
        self,
        message: str,
        native_log: Sequence[str] = (),
        n_tokens: int | None = None,
        n_ctx: int | None = None,
    ) -> None:
        super().__init__(message, native_log)
        self.n_tokens, self.n_ctx = n_tokens, n_ctx

    def __reduce__(self) -> tuple[type[LlamaError], tuple[Any, ...]]:
        return type(self), (self.message, self.native_log, self.n_tokens, self.n_ctx)


class PointerTypeError(LlamaError, TypeError):
    """A pointer of another kind than the function takes, or NULL where it needs one."""


class ClosedError(LlamaError, ValueError, RuntimeError):
    """The handle was closed before this call."""


class BusyError(LlamaError, RuntimeError):
    """Another thread is running on the handle."""


class EngineAssertionError(LlamaError, RuntimeError):
    """An assertion of the engine failed, or C++ threw, which would have ended the process.

    What was in use then is closed for good, and its native memory is not freed, for nobody knows
    its state. Everything else goes on.

    Attributes:
        file: The engine's source file; "" if it is an exception of C++.
        line: The line in it; 0 then.
        assertion: What did not hold.
    """

    def __init__(self, message: str, native_log: Sequence[str] = ()) -> None:
        super().__init__(message, native_log)
        first = message.partition("\n")[0]
        match = re.fullmatch(r"(.*?):(\d+): (.*)", first)
        self.file, self.line = (match[1], int(match[2])) if match else ("", 0)
        self.assertion = match[3] if match else first


class ForkError(LlamaError, RuntimeError):
    """The process was forked after the model was loaded."""


class ModelLoadError(LlamaError, ValueError, RuntimeError):
    """A model or adapter file cannot be loaded."""


class ModelNotFoundError(ModelLoadError, FileNotFoundError):
    """There is no file at the path."""


class ModelIsDirectoryError(ModelLoadError, IsADirectoryError):
    """The path is a folder."""


class ModelPermissionError(ModelLoadError, PermissionError):
    """The file may not be read."""


class NotGGUFError(ModelLoadError):
    """The file is not a GGUF file."""


class TruncatedModelError(ModelLoadError):
    """The file ends before its own header says it should."""


class GGUFVersionError(ModelLoadError):
    """The GGUF version of the file is not one that the engine reads."""


class UnknownArchitectureError(ModelLoadError):
    """The engine does not know the model's architecture."""


class OutOfMemoryError(ModelLoadError, MemoryError):
    """The weights, or a context, do not fit into memory."""


class ContextError(LlamaError, ValueError, RuntimeError):
    """A context cannot be created from these parameters."""


class GrammarError(LlamaError, ValueError):
    """A grammar does not parse."""


class ChatTemplateError(LlamaError, ValueError):
    """A chat template does not parse, or does not take these messages or options."""


class ChatParseError(LlamaError, ValueError):
    """A reply does not have the form that the chat template gives to replies."""


class ReplyValidationError(LlamaError, ValueError):
    """A reply is not a value of the type that was asked for.

    Attributes:
        text: The whole reply.
        field: Where it is wrong, like ``address.lines[0]``; "" where it is wrong as a whole.
        reason: What is wrong there.
    """

    def __init__(
        self,
        message: str,
        native_log: Sequence[str] = (),
        text: str = "",
        field: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message, native_log)
        self.text, self.field, self.reason = text, field, reason

    def __reduce__(self) -> tuple[type[LlamaError], tuple[object, ...]]:  # type: ignore[override]
        return type(self), (self.message, self.native_log, self.text, self.field, self.reason)


class StateError(LlamaError, ValueError, RuntimeError):
    """A saved state is damaged or belongs to another model or context."""


class QuantizeError(LlamaError, RuntimeError):
    """A model cannot be quantized or written."""


class ToolError(LlamaError, RuntimeError):
    """A tool failed. The model is told the message of one that a tool raises."""


class MCPServerError(ToolError):
    """An MCP server cannot be started or reached, or has ended."""


class DecodeError(LlamaError, RuntimeError):
    """``llama_decode`` or ``llama_encode`` failed; ``code`` is what it returned."""

    def __init__(self, message: str, native_log: Sequence[str] = (), code: int = -1) -> None:
        super().__init__(message, native_log)
        self.code = code

    def __reduce__(self) -> tuple[type[LlamaError], tuple[str, tuple[str, ...], int]]:  # type: ignore[override]
        return type(self), (self.message, self.native_log, self.code)


class NoKVSlotError(DecodeError):
    """The memory has no room for the batch (code 1). Evict, split the batch, or retry."""


class DecodeAbortedError(DecodeError):
    """The abort callback stopped the call (code 2). Micro-batches already done stay in memory."""

"""``AsyncLlama``: a ``Llama`` for ``asyncio``."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .generation.measures import Perplexity, Score
from .llama import Llama
from .llama_types import (
    CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse,
    CreateCompletionResponse,
    CreateCompletionStreamResponse,
    CreateEmbeddingResponse,
)

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

__all__ = ["AsyncLlama"]

_COMPLETION = inspect.signature(Llama.create_completion)
_CHAT_COMPLETION = inspect.signature(Llama.create_chat_completion)


class AsyncLlama:
    """A model whose calls are awaited. Calls that run together are decoded together.

    A call whose task is cancelled stops at once, while its prompt is processed too.

    Args:
        model: A ``Llama`` to share, or the path of a model.
        **kwargs: With a path, the arguments of ``Llama``; give ``n_parallel``.

    Raises:
        Exception: What ``Llama`` raises.
    """

    def __init__(self, model: Llama | str, **kwargs: Any) -> None:
        self.llama = model if isinstance(model, Llama) else Llama(model, **kwargs)
        # A thread waits for each call; one of them steps for all.
        self._threads = ThreadPoolExecutor(max_workers=1024, thread_name_prefix="llama")

    async def create_completion(
        self, prompt: Any, *args: Any, stream: bool = False, **kwargs: Any
    ) -> CreateCompletionResponse | AsyncIterator[CreateCompletionStreamResponse]:
        """Complete a prompt: see ``Llama.create_completion``, whose arguments it takes.

        Returns:
            OpenAI's completion object, or an asynchronous iterator of its chunks.

        Raises:
            Exception: What ``Llama.create_completion`` raises.
        """
        arguments = _bound(_COMPLETION, self.llama, prompt, *args, **kwargs)
        result: (
            CreateCompletionResponse | AsyncIterator[CreateCompletionStreamResponse]
        ) = await self._run(lambda: self.llama._completion(**arguments), stream)
        return result

    __call__ = create_completion

    async def create_chat_completion(
        self, messages: Any, *args: Any, stream: bool = False, **kwargs: Any
    ) -> CreateChatCompletionResponse | AsyncIterator[CreateChatCompletionStreamResponse]:
        """Answer a conversation: see ``Llama.create_chat_completion``, whose arguments it takes.

        Returns:
            OpenAI's chat completion object, or an asynchronous iterator of its chunks.

        Raises:
            Exception: What ``Llama.create_chat_completion`` raises.
        """
        arguments = _bound(_CHAT_COMPLETION, self.llama, messages, *args, **kwargs)

        def prepare() -> Job:
            if self.llama._handler() is not None:
                return HandledJob(partial(self.llama.create_chat_completion, **arguments))
            return self.llama._chat(**arguments)

        result: (
            CreateChatCompletionResponse | AsyncIterator[CreateChatCompletionStreamResponse]
        ) = await self._run(prepare, stream)
        return result

    async def create_embedding(self, *args: Any, **kwargs: Any) -> CreateEmbeddingResponse:
        """Embed texts: see ``Llama.create_embedding``.

        Raises:
            Exception: What ``Llama.create_embedding`` raises.
        """
        return await self._in_thread(lambda: self.llama.create_embedding(*args, **kwargs))

    async def embed(self, *args: Any, **kwargs: Any) -> Any:
        """Embed texts: see ``Llama.embed``.

        Raises:
            Exception: What ``Llama.embed`` raises.
        """
        return await self._in_thread(lambda: self.llama.embed(*args, **kwargs))

    async def score(self, *args: Any, **kwargs: Any) -> list[Score]:
        """Tell how likely continuations are: see ``Llama.score``.

        Raises:
            Exception: What ``Llama.score`` raises.
        """
        result: list[Score] = await self._wait(lambda: self.llama._scoring(*args, **kwargs))
        return result

    async def perplexity(self, *args: Any, **kwargs: Any) -> Perplexity:
        """Tell how badly the model predicts a text: see ``Llama.perplexity``.

        Raises:
            Exception: What ``Llama.perplexity`` raises.
        """
        result: Perplexity = await self._wait(lambda: self.llama._perplexing(*args, **kwargs))
        return result

    async def close(self) -> None:
        """Free the model."""
        await self._in_thread(self.llama.close)
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _run(self, prepare: Callable[[], Job], stream: bool) -> Any:
        return self._stream(await self._in_thread(prepare)) if stream else await self._wait(prepare)

    async def _wait(self, prepare: Callable[[], Waitable]) -> Any:
        # Long prompts take a while to tokenize: not on the loop's thread.
        job = await self._in_thread(prepare)
        try:
            return await self._in_thread(job.result)
        except asyncio.CancelledError:
            job.cancel()
            raise

    async def _stream(self, job: Job) -> AsyncIterator[Any]:
        mailbox: Mailbox[Any] = Mailbox(asyncio.get_running_loop())
        self._threads.submit(mailbox.fill, job.chunks)
        try:
            async for chunk in mailbox:
                yield chunk
        finally:
            job.cancel()


def _bound(signature: inspect.Signature, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """All arguments of a method of ``Llama`` by name, but for those that are ours."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = {**bound.arguments, **bound.arguments["sampling"]}
    for name in ("self", "stream", "sampling"):
        del arguments[name]
    return arguments


class Waitable(Protocol):
    """A call that can be waited for and cancelled."""

    def result(self) -> Any:
        """Wait for the whole result."""

    def cancel(self) -> None:
        """Stop, from any thread."""


class Job(Waitable, Protocol):
    """One that can be iterated too."""

    def chunks(self) -> Iterator[Any]:
        """Yield its parts."""


class HandledJob:
    """A call that the user's chat handler answers.

    Args:
        call: Takes ``stream``.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._is_cancelled = False

    def result(self) -> Any:
        """Wait for the whole result."""
        return self._call(stream=False)

    def chunks(self) -> Iterator[Any]:
        """Yield its parts."""
        chunks = iter(self._call(stream=True))
        for chunk in chunks:
            if self._is_cancelled:
                break
            yield chunk
        if hasattr(chunks, "close"):
            chunks.close()

    def cancel(self) -> None:
        """Stop before the next part."""
        self._is_cancelled = True


class Mailbox(AsyncIterator[T]):
    """Items that a thread produces for a task; the loop is woken once for all that are there.

    Args:
        loop: Where the task runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[T] = deque()
        self._news = asyncio.Event()
        self._is_told = False
        self._is_finished = False
        self._error: BaseException | None = None

    def fill(self, produce: Callable[[], Iterator[T]]) -> None:
        """Put all items in, on the thread of the caller."""
        try:
            for item in produce():
                self._items.append(item)
                self._tell()
        except BaseException as error:
            self._error = error
        self._is_finished = True
        self._is_told = False
        self._tell()

    def _tell(self) -> None:
        if self._is_told:
            return
        self._is_told = True
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return

    async def __anext__(self) -> T:
        while True:
            self._is_told = False
            if self._items:
                return self._items.popleft()
            if self._is_finished and not self._items:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._news.wait()
            self._news.clear()

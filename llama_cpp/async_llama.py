"""``AsyncLlama``: a ``Llama`` for ``asyncio``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

from .chat.asking import ParseCall, choosing
from .chat.options import (
    ChatOptions,
    FurtherChatOptions,
    Messages,
    ReplyOptions,
    ToolChoice,
    Tools,
)
from .constraints.constraint import Constraint
from .constraints.gbnf import LlamaGrammar
from .generation.choosing import Choice
from .generation.measures import Perplexity, Score
from .generation.options import (
    CompletionOptions,
    FurtherCompletionOptions,
    LogitsProcessors,
    StoppingCriterias,
)
from .generation.prompts import Prompt
from .llama import Llama
from .llama_types import (
    CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse,
    CreateCompletionResponse,
    CreateCompletionStreamResponse,
    CreateEmbeddingResponse,
)
from .structured.shape import TypeOrSchema
from .structured.streams import AsyncChunkStream, ReplyTexts
from .tools.loop import AsyncToolRun, Conversation, Runnable

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")

__all__ = ["AsyncLlama"]


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

    @overload
    async def create_completion(
        self,
        prompt: Prompt,
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | list[str] | None = ...,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: Literal[False] = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        stopping_criteria: StoppingCriterias = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherCompletionOptions],
    ) -> CreateCompletionResponse: ...
    @overload
    async def create_completion(
        self, prompt: Prompt, *, stream: Literal[True], **options: Unpack[CompletionOptions]
    ) -> AsyncChunkStream[CreateCompletionStreamResponse]: ...
    @overload
    async def create_completion(
        self, prompt: Prompt, *, stream: bool, **options: Unpack[CompletionOptions]
    ) -> CreateCompletionResponse | AsyncChunkStream[CreateCompletionStreamResponse]: ...
    async def create_completion(
        self,
        prompt: Prompt,
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        stopping_criteria: StoppingCriterias = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherCompletionOptions],
    ) -> CreateCompletionResponse | AsyncIterator[CreateCompletionStreamResponse]:
        """Complete a prompt: see ``Llama.create_completion``, whose arguments it takes.

        Returns:
            OpenAI's completion object, or an asynchronous iterator of its chunks.

        Raises:
            Exception: What ``Llama.create_completion`` raises.
        """
        completions = self.llama.completions
        params = completions.params(
            suffix=suffix, max_tokens=max_tokens, temperature=temperature,
            top_p=top_p, min_p=min_p, typical_p=typical_p, logprobs=logprobs,
            echo=echo, stop=stop, frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty, repeat_penalty=repeat_penalty,
            top_k=top_k, seed=seed, tfs_z=tfs_z, mirostat_mode=mirostat_mode,
            mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, model=model,
            stopping_criteria=stopping_criteria, logits_processor=logits_processor,
            grammar=grammar, logit_bias=logit_bias, n=n,
            stream_options=stream_options, lora=lora, **more,
        )  # fmt: skip
        result: CreateCompletionResponse | AsyncIterator[CreateCompletionStreamResponse]
        result = await self._run(lambda: completions.job(prompt, params), stream)
        return result

    __call__ = create_completion

    @overload
    async def create_chat_completion(
        self,
        messages: Messages,
        functions: Tools = None,
        function_call: ToolChoice = None,
        tools: Tools = None,
        tool_choice: ToolChoice = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: Literal[False] = False,
        stop: str | list[str] | None = ...,
        seed: int | None = None,
        response_format: TypeOrSchema = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        max_completion_tokens: int | None = None,
        parallel_tool_calls: bool | None = None,
        enable_thinking: bool | None = None,
        reasoning_format: str | None = None,
        continue_final_message: bool | Literal["content", "reasoning_content"] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherChatOptions],
    ) -> CreateChatCompletionResponse: ...
    @overload
    async def create_chat_completion(
        self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> AsyncChunkStream[CreateChatCompletionStreamResponse]: ...
    @overload
    async def create_chat_completion(
        self, messages: Messages, *, stream: bool, **options: Unpack[ChatOptions]
    ) -> CreateChatCompletionResponse | AsyncChunkStream[CreateChatCompletionStreamResponse]: ...
    async def create_chat_completion(
        self,
        messages: Messages,
        functions: Tools = None,
        function_call: ToolChoice = None,
        tools: Tools = None,
        tool_choice: ToolChoice = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        seed: int | None = None,
        response_format: TypeOrSchema = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: LogitsProcessors = None,
        grammar: LlamaGrammar | str | Constraint | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        max_completion_tokens: int | None = None,
        parallel_tool_calls: bool | None = None,
        enable_thinking: bool | None = None,
        reasoning_format: str | None = None,
        continue_final_message: bool | Literal["content", "reasoning_content"] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        lora: Mapping[str, float] | None = None,
        **more: Unpack[FurtherChatOptions],
    ) -> CreateChatCompletionResponse | AsyncIterator[CreateChatCompletionStreamResponse]:
        """Answer a conversation: see ``Llama.create_chat_completion``, whose arguments it takes.

        Returns:
            OpenAI's chat completion object, or an asynchronous iterator of its chunks.

        Raises:
            Exception: What ``Llama.create_chat_completion`` raises.
        """
        chats = self.llama.chats
        params = chats.params(
            functions=functions, function_call=function_call, tools=tools,
            tool_choice=tool_choice, temperature=temperature, top_p=top_p,
            top_k=top_k, min_p=min_p, typical_p=typical_p, stop=stop, seed=seed,
            response_format=response_format, max_tokens=max_tokens,
            presence_penalty=presence_penalty, frequency_penalty=frequency_penalty,
            repeat_penalty=repeat_penalty, tfs_z=tfs_z, mirostat_mode=mirostat_mode,
            mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, model=model,
            logits_processor=logits_processor, grammar=grammar, logit_bias=logit_bias,
            logprobs=logprobs, top_logprobs=top_logprobs, n=n,
            stream_options=stream_options,
            max_completion_tokens=max_completion_tokens,
            parallel_tool_calls=parallel_tool_calls, enable_thinking=enable_thinking,
            reasoning_format=reasoning_format,
            continue_final_message=continue_final_message,
            chat_template_kwargs=chat_template_kwargs, parse_special=parse_special,
            lora=lora, **more,
        )  # fmt: skip

        def prepare() -> Job:
            if chats.handler is None:
                return chats.job(messages, params)
            handled = partial(chats.handled, self.llama, messages, params)
            return HandledJob(handled, ReplyTexts(params.shape) if params.shape else None)

        result: CreateChatCompletionResponse | AsyncIterator[CreateChatCompletionStreamResponse]
        result = await self._run(prepare, stream)
        return result

    def run(
        self,
        messages: Messages,
        tools: Sequence[Runnable] = (),
        *,
        max_steps: int = 10,
        tool_timeout: float | None = 60.0,
        stream: bool = False,
        **options: Unpack[ReplyOptions],
    ) -> AsyncToolRun:
        """Answer with tools that are run here: see ``Llama.run``, whose arguments it takes.

        The calls of one reply run in tasks, or in threads where functions are not asynchronous.

        Returns:
            An asynchronous iterator of events, whose ``result()`` is awaited.

        Raises:
            Exception: What ``Llama.run`` raises.
        """
        conversation = Conversation(
            messages, tools, max_steps, tool_timeout,
            stream=stream, sees_images=self.llama.chats.reads_media, options=options,
        )  # fmt: skip
        return AsyncToolRun(conversation, self.create_chat_completion)

    @overload
    async def parse(
        self,
        prompt: Prompt | Messages,
        type: type[T],
        **options: Any,
    ) -> T: ...
    @overload
    async def parse(
        self,
        prompt: Prompt | Messages,
        type: TypeOrSchema,
        **options: Any,
    ) -> Any: ...
    async def parse(
        self,
        prompt: Prompt | Messages,
        type: TypeOrSchema,  # noqa: A002 - what it is
        **options: Any,
    ) -> Any:
        """Answer with an object: see ``Llama.parse``.

        Raises:
            Exception: What ``Llama.parse`` raises.
        """
        call = ParseCall(prompt, type, options)
        return call.parsed(await getattr(self, call.method)(**call.arguments))

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
        result: list[Score] = await self._wait(lambda: self.llama.measures.scoring(*args, **kwargs))
        return result

    async def choose(self, prompt: Prompt | Messages, options: Sequence[str]) -> Choice:
        """Choose which of several texts follows: see ``Llama.choose``.

        Raises:
            Exception: What ``Llama.choose`` raises.
        """
        llama = self.llama
        result: Choice = await self._wait(
            lambda: choosing(llama.chats, llama.measures, prompt, options)
        )
        return result

    async def perplexity(self, *args: Any, **kwargs: Any) -> Perplexity:
        """Tell how badly the model predicts a text: see ``Llama.perplexity``.

        Raises:
            Exception: What ``Llama.perplexity`` raises.
        """
        result: Perplexity = await self._wait(
            lambda: self.llama.measures.perplexity(*args, **kwargs)
        )
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
        if not stream:
            return await self._wait(prepare)
        job = await self._in_thread(prepare)
        chunks = self._stream(job)
        if job.texts is None:
            return chunks
        return AsyncChunkStream(chunks, job.texts.without_texts())

    async def _wait(self, prepare: Callable[[], Waitable]) -> Any:
        # Long prompts take a while to tokenize: not on the loop's thread.
        job = await self._in_thread(prepare)
        try:
            return await self._in_thread(job.result)
        except asyncio.CancelledError:
            job.cancel()
            raise

    async def _stream(self, job: Job) -> AsyncGenerator[Any, None]:
        mailbox: Mailbox[Any] = Mailbox(asyncio.get_running_loop())
        self._threads.submit(mailbox.fill, job.chunks)
        try:
            async for chunk in mailbox:
                yield chunk
        finally:
            job.cancel()


class Waitable(Protocol):
    """A call that can be waited for and cancelled."""

    def result(self) -> Any:
        """Wait for the whole result."""

    def cancel(self) -> None:
        """Stop, from any thread."""


class Job(Waitable, Protocol):
    """One that can be iterated too."""

    @property
    def texts(self) -> ReplyTexts | None:
        """What keeps the texts of its parts; None where they may be anything."""

    def chunks(self) -> Iterator[Any]:
        """Yield its parts."""


class HandledJob:
    """A call that the user's chat handler answers.

    Args:
        call: Takes ``stream``.
        texts: Keeps the texts of a stream; None where its parts may be anything.
    """

    def __init__(self, call: Callable[..., Any], texts: ReplyTexts | None) -> None:
        self._call = call
        self.texts = texts
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
        self._is_notified = False
        self._is_finished = False
        self._error: BaseException | None = None

    def fill(self, produce: Callable[[], Iterator[T]]) -> None:
        """Put all items in, on the thread of the caller."""
        try:
            for item in produce():
                self._items.append(item)
                self._notify()
        except BaseException as error:
            self._error = error
        self._is_finished = True
        self._is_notified = False
        self._notify()

    def _notify(self) -> None:
        if self._is_notified:
            return
        self._is_notified = True
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return

    async def __anext__(self) -> T:
        while True:
            self._is_notified = False
            if self._items:
                return self._items.popleft()
            if self._is_finished and not self._items:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._news.wait()
            self._news.clear()

"""``create_chat_completion``: from conversations to OpenAI-shaped results."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from ..generation.completion import Job
from ..generation.generator import Choice, Generator, Progress, Run
from ..generation.params import GenerationParams
from ..llama_types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse
from ..sampling.params import SamplingParams
from ..structured.shape import Shape
from ..structured.streams import ChunkStream, ReplyTexts
from ..text.builder import TokenRecord
from .conversation import Conversation
from .reply import ReplyReader


class ChatCompletionJob(Job):
    """One call of ``create_chat_completion``, which begins when its result is asked for.

    Args:
        generator: The model.
        conversation: What to continue.
        sampling: How tokens are chosen.
        params: What the replies have to be.
        model_name: What the results say the model is.
        legacy: Whether calls are told as ``function_call``, OpenAI's older form.
        include_usage: Whether a last chunk without choices tells the usage.
        trimmed_messages: The places of the messages that were dropped; None: nobody asked.
        texts: Keeps the texts of a stream; its shape is that of each reply.
    """

    def __init__(
        self,
        generator: Generator,
        conversation: Conversation,
        sampling: SamplingParams,
        params: GenerationParams,
        model_name: str,
        *,
        legacy: bool = False,
        include_usage: bool = False,
        trimmed_messages: Sequence[int] | None = None,
        texts: ReplyTexts | None = None,
    ) -> None:
        self._conversation = conversation
        params = conversation.options(params)
        self._wants_logprobs = params.logprobs is not None
        super().__init__(
            generator, [conversation.prompt], sampling, params, include_usage=include_usage
        )
        self._legacy = legacy
        self._first: Any = {}
        if trimmed_messages is not None:
            self._first = {"trimmed_messages": list(trimmed_messages)}
        self._finish_reasons: list[str] = []
        self.texts = ReplyTexts() if texts is None else texts
        self._head: Any = {
            "id": f"chatcmpl-{uuid.uuid4()}",
            "created": int(time.time()),
            "model": model_name,
        }

    @property
    def finish_reasons(self) -> list[str]:
        """Why texts ended, of those whose end was told."""
        return self._finish_reasons

    @property
    def prompt(self) -> Sequence[int]:
        """The tokens of the conversation."""
        return self._conversation.prompt

    def result(self) -> CreateChatCompletionResponse:
        """Wait for all replies and return them in OpenAI's shape."""
        run = self.begin()
        run.finish()
        choices = []
        for choice in run.choices:
            parts = list(choice.builder.parts)
            text = "".join(part for part, _ in parts)
            records = [record for _, new in parts for record in new]
            reader = ReplyReader(self._conversation.parser())
            try:
                reader.finish(text, partial=choice.request.finish_reason != "stop")
            finally:
                reader.close()
            message = reader.message
            if self.texts.shape is not None:
                add_parsed(message, self.texts.shape, choice.request.finish_reason)
            choices.append(
                {
                    "index": choice.index,
                    "message": _as_legacy(message) if self._legacy else message,
                    "logprobs": self._logprobs(run, records),
                    "finish_reason": self._reason(choice, message),
                    **run.traced(records),
                }
            )
        whole = {**self._head, "object": "chat.completion", "choices": choices, "usage": run.usage}
        whole |= self._first
        return cast("CreateChatCompletionResponse", self._timed(whole, is_last=True))

    def chunks(self) -> ChunkStream[CreateChatCompletionStreamResponse]:
        """Yield the replies in OpenAI's shape as they come."""
        return ChunkStream(cast("Any", self.polled_chunks(patient=True)), self.texts)

    def polled_chunks(
        self, *, patient: bool = False
    ) -> Iterator[CreateChatCompletionStreamResponse | None]:
        """Yield the replies in OpenAI's shape, and None where there is nothing yet."""
        run = self.begin()
        parts = run.parts(patient=patient)
        readers = {choice.index: ReplyReader(self._conversation.parser()) for choice in run.choices}
        try:
            for choice in run.choices:
                chunk = self._chunk(choice, {"role": "assistant", "content": ""})
                if choice.index == 0:
                    chunk.update(self._first)
                yield chunk
            for part in parts:
                if part is None:
                    yield None
                    continue
                if isinstance(part, Progress):
                    chunk = self._chunk(part.choice, {})
                    chunk["prompt_progress"] = part.told
                    yield chunk
                    continue
                choice, text, records = part
                reader, logprobs = readers[choice.index], self._logprobs(run, records)
                trace: Mapping[str, Any] = run.traced(records)
                if choice.reported:
                    deltas = reader.finish(partial=choice.request.finish_reason != "stop")
                else:
                    deltas = reader.add(text)
                for delta in deltas:
                    told = _as_legacy_delta(delta, self._legacy)
                    yield self._chunk(choice, told, logprobs, trace=trace)
                    logprobs, trace = None, {}
                if (logprobs is not None and logprobs["content"]) or any(trace.values()):
                    yield self._chunk(choice, {"content": ""}, logprobs, trace=trace)
                if choice.reported:
                    reason = self._reason(choice, reader.message)
                    yield self._chunk(choice, {}, finish_reason=reason)
            if self._include_usage:
                last = {**self._head, "object": "chat.completion.chunk", "choices": []}
                last = self._timed({**last, "usage": run.usage}, is_last=True)
                yield cast("CreateChatCompletionStreamResponse", last)
        finally:
            parts.close()
            for reader in readers.values():
                reader.close()

    def _reason(self, choice: Choice, message: Mapping[str, Any]) -> str | None:
        reason: str | None = choice.request.finish_reason
        if reason == "stop" and message.get("tool_calls"):
            reason = "function_call" if self._legacy else "tool_calls"
        if reason is not None:
            self._finish_reasons.append(reason)
        return reason

    def _logprobs(self, run: Run, records: Sequence[TokenRecord]) -> Any:
        if not self._wants_logprobs:
            return None
        return {"content": [run.chat_logprob(record) for record in records], "refusal": None}

    def _chunk(
        self,
        choice: Choice,
        delta: Mapping[str, Any],
        logprobs: Any = None,
        finish_reason: str | None = None,
        *,
        trace: Mapping[str, Any] = MappingProxyType({}),
    ) -> CreateChatCompletionStreamResponse:
        part = {
            "index": choice.index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
            **trace,
        }
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [part]}
        chunk = self._timed(chunk, is_last=self._ends_with(finish_reason))
        return cast("CreateChatCompletionStreamResponse", chunk)


def add_parsed(message: dict[str, Any], shape: Shape, finish_reason: str | None) -> None:
    """Add to a message the object that its content stands for; calls stand for none.

    Raises:
        ReplyValidationError: The content stands for no such object.
    """
    has_calls = message.get("tool_calls") or message.get("function_call")
    content = message.get("content") or ""
    message["parsed"] = None if has_calls else shape.parse(content, finish_reason)


def _as_legacy(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its first call in OpenAI's older form."""
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    calls = message.get("tool_calls")
    return {**rest, "function_call": dict(calls[0]["function"])} if calls else rest


def _as_legacy_delta(delta: Mapping[str, Any], legacy: bool) -> Mapping[str, Any]:
    if not legacy or "tool_calls" not in delta:
        return delta
    call = delta["tool_calls"][0]
    is_first = call["index"] == 0 and "function" in call  # without it, it tells of a cut-off call
    return {"function_call": call["function"]} if is_first else {}

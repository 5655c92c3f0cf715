"""``create_completion``: from prompts to OpenAI-shaped results."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from ..engine import FinishReason
from ..llama_types import CompletionChoice, CompletionLogprobs, CreateCompletionResponse
from ..sampling.params import SamplingParams
from ..structured.streams import ChunkStream, ReplyTexts
from .generator import Choice, Generator, Progress, Run
from .params import GenerationParams

if TYPE_CHECKING:
    from ..llama_types import CreateCompletionStreamResponse


class Job:
    """A call that begins when its result is asked for.

    Args:
        generator: Writes the texts.
        prompts: Token ids, one list per prompt.
        sampling: How tokens are chosen.
        params: What the texts have to be.
        echoed: The prompts as text, where they are echoed.
        include_usage: Whether a last chunk without choices tells the usage.
    """

    def __init__(
        self,
        generator: Generator,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingParams,
        params: GenerationParams,
        echoed: Sequence[str] = (),
        *,
        include_usage: bool = False,
    ) -> None:
        self._include_usage = include_usage
        self._arguments = generator, prompts, sampling, params, echoed
        self._service = params.service
        self._run: Run | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Stop, from any thread; what waits for the result gets what there is."""
        self._is_cancelled = True
        if self._run is not None:
            self._run.close()

    @property
    def finish_reasons(self) -> list[str]:
        """Why texts ended, of those that have."""
        choices = () if self._run is None else self._run.choices
        return [each.request.finish_reason for each in choices if each.request.finish_reason]

    def charge(self, account: str, max_priority: int | None = None) -> None:
        """Let an account pay for the call, which has not begun: see ``Shares``.

        Args:
            account: Whose call it is.
            max_priority: The highest one that it may have.
        """
        generator, prompts, sampling, params, echoed = self._arguments
        priority = params.service.priority
        if max_priority is not None:
            priority = min(priority, max_priority)
        service = replace(params.service, account=account, priority=priority)
        params = replace(params, service=service)
        self._arguments = generator, prompts, sampling, params, echoed

    def begin(self) -> Run:
        """Begin the texts, once."""
        if self._run is None:
            self._run = Run(*self._arguments)
            if self._is_cancelled:
                self._run.close()
        return self._run

    def _timed(self, chunk: Mapping[str, Any], *, is_last: bool) -> Any:
        """Add to a chunk, or a whole answer, how long the call took, where that is wanted."""
        wanted = self._service.timings_per_token or (self._service.timings and is_last)
        return {**chunk, "timings": self.begin().timings} if wanted else chunk

    def _ends_with(self, finish_reason: str | None) -> bool:
        """Whether nothing comes after a chunk with this finish reason."""
        is_told = all(choice.reported for choice in self.begin().choices)
        return finish_reason is not None and is_told and not self._include_usage


class CompletionJob(Job):
    """One call of ``create_completion``, which begins when its result is asked for.

    Args:
        generator: Writes the texts.
        prompts: Token ids, one list per prompt.
        sampling: How tokens are chosen.
        params: What the texts have to be.
        echoed: The prompts as text, where they are echoed.
        suffix: Appended to the texts.
        model_name: What the results say the model is.
        include_usage: Whether a last chunk without choices tells the usage.
        texts: Keeps the texts of a stream; its shape is that of each text.
    """

    def __init__(
        self,
        generator: Generator,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingParams,
        params: GenerationParams,
        echoed: Sequence[str] = (),
        *,
        suffix: str = "",
        model_name: str,
        include_usage: bool = False,
        texts: ReplyTexts | None = None,
    ) -> None:
        super().__init__(generator, prompts, sampling, params, echoed, include_usage=include_usage)
        self._suffix = suffix
        self.texts = ReplyTexts() if texts is None else texts
        self._head: Any = {
            "id": f"cmpl-{uuid.uuid4()}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model_name,
        }

    def result(self) -> CreateCompletionResponse:
        """Wait for all texts and return them in OpenAI's shape."""
        run = self.begin()
        run.finish()
        choices: list[CompletionChoice] = []
        for choice in run.choices:
            text, records = choice.prompt_text, run.echoed(choice)
            base, shape = len(text), self.texts.shape
            while choice.builder.parts:
                part, new = choice.builder.parts.popleft()
                text += part
                records += [record._replace(offset=base + record.offset) for record in new]
            reason = choice.request.finish_reason
            told: Any = {
                "text": text + self._suffix,
                "index": choice.index,
                "logprobs": run.logprobs(records, 0),
                "finish_reason": reason,
                **run.traced(records),
            }
            if shape is not None:
                told["parsed"] = shape.parse(text[base:], reason)
            choices.append(told)
        whole = {**self._head, "choices": choices, "usage": run.usage}
        return cast("CreateCompletionResponse", self._timed(whole, is_last=True))

    def chunks(self) -> ChunkStream[CreateCompletionStreamResponse]:
        """Yield the texts in OpenAI's shape as they come."""
        return ChunkStream(cast("Any", self.polled_chunks(patient=True)), self.texts)

    def polled_chunks(
        self, *, patient: bool = False
    ) -> Iterator[CreateCompletionStreamResponse | None]:
        """Yield the texts in OpenAI's shape, and None where there is nothing yet."""
        run = self.begin()
        opened: dict[int, int] = {}
        parts = run.parts(patient=patient)
        try:
            for part in parts:
                if part is None:
                    yield None
                    continue
                if isinstance(part, Progress):
                    chunk = self._chunk(part.choice, "", None)
                    chunk["prompt_progress"] = part.told
                    yield chunk
                    continue
                choice, text, records = part
                if choice.index not in opened:
                    opened[choice.index] = len(choice.prompt_text)
                    if choice.prompt_text:
                        echoed = run.logprobs(run.echoed(choice), 0)
                        yield self._chunk(choice, choice.prompt_text, echoed)
                if choice.reported:
                    yield self._chunk(choice, self._suffix, None, choice.request.finish_reason)
                else:
                    logprobs = run.logprobs(records, opened[choice.index])
                    yield self._chunk(choice, text, logprobs, trace=run.traced(records))
            if self._include_usage:
                last = {**self._head, "choices": [], "usage": run.usage}
                yield cast("CreateCompletionStreamResponse", self._timed(last, is_last=True))
        finally:
            parts.close()

    def _chunk(
        self,
        choice: Choice,
        text: str,
        logprobs: CompletionLogprobs | None,
        finish_reason: FinishReason | None = None,
        *,
        trace: Mapping[str, Any] = MappingProxyType({}),
    ) -> CreateCompletionStreamResponse:
        part = {
            "text": text,
            "index": choice.index,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
            **trace,
        }
        chunk = {**self._head, "choices": [part]}
        is_last = self._ends_with(finish_reason)
        return cast("CreateCompletionStreamResponse", self._timed(chunk, is_last=is_last))

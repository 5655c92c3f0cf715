"""What routes share: the models of the application and its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from ..llama import Llama
from .encoding import event
from .generation import ActiveGeneration, PolledJob
from .model import ModelRegistry
from .monitor import Monitor
from .request_record import RequestRecord, record_of
from .settings import ServerSettings
from .stream import DONE, PING, EventStream, Failed, answered

_NAME_MAX = 256  # characters of a name that traces are told: a body may have megabytes of it


@dataclass(frozen=True)
class ServerContext:
    """The parts of a running application."""

    settings: ServerSettings
    registry: ModelRegistry
    monitor: Monitor

    @property
    def ping_seconds(self) -> float | None:
        """How quiet a stream may be."""
        return None if self.settings.disable_ping_events else self.settings.ping_seconds

    def capped(self, max_tokens: int | None) -> int | None:
        """How many tokens an answer may have."""
        limit = self.settings.max_tokens_limit
        if limit is None:
            return max_tokens
        return limit if max_tokens is None or max_tokens < 0 else min(max_tokens, limit)

    def noted(self, request: Request, model: str | None) -> RequestRecord:
        """Say in the record of a request which model it means, and return it.

        Raises:
            RequestError: There is none of that name.
        """
        record = record_of(request.scope)
        record.requested_model = None if model is None else model[:_NAME_MAX]
        record.model = self.registry.find(model).names[0]
        return record

    async def generate(
        self,
        request: Request,
        model: str | None,
        call: Callable[[Llama], PolledJob],
        *,
        stream: bool,
        shape: Callable[[Any], Any] = lambda answer: answer,
        events: Callable[[AsyncIterator[list[Any]]], AsyncIterator[bytes]] | None = None,
        failed: Failed | None = None,
    ) -> Response:
        """Answer a request for text.

        Args:
            request: The request.
            model: What it names.
            call: Makes the job.
            stream: Whether the answer comes in parts.
            shape: Makes the body of the whole answer.
            events: Makes the events of its parts; OpenAI's if left out. An empty list of parts
                means that it was quiet for a while.
            failed: Makes the last event where something goes wrong.
        """
        async with AsyncExitStack() as stack:
            record = self.noted(request, model)
            runner = await stack.enter_async_context(self.registry.lease(model))

            def job() -> PolledJob:
                made = call(runner.llama)
                made.charge(record.account, self.settings.max_priority)
                return made

            async def begin() -> ActiveGeneration:
                running = await runner.start(job)
                record.generation = running
                stack.callback(running.close)
                return running

            if stream:
                running = await begin()
                parts = (events or openai_events)(running.chunks(self.ping_seconds))
                # The lease and the generation last as long as the answer.
                return EventStream(parts, failed, stack.pop_all())

            async def whole() -> Any:
                return shape(await (await begin()).result())

            return await answered(request, whole())


async def openai_events(parts: AsyncIterator[list[Any]]) -> AsyncIterator[bytes]:
    """The parts of an answer as OpenAI streams them."""
    try:
        async for chunks in parts:
            yield b"".join(map(event, chunks)) if chunks else PING
        yield DONE
    finally:
        await parts.aclose()  # type: ignore[attr-defined]  # they are generators


def server_context(request: Request) -> ServerContext:
    """Return the parts of the application that a request came to."""
    context: ServerContext = request.app.state.context
    return context


Context = Annotated[ServerContext, Depends(server_context)]

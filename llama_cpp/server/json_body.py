"""``JSONBodyRoute``: a route that reads large bodies beside the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.responses import Response

_SMALL = 1 << 20


class JSONBodyRoute(APIRoute):
    """A route whose requests may have bodies of many megabytes."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler of the route."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            response: Response = await handler(_Request(request.scope, request.receive))
            return response

        return handle


class _Request(Request):
    async def json(self) -> Any:
        """Read the body."""
        body = await self.body()
        if len(body) <= _SMALL:
            return json.loads(body)
        return await asyncio.to_thread(parsed, body)


def parsed(body: bytes) -> Any:
    """Read JSON.

    No parser lets other threads run meanwhile, so that the fastest is the best for them.

    Raises:
        JSONDecodeError: It is no JSON.
    """
    try:
        return from_json(body)
    except ValueError:  # it takes less, lone surrogates for example, and says it in other words
        return json.loads(body)

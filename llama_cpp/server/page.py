"""The page to chat on, and that of the routes."""

from __future__ import annotations

import mimetypes
from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from .errors import RequestError

if TYPE_CHECKING:
    from importlib.abc import Traversable

router = APIRouter(include_in_schema=False)

# Scripts and styles are files of this server; Swagger UI has its icons in its style sheet.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_OF_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_TYPES = {
    ".svg": "image/svg+xml",
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
}


@router.head("/")
@router.get("/")
async def page() -> Response:
    """The page."""
    return _file("index.html")


@router.head("/docs")
@router.get("/docs")
async def routes() -> Response:
    """The page of the routes."""
    return _file("docs.html")


@router.get("/web/{name}")
async def part(name: str) -> Response:
    """A part of the page."""
    return _file(name)


def _file(name: str) -> Response:
    if name in _OF_SWAGGER:
        folder: Traversable = files("fastapi_swagger.resources")
    else:
        folder = files("llama_cpp.server") / "web"
    # Only names that the folder lists, so that no path leads out of it.
    found = next((each for each in folder.iterdir() if each.name == name and each.is_file()), None)
    if found is None:
        raise RequestError(404, f"there is no file {name!r}")
    suffix = f".{name.rpartition('.')[2]}"
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(
        found.read_bytes(),
        media_type=kind,
        headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"},
    )

"""What needs no person: health, static files."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import JSONResponse, Response

from lutetia.web import assets


def health() -> JSONResponse:
    """Whether the server answers."""
    return JSONResponse({"status": "ok"})


def static_file(request: Request, path: str) -> Response:
    """A file of the pages."""
    return assets.respond(request, path)

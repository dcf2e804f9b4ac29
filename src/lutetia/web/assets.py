"""Files that browsers fetch: style sheet, scripts, fonts of the reports. Held in memory; addresses carry their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from lutetia.errors import UnknownNameError
from lutetia.report.html import colours

_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff": "font/woff",
    ".txt": "text/plain; charset=utf-8",
}
_FACES = (("Regular", 400, "normal"), ("SemiBold", 600, "normal"), ("Italic", 400, "italic"))


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, media type and the first digits of its SHA-256."""

    content: bytes
    media_type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """All files under `/static/`, by path."""
    found = dict(_walk(files("lutetia.web") / "static"))
    fonts = files("lutetia.report") / "fonts"
    for name, _, _ in _FACES:
        found[f"fonts/Inter-{name}.woff"] = (fonts / f"Inter-{name}.subset.woff").read_bytes()
    found["fonts/Inter-OFL.txt"] = (fonts / "Inter-OFL.txt").read_bytes()
    found["lutetia.css"] = _tokens(found).encode() + found["lutetia.css"]
    return {path: _asset(path, content) for path, content in found.items()}


def address(path: str) -> str:
    """Address of a file, with its hash, so that browsers may keep it for ever.

    Raises
    ------
    UnknownNameError
        If there is no such file.
    """
    if path not in assets():
        raise UnknownNameError("static file", path, assets())
    return _address(path, assets()[path].digest)


def respond(request: Request, path: str) -> Response:
    """Answer a request for a file; 304 where the browser has it."""
    asset = assets().get(path)
    if asset is None:
        return Response("not found", status_code=404, media_type="text/plain")
    kept = "public, max-age=31536000, immutable" if request.query_params.get("v") == asset.digest else "no-cache"
    headers = {"ETag": f'"{asset.digest}"', "Cache-Control": kept}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def _asset(path: str, content: bytes) -> Asset:
    suffix = path[path.rfind(".") :]
    if suffix not in _MEDIA:
        raise UnknownNameError("kind of static file", suffix, _MEDIA, where=path)
    return Asset(content, _MEDIA[suffix], _digest(content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _address(path: str, digest: str) -> str:
    return f"/static/{path}?v={digest}"


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        found += _walk(entry, f"{path}/") if entry.is_dir() else [(path, entry.read_bytes())]
    return found


def _tokens(found: Mapping[str, bytes]) -> str:
    """Colours of `report.palette` as CSS variables, and the packaged fonts under addresses that browsers keep."""
    faces = "".join(
        f"@font-face{{font-family:Inter;font-weight:{weight};font-style:{style};font-display:swap;"
        f"src:url({_address(path, _digest(found[path]))}) format('woff')}}\n"
        for name, weight, style in _FACES
        for path in (f"fonts/Inter-{name}.woff",)
    )
    return faces + ":root{" + "".join(f"--{name}:{value};" for name, value in colours().items()) + "}\n"

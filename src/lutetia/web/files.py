"""Files as answers: reports open in the browser, locked into a page that can do nothing; everything may be saved.

A report is made by us and holds no script. Should one ever be altered, its own policy still lets it run nothing, load
nothing and reach no page of the trial.
"""

from __future__ import annotations

from starlette.responses import Response

from lutetia.workflow.downloads import Download

#: HTML: an origin of its own, no script, no form, nothing from elsewhere; its style and pictures stand inside it.
_SANDBOX = "; ".join(
    ("sandbox", "default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "font-src data:",
     "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'")
)  # fmt: skip
#: PDF: browsers show it with a viewer of their own, which a sandbox would keep from starting.
_VIEWER = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
#: Media types that open in the browser, with their policy.
SHOWN: dict[str, str] = {"text/html": _SANDBOX, "application/pdf": _VIEWER}


def attachment(file: Download, media_type: str) -> Response:
    """A file to save."""
    return _answer(file, media_type, "attachment")


def shown(file: Download, media_type: str, *, save: bool) -> Response:
    """A file that opens in the browser where it can (`SHOWN`), unless it is to be saved."""
    policy = SHOWN.get(media_type.partition(";")[0])
    if save or policy is None:
        return attachment(file, media_type)
    return _answer(file, media_type, "inline", {"Content-Security-Policy": policy})


def _answer(file: Download, media_type: str, how: str, more: dict[str, str] | None = None) -> Response:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "_" for c in file.name)
    headers = {"Content-Disposition": f'{how}; filename="{name}"', "Cache-Control": "no-store"}
    return Response(file.content, media_type=media_type, headers=headers | (more or {}))

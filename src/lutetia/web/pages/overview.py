"""The trial at a glance: what a person sees after sign-in."""

from __future__ import annotations

from starlette.responses import Response

from lutetia.web.context import Page


def show(page: Page) -> Response:
    """State of the trial as the person's roles may see it."""
    return page.render("overview/show.html", study=page.reader.records("study")[0])

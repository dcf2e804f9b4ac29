"""The application: routes, checks and errors put together around a trial."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import Depends, FastAPI, Security
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse
from starlette.routing import compile_path

from lutetia import __version__
from lutetia.core.clock import time_zone
from lutetia.trial.sessions import idle_minutes
from lutetia.trial.store import Trial
from lutetia.web import problems
from lutetia.web.api.description import BEARER, described
from lutetia.web.context import Demonstration, Services, Study, guard
from lutetia.web.problems import ProblemBody
from lutetia.web.rendering import environment
from lutetia.web.routes import ROUTES
from lutetia.web.routing import PUBLIC, Route
from lutetia.web.security import BodyLimit, RateLimit, SecurityHeaders
from lutetia.web.settings import Settings
from lutetia.web.slices import SliceCache
from lutetia.web.texts import texts
from lutetia.workflow.study_file import sound_settings

#: Pages that are worked on at the same time; the others wait in order.
THREADS = 2


def create_app(
    trial: Trial, *, settings: Settings | None = None, demonstration: Demonstration | None = None
) -> FastAPI:
    """The web application of one trial.

    Parameters
    ----------
    trial
        Open trial; the caller closes it.
    demonstration
        Accounts that the sign-in page shows; only for a trial that is marked as demonstration.

    Raises
    ------
    UnknownNameError
        If a route needs a right, or a page a text, that does not exist.
    """
    chosen = settings or Settings()
    app = FastAPI(
        title="Lutetia", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json",
        description="JSON API of a trial. Sign in with POST /api/session; send its token as `Authorization: Bearer`.",
        lifespan=_few_threads,
    )  # fmt: skip
    words = texts(chosen.language)
    app.state.services = Services(
        trial, chosen, _study(trial), words, environment(words), RateLimit(trial, chosen.sign_in_tries),
        SliceCache(trial.files.get), demonstration if trial.demonstration else None,
    )  # fmt: skip
    for route in ROUTES:
        add_route(app, route)
    problems.install(app)
    app.add_middleware(
        BodyLimit, form_bytes=chosen.form_bytes, upload_bytes=chosen.upload_bytes, uploads=_uploads(),
        stall_seconds=chosen.stall_seconds,
    )  # fmt: skip
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*chosen.hosts], www_redirect=False)
    app.add_middleware(SecurityHeaders)
    return app


@asynccontextmanager
async def _few_threads(app: FastAPI) -> AsyncIterator[None]:
    """Work on few pages at a time: more threads than cores take Python's lock from each other and all get slower."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def _uploads() -> Callable[[str, str], bool]:
    """Whether files come with a request of a method and path, by the routes that say so."""
    patterns = [(route.method, compile_path(route.path)[0]) for route in ROUTES if route.uploads]
    return lambda method, path: any(method == m and pattern.match(path) for m, pattern in patterns)


def add_route(app: FastAPI, route: Route) -> None:
    """Let the application answer a route; its guard runs before the handler."""
    if route.is_api:
        checks = [Depends(guard(route)), *([Security(BEARER)] if route.action != PUBLIC else [])]
        more = described(route, ProblemBody)
        app.add_api_route(route.path, route.handler, methods=[route.method], dependencies=checks, **more)
        return
    app.add_api_route(
        route.path, route.handler, methods=[route.method], dependencies=[Depends(guard(route))],
        include_in_schema=False, response_class=HTMLResponse, response_model=None,
    )  # fmt: skip


def _study(trial: Trial) -> Study:
    with trial.read() as reader:
        found = reader.records("study")[0]
        idle_seconds = round(60 * idle_minutes(reader))
    zone = sound_settings(found["settings"]).get("timezone", "UTC")
    return Study(
        found["study_id"],
        found["title"] or found["study_id"],
        time_zone(zone, where="study.settings.timezone"),
        trial.demonstration,
        idle_seconds,
    )

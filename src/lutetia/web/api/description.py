"""What the OpenAPI document says of a route: its summary, the right that it needs, the statuses that may occur.

Everything follows from the line of the map and from the handler; nothing is written twice. Checked against what really
occurs by generated requests (`tests/web/test_web_api_schema.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastapi.security import HTTPBearer
from pydantic import BaseModel

from lutetia.web.routing import PUBLIC, Route, any_site
from lutetia.web.security import UNSAFE

#: How programs show who they are; browsers' cookies count too. The guard of the route looks at it, not this object.
BEARER = HTTPBearer(auto_error=False, description="The token of POST /api/session.")
#: Status → when it occurs.
MEANING: dict[int, str] = {
    400: "the body is no text in UTF-8",
    401: "nobody is signed in, or the session has ended",
    403: "the roles do not include the right at this site, or the first password is still to be changed",
    404: "no such thing, or it belongs to a site that the person does not see",
    409: "the trial's state does not permit it, or somebody else changed the record",
    413: "the body is too large",
    422: "a value cannot be used; the text says what was found and what was expected",
    429: "too many tries; `Retry-After` says for how many seconds to wait",
    500: "a fault of Lutetia's; `reference` leads to the log",
    503: "the trial's store cannot be used now",
}


def described(route: Route, problem: type[BaseModel]) -> dict[str, Any]:
    """Arguments for FastAPI's `add_api_route`; `problem` is the model of every error."""
    family = route.handler.__module__.rpartition(".")[2]
    summary = inspect.cleandoc(route.handler.__doc__ or "").partition("\n")[0]
    return {
        "summary": summary.rstrip("."),
        "description": f"{summary} {_right(route)}".strip(),
        "operation_id": f"{family}_{route.handler.__name__}",
        "tags": [family],
        "status_code": 204 if route.method == "DELETE" else 200,
        "responses": {
            s: {"model": problem, "description": MEANING[s][:1].upper() + MEANING[s][1:]} for s in _statuses(route)
        },
    }


def _right(route: Route) -> str:
    if route.action == PUBLIC:
        return "Needs no session."
    if " " in route.action:
        return "For everybody who is signed in."
    place = "" if route.site_of is any_site else " at the site of the subject"
    return f"Needs the right `{route.action}`{place}."


def _statuses(route: Route) -> list[int]:
    """Statuses of errors that may occur."""
    found = {401, 500, 503}
    if route.action == PUBLIC:
        found |= {429}
    else:
        found |= {403}
    if "{" in route.path:
        found |= {404}
    if route.method in UNSAFE:
        found |= {413}
    if route.method == "POST" and route.action != PUBLIC:
        found |= {404, 409}
    if _takes_values(route.handler):
        found |= {422}
    if _takes_values(route.handler) and route.method in UNSAFE:
        found |= {400}
    return sorted(found)


def _takes_values(handler: Callable[..., Any]) -> bool:
    return len(inspect.signature(handler).parameters) > 1

"""The map of the site: every page and API route, with the right that it needs. What has no line here does not exist.

To add a route: one line; the columns are method, path, handler, action (a right of `lutetia.trial.access.RIGHTS`, or
`PUBLIC`, `SIGNED_IN`, `PAUSED`) and, where the right is needed at one site, how the request names it.
"""

from __future__ import annotations

from lutetia.web.pages import account, overview, sign_in, slices, system
from lutetia.web.routing import PAUSED, PUBLIC, SIGNED_IN, Route, site_of_subject

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", system.health, PUBLIC),
    Route("GET", "/static/{path:path}", system.static_file, PUBLIC),
    # session
    Route("GET", "/sign-in", sign_in.show, PUBLIC),
    Route("POST", "/sign-in", sign_in.sign_in, PUBLIC),
    Route("POST", "/sign-out", sign_in.sign_out, PUBLIC),
    Route("POST", "/session/lock", sign_in.lock, PAUSED),
    Route("POST", "/session/unlock", sign_in.unlock, PAUSED),
    Route("POST", "/session/touch", sign_in.touch, SIGNED_IN),
    # own account
    Route("GET", "/account", account.show, SIGNED_IN),
    Route("POST", "/account/password", account.change_password, SIGNED_IN),
    Route("POST", "/account/codes", account.start_codes, SIGNED_IN),
    Route("POST", "/account/codes/confirm", account.confirm_codes, SIGNED_IN),
    Route("POST", "/account/sessions/{session_id}/end", account.end_session, SIGNED_IN),
    # trial
    Route("GET", "/", overview.show, SIGNED_IN),
    Route("GET", "/subjects/{subject_id}/cycles/{cycle}/slices", slices.show, "see_subject", site_of_subject),
    Route(
        "GET",
        "/subjects/{subject_id}/cycles/{cycle}/slices/{sha256}/{view}/{level}.png",
        slices.picture,
        "see_subject",
        site_of_subject,
    ),
)

"""The map of the site: every page and API route, with the right that it needs. What has no line here does not exist.

To add a route: one line; the columns are method, path, handler, action (a right of `lutetia.trial.access.RIGHTS`, or
`PUBLIC`, `SIGNED_IN`, `OWN_ACCOUNT`, `PAUSED`) and, where the right is needed at one site, how the request names it.
"""

from __future__ import annotations

from lutetia.web.pages import (
    account,
    audit,
    documents,
    notices,
    overview,
    queries,
    sign_in,
    sites,
    slices,
    system,
    users,
)
from lutetia.web.routes_api import API_ROUTES
from lutetia.web.routes_cycles import CYCLE_ROUTES
from lutetia.web.routes_randomisation import RANDOMISATION_ROUTES
from lutetia.web.routes_safety import SAFETY_ROUTES
from lutetia.web.routes_subjects import SUBJECT_ROUTES
from lutetia.web.routing import OWN_ACCOUNT, PAUSED, PUBLIC, SIGNED_IN, Route, site_of_query, site_of_subject

SUBJECT = "/subjects/{subject_id}"
CYCLE = SUBJECT + "/cycles/{cycle}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", system.health, PUBLIC),
    Route("GET", "/static/{path:path}", system.static_file, PUBLIC),
    # session
    Route("GET", "/sign-in", sign_in.show, PUBLIC),
    Route("POST", "/sign-in", sign_in.sign_in, PUBLIC),
    Route("POST", "/sign-out", sign_in.sign_out, PUBLIC),
    Route("POST", "/session/pause", sign_in.pause, PAUSED),
    Route("POST", "/session/unlock", sign_in.unlock, PAUSED),
    Route("POST", "/session/touch", sign_in.touch, OWN_ACCOUNT),
    # own account
    Route("GET", "/account", account.show, OWN_ACCOUNT),
    Route("POST", "/account/password", account.change_password, OWN_ACCOUNT),
    Route("POST", "/account/codes", account.start_codes, SIGNED_IN),
    Route("POST", "/account/codes/confirm", account.confirm_codes, SIGNED_IN),
    Route("POST", "/account/sessions/{session_id}/end", account.end_session, SIGNED_IN),
    # trial
    Route("GET", "/", overview.show, SIGNED_IN),
    Route("GET", "/notices", notices.show, SIGNED_IN),
    Route("POST", "/notices/seen", notices.seen, SIGNED_IN),
    # subjects
    *SUBJECT_ROUTES,
    *CYCLE_ROUTES,
    *RANDOMISATION_ROUTES,
    # images of a cycle
    Route("GET", f"{CYCLE}/slices", slices.show, "see_subject", site_of_subject),
    Route("GET", f"{CYCLE}/slices/{{sha256}}/{{view}}/{{level}}.png", slices.picture, "see_subject", site_of_subject),
    # queries
    Route("GET", "/queries", queries.show, "see_subject"),
    Route("GET", "/queries/{query_id}", queries.thread, "see_subject", site_of_query),
    Route("POST", "/queries/{query_id}/answer", queries.answer, "answer_query", site_of_query),
    Route("POST", "/queries/{query_id}/close", queries.close, "manage_queries", site_of_query),
    Route("POST", "/queries/{query_id}/reopen", queries.reopen, "manage_queries", site_of_query),
    *SAFETY_ROUTES,
    # documents
    Route("GET", "/documents", documents.show, SIGNED_IN),
    Route("GET", "/documents/{document_id}/file", documents.download, SIGNED_IN),
    Route("POST", "/documents", documents.add, "manage_users", uploads=True),
    Route("POST", "/documents/in-force", documents.put_in_force, "manage_users"),
    Route("POST", "/documents/amendment", documents.amend, "manage_users", uploads=True),
    Route("POST", "/documents/signatures", documents.sign, "sign_forms"),
    # audit
    Route("GET", "/audit", audit.show, "read_audit"),
    Route("POST", "/audit/reviews", audit.review, "read_audit"),
    Route("GET", "/audit/field/{table}/{record}/{column}", audit.field, "read_audit"),
    # people, rights, sites
    Route("GET", "/users", users.show, "manage_users"),
    Route("POST", "/users", users.add, "manage_users"),
    Route("GET", "/users/access", users.access_list, "manage_users"),
    Route("GET", "/users/{user_id}", users.person, "manage_users"),
    Route("POST", "/users/{user_id}/grants", users.grant, "manage_users"),
    Route("POST", "/users/{user_id}/grants/{grant_id}/end", users.end_grant, "manage_users"),
    Route("POST", "/users/{user_id}/delegations", users.delegate, "manage_users"),
    Route("POST", "/users/{user_id}/delegations/{delegation_id}/end", users.end_delegation, "manage_users"),
    Route("POST", "/users/{user_id}/password", users.reset_password, "manage_users"),
    Route("POST", "/users/{user_id}/unlock", users.unlock, "manage_users"),
    Route("POST", "/users/{user_id}/codes", users.reset_codes, "manage_users"),
    Route("POST", "/users/{user_id}/sessions", users.end_sessions, "manage_users"),
    Route("POST", "/users/{user_id}/end", users.end, "manage_users"),
    Route("GET", "/sites", sites.show, "manage_users"),
    Route("POST", "/sites", sites.add, "manage_users"),
    Route("GET", "/sites/{site}", sites.edit, "manage_users"),
    Route("POST", "/sites/{site}", sites.change, "manage_users"),
    Route("POST", "/sites/{site}/close", sites.close, "manage_users"),
    # JSON API
    *API_ROUTES,
)

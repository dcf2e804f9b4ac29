"""People and rights: accounts, roles at sites, delegation, and the list of who had access when."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lutetia.trial import accounts, queries
from lutetia.trial.access import ROLES, SITE_ROLES
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.workflow import accounts_form, sites_users


def show(page: Page) -> Response:
    """All accounts with their roles, and a form for a new one."""
    return _list(page, page.form("users"))


def add(page: Page) -> Response:
    """Open an account."""
    form = page.form("users")
    command = form.read(accounts_form.AddUser)
    if command is None or form.attempt(accounts_form.add_user, page.trial, page.actor, command) is None:
        return _list(page, form, status=422)
    return page.redirect(f"/users/{command.user_id}", notice="users.added")


def person(page: Page, user_id: str) -> Response:
    """One account: roles, delegations, and what can be done with it."""
    return _person(page, user_id, page.form("users"))


def grant(page: Page, user_id: str) -> Response:
    """Give a role."""
    form = page.form("users")
    command = form.read(accounts_form.GrantRole, user_id=user_id)
    if command is None or form.attempt(accounts_form.grant_role, page.trial, page.actor, command) is None:
        return _person(page, user_id, form, part="grant", status=422)
    return page.redirect(f"/users/{user_id}", notice="users.granted")


def end_grant(page: Page, user_id: str, grant_id: str) -> Response:
    """Take a role away."""
    form = page.form("users")
    command = form.read(accounts_form.EndGrant, user_id=user_id, grant_id=grant_id)
    if command is None or form.attempt(accounts_form.end_grant, page.trial, page.actor, command) is None:
        return _person(page, user_id, form, part=f"end {grant_id}", status=422)
    return page.redirect(f"/users/{user_id}", notice="users.grant_ended")


def act(page: Page, user_id: str, step: str) -> Response:
    """Unlock, reset one-time codes or close an account, with a reason."""
    form = page.form("users")
    command = form.read(accounts_form.AccountAction, user_id=user_id)
    if command is None or form.attempt(_STEPS[step], page.trial, page.actor, command) is None:
        return _person(page, user_id, form, part=step, status=422)
    return page.redirect(f"/users/{user_id}", notice=f"users.done_{step}")


def unlock(page: Page, user_id: str) -> Response:
    """Open a locked account again."""
    return act(page, user_id, "unlock")


def reset_codes(page: Page, user_id: str) -> Response:
    """Forget a lost one-time-code device."""
    return act(page, user_id, "codes")


def end_sessions(page: Page, user_id: str) -> Response:
    """End the person's open sessions."""
    return act(page, user_id, "sessions")


def end(page: Page, user_id: str) -> Response:
    """Close an account for good."""
    return act(page, user_id, "end")


def reset_password(page: Page, user_id: str) -> Response:
    """Give a first password again."""
    form = page.form("users")
    command = form.read(accounts_form.ResetPassword, user_id=user_id)
    if command is None or form.attempt(accounts_form.reset_password, page.trial, page.actor, command) is None:
        return _person(page, user_id, form, part="password", status=422)
    return page.redirect(f"/users/{user_id}", notice="users.done_password")


def delegate(page: Page, user_id: str) -> Response:
    """Write a line of the delegation log."""
    form = page.form("users")
    command = form.read(sites_users.Delegate, user_id=user_id)
    if command is None or form.attempt(sites_users.delegate, page.trial, page.actor, command) is None:
        return _person(page, user_id, form, part="delegate", status=422)
    return page.redirect(f"/users/{user_id}", notice="users.delegated")


def end_delegation(page: Page, user_id: str, delegation_id: str) -> Response:
    """Write the last day of a delegation."""
    form = page.form("users")
    command = form.read(sites_users.EndDelegation, delegation_id=delegation_id)
    if command is None or form.attempt(sites_users.end_delegation, page.trial, page.actor, command) is None:
        return _person(page, user_id, form, part=f"end {delegation_id}", status=422)
    return page.redirect(f"/users/{user_id}", notice="users.delegation_ended")


def access_list(page: Page) -> Response:
    """Who held which role where and when: now, on a day, or ever; for printing."""
    form = Form(page.t, "users", page.zone, {"on_day": [page.argument("on_day")]})
    at = page.end_of_day(form, "on_day")
    if form.errors:
        return page.render("users/access.html", status=422, form=form, entries=(), at=None)
    return page.render("users/access.html", form=form, entries=accounts.access_list(page.reader, at), at=at)


_STEPS = {
    "unlock": accounts_form.unlock_user,
    "codes": accounts_form.reset_second_factor,
    "end": accounts_form.end_user,
    "sessions": accounts_form.end_sessions,
}


def _list(page: PageContext, form: Form, *, status: int = 200) -> Response:
    users = queries.records(page.reader, page.actor, "users")
    roles: dict[str, list[dict[str, Any]]] = {}
    for row in queries.records(page.reader, page.actor, "grants", ended_at=None):
        roles.setdefault(row["user_id"], []).append(row)
    return page.render("users/list.html", status=status, form=form, users=users, roles=roles)


def _person(page: PageContext, user_id: str, form: Form, *, part: str = "", status: int = 200) -> Response:
    """The page of one account; `part` is the form that was sent, the others are shown empty.

    Where that form is gone from the page, its errors stand on top.
    """
    page.reader.record("users", {"user_id": user_id})
    found = queries.records(page.reader, page.actor, "users", user_id=user_id)[0]
    sites = queries.records(page.reader, page.actor, "sites")
    grants = queries.records(page.reader, page.actor, "grants", user_id=user_id)
    own, open_sessions = user_id == page.actor.user_id, page.reader.count("sessions", user_id=user_id, ended_at=None)
    gone = {f"end {row['grant_id']}" for row in grants if row["ended_at"]} | (
        {"grant", "password", "codes", "sessions"} if own else set()
    )
    gone |= set() if open_sessions else {"sessions"}
    return page.render(
        "users/person.html", status=status, form=form, empty=Form(page.t, "users", page.zone), part=part,
        user=found, own=own, gone=part in gone, grants=grants,
        delegations=queries.records(page.reader, page.actor, "delegations", user_id=user_id),
        roles=ROLES, site_roles=SITE_ROLES, tasks=sites_users.TASKS,
        sites=[(s["site"], f"{s['site']} {s['name']}") for s in sites],
        people=queries.people(page.reader), open_sessions=open_sessions,
    )  # fmt: skip

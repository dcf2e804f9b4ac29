"""Accounts and grants: one account a person, never used again and never deleted; roles at sites, with their dates.

Here: opening, ending and unlocking accounts, passwords, one-time codes, grants, and the access list of any day. Not
here: whether the caller may (`access.require(actor, "manage_users")`, asked by `workflow`) and sessions (`sessions`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lutetia.errors import (
    AccessError,
    DuplicateRecordError,
    InputError,
    MissingRecordError,
    SignInError,
    UnknownNameError,
)
from lutetia.trial import audit
from lutetia.trial.access import ALWAYS_MASKED, ROLES, SITE_ROLES
from lutetia.trial.authentication import Authenticator, PasswordAuthenticator
from lutetia.trial.keys import KeyRing
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Event, Grant, Receipt, Update
from lutetia.trial.store import Trial

#: Failed attempts until an account is locked, and the waits between attempts from the third on (assumption).
MAXIMUM_FAILURES = 8
FIRST_WAIT_SECONDS = 2
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9.@_-]{0,59}")
#: Names under which the program acts in the trail; no person has one of them.
PROGRAMS = frozenset({"system", "worker", "dicom-node"})
#: Roles that see arms, subject by subject or, as the board, in sums.
_UNMASKED = frozenset(ROLES) - ALWAYS_MASKED - {"administrator"}


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One line of the access list: who held which role where, since when and until when (None: still)."""

    user_id: str
    name: str
    role: str
    site: str | None
    granted_at: str
    ended_at: str | None


def authenticator_of(trial: Trial) -> Authenticator:
    """The trial's authenticator: its substitute in a demonstration, argon2id with TOTP otherwise."""
    if trial.authenticator is not None:
        found: Authenticator = trial.authenticator
        return found
    return PasswordAuthenticator(KeyRing(trial.folder / "keys"))


def add_user(
    trial: Trial, actor: Actor, *, user_id: str, name: str, email: str = "", password: str,
) -> Receipt:  # fmt: skip
    """Open an account; its password must be changed at the first sign-in.

    Raises
    ------
    DuplicateRecordError
        If the account name was ever used, or an open account has this e-mail address: one account a person.
    InputError
        For an empty name, an account name with letters that are not seen, or a short password.
    """
    require_account_name(user_id)
    if not name.strip():
        raise InputError(f"user {user_id}: found no name; expected the person's printed name")
    hashed = authenticator_of(trial).hash(password)
    values = {
        "user_id": user_id, "name": name, "email": email, "state": "active", "password_hash": hashed,
        "failures": 0, "must_change": True,
    }  # fmt: skip

    def change(reader: Reader) -> Change:
        wanted = email.strip().lower()
        known = [u for u in reader.records("users") if wanted and (u["email"] or "").strip().lower() == wanted]
        if held := [u["user_id"] for u in known if u["state"] != "ended"]:
            text = f"user {user_id}: found the e-mail address at account {held[0]}; expected one account a person"
            raise DuplicateRecordError(f"{text}; grant the role to that account, or end it first")
        return Change("add_user", [Create("users", values)])

    return trial.commit(change, actor)


def require_account_name(user_id: str) -> None:
    """Refuse what cannot name an account: it stands in addresses and in every row of the trail.

    Raises
    ------
    InputError
        For other characters than small Latin letters, digits and ``.-_@``, or the name of a program.
    """
    if not _ACCOUNT.fullmatch(user_id):
        text = "expected a lower-case account name of up to 60 letters a to z, digits, dots, hyphens, _ or @"
        raise InputError(f"user: found {user_id!r}; {text}")
    if user_id in PROGRAMS:
        raise InputError(f"user: found {user_id!r}, under which the program itself acts; expected a person's own name")


def end_user(trial: Trial, actor: Actor, user_id: str, *, reason: str) -> Receipt:
    """Close an account for good: its grants and sessions end with it."""

    def change(reader: Reader) -> Change:
        edits: list[Edit] = [Update("users", {"user_id": user_id}, {"state": "ended"})]
        edits += [_ended_grant(reader, actor, row) for row in _open_grants(reader, user_id)]
        edits += end_sessions(reader, user_id, "account ended")
        return Change("end_user", edits)

    return trial.commit(change, actor, reason)


def unlock_user(trial: Trial, actor: Actor, user_id: str, *, reason: str) -> Receipt:
    """Open a locked account again and forget its failures."""
    values = {"state": "active", "failures": 0, "locked_at": None, "locked_until": None}

    def change(reader: Reader) -> Change:
        if reader.record("users", {"user_id": user_id})["state"] == "ended":
            raise AccessError(f"user {user_id}: the account has ended; expected a locked one; open a new account")
        return Change("unlock_user", [Update("users", {"user_id": user_id}, values)])

    return trial.commit(change, actor, reason)


def set_password(trial: Trial, actor: Actor, user_id: str, *, password: str, must_change: bool = False) -> Receipt:
    """Store a new password and end the account's other sessions."""
    hashed = authenticator_of(trial).hash(password)

    def change(reader: Reader) -> Change:
        values = {"password_hash": hashed, "password_changed_at": reader.now, "must_change": must_change}
        others = end_sessions(reader, user_id, "password changed", but=actor.session_id)
        return Change("set_password", [Update("users", {"user_id": user_id}, values), *others])

    return trial.commit(change, actor)


def begin_totp(trial: Trial, actor: Actor, user_id: str) -> str:
    """Store a fresh one-time-code secret, not yet in force, and return it in base32 to show once.

    Raises
    ------
    SignInError
        If the account has a confirmed secret; an administrator resets it first.
    """
    plain, sealed = authenticator_of(trial).new_secret()

    def change(reader: Reader) -> Change:
        if reader.record("users", {"user_id": user_id})["totp_confirmed_at"] is not None:
            text = "one-time code: found one in use; expected none; an administrator resets it first"
            raise SignInError(text)
        return Change("begin_totp", [Update("users", {"user_id": user_id}, {"totp_secret": sealed})])

    trial.commit(change, actor)
    return plain


def confirm_totp(trial: Trial, actor: Actor, user_id: str, *, code: str) -> Receipt:
    """Put the secret in force once the person's application shows its code.

    Raises
    ------
    SignInError
        If the code is not the secret's.
    """

    def change(reader: Reader) -> Change:
        user = reader.record("users", {"user_id": user_id})
        if not authenticator_of(trial).check(user, None, code, at=trial.clock.now()).code:
            raise SignInError("one-time code: is not the one shown now; expected six digits; check the device's clock")
        return Change("confirm_totp", [Update("users", {"user_id": user_id}, {"totp_confirmed_at": reader.now})])

    return trial.commit(change, actor)


def reset_totp(trial: Trial, actor: Actor, user_id: str, *, reason: str) -> Receipt:
    """Forget a lost one-time-code device; the person sets up a new one."""
    values = {"totp_secret": None, "totp_confirmed_at": None}

    def change(reader: Reader) -> Change:
        ended = end_sessions(reader, user_id, "one-time code reset")
        return Change("reset_totp", [Update("users", {"user_id": user_id}, values), *ended])

    return trial.commit(change, actor, reason)


def grant_role(trial: Trial, actor: Actor, user_id: str, *, role: str, site: str | None = None) -> Receipt:
    """Give an account a role, at a site where the role is bound to one.

    Raises
    ------
    UnknownNameError
        For an unknown role.
    AccessError
        If the account has ended, a site is missing or superfluous, or masked and unmasked work would meet.
    MissingRecordError
        If there is no such site.
    """
    if role not in ROLES:
        raise UnknownNameError("role", role, ROLES)
    if role in SITE_ROLES and site is None:
        raise AccessError(f"role {role}: found no site; expected one; this role is granted site by site")
    if role not in SITE_ROLES and site is not None:
        raise AccessError(f"role {role}: found site {site}; expected none, because this role covers the whole trial")

    def change(reader: Reader) -> Change:
        _refuse_grant(reader, user_id, role)
        if site is not None and reader.find("sites", {"site": site}) is None:
            raise MissingRecordError(f"role {role}: found site {site!r}, which the trial has not; add the site first")
        values = {"user_id": user_id, "role": role, "site": site, "granted_by": actor.user_id}
        number = reader.count("grants") + 1
        values |= {"granted_at": reader.now, "grant_id": f"g{number:05d}"}
        return Change("grant_role", [Create("grants", values)], result=values["grant_id"])

    return trial.commit(change, actor)


def end_grant(trial: Trial, actor: Actor, grant_id: str, *, reason: str) -> Receipt:
    """Take a role away; it stops at the person's next request."""

    def change(reader: Reader) -> Change:
        return Change("end_grant", [_ended_grant(reader, actor, reader.record("grants", {"grant_id": grant_id}))])

    return trial.commit(change, actor, reason)


def grants_of(reader: Reader, user_id: str) -> tuple[Grant, ...]:
    """Roles that an account holds now."""
    return tuple(Grant(row["role"], row["site"]) for row in _open_grants(reader, user_id))


def access_list(reader: Reader, at: str | None = None) -> list[AccessEntry]:
    """Who may do what: every grant that was in force at an instant (UTC text; None: all, past ones included)."""
    names = {row["user_id"]: row["name"] for row in reader.records("users")}
    return _entries(reader.records("grants"), names, at)


def access_list_from_audit(reader: Reader, at: str) -> list[AccessEntry]:
    """The access list of an instant, rebuilt from the audit trail alone."""
    state = audit.replay(reader, at)
    names = {row["user_id"]: row["name"] for row in state["users"].values()}
    return _entries(list(state["grants"].values()), names, at)


def _entries(grants: list[Record], names: dict[str, str], at: str | None) -> list[AccessEntry]:
    entries = [
        AccessEntry(g["user_id"], names[g["user_id"]], g["role"], g.get("site"), g["granted_at"], g.get("ended_at"))
        for g in grants
    ]
    if at is not None:
        entries = [e for e in entries if e.granted_at <= at and (e.ended_at is None or e.ended_at > at)]
    return sorted(entries, key=lambda e: (e.user_id, e.role, e.site or "", e.granted_at))


def end_sessions(reader: Reader, user_id: str, why: str, *, but: str | None = None) -> list[Edit]:
    """Edits that end every open session of an account at once."""
    rows = reader.records("sessions", user_id=user_id, ended_at=None)
    values = {"ended_at": reader.now, "end_reason": why}
    return [Update("sessions", {"session_id": row["session_id"]}, values) for row in rows if row["session_id"] != but]


def failure_edits(reader: Reader, user: Record | None, kind: str, **details: Any) -> list[Edit]:
    """Edits after a wrong password or code: count it, lock the account at the limit, and tell the administrators."""
    if user is None:
        return [Event({"kind": kind, "account": "unknown"} | details)]
    failures = int(user["failures"] or 0) + 1
    values: dict[str, Any] = {"failures": failures, "last_failure_at": reader.now}
    edits: list[Edit] = [Event({"kind": kind, "account": user["user_id"], "failures": failures} | details)]
    if failures >= MAXIMUM_FAILURES and user["state"] == "active":
        values |= {"state": "locked", "locked_at": reader.now}
        text = f"account {user['user_id']} was locked after {failures} failed attempts"
        edits.append(notice(reader, role="administrator", kind="account_locked", text=text))
        edits += end_sessions(reader, user["user_id"], "account locked")
    return [Update("users", {"user_id": user["user_id"]}, values), *edits]


def notice(
    reader: Reader, *, kind: str, text: str, role: str | None = None, user_id: str | None = None,
    site: str | None = None,
) -> Create:  # fmt: skip
    """An edit that puts a message before a person, or before everybody with a role."""
    values = {"notice_id": reader.next_number("notices", "notice_id"), "kind": kind, "text": text, "role": role}
    return Create("notices", values | {"user_id": user_id, "site": site, "created_at": reader.now})


def _refuse_grant(reader: Reader, user_id: str, role: str) -> None:
    user = reader.record("users", {"user_id": user_id})
    if user["state"] == "ended":
        raise AccessError(f"user {user_id}: the account has ended; expected an open one; open a new account")
    held = {grant.role for grant in grants_of(reader, user_id)} | {role}
    if held & ALWAYS_MASKED and held & _UNMASKED:
        text = f"user {user_id}: found {', '.join(sorted(held))}; expected masked and unmasked work in different hands"
        raise AccessError(text)


def _open_grants(reader: Reader, user_id: str) -> list[Record]:
    return reader.records("grants", user_id=user_id, ended_at=None)


def _ended_grant(reader: Reader, actor: Actor, row: Record) -> Update:
    values = {"ended_at": reader.now, "ended_by": actor.user_id}
    return Update("grants", {"grant_id": row["grant_id"]}, values, row["record_version"])

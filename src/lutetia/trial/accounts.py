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
    TrialError,
    UnknownNameError,
)
from lutetia.trial import audit
from lutetia.trial.access import ALWAYS_MASKED, ROLES, SITE_ROLES
from lutetia.trial.authentication import Authenticator, PasswordAuthenticator
from lutetia.trial.keys import KeyRing
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Event, Grant, Receipt, Update
from lutetia.trial.store import Trial
from lutetia.trial.values import printed_name_key, require_printed_name

#: Failed attempts until an account is locked, and the waits between attempts from the third on (assumption).
MAXIMUM_FAILURES = 8
FIRST_WAIT_SECONDS = 2
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9.@_-]{0,59}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
#: What fails where nobody is signed in yet.
SIGN_IN = "sign_in"
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
    another_person: str | None = None,
) -> Receipt:  # fmt: skip
    """Open an account; its password must be changed at the first sign-in.

    Parameters
    ----------
    email
        Tells one person from another: who comes back under a new account has the address of the ended one.
    another_person
        How the administrator knows that this is not the person whose account has the same printed name.

    Raises
    ------
    DuplicateRecordError
        If the account name was ever used, an open account has this e-mail address (one account a person), or another
        person's has this printed name and nothing was said about it.
    InputError
        For a name or account name with letters that are not seen, another thing than an address, a short password.
    """
    require_account_name(user_id)
    require_printed_name(name, f"user {user_id}: name")
    email = email.strip()
    if email and not (_EMAIL.fullmatch(email) and email.isprintable()):
        raise InputError(
            f"user {user_id}: found the e-mail address {email!r}; expected one such as name@clinic.example"
        )
    hashed = authenticator_of(trial).hash(password)
    values = {
        "user_id": user_id, "name": name, "email": email, "state": "active", "password_hash": hashed,
        "failures": 0, "must_change": True,
    }  # fmt: skip

    def change(reader: Reader) -> Change:
        _refuse_second_account(reader, values, confirmed=bool(another_person))
        return Change("add_user", [Create("users", values)])

    return trial.commit(change, actor, another_person)


def _refuse_second_account(reader: Reader, new: dict[str, Any], *, confirmed: bool) -> None:
    for known in reader.records("users"):
        same, where = _same_person(known, new), f"account {known['user_id']}"
        if same and known["state"] != "ended":
            text = f"user {new['user_id']}: found the e-mail address at {where}; expected one account a person"
            raise DuplicateRecordError(f"{text}; grant the role to that account, or end it first")
        if not same and not confirmed and printed_name_key(known["name"]) == printed_name_key(new["name"]):
            text = f"user {new['user_id']}: found the printed name {known['name']} at {where}"
            raise DuplicateRecordError(f"{text}; expected one account a person; confirm that this is another one")


def _same_person(known: Record, other: Record) -> bool:
    """Whether two accounts are of one person, as their e-mail addresses tell."""
    first, second = ((u["email"] or "").strip().casefold() for u in (known, other))
    return known["user_id"] == other["user_id"] or (first != "" and first == second)


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
    """Close an account for good: its grants and sessions end with it.

    Raises
    ------
    AccessError
        For the last administrator.
    """

    def change(reader: Reader) -> Change:
        grants = _open_grants(reader, user_id)
        for row in grants:
            _refuse_last_administrator(reader, row)
        edits: list[Edit] = [Update("users", {"user_id": user_id}, {"state": "ended"})]
        edits += [_ended_grant(reader, actor, row) for row in grants]
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
    """Store a new password and end the account's other sessions; somebody else's choice is told to the person."""
    hashed = authenticator_of(trial).hash(password)

    def change(reader: Reader) -> Change:
        values = {"password_hash": hashed, "password_changed_at": reader.now, "must_change": must_change}
        edits = end_sessions(reader, user_id, "password changed", but=actor.session_id)
        if actor.user_id != user_id:
            edits += _told(reader, user_id, "password_reset", f"a new password was given to account {user_id}", actor)
        return Change("set_password", [Update("users", {"user_id": user_id}, values), *edits])

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
        proof = authenticator_of(trial).check(user, None, code, at=trial.clock.now())
        if not proof.code or user["totp_confirmed_at"] is not None:
            raise SignInError("one-time code: is not the one shown now; expected six digits; check the device's clock")
        values = {"totp_confirmed_at": reader.now, "totp_step": proof.code_step}  # this code is used: good once
        return Change("confirm_totp", [Update("users", {"user_id": user_id}, values)])

    return trial.commit(change, actor)


def reset_totp(trial: Trial, actor: Actor, user_id: str, *, reason: str) -> Receipt:
    """Forget a lost one-time-code device and tell the person, who sets up a new one."""
    values = {"totp_secret": None, "totp_confirmed_at": None}

    def change(reader: Reader) -> Change:
        edits = end_sessions(reader, user_id, "one-time code reset")
        edits += _told(reader, user_id, "codes_reset", f"the one-time codes of account {user_id} were reset", actor)
        return Change("reset_totp", [Update("users", {"user_id": user_id}, values), *edits])

    return trial.commit(change, actor, reason)


def grant_role(trial: Trial, actor: Actor, user_id: str, *, role: str, site: str | None = None) -> Receipt:
    """Give an account a role, at a site where the role is bound to one.

    Raises
    ------
    UnknownNameError
        For an unknown role.
    AccessError
        If the account is the actor's own or has ended, a site is missing or superfluous, or masked and unmasked work
        would meet in one person, be it years apart.
    MissingRecordError
        If there is no such site.
    """
    if role not in ROLES:
        raise UnknownNameError("role", role, ROLES)
    if user_id == actor.user_id:
        raise AccessError(f"role {role}: found your own account; expected another person's; ask another administrator")
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


def end_grant(trial: Trial, actor: Actor, grant_id: str, *, user_id: str, reason: str) -> Receipt:
    """Take a role away from a person; it stops at the next request.

    Raises
    ------
    MissingRecordError
        If the person never had this grant.
    TrialError
        If it has ended already: when it did is history.
    AccessError
        For the last administrator.
    """

    def change(reader: Reader) -> Change:
        row = reader.find("grants", {"grant_id": grant_id})
        if row is None or row["user_id"] != user_id:
            raise MissingRecordError(f"role {grant_id}: found none of user {user_id}; expected one from the list")
        if row["ended_at"] is not None:
            raise TrialError(f"role {row['role']}: was ended on {row['ended_at'][:10]} already; reload the page")
        _refuse_last_administrator(reader, row)
        return Change("end_grant", [_ended_grant(reader, actor, row)])

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
    """Edits after a wrong password or code: count it, lock the account at the limit, and tell the administrators.

    Open sessions end where the failures came from inside one (kind "signature"): anybody can fail to sign in under a
    name that he knows, and must not throw its owner out by that.
    """
    if user is None:
        return [Event({"kind": kind, "account": "unknown"} | details)]
    failures = int(user["failures"] or 0) + 1
    values: dict[str, Any] = {"failures": failures, "last_failure_at": reader.now}
    edits: list[Edit] = [Event({"kind": kind, "account": user["user_id"], "failures": failures} | details)]
    if failures >= MAXIMUM_FAILURES and user["state"] == "active":
        values |= {"state": "locked", "locked_at": reader.now}
        text = f"account {user['user_id']} was locked after {failures} failed attempts"
        edits.append(notice(reader, role="administrator", kind="account_locked", text=text))
        edits += end_sessions(reader, user["user_id"], "account locked") if kind != SIGN_IN else []
    return [Update("users", {"user_id": user["user_id"]}, values), *edits]


def notice(
    reader: Reader, *, kind: str, text: str, role: str | None = None, user_id: str | None = None,
    site: str | None = None,
) -> Create:  # fmt: skip
    """An edit that puts a message before a person, before everybody with a role, or before both."""
    values = {"notice_id": reader.next_number("notices", "notice_id"), "kind": kind, "text": text, "role": role}
    return Create("notices", values | {"user_id": user_id, "site": site, "created_at": reader.now})


def _refuse_grant(reader: Reader, user_id: str, role: str) -> None:
    user = reader.record("users", {"user_id": user_id})
    if user["state"] == "ended":
        raise AccessError(f"user {user_id}: the account has ended; expected an open one; open a new account")
    persons = {row["user_id"] for row in reader.records("users") if _same_person(row, user)}
    held = {row["role"] for row in reader.records("grants") if row["user_id"] in persons} | {role}
    if held & ALWAYS_MASKED and held & _UNMASKED:
        text = f"user {user_id}: found {', '.join(sorted(held))}, ended roles included"
        raise AccessError(f"{text}; expected masked and unmasked work in different hands, at any time")


def _refuse_last_administrator(reader: Reader, ending: Record) -> None:
    if ending["role"] != "administrator":
        return
    others = {row["user_id"] for row in reader.records("grants", role="administrator", ended_at=None)}
    active = {row["user_id"] for row in reader.records("users", state="active")}
    if not (others - {ending["user_id"]}) & active:
        text = f"user {ending['user_id']}: is the last administrator; expected another one who can sign in"
        raise AccessError(f"{text}; open that account first")


def _told(reader: Reader, user_id: str, kind: str, text: str, actor: Actor) -> list[Edit]:
    """A notice to a person and to the data managers of what an administrator did to the person's way in."""
    return [notice(reader, kind=kind, text=f"{text} by {actor.name}", user_id=user_id, role="data_manager")]


def _open_grants(reader: Reader, user_id: str) -> list[Record]:
    return reader.records("grants", user_id=user_id, ended_at=None)


def _ended_grant(reader: Reader, actor: Actor, row: Record) -> Update:
    values = {"ended_at": reader.now, "ended_by": actor.user_id}
    return Update("grants", {"grant_id": row["grant_id"]}, values, row["record_version"])

"""Accounts and roles as the administrator keeps them; every line ends in `trial.accounts`, which writes them."""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.errors import AccessError, InputError
from lutetia.trial import Actor, Receipt, Trial, access, accounts, sessions
from lutetia.workflow.edits import required_text


@dataclass(frozen=True, slots=True)
class AddUser:
    """A new account; the person changes the password at the first sign-in.

    Parameters
    ----------
    another_person, another_reason
        Said where somebody else has an account with the same printed name: that it is another person, and how the
        administrator knows.
    """

    user_id: str
    name: str
    email: str
    password: str
    another_person: bool = False
    another_reason: str = ""


@dataclass(frozen=True, slots=True)
class GrantRole:
    """A role, at a site where the role is bound to one."""

    user_id: str
    role: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class EndGrant:
    """A role of a person ends."""

    user_id: str
    grant_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AccountAction:
    """An account and why something happens to it."""

    user_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResetPassword:
    """A first password again, after the person proved who they are outside the system."""

    user_id: str
    password: str


def add_user(trial: Trial, actor: Actor, command: AddUser) -> Receipt:
    """Open an account; a name that was ever used is refused, and a second account of one person too."""
    access.require(actor, "manage_users")
    email = required_text(command.email, "e-mail")
    another = None
    if command.another_person:
        another = required_text(command.another_reason, "how you know that it is another person")
    return accounts.add_user(
        trial, actor, user_id=command.user_id, name=command.name.strip(), email=email, password=command.password,
        another_person=another,
    )  # fmt: skip


def grant_role(trial: Trial, actor: Actor, command: GrantRole) -> Receipt:
    """Give a role; masked and unmasked work never meet in one person."""
    access.require(actor, "manage_users")
    return accounts.grant_role(trial, actor, command.user_id, role=command.role, site=command.site)


def end_grant(trial: Trial, actor: Actor, command: EndGrant) -> Receipt:
    """Take a role away; it stops at the person's next request."""
    access.require(actor, "manage_users")
    reason = required_text(command.reason, "reason")
    return accounts.end_grant(trial, actor, command.grant_id, user_id=command.user_id, reason=reason)


def end_user(trial: Trial, actor: Actor, command: AccountAction) -> Receipt:
    """Close an account for good; it is never deleted and its name never used again."""
    access.require(actor, "manage_users")
    return accounts.end_user(trial, actor, command.user_id, reason=required_text(command.reason, "reason"))


def unlock_user(trial: Trial, actor: Actor, command: AccountAction) -> Receipt:
    """Open an account that was locked after failed attempts."""
    access.require(actor, "manage_users")
    return accounts.unlock_user(trial, actor, command.user_id, reason=required_text(command.reason, "reason"))


def reset_password(trial: Trial, actor: Actor, command: ResetPassword) -> Receipt:
    """Give a first password again; it must be changed at the next sign-in, and open sessions end.

    Raises
    ------
    AccessError
        For the own account: the own password is changed with the present one.
    """
    access.require(actor, "manage_users")
    _refuse_own(actor, command.user_id)
    return accounts.set_password(trial, actor, command.user_id, password=command.password, must_change=True)


def reset_second_factor(trial: Trial, actor: Actor, command: AccountAction) -> Receipt:
    """Forget the one-time-code device of a person who lost it.

    Raises
    ------
    AccessError
        For the own account: whoever sits down at an open session could replace the device.
    """
    access.require(actor, "manage_users")
    _refuse_own(actor, command.user_id)
    return accounts.reset_totp(trial, actor, command.user_id, reason=required_text(command.reason, "reason"))


def end_sessions(trial: Trial, actor: Actor, command: AccountAction) -> int:
    """End every open session of a person at once, such as on a lost or shared computer; returns how many.

    Raises
    ------
    InputError
        If none is open.
    """
    access.require(actor, "manage_users")
    reason = required_text(command.reason, "reason")
    with trial.read() as reader:
        rows = list(reader.records("sessions", user_id=command.user_id, ended_at=None))
    if not rows:
        raise InputError(f"user {command.user_id}: found no open session; nothing was ended")
    for row in rows:
        sessions.revoke(trial, actor, row["session_id"], reason=reason)
    return len(rows)


def _refuse_own(actor: Actor, user_id: str) -> None:
    if user_id == actor.user_id:
        text = f"user {user_id}: found your own account; expected another person's; ask another administrator"
        raise AccessError(f"{text}, or use  lutetia trial DATA --admin  at the server")

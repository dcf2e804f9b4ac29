"""Accounts and roles as the administrator keeps them; every line ends in `trial.accounts`, which writes them."""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.trial import Actor, Receipt, Trial, access, accounts
from lutetia.workflow.edits import required_text


@dataclass(frozen=True, slots=True)
class AddUser:
    """A new account; the person changes the password at the first sign-in."""

    user_id: str
    name: str
    password: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class GrantRole:
    """A role, at a site where the role is bound to one."""

    user_id: str
    role: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class EndGrant:
    """A role ends."""

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
    """Open an account; a name that was ever used is refused."""
    access.require(actor, "manage_users")
    return accounts.add_user(
        trial, actor, user_id=command.user_id, name=command.name, email=command.email, password=command.password
    )


def grant_role(trial: Trial, actor: Actor, command: GrantRole) -> Receipt:
    """Give a role; masked and unmasked work never meet in one person."""
    access.require(actor, "manage_users")
    return accounts.grant_role(trial, actor, command.user_id, role=command.role, site=command.site)


def end_grant(trial: Trial, actor: Actor, command: EndGrant) -> Receipt:
    """Take a role away; it stops at the person's next request."""
    access.require(actor, "manage_users")
    return accounts.end_grant(trial, actor, command.grant_id, reason=required_text(command.reason, "reason"))


def end_user(trial: Trial, actor: Actor, command: AccountAction) -> Receipt:
    """Close an account for good; it is never deleted and its name never used again."""
    access.require(actor, "manage_users")
    return accounts.end_user(trial, actor, command.user_id, reason=required_text(command.reason, "reason"))


def unlock_user(trial: Trial, actor: Actor, command: AccountAction) -> Receipt:
    """Open an account that was locked after failed attempts."""
    access.require(actor, "manage_users")
    return accounts.unlock_user(trial, actor, command.user_id, reason=required_text(command.reason, "reason"))


def reset_password(trial: Trial, actor: Actor, command: ResetPassword) -> Receipt:
    """Give a first password again; it must be changed at the next sign-in, and open sessions end."""
    access.require(actor, "manage_users")
    return accounts.set_password(trial, actor, command.user_id, password=command.password, must_change=True)


def reset_second_factor(trial: Trial, actor: Actor, command: AccountAction) -> Receipt:
    """Forget the one-time-code device of a person who lost it."""
    access.require(actor, "manage_users")
    return accounts.reset_totp(trial, actor, command.user_id, reason=required_text(command.reason, "reason"))

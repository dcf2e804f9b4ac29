"""Sessions for programs: sign in for a token, see who one is, sign out."""

from __future__ import annotations

from pydantic import BaseModel, Field
from starlette.responses import Response

from lutetia.trial import sessions
from lutetia.web.api.models import Given
from lutetia.web.context import Page
from lutetia.web.session import address_of


class SignIn(Given):
    """What a person signs in with."""

    user: str = Field(max_length=200)
    password: str = Field(max_length=1000)
    code: str | None = Field(default=None, max_length=20)


class Token(BaseModel):
    """Send it as `Authorization: Bearer TOKEN`."""

    token: str
    user_id: str
    must_change_password: bool
    second_factor_missing: bool


class GrantedRole(BaseModel):
    """A role, at a site or everywhere."""

    role: str
    site: str | None


class Me(BaseModel):
    """The person behind the token."""

    user_id: str
    name: str
    second_factor: bool
    grants: list[GrantedRole]


def sign_in(page: Page, given: SignIn) -> Token:
    """Open a session; after several failures the account is locked."""
    address = address_of(page.request)
    page.services.tries.take(f"address {address}", f"user {given.user.lower()}")
    opened = sessions.sign_in(page.trial, given.user, given.password, code=given.code or None, address=address)
    return Token(
        token=opened.token, user_id=opened.actor.user_id, must_change_password=opened.must_change_password,
        second_factor_missing=opened.second_factor_missing,
    )  # fmt: skip


def me(page: Page) -> Me:
    """Who one is and which roles one holds now."""
    actor = page.actor
    grants = [GrantedRole(role=grant.role, site=grant.site) for grant in actor.grants]
    return Me(user_id=actor.user_id, name=actor.name, second_factor=actor.second_factor, grants=grants)


def sign_out(page: Page) -> Response:
    """End the session."""
    sessions.sign_out(page.trial, page.actor)
    return Response(status_code=204)

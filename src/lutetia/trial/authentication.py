"""Passwords and one-time codes: how they are hashed, sealed and checked.

argon2id with 64 MiB, 3 passes and 4 lanes (the defaults of argon2-cffi, the second choice of RFC 9106 §4); a hash made
with other parameters is renewed at the next correct sign-in. One-time codes follow RFC 6238 (30 s, 6 digits, one step
to either side). Hashes and secrets are stored sealed with a key file, so that neither the audit trail nor an export
shows them. Not here: counting failures and opening sessions (`accounts`, `sessions`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from lutetia.errors import InputError
from lutetia.trial.keys import KeyRing, seal, unseal
from lutetia.trial.reader import Record

MINIMUM_LENGTH = 12
_TOTP_KEY, _PASSWORD_KEY = "totp", "passwords"
_ISSUER = "Lutetia"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was right of what a person gave; `new_hash` replaces a password hash with outdated parameters.

    `code_step` is the 30-second step whose code was used; a step is good once.
    """

    password: bool
    code: bool
    new_hash: str | None = None
    code_step: int | None = None


class Authenticator(Protocol):
    """Decides whether a person is who they say; substitutes serve demonstration databases only."""

    def hash(self, password: str) -> str:
        """The form in which a password is stored."""
        ...

    def check(self, user: Record, password: str | None, code: str | None, *, at: datetime) -> Proof:
        """Compare a password and a one-time code with a user's record."""
        ...

    def new_secret(self) -> tuple[str, str]:
        """A fresh one-time-code secret: plain (to show once) and sealed (to store)."""
        ...


@dataclass(frozen=True, slots=True)
class PasswordAuthenticator:
    """argon2id and TOTP, with the TOTP secrets sealed by the trial's key file."""

    keys: KeyRing
    hasher: PasswordHasher = field(default_factory=PasswordHasher)

    def hash(self, password: str) -> str:
        """argon2id hash of a password, sealed.

        Raises
        ------
        InputError
            For a password below the minimum length.
        """
        if len(password) < MINIMUM_LENGTH:
            raise InputError(f"password: found {len(password)} characters; expected at least {MINIMUM_LENGTH}")
        return self._sealed(self.hasher.hash(password))

    def plain_hash(self, stored: str) -> str:
        """The argon2id text inside a stored hash (those of demonstrations are not sealed)."""
        if stored.startswith("$argon2"):
            return stored
        return unseal(self.keys.existing(_PASSWORD_KEY), stored, context="password").decode()

    def check(self, user: Record, password: str | None, code: str | None, *, at: datetime) -> Proof:
        """Compare a password and a one-time code with a user's record; both take the same time for unknown users."""
        known = user.get("password_hash")
        stored = self.plain_hash(known) if known else _nobody(self)
        right = password is not None and self._password(stored, password) and bool(known)
        renewed = None
        if right and password is not None and self.hasher.check_needs_rehash(stored):
            renewed = self._sealed(self.hasher.hash(password))
        step = self._code_step(user, code, at) if code else None
        return Proof(right, step is not None, renewed, step)

    def new_secret(self) -> tuple[str, str]:
        """A fresh secret in base32, plain and sealed."""
        plain = pyotp.random_base32()
        return plain, seal(self.keys.key(_TOTP_KEY), plain.encode(), context="totp")

    def _sealed(self, hashed: str) -> str:
        return seal(self.keys.key(_PASSWORD_KEY), hashed.encode(), context="password")

    def _password(self, stored: str, password: str) -> bool:
        try:
            return self.hasher.verify(stored, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    def _code_step(self, user: Record, code: str, at: datetime) -> int | None:
        sealed = user.get("totp_secret")
        if not sealed or not code.isdigit():
            return None
        totp = pyotp.TOTP(unseal(self.keys.existing(_TOTP_KEY), sealed, context="totp").decode())
        now = totp.timecode(at)
        return next((step for step in (now, now - 1, now + 1) if totp.generate_otp(step) == code), None)


@dataclass(frozen=True, slots=True)
class DemonstrationAuthenticator:
    """Printed passwords, hashed at little cost, and no one-time code asked; for demonstration databases only."""

    def hash(self, password: str) -> str:
        """argon2id hash with the least parameters."""
        return _CHEAP.hash(password)

    def check(self, user: Record, password: str | None, code: str | None, *, at: datetime) -> Proof:
        """Compare the password; the code counts as right."""
        stored = user.get("password_hash")
        if not stored or password is None:
            return Proof(False, True)
        try:
            return Proof(_CHEAP.verify(stored, password), True)
        except (VerifyMismatchError, InvalidHashError):
            return Proof(False, True)

    def new_secret(self) -> tuple[str, str]:
        """A secret that is stored as it is, since nobody asks for its codes."""
        plain = pyotp.random_base32()
        return plain, plain


_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_NOBODY: dict[int, str] = {}


def _nobody(authenticator: PasswordAuthenticator) -> str:
    """A hash that no password has, with the same cost, so that unknown accounts take as long as known ones."""
    hasher = authenticator.hasher
    cost = hasher.memory_cost * hasher.time_cost
    if cost not in _NOBODY:
        _NOBODY[cost] = hasher.hash("no password has this hash")
    return _NOBODY[cost]


def provisioning_uri(user_id: str, secret: str) -> str:
    """The ``otpauth://`` text that an authenticator application reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=user_id, issuer_name=_ISSUER)

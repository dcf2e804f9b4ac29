"""What a person who starts the server may choose. There is no setting for the audit trail or for rights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of one running server.

    Parameters
    ----------
    hosts
        Names under which the server may be addressed (`Host` header).
    behind_tls
        Whether a proxy ends TLS in front of the server; cookies are then `Secure` and bound to the host.
    upload_bytes, form_bytes
        Largest body of a request with files, and of any other.
    stall_seconds
        How long a body may stand still before the request is given up.
    sign_in_tries
        Tries to sign in (or to unlock) per minute and address, and per minute and user name.
    language
        A key of `lutetia.web.texts.LANGUAGES`.
    """

    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    behind_tls: bool = False
    upload_bytes: int = 512 * 1024 * 1024
    form_bytes: int = 1024 * 1024
    stall_seconds: float = 30.0
    sign_in_tries: int = 10
    language: str = "en"

    @property
    def cookie(self) -> str:
        """Name of the session cookie; the prefix makes browsers refuse it without TLS or for another host."""
        return "__Host-lutetia" if self.behind_tls else "lutetia"

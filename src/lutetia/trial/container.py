"""An encrypted stream: chunks of AES-256-GCM, numbered and closed, under a header that anybody may read.

The key comes from a key file or, by scrypt, from a passphrase. Each chunk is bound to the header, its number and
whether it is the last one, so that an altered, reordered or cut file does not open.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lutetia.errors import InputError, StorageError
from lutetia.trial.keys import passphrase_key
from lutetia.trial.schema import canonical

_CHUNK = 1 << 22
_TAG = 16
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens a container: a 256-bit key, or a passphrase."""

    key: bytes | None = None
    passphrase: str | None = None

    def derived(self, salt: bytes) -> bytes:
        """The encryption key of one container.

        Raises
        ------
        InputError
            If neither or both were given.
        """
        if (self.key is None) == (self.passphrase is None):
            raise InputError("encryption: expected a key file or a passphrase, one of them; give --key or --passphrase")
        if self.key is not None:
            return hashlib.sha256(b"lutetia container" + salt + self.key).digest()
        return passphrase_key(str(self.passphrase), salt)


@dataclass(slots=True)
class Sealing:
    """A file to write to; call `finish` at the end."""

    target: BinaryIO
    cipher: AESGCM
    bound: bytes
    waiting: bytearray = field(default_factory=bytearray)
    number: int = 0

    def write(self, content: bytes) -> int:
        """Take bytes; whole chunks go out at once."""
        self.waiting += content
        while len(self.waiting) > _CHUNK:
            self._chunk(bytes(self.waiting[:_CHUNK]), last=False)
            del self.waiting[:_CHUNK]
        return len(content)

    def finish(self) -> None:
        """Write the last chunk."""
        self._chunk(bytes(self.waiting), last=True)

    def _chunk(self, content: bytes, *, last: bool) -> None:
        sealed = self.cipher.encrypt(_nonce(self.number), content, self.bound + bytes([last]))
        self.target.write(sealed)
        self.number += 1


@dataclass(slots=True)
class Opening:
    """A file to read from; refuses what was altered or cut."""

    source: BinaryIO
    cipher: AESGCM
    bound: bytes
    ready: bytearray = field(default_factory=bytearray)
    number: int = 0
    ended: bool = False
    following: bytes | None = None

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; all when negative.

        Raises
        ------
        StorageError
            For a wrong key or passphrase, an altered or a cut file.
        """
        while not self.ended and (size < 0 or len(self.ready) < size):
            self._next()
        taken = bytes(self.ready if size < 0 else self.ready[:size])
        del self.ready[: len(taken)]
        return taken

    def _next(self) -> None:
        content = self.source.read(_CHUNK + _TAG) if self.following is None else self.following
        self.following = self.source.read(_CHUNK + _TAG)
        self.ended = not self.following
        try:
            self.ready += self.cipher.decrypt(_nonce(self.number), content, self.bound + bytes([self.ended]))
        except InvalidTag as error:
            text = "container: does not open; expected the right key file or passphrase, and an unaltered, whole file"
            raise StorageError(text) from error
        self.number += 1


def sealing(target: BinaryIO, secret: Secret, header: dict[str, Any]) -> Sealing:
    """Begin a container with a readable header."""
    salt = secrets.token_bytes(16)
    line = canonical(header | {"salt": salt.hex(), "secret": "key" if secret.key else "passphrase"}).encode() + b"\n"
    target.write(line)
    return Sealing(target, AESGCM(secret.derived(salt)), hashlib.sha256(line).digest())


def opening(source: BinaryIO, secret: Secret, *, expected_format: str) -> tuple[dict[str, Any], Opening]:
    """Header of a container and its content.

    Raises
    ------
    InputError
        For another kind of file, or the other kind of secret.
    """
    line = source.readline(_LONGEST_HEADER)
    header = read_header(line, expected_format=expected_format)
    if (header["secret"] == "key") != (secret.key is not None):
        raise InputError(f"container: found it sealed with a {header['secret']}; give that")
    cipher = AESGCM(secret.derived(bytes.fromhex(header["salt"])))
    return header, Opening(source, cipher, hashlib.sha256(line).digest())


def read_header(line: bytes, *, expected_format: str) -> dict[str, Any]:
    """The readable header of a container.

    Raises
    ------
    InputError
        If it is none of this format.
    """
    try:
        header = json.loads(line)
        if header["format"] != expected_format or header["secret"] not in ("key", "passphrase"):
            raise ValueError(header["format"])
        bytes.fromhex(header["salt"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"container: found another kind of file; expected {expected_format}; give a backup") from error
    return dict(header)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")

"""Key files of a trial, and sealing with them: AES-256 in GCM with a random 96-bit nonce.

A key lies in ``keys/NAME.key`` (mode 0600, never in the database, an export or a backup of the database). Who has the
database without the keys reads no one-time-code secret, no identity and no randomisation list.
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from lutetia.errors import InputError, StorageError

_NONCE = 12


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The folder of a trial's key files."""

    folder: Path

    def key(self, name: str) -> bytes:
        """The 256-bit key of this name, made at its first use.

        Raises
        ------
        StorageError
            If the file cannot be read or made, or holds something else.
        """
        path = self.folder / f"{name}.key"
        try:
            if not path.exists():
                return _make(path)
            return read_key(path)
        except OSError as error:
            raise StorageError(f"key file {path.name}: {error.strerror}; restore the folder keys/") from error

    def existing(self, name: str) -> bytes:
        """The key of this name, to open what was sealed with it.

        Raises
        ------
        StorageError
            If the file is missing: a new key would open nothing.
        """
        if not (self.folder / f"{name}.key").exists():
            text = (
                f"key file {name}.key: is missing; expected the trial's own; copy the folder keys/ from where the trial"
            )
            raise StorageError(f"{text} was, or reset the accounts with  lutetia trial DATA --admin")
        return self.key(name)


def _make(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = secrets.token_bytes(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_key(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def new_key_file(path: Path) -> bytes:
    """Make a new key file; refuses to replace one.

    Raises
    ------
    StorageError
        If the file exists or cannot be written.
    """
    if path.exists():
        raise StorageError(f"{path}: exists; expected a new key file; choose another name")
    try:
        return _make(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def read_key(path: Path) -> bytes:
    """The key in a key file.

    Raises
    ------
    StorageError
        If it holds no 256-bit key.
    """
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise StorageError(f"key file {path.name}: holds no 256-bit key; expected the file that Lutetia wrote")
    return key


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """A 256-bit key from a passphrase by scrypt (N = 2¹⁷, r = 8, p = 1; assumption: some 0.4 s a guess)."""
    return Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(passphrase.encode())


def seal(key: bytes, content: bytes, *, context: str) -> str:
    """Encrypted and authenticated content as base64 text; it opens only with the same key and context."""
    nonce = secrets.token_bytes(_NONCE)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, context.encode())).decode()


def unseal(key: bytes, text: str, *, context: str) -> bytes:
    """Content of a sealed text.

    Raises
    ------
    InputError
        If the key or context is another one, or the text was altered.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], context.encode())
    except (InvalidTag, ValueError) as error:
        raise InputError(f"sealed {context}: does not open; expected the key it was sealed with") from error

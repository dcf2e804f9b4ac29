"""Concealment: entries of the list and the seed are encrypted, with a key that is a file outside the database.

AES-256-GCM; every entry is bound to its place (scheme, stratum, position), so that entries cannot be exchanged, and all
entries have one length, so that the length of an arm's name shows nothing. What this does not do: whoever holds the
database and the key file can open entries; the key file belongs to the server's account alone.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lutetia.errors import InputError, StorageError

KEY_FILE = "randomisation.key"
_KEY_BYTES, _NONCE_BYTES, _WIDTH = 32, 12, 128


def make_key(folder: Path) -> bytes:
    """A new key in the trial's `keys` folder, readable by the owner only; an existing key stays and is returned.

    Raises
    ------
    StorageError
        If the file cannot be written or read.
    """
    path = folder / KEY_FILE
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_bytes(_KEY_BYTES).hex() + "\n")
    except FileExistsError:
        return read_key(folder)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); check the folder's rights") from error
    return read_key(folder)


def read_key(folder: Path) -> bytes:
    """The key of the trial's list.

    Raises
    ------
    StorageError
        If the file is missing or holds something else.
    """
    path = folder / KEY_FILE
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); without it nobody can be randomised; restore the key"
        raise StorageError(text) from error
    except ValueError as error:
        raise StorageError(f"{path}: is not a key in hexadecimal; restore the key from its backup") from error
    if len(key) != _KEY_BYTES:
        raise StorageError(f"{path}: found {len(key)} bytes; expected {_KEY_BYTES}; restore the key from its backup")
    return key


def seal(key: bytes, text: str, place: str) -> str:
    """Encrypted text of fixed length that opens at `place` only."""
    padded = text.encode("utf-8").ljust(_WIDTH)
    if len(padded) > _WIDTH:
        raise InputError(f"randomisation: found a name of {len(padded)} bytes; expected {_WIDTH} at most")
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, padded, place.encode("utf-8"))).decode("ascii")


def unseal(key: bytes, sealed: str, place: str) -> str:
    """The text that was sealed for this place.

    Raises
    ------
    StorageError
        If the entry was altered or moved, or the key is another one.
    """
    try:
        raw = base64.b64decode(sealed, validate=True)
        plain = AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode("utf-8"))
    except (InvalidTag, ValueError) as error:
        text = f"randomisation list: the entry {place} does not open; it was altered, or the key is another trial's"
        raise StorageError(f"{text}; restore list and key from the last backup") from error
    return plain.decode("utf-8").rstrip()

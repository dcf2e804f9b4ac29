"""Concealment: entries of the list and the seed are encrypted, with a key that is a file outside the database.

Every entry is bound to its place (scheme, stratum, position), so that entries cannot be exchanged, and all entries have
one length, so that the length of an arm's name shows nothing. What this does not do: whoever holds the database and the
key file can open entries; the key file belongs to the server's account alone.
"""

from __future__ import annotations

from pathlib import Path

from lutetia.errors import InputError, StorageError
from lutetia.trial import keys

NAME = "randomisation"
_WIDTH = 128


def make_key(folder: Path) -> bytes:
    """The key of the trial's list in its `keys` folder, made if there is none."""
    return keys.KeyRing(folder).key(NAME)


def read_key(folder: Path) -> bytes:
    """The existing key of the trial's list.

    Raises
    ------
    StorageError
        If the file is missing or holds something else.
    """
    path = folder / f"{NAME}.key"
    try:
        return keys.read_key(path)
    except OSError as error:
        text = f"key file {path.name}: cannot be read ({error.strerror}); without it nobody can be randomised"
        raise StorageError(f"{text}; generate a list, or restore the folder keys/") from error


def seal_entry(key: bytes, text: str, place: str) -> str:
    """Encrypted text of fixed length that opens at `place` only."""
    padded = text.encode("utf-8").ljust(_WIDTH)
    if len(padded) > _WIDTH:
        raise InputError(f"randomisation: found a name of {len(padded)} bytes; expected {_WIDTH} at most")
    return keys.seal(key, padded, context=place)


def open_entry(key: bytes, sealed: str, place: str) -> str:
    """The text that was sealed for this place.

    Raises
    ------
    StorageError
        If the entry was altered or moved, or the key is another one.
    """
    try:
        return keys.unseal(key, sealed, context=place).decode("utf-8").rstrip()
    except InputError as error:
        text = f"randomisation list: the entry {place} does not open; it was altered, or the key is another trial's"
        raise StorageError(f"{text}; restore list and key from the last backup") from error

"""Files of a trial by their content: every blob lies under its SHA-256 and is never changed.

Here: put, get, check. A blob counts once a committed record names its hash; one without a record is harmless.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lutetia.errors import InputError, StorageError


@dataclass(frozen=True, slots=True)
class FileStore:
    """Blobs under ``folder/ab/abcdef…``."""

    folder: Path

    def put(self, content: bytes) -> str:
        """Store a blob, whole or not at all, and return its SHA-256.

        Raises
        ------
        StorageError
            If the disk cannot take it.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, content)
        except OSError as error:
            text = f"file store: {error.strerror}; nothing was stored; free space on the disk and repeat the action"
            raise StorageError(text) from error
        return digest

    def get(self, digest: str) -> bytes:
        """Content of a blob, checked against its name.

        Raises
        ------
        StorageError
            If it is missing or was altered.
        """
        try:
            content = self._path(digest).read_bytes()
        except OSError as error:
            raise StorageError(f"file {digest}: cannot be read ({error.strerror}); restore the last backup") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StorageError(f"file {digest}: its content was altered; restore the last backup")
        return content

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self._path(digest).is_file()

    def digests(self) -> tuple[str, ...]:
        """All hashes, sorted."""
        return tuple(sorted(p.name for p in self.folder.glob("??/*") if len(p.name) == 64))

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise InputError(f"file: found {digest!r}; expected a SHA-256 of 64 hexadecimal digits")
        return self.folder / digest[:2] / digest


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to write to that only its owner may read; raises `FileExistsError` where there is one."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        yield file


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside the place, force to the disk, move into place: after a crash the blob is whole or absent."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    os.replace(file.name, path)
    if os.name == "posix":  # the folder's entry too; Windows has no such call
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

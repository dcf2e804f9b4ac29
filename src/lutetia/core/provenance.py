"""Who computed a number and from what: software version and hashes of the inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from lutetia import __version__


def software() -> dict[str, str]:
    """Name and version of this program, as written into every result."""
    return {"name": "lutetia", "version": __version__}


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over the sorted lines ``hash  name`` of files, names relative to `root` with forward slashes."""
    lines = sorted(f"{sha256_of_file(p)}  {_name(p, root)}" for p in set(paths))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _name(path: Path, root: Path) -> str:
    resolved, base = path.resolve(), root.resolve()
    return resolved.relative_to(base).as_posix() if resolved.is_relative_to(base) else resolved.name

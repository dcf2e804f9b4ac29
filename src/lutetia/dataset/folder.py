"""Write and read the exchange folder: CSV tables, `study.toml` and `snapshot.json` with the hash of every file.

A spreadsheet computes text that begins like a formula. In the tables such a cell begins with ' instead, which `escaped`
writes and `restored` takes away; numbers such as -1.5 stay as they are. Only the owner reads folder and files, since
they hold every arm. Not here: checks of single values (they belong to the reader of a table) and databases.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.dataset.tables import TABLES
from lutetia.errors import InputError, OutputError, UnknownNameError

Row = dict[str, str]
SNAPSHOT, STUDY = "snapshot.json", "study.toml"
SURPLUS = "(cells beyond the header)"
#: What `snapshot.json` says of cells, for people who open the tables elsewhere.
CELLS = "text that a spreadsheet would take for a formula begins with ' ; an import takes that away"
_SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"'*[{re.escape(_SIGNS)}]")
_FIRST = frozenset(_SIGNS + "'")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Tables by name (rows of text), the study description, the snapshot record and its hash."""

    tables: Mapping[str, tuple[Row, ...]]
    study: Mapping[str, Any]
    snapshot: Mapping[str, Any]
    snapshot_sha256: str


def escaped(text: str) -> str:
    """A cell that no spreadsheet computes: a ' before what would be a formula, numbers as they are."""
    risky = text[:1] in _FIRST and _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if risky else text


def restored(cell: str) -> str:
    """The text of a cell that `escaped` wrote."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def csv_bytes(name: str, rows: Sequence[Row]) -> bytes:
    """A table as CSV (RFC 4180, UTF-8); columns of the contract first, then further ones.

    Raises
    ------
    UnknownNameError
        For a table that the contract does not have.
    InputError
        If two rows share a key, or a row lacks one.
    """
    if name not in TABLES:
        raise UnknownNameError("table", name, TABLES)
    _check_keys(name, rows)
    extra = sorted({column for row in rows for column in row} - set(TABLES[name].names))
    text = io.StringIO(newline="")
    columns = (*TABLES[name].names, *extra)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(escaped(column) for column in columns)
    writer.writerows([escaped(row.get(column, "")) for column in columns] for row in rows)
    return text.getvalue().encode("utf-8")


def write_dataset(
    folder: Path, tables: Mapping[str, Sequence[Row]], *, files: Mapping[str, bytes], snapshot: Mapping[str, Any]
) -> str:
    """Write every table and further files, all or none; a missing table becomes an empty one.

    Parameters
    ----------
    folder
        Must not exist, or hold an earlier dataset (a `snapshot.json`), which is replaced.
    tables
        Rows by table.
    files
        Further files by name, `study.toml` among them.
    snapshot
        Keys of `snapshot.json` besides `cells`, `files` and `snapshot_sha256`.

    Returns
    -------
    The snapshot's SHA-256.

    Raises
    ------
    OutputError
        If the folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / SNAPSHOT).is_file() or not any(folder.iterdir()))):
        raise OutputError(f"{folder}: is not an empty folder or an earlier dataset; choose another one with --out")
    contents = dict(files) | {f"{name}.csv": csv_bytes(name, tables.get(name, ())) for name in TABLES}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    record = dict(snapshot) | {"cells": CELLS}
    record["files"] = [
        {"name": n, "rows": len(tables.get(n.removesuffix(".csv"), ())) if n.endswith(".csv") else None, "sha256": h}
        for n, h in sorted(hashes.items())
    ]
    digest = snapshot_hash(hashes)
    record["snapshot_sha256"] = digest
    contents[SNAPSHOT] = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
    _replace_folder(folder, contents)
    return digest


def snapshot_hash(hashes: Mapping[str, str]) -> str:
    """SHA-256 of the sorted lines "sha256  name", `snapshot.json` itself excluded."""
    lines = sorted(f"{digest}  {name}" for name, digest in hashes.items() if name != SNAPSHOT)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_dataset(folder: Path) -> Dataset:
    """Read a folder whose files are those of its snapshot.

    Raises
    ------
    InputError
        If `study.toml` or the snapshot is missing, a file was changed after the snapshot, or a table lacks a column.
    """
    for name in (STUDY, SNAPSHOT):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: {name} is missing; give a folder that lutetia simulate or an export wrote")
    try:
        record = json.loads((folder / SNAPSHOT).read_text(encoding="utf-8"))
        study = tomllib.loads((folder / STUDY).read_text(encoding="utf-8"))
        expected = {entry["name"]: entry["sha256"] for entry in record["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: snapshot.json or study.toml cannot be read ({error})") from error
    contents = {name: _content(folder / Path(name).name, digest) for name, digest in expected.items()}
    tables = {name: _rows(name, contents.get(f"{name}.csv")) for name in TABLES}
    return Dataset(tables, study, record, snapshot_hash(expected))


def _content(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: named by snapshot.json and cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(f"{path}: changed after the snapshot was taken; take a new snapshot of the data")
    return content


def _rows(name: str, content: bytes | None) -> tuple[Row, ...]:
    if content is None:
        return ()
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), restkey=SURPLUS, restval="")
        found = reader.fieldnames = [restored(column) for column in reader.fieldnames or ()]
        rows = tuple({column: _restored(cell) for column, cell in row.items()} for row in reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name}.csv: cannot be read ({error}); expected CSV in UTF-8") from error
    if missing := [column for column in TABLES[name].keys if column not in found]:
        raise InputError(f"{name}.csv: the column {missing[0]!r} is missing; found {', '.join(found)}")
    if twice := sorted({column for column in found if found.count(column) > 1}):
        raise InputError(f"{name}.csv: the column {twice[0]!r} stands in the header twice; expected one")
    return tuple(rows)


def _check_keys(name: str, rows: Sequence[Row]) -> None:
    seen = set()
    for row in rows:
        key = tuple(row.get(column, "") for column in TABLES[name].keys)
        if key in seen:
            raise InputError(f"{name}: two rows have the key {', '.join(key)}; expected one")
        seen.add(key)


def _restored(cell: Any) -> Any:
    return restored(cell) if isinstance(cell, str) else cell  # cells beyond the header are a list


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".lutetia-", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        fresh = beside / "new"
        fresh.mkdir(mode=0o700)
        for name, content in contents.items():
            with open(fresh / name, "xb", opener=_private) as file:
                file.write(content)
        if folder.exists():
            os.replace(folder, beside / "old")
        os.replace(fresh, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); free space or choose another") from error
    finally:
        if (beside / "old").exists() and not folder.exists():
            os.replace(beside / "old", folder)
        shutil.rmtree(beside, ignore_errors=True)

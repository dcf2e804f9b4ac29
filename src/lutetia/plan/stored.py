"""A computed cycle as a file: doses, coefficients and fits with all their draws, so that later runs start from it.

The file is npz without pickled objects: arrays of values and draws, and one JSON text that says what they belong to.
Equal records give equal bytes, so that the SHA-256 of the file names the record.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from lutetia.core.chain import Doubt, Forecast, KineticFit, NuclideDose, OrganDose
from lutetia.core.draws import Estimate
from lutetia.errors import CaseError, InputError
from lutetia.plan.ledger import Coefficients, CycleDoses

SCHEMA = "lutetia.stored/1"
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True, eq=False)
class StoredCycle:
    """What one given cycle adds to a course.

    `doses` holds the cycle's doses, carried ones too; `last` the coefficients and `fits` the fits that the next cycle
    starts from, by (region, family of methods) and by region; the others are as in `lutetia.plan.course.CourseDoses`,
    of this cycle alone.
    """

    doses: CycleDoses
    last: Mapping[tuple[str, str], Coefficients]
    fits: Mapping[str, KineticFit]
    single_time_point: bool
    marrow_incomplete: bool
    not_measured: tuple[str, ...]
    doubts: tuple[Doubt, ...]


_RECORDS = {
    record.__name__: record
    for record in (StoredCycle, CycleDoses, Coefficients, OrganDose, NuclideDose, KineticFit, Doubt, Forecast)
}


def check_stored(record: StoredCycle, number: int, administered_MBq: Mapping[str, float], draws: int) -> None:
    """Refuse a stored cycle that is another one than the case means, or has another number of draws.

    Raises
    ------
    CaseError
        With what differs.
    """
    found = record.doses
    if found.number != number or dict(found.administered_MBq) != dict(administered_MBq):
        raise CaseError(
            f"cycle {number}: the stored doses are of cycle {found.number} with {dict(found.administered_MBq)} MBq; "
            f"expected {dict(administered_MBq)} MBq; compute the doses of this cycle again"
        )
    counts = {len(dose.absorbed_dose_Gy.draws) for dose in found.doses}
    if counts - {draws}:
        raise CaseError(f"cycle {number}: the stored doses have {sorted(counts)} draws; expected {draws}")


def pack(record: StoredCycle | Forecast) -> bytes:
    """The record as the bytes of an npz file, the same bytes for the same record."""
    arrays: dict[str, np.ndarray] = {}
    tree = {"schema": SCHEMA, "record": _plain(record, arrays)}
    text = json.dumps(tree, ensure_ascii=False, sort_keys=True).encode()
    buffer = io.BytesIO()
    np.savez(buffer, tree=np.frombuffer(text, dtype=np.uint8), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack_cycle(content: bytes) -> StoredCycle:
    """The stored cycle in a file's bytes; raises `InputError` for another content."""
    return _unpacked(content, StoredCycle)


def unpack_forecast(content: bytes) -> Forecast:
    """The stored forecast in a file's bytes; raises `InputError` for another content."""
    return _unpacked(content, Forecast)


def _unpacked(content: bytes, kind: type[_Record]) -> _Record:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        tree = json.loads(arrays["tree"].tobytes())
        if tree["schema"] != SCHEMA:
            raise InputError(f"stored record: found schema {tree['schema']!r}; expected {SCHEMA!r}")
        record = _record(tree["record"], arrays)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"stored record: cannot be read ({error}); compute the doses again") from error
    if not isinstance(record, kind):
        raise InputError(f"stored record: found a {type(record).__name__}; expected a {kind.__name__}")
    return record


def _plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Estimate):
        name = f"a{len(arrays) // 2:04d}"
        arrays[f"{name}_value"], arrays[f"{name}_draws"] = np.asarray(value.value), np.asarray(value.draws)
        return {"estimate": name}
    if type(value).__name__ in _RECORDS:
        content = {f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)}
        return {"type": type(value).__name__, "fields": content}
    if isinstance(value, Mapping):
        return {"pairs": [[_plain(k, arrays), _plain(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return [_plain(item, arrays) for item in value]
    raise TypeError(f"stored record: cannot hold a {type(value).__name__}")


def _record(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return tuple(_record(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "estimate" in value:
        return Estimate(arrays[f"{value['estimate']}_value"], arrays[f"{value['estimate']}_draws"])
    if "pairs" in value:
        return {_record(k, arrays): _record(v, arrays) for k, v in value["pairs"]}
    content = {name: _record(item, arrays) for name, item in value["fields"].items()}
    return _RECORDS[value["type"]](**content)

"""A case from the images that the node received: sorted scans, outlines, tables that were added by hand, calibration.

The case keeps the moved dates of the images; the start of infusion moves by the same whole days, as an instant, so that
every interval is the true one. The dosimetry itself is imported as any other case (`dosimetry`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from lutetia.errors import CaseError, InputError, MissingRecordError
from lutetia.imaging.sorting import CT, SAME_VISIT_H, SPECT, Export, ScanGroup, Series, sort_folder
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import GivenCycle, given_cycles, protocol_of, site_zone, subject_of
from lutetia.workflow.dicom_intake import Identities, write_images
from lutetia.workflow.dosimetry import ImportCase, Imported, import_case
from lutetia.workflow.edits import allowed_subject
from lutetia.workflow.study_text import toml_text

TABLES = ("regions", "blood", "whole_body")


@dataclass(frozen=True, slots=True)
class ImportReceived:
    """Received images of a given cycle with what images do not say.

    `calibration`: keys of [calibration] in a case, `recovery` the recovery table as CSV. `tables`: CSV content by name
    (blood, whole_body, regions). `masses_g` belongs to a regions table. `series`: unique identifiers of the series
    that are imported; None for all.
    """

    subject_id: str
    cycle: int
    calibration: Mapping[str, float | str | bool | date]
    recovery: bytes | None = None
    tables: Mapping[str, bytes] = field(default_factory=dict)
    masses_g: Mapping[str, float] = field(default_factory=dict)
    hematocrit: float | None = None
    reason: str = ""
    series: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """When a received series was taken: `hours` after the start of infusion, and what is odd about it.

    `doubt` is ``undated``, ``before`` (the infusion), ``alone`` (a CT without SPECT of the same visit, or the
    reverse), or empty; `hours` is None where the time or the infusion is not known.
    """

    hours: float | None
    doubt: str


def import_received(trial: Trial, identities: Identities, actor: Actor, command: ImportReceived) -> Imported:
    """Put a cycle's received images and tables into a case and queue its dosimetry.

    Raises
    ------
    CaseError
        If no image of the cycle was received, none of them is chosen, or an outline does not say which scan it was
        drawn on.
    LutetiaError
        As `dosimetry.import_case`.
    """
    allowed_subject(trial, actor, "propose", command.subject_id)
    with tempfile.TemporaryDirectory(prefix="lutetia-received-") as place:
        folder = Path(place)
        if command.series == ():
            raise CaseError(
                f"subject {command.subject_id}, cycle {command.cycle}: no series is chosen; tick those to use"
            )
        if not write_images(trial, command.subject_id, command.cycle, folder, series=command.series):
            raise CaseError(
                f"subject {command.subject_id}, cycle {command.cycle}: no images were received; send them to the node, "
                "or assign a received series to this cycle"
            )
        with trial.read() as reader:
            zone = site_zone(reader, subject_of(reader, command.subject_id)["site"])
            export = sort_folder(folder, zone=zone)
            text = _case_text(trial, reader, identities, command, export, folder)
        _write_tables(command, folder)
        (folder / "case.toml").write_text(text, encoding="utf-8")
        return import_case(trial, actor, ImportCase(command.subject_id, command.cycle, folder, command.reason))


def times_taken(
    reader: Reader, identities: Identities, subject_id: str, *, cycle: int, series: Sequence[Record]
) -> dict[str, Taken]:
    """When each received series of a cycle was taken, by its unique identifier; dates are moved as the images' are."""
    moved = _moved_start(reader, identities, subject_id, cycle)
    times = {str(row["series_uid"]): _moment(row["taken_at"]) for row in series}
    kinds = {str(row["series_uid"]): str(row["modality"]) for row in series}
    found = {}
    for uid, at in times.items():
        hours = (at - moved).total_seconds() / 3600 if at is not None and moved is not None else None
        others = [t for other, t in times.items() if t is not None and kinds[other] in _PARTNERS.get(kinds[uid], ())]
        doubt = "undated" if at is None else "before" if hours is not None and hours < 0 else ""
        if at is not None and not doubt and kinds[uid] in _PARTNERS:
            near = any(abs((t - at).total_seconds()) <= 3600 * SAME_VISIT_H for t in others)
            doubt = "" if near else "alone"
        found[uid] = Taken(hours, doubt)
    return found


def _moved_start(reader: Reader, identities: Identities, subject_id: str, cycle: int) -> datetime | None:
    """Start of a cycle's infusion, moved as its images are; None where it or the subject's shift is not known."""
    start = next((g.start for g in given_cycles(reader, subject_id) if g.cycle == cycle), None)
    try:
        return None if start is None else start + timedelta(days=identities.shift_days(subject_id))
    except MissingRecordError:
        return None


_PARTNERS = {"CT": SPECT, **dict.fromkeys(SPECT, CT)}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _case_text(
    trial: Trial, reader: Reader, identities: Identities, command: ImportReceived, export: Export, folder: Path
) -> str:
    """The whole case.toml."""
    course = [g for g in given_cycles(reader, command.subject_id) if g.cycle <= command.cycle]
    if not course or course[-1].cycle != command.cycle:
        raise CaseError(f"subject {command.subject_id}, cycle {command.cycle}: is not given yet; record it first")
    subject, protocol = subject_of(reader, command.subject_id), protocol_of(trial, reader)
    zone = site_zone(reader, subject["site"])
    shift = timedelta(days=identities.shift_days(command.subject_id))
    facts = {name: subject[name] for name in ("sex", "age_years", "height_cm", "weight_kg")}
    recovery = {"recovery_csv": "recovery.csv"} if command.recovery is not None else {}
    cycles = [_given(given, shift) for given in course]
    cycles[-1] |= _measured(command, export, folder)
    return toml_text(
        {
            "schema": "lutetia.case/1",
            "timezone": str(zone) if zone else "UTC",
            "subject": {"id": command.subject_id, **facts, "hematocrit": command.hematocrit},
            "protocol": {"name": protocol.name, "arm": subject["arm"]},
            "calibration": {**command.calibration, **recovery},
            "cycles": cycles,
        }
    )


def _given(given: GivenCycle, shift: timedelta) -> dict[str, Any]:
    """Start of each infusion, moved as the images are, and what was given."""
    starts = {nuclide: at + shift for nuclide, at in given.started_at.items()}
    return {"number": given.ordinal, "administered_at": starts, "administered_MBq": given.administered_MBq}


def _measured(command: ImportReceived, export: Export, folder: Path) -> dict[str, Any]:
    """Scans, outlines and tables of the cycle."""
    tables: dict[str, Any] = {name: {"file": f"{name}.csv"} for name in command.tables}
    if "regions" in tables and command.masses_g:
        tables["regions"]["masses_g"] = command.masses_g
    outlines = [_outlines(series, index, folder) for series, index in export.segmentations]
    return {"scans": [_scan(scan, folder) for scan in export.scans], "segmentation": outlines, **tables}


def _scan(scan: ScanGroup, folder: Path) -> dict[str, str | None]:
    return {"spect": _place(scan.spect, folder), "ct": None if scan.ct is None else _place(scan.ct, folder)}


def _outlines(series: Series, index: int | None, folder: Path) -> dict[str, str | int]:
    if index is None:
        raise CaseError("outlines: do not say which scan they were drawn on; send the series they refer to as well")
    return {"file": series.files[0].relative_to(folder).as_posix(), "scan": index + 1}


def _place(series: Series, folder: Path) -> str:
    """The folder of a series; the node wrote one a series."""
    return series.files[0].parent.relative_to(folder).as_posix()


def _write_tables(command: ImportReceived, folder: Path) -> None:
    for name, content in command.tables.items():
        if name not in TABLES:
            raise InputError(f"table {name!r}: expected one of {', '.join(TABLES)}")
        (folder / f"{name}.csv").write_bytes(content)
    if command.recovery is not None:
        (folder / "recovery.csv").write_bytes(command.recovery)

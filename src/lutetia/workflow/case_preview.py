"""What a case folder holds for a cycle, before it is imported: scans, outlines, tables, calibration; writes nothing.

Here: looking. Not here: the checks themselves and the import (`dosimetry`).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lutetia.errors import CaseError
from lutetia.plan.case import Case, Cycle, case_file
from lutetia.trial.records import Actor
from lutetia.trial.store import Trial
from lutetia.workflow.dosimetry import ImportCase, case_files, check_case


@dataclass(frozen=True, slots=True)
class CaseTable:
    """One table of a case: its name, its rows, and for regions their names."""

    name: str
    rows: int
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CasePreview:
    """What would be imported; `scans` are (SPECT, CT or nothing, number of files)."""

    administered_MBq: tuple[tuple[str, float], ...]
    scans: tuple[tuple[str, str, int], ...]
    outlines: tuple[str, ...]
    tables: tuple[CaseTable, ...]
    calibrated: bool
    hematocrit: float | None
    files: int
    bytes: int


def preview_case(trial: Trial, actor: Actor, command: ImportCase) -> CasePreview:
    """Check a case as its import does, and say what was recognised.

    Raises
    ------
    LutetiaError
        As `dosimetry.import_case`.
    """
    case, cycle = check_case(trial, actor, command)
    root = case_file(command.folder).parent
    found = case_files(root, cycle, case)
    return CasePreview(
        tuple(cycle.administered_MBq.items()), tuple(_scans(cycle, root)),
        tuple(s.file.as_posix() for s in cycle.segmentation), tuple(_tables(cycle, root)), _calibrated(case),
        case.subject.hematocrit, len(found), sum(p.stat().st_size for p in found),
    )  # fmt: skip


def _calibrated(case: Case) -> bool:
    return case.calibration is not None and case.calibration.cps_per_MBq is not None


def _scans(cycle: Cycle, root: Path) -> list[tuple[str, str, int]]:
    found = []
    for scan in cycle.scans:
        paths = [root / p for p in (scan.spect, scan.ct) if p is not None]
        count = sum(1 if p.is_file() else sum(q.is_file() for q in p.rglob("*")) for p in paths)
        found.append((scan.spect.as_posix(), scan.ct.as_posix() if scan.ct is not None else "", count))
    return found


def _tables(cycle: Cycle, root: Path) -> list[CaseTable]:
    named = (("regions", cycle.regions), ("blood", cycle.blood), ("whole_body", cycle.whole_body),
             ("doses", cycle.doses))  # fmt: skip
    return [_table(name, root / table.file) for name, table in named if table is not None]


def _table(name: str, path: Path) -> CaseTable:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaseError(f"{path.name}: found no readable table ({error}); expected a CSV file as UTF-8") from error
    regions = dict.fromkeys(str(row["region"]) for row in rows if row.get("region"))
    return CaseTable(name, len(rows), tuple(regions))

"""Doses of a course as rows of the exchange tables: of one cycle and of the sum up to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lutetia.core.chain import NuclideDose, OrganDose
from lutetia.core.draws import Estimate
from lutetia.plan.course import CourseDoses
from lutetia.plan.ledger import MARROW, Cumulative, family
from lutetia.trial.reader import Reader
from lutetia.trial.records import Create, Edit, Remove, Update

OWN_MASS = "own mass"  # method of organ doses in the exchange tables: scaled to the subject's own organ mass


def dose_edits(
    reader: Reader, subject_id: str, cycle: int, rows: Iterable[Mapping[str, Any]], *, scopes: Sequence[str]
) -> list[Edit]:
    """Edits that make the stored rows of a cycle these ones; rows of other scopes stay.

    Parameters
    ----------
    rows
        Of `cycle_rows` and `sum_rows`, with `result_sha256`.
    scopes
        ``cycle`` or ``cumulative``, or both.
    """
    head = {"subject_id": subject_id, "cycle": cycle, "missing_reason": None}
    wanted = {_key(row): {**head, **row} for row in rows}
    stored = reader.records("doses", subject_id=subject_id, cycle=cycle)
    present = {_key(r): r for r in stored if r["scope"] in scopes}
    edits: list[Edit] = [Remove("doses", int(r["record_id"])) for k, r in present.items() if k not in wanted]
    for key, row in wanted.items():
        if key in present:
            edits.append(Update("doses", int(present[key]["record_id"]), row))
        else:
            edits.append(Create("doses", row))
    return edits


def withdrawn_rows(reader: Reader, subject_id: str, cycle: int, why: str) -> list[Edit]:
    """Edits that take the values from the doses of a cycle, and from the sums of it and of later cycles."""
    gone = dict.fromkeys(("absorbed_dose_Gy", "absorbed_dose_sd_Gy", "bed_Gy", "mass_g", "result_sha256"))
    return [
        Update("doses", int(r["record_id"]), {**gone, "basis": "missing", "missing_reason": why})
        for r in reader.records("doses", subject_id=subject_id)
        if int(r["cycle"]) == cycle or (r["scope"] == "cumulative" and int(r["cycle"]) > cycle)
    ]


def cycle_rows(course: CourseDoses, ordinal: int) -> list[dict[str, Any]]:
    """Rows of the doses of one cycle, by nuclide and in total."""
    record = next(c for c in course.cycles if c.number == ordinal)
    return [row for dose in record.doses for row in _cycle_rows(dose)]


def sum_rows(course: CourseDoses) -> list[dict[str, Any]]:
    """Rows of the sums over all cycles of a course."""
    return [row for key, total in course.cumulative.items() for row in _cumulative_rows(key, total, course)]


def exchange_method(region: str, method: str) -> str:
    """Method as the exchange tables group by it: the id for marrow, `OWN_MASS` for organs."""
    return method if region == MARROW else OWN_MASS


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[k]) for k in ("scope", "region", "nuclide", "method"))


def _cycle_rows(dose: OrganDose) -> list[dict[str, Any]]:
    head = {"scope": "cycle", "region": dose.region, "method": exchange_method(dose.region, dose.method)}
    bases = [_basis(part) for part in dose.nuclides]
    details = {"method": dose.method, "warnings": [d.message for d in dose.doubts]}
    rows = [
        {
            **head,
            "nuclide": part.nuclide,
            "basis": _basis(part),
            **_amount(part.absorbed_dose_Gy),
            "mass_g": dose.mass_g,
            "further": {"method": part.method or dose.method, "basis": part.basis, "model": part.model},
        }
        for part in dose.nuclides
    ]
    bed = None if dose.bed_Gy is None else float(dose.bed_Gy.value)
    total = {**head, "nuclide": "total", "basis": _worst(bases), **_amount(dose.absorbed_dose_Gy), "bed_Gy": bed,
             "mass_g": dose.mass_g, "further": details}  # fmt: skip
    return [*rows, total]


def _cumulative_rows(key: tuple[str, str], total: Cumulative, course: CourseDoses) -> list[dict[str, Any]]:
    region, kind = key
    head = {"scope": "cumulative", "region": region, "nuclide": "total", "method": exchange_method(region, kind)}
    if total.absorbed_dose_Gy is None:
        return [{**head, "basis": "missing", "missing_reason": "; ".join(d.message for d in total.doubts)}]
    parts = [d for c in course.cycles for d in c.doses if (d.region, family(d)) == key]
    basis = _worst([_basis(part) for d in parts for part in d.nuclides])
    bed = None if total.bed_Gy is None else float(total.bed_Gy.value)
    return [{**head, "basis": basis, **_amount(total.absorbed_dose_Gy), "bed_Gy": bed,
             "further": {"method": total.method}}]  # fmt: skip


def _amount(dose: Estimate) -> dict[str, float]:
    return {"absorbed_dose_Gy": float(dose.value), "absorbed_dose_sd_Gy": float(dose.sd)}


def _basis(part: NuclideDose) -> str:
    """The chain's words for where a dose comes from, in those of the exchange format."""
    for start, word in (("predicted", "predicted"), ("carried", "carried"), ("population", "carried")):
        if part.basis.startswith(start):
            return word
    return "measured"


def _worst(bases: Iterable[str]) -> str:
    """A sum is carried where a part is; a measured nuclide makes it measured, also where another one is predicted."""
    found: Sequence[str] = list(bases)
    return "carried" if "carried" in found else "measured" if "measured" in found else "predicted"

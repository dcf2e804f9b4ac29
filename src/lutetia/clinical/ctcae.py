"""CTCAE grades of laboratory values: criteria as data, comparisons in decimals, worst grade first.

Not here: which value is the baseline (`lutetia.clinical.labs.baseline`) and grades of clinical events.
To add a version: a data file beside `data/ctcae5.toml` and an entry in `VERSIONS`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

from lutetia.clinical.analytes import canonical_analyte
from lutetia.errors import UnknownNameError

VERSIONS = {"5.0": "ctcae5.toml"}
Number = Decimal | int | str | float


@dataclass(frozen=True, slots=True)
class Criterion:
    """Cuts of one term by grade; multiples of ULN and baseline without unit, the others in `unit`."""

    term: str
    analyte: str
    unit: str
    below: Mapping[int, Decimal | None]
    above: Mapping[int, Decimal]
    above_uln: Mapping[int, Decimal]
    above_baseline: Mapping[int, Decimal]
    abnormal_baseline: Mapping[int, Decimal]
    first_inclusive: bool
    transfusion_grade: int | None


@dataclass(frozen=True, slots=True)
class Grade:
    """Grade of one term; None where it cannot be told. `scale` is fixed, LLN, ULN or baseline, whichever decided."""

    term: str
    analyte: str
    grade: int | None
    scale: str
    version: str


@cache
def criteria(version: str = "5.0") -> tuple[Criterion, ...]:
    """All laboratory criteria of a CTCAE version."""
    if version not in VERSIONS:
        raise UnknownNameError("CTCAE version", version, VERSIONS)
    table = tomllib.loads((files("lutetia.clinical") / "data" / VERSIONS[version]).read_text(encoding="utf-8"))
    return tuple(_criterion(row) for row in table["criteria"])


def grade_value(
    analyte: str,
    value: Number,
    *,
    lln: Number | None = None,
    uln: Number | None = None,
    baseline: Number | None = None,
    transfused: bool = False,
    version: str = "5.0",
) -> tuple[Grade, ...]:
    """Grades of one laboratory value, one for each term of its analyte.

    Parameters
    ----------
    analyte
        Canonical name or alias.
    value, lln, uln, baseline
        In the unit used inside (`lutetia.clinical.analytes`). Decimal, text or integer; a float is read as printed.
    transfused
        A red-cell transfusion was indicated: anaemia is of grade 3 at least.
    version
        CTCAE version.

    Returns
    -------
    Grade 0 is normal; None where a missing LLN or ULN leaves it open.
    """
    name = canonical_analyte(analyte)
    amount, low, high, start = (_decimal(v) for v in (value, lln, uln, baseline))
    assert amount is not None
    found = []
    for criterion in criteria(version):
        if criterion.analyte == name:
            grade, scale = _grade(criterion, amount, lln=low, uln=high, baseline=start)
            if transfused and criterion.transfusion_grade is not None:
                grade = max(grade or 0, criterion.transfusion_grade)
            found.append(Grade(criterion.term, name, grade, scale, version))
    return tuple(found)


def worst_grade(grades: Iterable[Grade]) -> int | None:
    """Highest of the known grades; None when none is known."""
    known = [g.grade for g in grades if g.grade is not None]
    return max(known, default=None)


def _grade(
    c: Criterion, value: Decimal, *, lln: Decimal | None, uln: Decimal | None, baseline: Decimal | None
) -> tuple[int | None, str]:
    if c.below:
        return _grade_below(c, value, lln)
    if c.above:
        return _first(c.above, lambda cut: value > cut), "fixed"
    if uln is None:
        return None, "ULN"
    if c.abnormal_baseline and baseline is not None and baseline > uln:
        return _grade_on_baseline(c, value, baseline), "baseline"
    by_uln = _first(c.above_uln, lambda multiple: value > multiple * uln)
    if baseline is None or not c.above_baseline:
        return by_uln, "ULN"
    by_baseline = _first(c.above_baseline, lambda multiple: value > multiple * baseline)
    return max(by_uln, by_baseline), "baseline" if by_baseline > by_uln else "ULN"


def _grade_below(c: Criterion, value: Decimal, lln: Decimal | None) -> tuple[int | None, str]:
    for grade in sorted(c.below, reverse=True):
        cut = c.below[grade]
        if cut is not None and value < cut:
            return grade, "fixed"
    if lln is None:
        return None, "LLN"
    return (1 if value < lln else 0), "LLN"


def _grade_on_baseline(c: Criterion, value: Decimal, baseline: Decimal) -> int:
    for grade in sorted(c.abnormal_baseline, reverse=True):
        cut = c.abnormal_baseline[grade] * baseline
        if value > cut or (grade == 1 and c.first_inclusive and value == cut):
            return grade
    return 0


def _first(cuts: Mapping[int, Decimal], reached: Callable[[Decimal], bool]) -> int:
    """Highest grade whose cut is reached, 0 if none is."""
    return next((grade for grade in sorted(cuts, reverse=True) if reached(cuts[grade])), 0)


def _criterion(row: Mapping[str, object]) -> Criterion:
    def cuts(key: str) -> dict[int, Decimal]:
        table = row.get(key, {})
        assert isinstance(table, dict)
        return {int(grade): Decimal(cut) for grade, cut in table.items() if cut != "LLN"}

    below: dict[int, Decimal | None] = {**cuts("below")}
    if "below" in row:
        below[1] = None
    transfusion = row.get("transfusion_grade")
    return Criterion(
        term=str(row["term"]),
        analyte=str(row["analyte"]),
        unit=str(row["unit"]),
        below=below,
        above=cuts("above"),
        above_uln=cuts("above_uln"),
        above_baseline=cuts("above_baseline"),
        abnormal_baseline=cuts("abnormal_baseline"),
        first_inclusive=bool(row.get("first_inclusive", False)),
        transfusion_grade=transfusion if isinstance(transfusion, int) else None,
    )


def _decimal(value: Number | None) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    return Decimal(str(value))

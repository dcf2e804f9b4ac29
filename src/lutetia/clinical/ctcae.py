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


@dataclass(frozen=True, slots=True)
class ScaleGrades:
    """Grade of one term with both of its scales apart, so that a shift is never read across them.

    `by_limit` is on LLN, ULN or fixed cuts, `by_baseline` on multiples of the baseline (None where these do not apply:
    a criterion without them, no baseline, or a baseline within normal limits); `grade` and `scale` as in `Grade`.
    """

    term: str
    analyte: str
    direction: str
    grade: int | None
    scale: str
    by_limit: int | None
    by_baseline: int | None
    baseline_abnormal: bool
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
    baseline_uln: Number | None = None,
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
    baseline_uln
        Upper limit of normal of the baseline value, by which it is abnormal or not; None takes `uln`.
    transfused
        A red-cell transfusion was indicated: anaemia is of grade 3 at least.
    version
        CTCAE version.

    Returns
    -------
    Grade 0 is normal; None where a missing LLN or ULN leaves it open.
    """
    found = grade_scales(
        analyte, value, lln=lln, uln=uln, baseline=baseline, baseline_uln=baseline_uln, transfused=transfused,
        version=version,
    )  # fmt: skip
    return tuple(Grade(g.term, g.analyte, g.grade, g.scale, g.version) for g in found)


def grade_scales(
    analyte: str,
    value: Number,
    *,
    lln: Number | None = None,
    uln: Number | None = None,
    baseline: Number | None = None,
    baseline_uln: Number | None = None,
    transfused: bool = False,
    version: str = "5.0",
) -> tuple[ScaleGrades, ...]:
    """Grades of one laboratory value, one for each term of its analyte, with the scales apart; as `grade_value`."""
    name = canonical_analyte(analyte)
    amount, low, high, start = (_decimal(v) for v in (value, lln, uln, baseline))
    start_high = high if baseline_uln is None else _decimal(baseline_uln)
    assert amount is not None
    found = []
    for c in criteria(version):
        if c.analyte == name:
            abnormal = start is not None and start_high is not None and start > start_high
            grade, scale = _grade(c, amount, lln=low, uln=high, baseline=start, abnormal=abnormal)
            by_limit, _ = _grade(c, amount, lln=low, uln=high, baseline=None, abnormal=False)
            if transfused and c.transfusion_grade is not None:
                grade, by_limit = (max(g or 0, c.transfusion_grade) for g in (grade, by_limit))
            by_baseline = _by_baseline(c, amount, start, abnormal)
            direction = "low" if c.below else "high"
            apart = bool(c.abnormal_baseline) and abnormal
            found.append(ScaleGrades(c.term, name, direction, grade, scale, by_limit, by_baseline, apart, version))
    return tuple(found)


def is_emergent(now: ScaleGrades, before: ScaleGrades | None) -> bool | None:
    """Whether a grade is worse than the baseline's, judged on one scale at a time.

    On multiples of the baseline every grade from 1 on is worse; on limits of normal the grade must exceed that of the
    baseline. Without a grade of the baseline every grade from 1 on counts (assumption, on the safe side). None where
    the grade is missing.
    """
    if now.by_baseline is not None and now.by_baseline >= 1:
        return True
    if now.baseline_abnormal:
        return False
    if now.by_limit is None:
        return None
    start = before.by_limit if before is not None else None
    return now.by_limit > (start or 0)


def worst_grade(grades: Iterable[Grade]) -> int | None:
    """Highest of the known grades; None when none is known."""
    known = [g.grade for g in grades if g.grade is not None]
    return max(known, default=None)


def _grade(
    c: Criterion,
    value: Decimal,
    *,
    lln: Decimal | None,
    uln: Decimal | None,
    baseline: Decimal | None,
    abnormal: bool,
) -> tuple[int | None, str]:
    if c.below:
        return _grade_below(c, value, lln)
    if c.above:
        return _first(c.above, lambda cut: value > cut), "fixed"
    if c.abnormal_baseline and abnormal and baseline is not None:
        return _grade_on_baseline(c, value, baseline), "baseline"
    if uln is None:
        return None, "ULN"
    by_uln = _first(c.above_uln, lambda multiple: value > multiple * uln)
    if baseline is None or not c.above_baseline:
        return by_uln, "ULN"
    by_baseline = _first(c.above_baseline, lambda multiple: value > multiple * baseline)
    return max(by_uln, by_baseline), "baseline" if by_baseline > by_uln else "ULN"


def _by_baseline(c: Criterion, value: Decimal, baseline: Decimal | None, abnormal: bool) -> int | None:
    if baseline is None:
        return None
    if c.abnormal_baseline and abnormal:
        return _grade_on_baseline(c, value, baseline)
    return _first(c.above_baseline, lambda multiple: value > multiple * baseline) if c.above_baseline else None


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

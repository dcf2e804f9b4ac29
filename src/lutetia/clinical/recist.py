"""Tumour response by RECIST 1.1: from diameters and findings of one assessment to the category that they bear out.

Here: the rules on target lesions, lymph nodes, non-target and new lesions. Not here: which assessment is the baseline,
and what the reader decides (`lutetia.workflow.response`).

References
----------
Eisenhauer et al., Eur J Cancer 2009;45:228, doi:10.1016/j.ejca.2008.10.026.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

TARGET_LONGEST_MM = 10.0  # least longest diameter of a target lesion at baseline
TARGET_NODE_MM = 15.0  # least short axis of a target lymph node at baseline
NORMAL_NODE_MM = 10.0  # a lymph node is normal below this short axis
MOST_TARGETS, MOST_PER_REGION = 5, 2
GROWTH, GROWTH_MM, SHRINKAGE = 0.20, 5.0, 0.30
FINDINGS = ("gone", "present", "worse")  # of non-target lesions; worse: unequivocal progression
_ROUNDING_MM = 1e-9


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion at one assessment.

    `kind` is target, non_target or new; of a lymph node (`node`) `diameter_mm` is the short axis, of another lesion the
    longest diameter, 0 when gone; `finding` of a non-target lesion is one of `FINDINGS`, empty when not evaluated.
    """

    name: str
    kind: str
    node: bool = False
    diameter_mm: float | None = None
    finding: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Derived:
    """What the lesions of an assessment say; changes are fractions, None where a sum is not known or is 0.

    `target` and `non_target` are CR, PR, SD, PD, non-CR/non-PD or NE (not all evaluated), empty without such lesions.
    """

    category: str
    target: str
    non_target: str
    new_lesion: bool
    sum_mm: float | None
    baseline_mm: float | None
    nadir_mm: float | None
    from_baseline: float | None
    from_nadir: float | None


def sum_of_diameters(lesions: Sequence[Lesion], names: Collection[str]) -> float | None:
    """Sum of the target lesions in mm: longest diameters, and short axes of lymph nodes.

    Parameters
    ----------
    names
        Target lesions of the baseline; None is returned where one of them was not measured.
    """
    found = {x.name: x.diameter_mm for x in lesions if x.kind == "target" and x.name in names}
    if not names or len(found) < len(names) or None in found.values():
        return None
    return float(sum(d for d in found.values() if d is not None))


def derive_response(
    now: Sequence[Lesion], *, baseline: Sequence[Lesion], between: Sequence[Sequence[Lesion]]
) -> Derived:
    """The category that an assessment bears out.

    Parameters
    ----------
    now
        Lesions of the assessment.
    baseline
        Those of the assessment before treatment.
    between
        Those of each assessment after the baseline and before this one; with the baseline they have the nadir.
    """
    names = {x.name for x in baseline if x.kind == "target"}
    sums = [s for one in (baseline, *between) if (s := sum_of_diameters(one, names)) is not None]
    base, nadir, total = sum_of_diameters(baseline, names), min(sums, default=None), sum_of_diameters(now, names)
    gone_before = any(_targets_gone(one, names) for one in between)
    target = _target_response(now, names, base=base, nadir=nadir, gone_before=gone_before)
    non_target = _non_target_response(now, {x.name for x in baseline if x.kind == "non_target"})
    new = any(x.kind == "new" for x in now)
    category = "PD" if new else overall_response(target, non_target)
    return Derived(category, target, non_target, new, total, base, nadir, _change(total, base), _change(total, nadir))


def overall_response(target: str, non_target: str) -> str:
    """Overall response without new lesions (tables 1 and 2 of the reference); empty: no such lesions."""
    if "PD" in (target, non_target):
        return "PD"
    if not target:
        return non_target or "NE"
    if target == "CR":
        return "CR" if non_target in ("", "CR") else "PR"
    return target


def baseline_doubts(lesions: Sequence[Lesion]) -> tuple[str, ...]:
    """What of a baseline does not fit the criteria, in words: sizes and numbers of target lesions, and normal nodes."""
    targets = [x for x in lesions if x.kind == "target"]
    found = [
        f"{x.name}: {x.diameter_mm:g} mm; a target {'lymph node has a short axis' if x.node else 'lesion'} of at least "
        f"{TARGET_NODE_MM if x.node else TARGET_LONGEST_MM:g} mm"
        for x in targets
        if x.diameter_mm is not None and x.diameter_mm < (TARGET_NODE_MM if x.node else TARGET_LONGEST_MM)
    ]
    found += [
        f"{x.name}: {x.diameter_mm:g} mm; a lymph node below {NORMAL_NODE_MM:g} mm is normal"
        for x in lesions
        if x.kind == "non_target" and x.node and x.diameter_mm is not None and x.diameter_mm < NORMAL_NODE_MM
    ]
    if len(targets) > MOST_TARGETS:
        found.append(f"{len(targets)} target lesions; at most {MOST_TARGETS} are followed")
    regions = Counter(x.region.strip().lower() for x in targets)
    found += [f"{n} target lesions in {where}; at most {MOST_PER_REGION} of an organ are followed"
              for where, n in regions.items() if n > MOST_PER_REGION]  # fmt: skip
    return tuple(found)


def _target_response(
    now: Sequence[Lesion], names: Collection[str], *, base: float | None, nadir: float | None, gone_before: bool
) -> str:
    if not names or base is None or nadir is None:
        return "NE" if names else ""
    if _targets_gone(now, names):
        return "CR"
    measured = [x for x in now if x.kind == "target" and x.name in names and x.diameter_mm is not None]
    seen = sum(x.diameter_mm or 0.0 for x in measured)
    back = gone_before and any(not x.node and x.diameter_mm for x in measured)
    if back or _grown(seen, nadir):
        return "PD"  # also where a lesion was not measured: it cannot make the sum smaller
    if len(measured) < len(names):
        return "NE"
    return "PR" if seen <= (1.0 - SHRINKAGE) * base + _ROUNDING_MM else "SD"


def _grown(sum_mm: float, nadir_mm: float) -> bool:
    growth = sum_mm - nadir_mm + _ROUNDING_MM
    return growth >= GROWTH * nadir_mm and growth >= GROWTH_MM


def _targets_gone(lesions: Sequence[Lesion], names: Collection[str]) -> bool:
    """Every target lesion is gone and every target lymph node is normal, so that the sum need not be 0."""
    found = {x.name: x for x in lesions if x.kind == "target" and x.name in names and x.diameter_mm is not None}
    return len(found) == len(names) > 0 and all(_gone(x) for x in found.values())


def _gone(lesion: Lesion) -> bool:
    if lesion.kind == "non_target" and lesion.finding:
        return lesion.finding == "gone"
    return lesion.diameter_mm is not None and (
        lesion.diameter_mm < NORMAL_NODE_MM if lesion.node else lesion.diameter_mm == 0.0
    )


def _non_target_response(now: Sequence[Lesion], names: Collection[str]) -> str:
    if not names:
        return ""
    found: Mapping[str, Lesion] = {x.name: x for x in now if x.kind == "non_target" and x.name in names}
    if any(x.finding == "worse" for x in found.values()):
        return "PD"
    if any(not (x.finding or x.diameter_mm is not None) for x in found.values()) or len(found) < len(names):
        return "NE"
    return "CR" if all(_gone(x) for x in found.values()) else "non-CR/non-PD"


def _change(now: float | None, before: float | None) -> float | None:
    return None if now is None or not before else now / before - 1.0

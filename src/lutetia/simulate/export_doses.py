"""Prescriptions, forecasts, administrations, doses and the truth of a virtual trial as rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from lutetia.core.draws import FloatArray, stream
from lutetia.dataset.folder import Row
from lutetia.protocol.arrays import CATEGORIES
from lutetia.simulate.courses import KIDNEYS, Courses
from lutetia.simulate.export import VirtualSubject, VirtualTrial, day_text, each, number, one_of, quantity
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import arm_columns, arm_doses

_REASON = {"kidneys": "kidney", "marrow": "marrow", "toxicity": "toxicity"}
_MASS = {"kidneys": "kidneys_mass_g", "liver": "liver_mass_g", "spleen": "spleen_mass_g", "tumour 1": "tumour_mass_g"}
_STAFF = ("physicist", "physician")


def dose_tables(trial: VirtualTrial) -> dict[str, list[Row]]:
    """Tables of activities and doses."""
    return {
        "cycles": each(trial, _cycles),
        "prescriptions": each(trial, _prescriptions),
        "forecasts": each(trial, _forecasts),
        "administrations": each(trial, _administrations),
        "doses": each(trial, _doses),
        "truth": each(trial, _truth),
    }


def _decided(courses: Courses, person: VirtualSubject) -> list[int]:
    """Cycles that were decided, from 0."""
    return [int(k) for k in np.flatnonzero(courses.state[person.row] >= 0)]


def _given(courses: Courses, person: VirtualSubject) -> list[int]:
    return [int(k) for k in np.flatnonzero(courses.given[person.row])]


def _cycles(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    courses, rows = trial.courses[person.arm], []
    interval = 7.0 * (trial.protocol.interval_weeks or 8.0)
    for k in _decided(courses, person):
        given = bool(courses.given[person.row, k])
        planned = 0.0 if k == 0 else courses.day[person.row, k - 1] + interval
        row = {
            "subject_id": person.subject_id,
            "cycle": str(k + 1),
            "planned_on": day_text(person.at(planned)),
            "state": "DOSED" if given else "WITHHELD",
            "state_on": day_text(person.at(courses.day[person.row, k])),
            "reason": _reason(courses, person, k) if not given or courses.held[person.row, k] else "",
        }
        if given and trial.block.missed[person.index, k]:
            row |= {"state": "DOSE_MISSING", "reason": "scans not done"}
        rows.append(row)
    return rows


def _reason(courses: Courses, person: VirtualSubject, k: int) -> str:
    if courses.held[person.row, k]:
        return "toxicity"
    bound = int(courses.bound_by[person.row, k])
    return _REASON.get(courses.rules.binding_names[bound], "other") if bound >= 0 else "other"


def _prescriptions(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """Every version of every prescription; a remade one is preceded by a void one of the same activity."""
    courses, rows = trial.courses[person.arm], []
    for k in _decided(courses, person):
        given, last = bool(courses.given[person.row, k]), _version(trial, person, k)
        for version in range(1, last + 1):
            for n in range(len(courses.rules.nuclides)):
                row = _prescription(trial, person, k, n)
                if version < last:
                    early = person.at(courses.day[person.row, k]) - timedelta(days=9)
                    row |= {"state": "VOID", "proposed_at": early.isoformat(), "signed_by": "", "signed_at": ""}
                    row |= {"override_by": "", "override_reason": ""}
                rows.append({**row, "version": f"{version}", "state": row["state"] if given else "REJECTED"})
    return rows


def _version(trial: VirtualTrial, person: VirtualSubject, k: int) -> int:
    """Number of the prescription that counts."""
    remade = trial.mishaps[person.arm].remade[person.row, k] and trial.courses[person.arm].given[person.row, k]
    return 2 if remade else 1


def _prescription(trial: VirtualTrial, person: VirtualSubject, k: int, n: int) -> Row:
    courses = trial.courses[person.arm]
    rules, at = courses.rules, person.at(courses.day[person.row, k])
    proposed, prescribed = courses.proposed_MBq[person.row, k, n], courses.prescribed_MBq[person.row, k, n]
    lowered = prescribed < proposed
    row = {
        "subject_id": person.subject_id,
        "cycle": str(k + 1),
        "nuclide": rules.nuclides[n],
        "state": "ADMINISTERED",
        "base_MBq": number(rules.base_MBq[n]),
        "proposed_MBq": number(proposed),
        "prescribed_MBq": number(prescribed),
        "category": CATEGORIES[int(courses.category[person.row, k, n])],
        "reason": _reason(courses, person, k) if n == rules.variable else "",
        "bound_by": rules.binding_names[int(courses.bound_by[person.row, k])],
        "proposed_by": _STAFF[0],
        "proposed_at": (at - timedelta(days=3)).isoformat(),
        "protocol_version": trial.protocol.version,
    }
    if lowered:
        g = stream(trial.block.seed, person.subject_id, "lowered", k)
        row["reason"] = one_of(g, "lowered", "reasons")
    if np.isfinite(prescribed):
        row |= {"signed_by": _STAFF[1], "signed_at": (at - timedelta(days=2)).isoformat()}
        if courses.over_limit[person.row, k]:
            row |= {"override_by": "second physician", "override_reason": "above a soft limit (simulated: granted)"}
    return row


def _forecasts(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """Dose after the next cycle and at the end of the course, from the draws that a proposal would have had."""
    courses, drawn, rows = trial.courses[person.arm], trial.drawn[person.arm], []
    limits = trial.protocol.limits_of(person.arm)
    for k in _given(courses, person):
        for horizon, draws in (("next", drawn.next_Gy), ("course", drawn.course_Gy)):
            for i, limit in enumerate(limits):
                dose = draws[:, person.row, k, i]
                bed = limit.metric == "bed"
                rows.append(
                    {
                        "subject_id": person.subject_id,
                        "cycle": str(k + 1),
                        "version": str(_version(trial, person, k)),
                        "region": limit.region,
                        "horizon": horizon,
                        "absorbed_dose_Gy": "" if bed else number(float(np.median(dose))),
                        "absorbed_dose_sd_Gy": "" if bed else number(float(dose.std())),
                        "bed_Gy": number(float(np.median(dose))) if bed else "",
                        "p_over_limit": number(float((dose > limit.limit_Gy).mean()), 4),
                    }
                )
    return rows


def _administrations(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    courses, rows = trial.courses[person.arm], []
    for k in _given(courses, person):
        start = person.at(courses.day[person.row, k])
        for n, nuclide in enumerate(courses.rules.nuclides):
            given = courses.administered_MBq[person.row, k, n]
            if given == 0.0:
                continue
            residual = 0.01 * given
            rows.append(
                {
                    "subject_id": person.subject_id,
                    "cycle": str(k + 1),
                    "nuclide": nuclide,
                    "started_at": start.isoformat(),
                    "ended_at": (start + timedelta(minutes=30)).isoformat(),
                    "planned_MBq": number(courses.rules.base_MBq[n]),
                    "prescribed_MBq": number(courses.prescribed_MBq[person.row, k, n]),
                    "administered_MBq": number(given),
                    "residual_MBq": number(residual, 3),
                    "batch": f"{nuclide.replace('-', '')}-{start:%Y%m%d}",
                    "prescription_version": str(_version(trial, person, k)),
                }
            )
    return rows


def _doses(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """Doses of each cycle by nuclide and in total, and the sums so far, with the spread of their draws."""
    courses, rows = trial.courses[person.arm], []
    drawn = trial.drawn[person.arm].nuclide_Gy[:, person.row]
    sums, bed_sum = np.zeros(len(REGIONS)), 0.0
    for k in _given(courses, person):
        missing = bool(trial.block.missed[person.index, k])
        sums += courses.measured_Gy[person.row, k]
        extra = _extra_bed(trial, person, k)
        bed_sum += courses.measured_Gy[person.row, k, KIDNEYS] + extra
        for r, region in enumerate(REGIONS):
            head = {
                "subject_id": person.subject_id,
                "cycle": str(k + 1),
                "region": region,
                "method": "blood" if region == "red marrow" else "own mass",
                "mass_g": number(quantity(trial, person, _MASS[region]), 4) if region in _MASS else "",
            }
            if missing:
                none = {"nuclide": "total", "basis": "missing", "missing_reason": "scans not done"}
                rows.append({**head, "scope": "cycle", **none})
            else:
                rows += _cycle_doses(trial, person, k, r, head, drawn[:, k, r])
                rows[-1] |= _bed(region, courses.measured_Gy[person.row, k, r] + extra)
            basis = "carried" if missing else "measured"
            so_far = drawn[:, : k + 1, r].sum(axis=(1, 2))
            total = {"nuclide": "total", "basis": basis, **_amount(sums[r], so_far), **_bed(region, bed_sum)}
            rows.append({**head, "scope": "cumulative", **total})
    return rows


def _cycle_doses(
    trial: VirtualTrial, person: VirtualSubject, k: int, region: int, head: Row, drawn_Gy: FloatArray
) -> list[Row]:
    """Rows of the nuclides that were given, then of their sum; `drawn_Gy` (draw, nuclide)."""
    courses, rows = trial.courses[person.arm], list[Row]()
    first = trial.protocol.measured_nuclide or courses.rules.nuclides[0]
    measured = arm_doses(trial.block, person.arm).measured[person.row, k, region]
    for n, nuclide in enumerate(courses.rules.nuclides):
        given = courses.administered_MBq[person.row, k, n]
        if given > 0.0:
            basis = "measured" if nuclide == first else "predicted"
            amount = _amount(measured[n] * given, drawn_Gy[:, n])
            rows.append({**head, "scope": "cycle", "nuclide": nuclide, "basis": basis, **amount})
    total = _amount(courses.measured_Gy[person.row, k, region], drawn_Gy.sum(axis=1))
    return [*rows, {**head, "scope": "cycle", "nuclide": "total", "basis": "measured", **total}]


def _amount(dose_Gy: float, draws_Gy: FloatArray) -> dict[str, str]:
    return {"absorbed_dose_Gy": number(dose_Gy), "absorbed_dose_sd_Gy": number(float(draws_Gy.std()))}


def _bed(region: str, bed_Gy: float) -> dict[str, str]:
    return {"bed_Gy": number(bed_Gy)} if region == "kidneys" else {}


def _extra_bed(trial: VirtualTrial, person: VirtualSubject, k: int) -> float:
    """What the BED of the kidneys is above their dose in one cycle: AᵀQA with Q as measured."""
    courses, columns = trial.courses[person.arm], arm_columns(trial.block, person.arm)
    given = courses.administered_MBq[person.row, k]
    square = trial.kidney_square[person.index, k][np.ix_(columns, columns)]
    return float(given @ square @ given)


def _truth(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """True doses of every cycle, true dose per activity, and drawn quantities."""
    courses = trial.courses[person.arm]
    true = arm_doses(trial.block, person.arm).true[person.row]
    rows: list[Row] = [
        {"subject_id": person.subject_id, "quantity": "drawn", "item": name, "value": number(values[person.index])}
        for name, values in trial.block.subjects.values.items()
    ]
    for k in _given(courses, person):
        for r, region in enumerate(REGIONS):
            key = {"subject_id": person.subject_id, "cycle": str(k + 1), "item": region}
            total = courses.true_Gy[person.row, k, r]
            rows.append({**key, "quantity": "absorbed_dose_Gy", "nuclide": "total", "value": number(total)})
            for n, nuclide in enumerate(courses.rules.nuclides):
                value = number(1e3 * true[k, r, n])
                rows.append({**key, "quantity": "Gy_per_GBq", "nuclide": nuclide, "value": value})
    return rows

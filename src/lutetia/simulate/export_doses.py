"""Prescriptions, forecasts, administrations, doses and the truth of a virtual trial as rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from scipy.special import ndtr

from lutetia.dataset.folder import Row
from lutetia.protocol.arrays import CATEGORIES, STATES
from lutetia.protocol.rules import planned_sums
from lutetia.simulate.courses import Courses
from lutetia.simulate.export import VirtualSubject, VirtualTrial, day_text, each, number, quantity
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import arm_doses

_REASON = {"kidneys": "kidney", "marrow": "marrow", "toxicity": "toxicity"}
_MASS = {"kidneys": "kidneys_mass_g", "liver": "liver_mass_g", "spleen": "spleen_mass_g", "tumour 1": "tumour_mass_g"}
_STAFF = ("physicist", "physician")
_RELATIVE_SD = 0.13


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
    courses, rows = trial.courses[person.arm], []
    for k in _decided(courses, person):
        at = person.at(courses.day[person.row, k])
        over = bool(courses.over_limit[person.row, k])
        for n, nuclide in enumerate(courses.rules.nuclides):
            activity = number(courses.prescribed_MBq[person.row, k, n])
            row = {
                "subject_id": person.subject_id,
                "cycle": str(k + 1),
                "version": "1",
                "nuclide": nuclide,
                "state": _prescription_state(courses, person, k),
                "base_MBq": number(courses.rules.base_MBq[n]),
                "proposed_MBq": activity,
                "prescribed_MBq": activity,
                "category": CATEGORIES[int(courses.category[person.row, k, n])],
                "reason": _reason(courses, person, k) if n == courses.rules.variable else "",
                "bound_by": courses.rules.binding_names[int(courses.bound_by[person.row, k])],
                "proposed_by": _STAFF[0],
                "proposed_at": (at - timedelta(days=3)).isoformat(),
                "protocol_version": trial.protocol.version,
            }
            if activity:
                row |= {"signed_by": _STAFF[1], "signed_at": (at - timedelta(days=2)).isoformat()}
            if over and activity:
                row |= {"override_by": "second physician", "override_reason": "above a soft limit (simulated: granted)"}
            rows.append(row)
    return rows


def _prescription_state(courses: Courses, person: VirtualSubject, k: int) -> str:
    if courses.given[person.row, k]:
        return "ADMINISTERED"
    return "REJECTED" if STATES[int(courses.state[person.row, k])] in ("STOP", "INFEASIBLE", "HELD") else "VOID"


def _forecasts(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    courses, rows = trial.courses[person.arm], []
    limits = trial.protocol.limits_of(person.arm)
    for k in _given(courses, person):
        before, once = courses.given_Gy[person.row, k], courses.next_Gy[person.row, k]
        whole = planned_sums(courses.rules, np.array(k + 1))[0] * once
        for horizon, added in (("next", once), ("course", whole)):
            for i, limit in enumerate(limits):
                dose = before[i] + added[i]
                sd = _RELATIVE_SD * dose
                bed = limit.metric == "bed"
                rows.append(
                    {
                        "subject_id": person.subject_id,
                        "cycle": str(k + 1),
                        "version": "1",
                        "region": limit.region,
                        "horizon": horizon,
                        "absorbed_dose_Gy": "" if bed else number(dose),
                        "absorbed_dose_sd_Gy": "" if bed else number(sd),
                        "bed_Gy": number(dose) if bed else "",
                        "p_over_limit": number(float(ndtr((dose - limit.limit_Gy) / sd)), 4),
                    }
                )
    return rows


def _administrations(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    courses, rows = trial.courses[person.arm], []
    for k in _given(courses, person):
        start = person.at(courses.day[person.row, k])
        for n, nuclide in enumerate(courses.rules.nuclides):
            given = courses.administered_MBq[person.row, k, n]
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
                    "prescription_version": "1",
                }
            )
    return rows


def _doses(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """Doses of each cycle by nuclide and in total, and the sums so far."""
    courses, rows = trial.courses[person.arm], []
    measured = arm_doses(trial.block, person.arm).measured[person.row]
    sums = np.zeros(len(REGIONS))
    for k in _given(courses, person):
        missing = bool(trial.block.missed[person.index, k])
        sums += courses.measured_Gy[person.row, k]
        for r, region in enumerate(REGIONS):
            head = {
                "subject_id": person.subject_id,
                "cycle": str(k + 1),
                "region": region,
                "method": "blood" if region == "red marrow" else "own mass",
                "mass_g": number(quantity(trial, person, _MASS[region]), 4) if region in _MASS else "",
            }
            if missing:
                rows.append(
                    {
                        **head,
                        "scope": "cycle",
                        "nuclide": "total",
                        "basis": "missing",
                        "missing_reason": "scans not done",
                    }
                )
            else:
                rows += _cycle_doses(trial, courses, person, k, r, measured[k, r], head)
            basis = "carried" if missing else "measured"
            rows.append({**head, "scope": "cumulative", "nuclide": "total", "basis": basis, **_amount(sums[r])})
    return rows


def _cycle_doses(
    trial: VirtualTrial, courses: Courses, person: VirtualSubject, k: int, region: int, coefficient: np.ndarray,
    head: Row,
) -> list[Row]:  # fmt: skip
    rows: list[Row] = []
    first = trial.protocol.measured_nuclide or courses.rules.nuclides[0]
    for n, nuclide in enumerate(courses.rules.nuclides):
        dose = coefficient[n] * courses.administered_MBq[person.row, k, n]
        basis = "measured" if nuclide == first else "predicted"
        rows.append({**head, "scope": "cycle", "nuclide": nuclide, "basis": basis, **_amount(dose)})
    total = courses.measured_Gy[person.row, k, region]
    return [*rows, {**head, "scope": "cycle", "nuclide": "total", "basis": "measured", **_amount(total)}]


def _amount(dose_Gy: float) -> dict[str, str]:
    return {"absorbed_dose_Gy": number(dose_Gy), "absorbed_dose_sd_Gy": number(_RELATIVE_SD * dose_Gy)}


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

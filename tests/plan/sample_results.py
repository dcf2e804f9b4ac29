"""Results as `lutetia plan` writes them, for the tests of the report: one subject, six situations.

The doses follow from the curves by simple formulas, so that the numbers of one result agree with each other.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

Result = dict[str, Any]
LU_H, Y_H = 159.528, 64.1
HOURS = (4.2, 24.6, 71.8, 167.5)
# region: mass g, uptake fraction of the administered activity, effective half-life h, Gy per MBq h of 177Lu and 90Y
REGIONS = {
    "kidneys": (292.0, 0.0345, 51.2, 1.72e-4, 0.95e-3),
    "left kidney": (151.0, 0.0181, 52.0, 3.80e-4, 2.09e-3),
    "right kidney": (141.0, 0.0164, 50.3, 3.10e-4, 1.67e-3),
    "liver": (1620.0, 0.088, 61.0, 5.4e-5, 3.3e-4),
    "spleen": (184.0, 0.031, 66.5, 4.6e-4, 2.8e-3),
    "tumour 1": (15.4, 0.0062, 88.0, 5.4e-3, 2.9e-2),
}
METHOD = "segmented volume × density; sphere-model S-values scaled by mass"


def curve(nuclide: str, amount: float, half_life_h: float, *, points: bool) -> dict[str, list[float]]:
    """A mono-exponential curve with its band; measured points only where asked for."""
    rate = math.log(2.0) / half_life_h
    grid = [2.0 * n for n in range(121)]
    fit = [amount * math.exp(-rate * t) for t in grid]
    spread = [0.05 + 0.0006 * t for t in grid]
    noise = (0.02, -0.025, 0.03, -0.015)
    measured = [amount * math.exp(-rate * t) * (1.0 + e) for t, e in zip(HOURS, noise, strict=True)]
    return {
        "time_h": list(HOURS) if points else [],
        "activity_MBq": measured if points else [],
        "sd_MBq": [0.06 * a for a in measured] if points else [],
        "grid_h": grid,
        "fit_MBq": fit,
        "fit_low_MBq": [f * (1.0 - s) for f, s in zip(fit, spread, strict=True)],
        "fit_high_MBq": [f * (1.0 + s) for f, s in zip(fit, spread, strict=True)],
    }


def nuclide_entry(name: str, administered: float, region: str, *, scale: float) -> dict[str, Any]:
    """One nuclide of one region: the measured 177Lu, or the 90Y predicted from it."""
    _, fraction, half_life, s_lu, s_y = REGIONS[region]
    rate = math.log(2.0) / half_life
    if name == "Y-90":
        rate += math.log(2.0) * (1.0 / Y_H - 1.0 / LU_H)
    activity = administered * fraction * scale
    integral = activity / rate
    dose = integral * (s_lu if name == "Lu-177" else s_y)
    share = 0.105 if name == "Lu-177" else 0.135
    return {
        "basis": "measured" if name == "Lu-177" else "predicted from Lu-177",
        "model": "mono-exponential",
        "effective_half_life_h": math.log(2.0) / rate,
        "time_integrated_activity_MBq_h": integral,
        "time_integrated_activity_sd_MBq_h": 0.07 * integral,
        "extrapolated_fraction": math.exp(-rate * HOURS[-1]),
        "absorbed_dose_Gy": dose,
        "absorbed_dose_sd_Gy": share * dose,
        "Gy_per_GBq": dose / administered * 1000.0,
        "curve": curve(name, activity, math.log(2.0) / rate, points=name == "Lu-177"),
    }


def region_entry(region: str, administered: dict[str, float], *, scale: float) -> dict[str, Any]:
    """One region of one cycle with all nuclides."""
    nuclides = {n: nuclide_entry(n, a, region, scale=scale) for n, a in administered.items()}
    dose = sum(e["absorbed_dose_Gy"] for e in nuclides.values())
    sd = sum(e["absorbed_dose_sd_Gy"] for e in nuclides.values())
    mass = REGIONS[region][0]
    return {
        "region": region,
        "mass_g": mass,
        "volume_mL": mass / 1.05,
        "method": METHOD,
        "nuclides": nuclides,
        "absorbed_dose_Gy": dose,
        "absorbed_dose_sd_Gy": sd,
        "absorbed_dose_interval_Gy": [dose - 1.9 * sd, dose + 2.05 * sd],
        "bed_Gy": dose * 1.11 if "kidney" in region else None,
        "warnings": [],
    }


def marrow_entry(administered: dict[str, float], method: str, factor: float) -> dict[str, Any]:
    """Red marrow by one method."""
    coefficients = {"Lu-177": 0.0145e-3, "Y-90": 0.056e-3}
    nuclides = {}
    for name, activity in administered.items():
        dose = activity * coefficients[name] * factor
        nuclides[name] = {
            "basis": "measured" if name == "Lu-177" else "predicted from Lu-177",
            "model": "bi-exponential",
            "effective_half_life_h": 41.0 if name == "Lu-177" else 28.6,
            "time_integrated_activity_MBq_h": None,
            "time_integrated_activity_sd_MBq_h": None,
            "extrapolated_fraction": 0.064,
            "absorbed_dose_Gy": dose,
            "absorbed_dose_sd_Gy": 0.21 * dose,
            "Gy_per_GBq": coefficients[name] * factor * 1000.0,
        }
    dose = sum(e["absorbed_dose_Gy"] for e in nuclides.values())
    return {
        "region": "red marrow",
        "mass_g": 900.0,
        "volume_mL": None,
        "method": method,
        "nuclides": nuclides,
        "absorbed_dose_Gy": dose,
        "absorbed_dose_sd_Gy": 0.2 * dose,
        "absorbed_dose_interval_Gy": [0.64 * dose, 1.42 * dose],
        "bed_Gy": None,
        "warnings": ["remainder of the body is a bound, not a measurement"] if method == "blood" else [],
    }


def cycle_entry(number: int, administered: dict[str, float], *, scale: float) -> dict[str, Any]:
    """One finished cycle."""
    regions = [region_entry(r, administered, scale=scale) for r in REGIONS]
    regions += [marrow_entry(administered, "blood", scale), marrow_entry(administered, "image L2–L4", 2.3 * scale)]
    return {"number": number, "administered_MBq": dict(administered), "regions": regions}


def cumulative(cycles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sum over the cycles of every region and method."""
    keys = dict.fromkeys((r["region"], r["method"]) for c in cycles for r in c["regions"])
    rows = []
    for region, method in keys:
        found = [r for c in cycles for r in c["regions"] if (r["region"], r["method"]) == (region, method)]
        bed = [r["bed_Gy"] for r in found]
        rows.append(
            {
                "region": region,
                "absorbed_dose_Gy": sum(r["absorbed_dose_Gy"] for r in found),
                "absorbed_dose_sd_Gy": sum(r["absorbed_dose_sd_Gy"] for r in found),
                "bed_Gy": None if None in bed else sum(bed),
                "method": method,
            }
        )
    return rows


def limit(
    name: str, region: str, limit_Gy: float, given: float | None, after: float | None, end: float | None, **more: Any
) -> dict[str, Any]:
    """One limit with intervals of ± 20 %; None where not evaluable."""
    spread = (0.81, 1.22)
    return {
        "id": name,
        "region": region,
        "metric": "absorbed_dose",
        "method": "blood" if region == "red marrow" else None,
        "kind": "hard" if region == "red marrow" else "soft",
        "limit_Gy": limit_Gy,
        "given_Gy": given,
        "predicted_after_cycle_Gy": after,
        "predicted_end_of_course_Gy": end,
        "interval_after_cycle_Gy": None if after is None else [after * s for s in spread],
        "interval_end_of_course_Gy": None if end is None else [end * s for s in spread],
        "probability_over_after_cycle": None if after is None else 0.0 if after < 0.8 * limit_Gy else 0.31,
        "probability_over_end_of_course": None if end is None else 0.0 if end < 0.8 * limit_Gy else 0.5,
        "controllable_fraction": None if after is None else 0.71,
        "binding": False,
        **more,
    }


def arm_b_ok() -> Result:
    """Two tandem cycles given, 90Y reduced by the kidney limit, laboratory values missing."""
    administered = {"Lu-177": 3700.0, "Y-90": 3700.0}
    cycles = [cycle_entry(1, administered, scale=0.95), cycle_entry(2, {"Lu-177": 3680.0, "Y-90": 2950.0}, scale=0.98)]
    kidneys = sum(r["absorbed_dose_Gy"] for c in cycles for r in c["regions"] if r["region"] == "kidneys")
    marrow = sum(r["absorbed_dose_Gy"] for c in cycles for r in c["regions"] if r["method"] == "blood")
    return {
        "schema": "lutetia.result/1",
        "software": {"name": "lutetia", "version": "0.1.0"},
        "inputs_sha256": "3f1c9e0c7b2b4f9a2f46a7f0d1c3e58b6a9d7750c1d2e3f4a5b6c7d8e9f00112",
        "seed": 1,
        "draws": 1000,
        "subject": {"id": "DUO-014", "sex": "female", "age_years": 58, "weight_kg": 68.0, "height_cm": 165.0},
        "protocol": {
            "name": "duonen",
            "version": "2026.1",
            "arm": "B",
            "source": "Front Endocrinol 2025, doi 10.3389/fendo.2025.1716247 (abstract)",
            "assumptions": [
                "cycles = 4 (assumption, not published)",
                "arms.B.base_MBq = Lu-177 3700, Y-90 3700 (assumption, not published)",
                "arms.C.min_factor = 0.5 (assumption, not published)",
                "allocation = even (assumption, not published)",
                "limits.kidneys.risk = 0.5 (assumption, not published)",
                "limits.marrow.method = blood (assumption, not published)",
                "grid_MBq = 50 (assumption, not published)",
            ],
        },
        "cycles": cycles,
        "cumulative": cumulative(cycles),
        "limits": [
            limit("kidneys", "kidneys", 23.0, kidneys, kidneys + 4.64, kidneys + 9.28, binding=True),
            limit("marrow", "red marrow", 2.0, marrow, marrow + 0.15, marrow + 0.3, controllable_fraction=0.64),
        ],
        "prescription": {
            "cycle": 3,
            "state": "OK",
            "activities_MBq": {"Lu-177": 3700.0, "Y-90": 1900.0},
            "category": {"Lu-177": "fixed", "Y-90": "reduced"},
            "change_from_previous": {"Lu-177": 0.005435, "Y-90": -0.355932},
            "base_MBq": {"Lu-177": 3700.0, "Y-90": 3700.0},
            "cap_MBq": {"Lu-177": None, "Y-90": 5550.0},
            "bound_by": "kidneys",
            "signable": False,
            "conditions": [
                "Laboratory values not older than 14 days are missing: enter labs.csv",
                "Acknowledge the remainder-of-body bound in the marrow dose",
            ],
            "reasons": [
                "Y-90 is limited by the kidneys: 23 Gy shared evenly over the 2 remaining cycles",
                "Lu-177 is fixed in arm B",
            ],
            "why_not_more": "50 MBq more Y-90 in each remaining cycle would make passing 23 Gy to the kidneys likely.",
            "what_would_change": [
                "A kidney mass measured 5 % higher would allow about 2100 MBq Y-90",
                "Giving three cycles instead of four would allow the base activity",
            ],
        },
        "labs": [
            {
                "analyte": "platelets",
                "value": 168.0,
                "unit": "10^9/L",
                "taken_at": "2026-05-02T08:10:00+02:00",
                "grade": 0,
            },
            {
                "analyte": "lymphocytes",
                "value": 0.71,
                "unit": "10^9/L",
                "taken_at": "2026-05-02T08:10:00+02:00",
                "grade": 2,
            },
            {
                "analyte": "creatinine",
                "value": 78.0,
                "unit": "umol/L",
                "taken_at": "2026-05-02T08:10:00+02:00",
                "grade": None,
            },
        ],
        "warnings": [
            {
                "code": "single-kidney",
                "message": "The left kidney receives 17 % more than the pair",
                "where": "cycle 2",
                "severity": "first-line",
            },
            {
                "code": "cross-talk",
                "message": "Y-90 counts in the Lu-177 window are not calibrated: Lu-177 may be 4 % too high",
                "where": "cycles 1 and 2",
                "severity": "warning",
            },
            "Spleen, cycle 1: registration moved the region by 3.1 mm",
        ],
    }


def arm_c_infeasible() -> Result:
    """Variable 177Lu cannot repair a dose that the fixed 90Y causes: base + minimum shown, two persons needed."""
    result = arm_b_ok()
    result["protocol"]["arm"] = "C"
    given = result["limits"][0]["given_Gy"] + 2.6
    result["limits"][0] = limit("kidneys", "kidneys", 23.0, given, given + 6.73, given + 13.46, binding=True)
    result["limits"][0]["probability_over_after_cycle"] = 0.62
    result["limits"][0]["probability_over_end_of_course"] = 0.998
    result["limits"][0]["controllable_fraction"] = 0.09
    result["prescription"] |= {
        "state": "INFEASIBLE",
        "activities_MBq": {"Lu-177": 1850.0, "Y-90": 3700.0},
        "category": {"Lu-177": "reduced", "Y-90": "fixed"},
        "change_from_previous": {"Lu-177": -0.497283, "Y-90": 0.254237},
        "cap_MBq": {"Lu-177": 5550.0, "Y-90": None},
        "bound_by": "kidneys",
        "reasons": ["Y-90 is fixed in arm C and alone passes the kidney limit of 23 Gy"],
        "why_not_more": "Even the smallest Lu-177 activity of the protocol passes 23 Gy to the kidneys.",
        "what_would_change": ["Fewer cycles", "A deviation that lowers Y-90, decided outside this system"],
    }
    return result


def infeasible_hard() -> Result:
    """A hard limit would be passed: nothing is proposed."""
    result = arm_c_infeasible()
    result["limits"][1] |= {"given_Gy": 1.91, "predicted_after_cycle_Gy": None, "interval_after_cycle_Gy": None}
    result["limits"][1] |= {"predicted_end_of_course_Gy": None, "interval_end_of_course_Gy": None, "binding": True}
    result["limits"][1] |= {"probability_over_after_cycle": None, "probability_over_end_of_course": None}
    result["prescription"] |= _nothing("INFEASIBLE", "marrow") | {
        "reasons": ["No activity keeps the marrow below 2 Gy"]
    }
    return result


def stop() -> Result:
    """The hard marrow limit has been passed."""
    result = infeasible_hard()
    result["limits"][1]["given_Gy"] = 2.13
    result["prescription"] |= _nothing("STOP", "marrow") | {
        "reasons": ["2.13 Gy given to the red marrow; the limit is 2 Gy"]
    }
    result["prescription"]["why_not_more"] = "The dose already given has passed a hard limit."
    result["prescription"]["what_would_change"] = []
    return result


def held() -> Result:
    """Platelets grade 2: nothing now, decide again later."""
    result = arm_b_ok()
    result["prescription"] |= _nothing("HELD", "toxicity") | {
        "reasons": ["Platelets grade 2 (68 × 10^9/L): hold until grade 0–1"],
        "conditions": ["Repeat the blood count and run the plan again"],
        "why_not_more": "Toxicity rules act after dosimetry.",
    }
    result["labs"][0] |= {"value": 68.0, "grade": 2}
    for row in result["limits"]:
        row |= {k: None for k in row if k.startswith(("predicted", "interval", "probability"))}
    return result


def complete() -> Result:
    """All planned cycles have been given."""
    result = held()
    result["prescription"] |= {
        "state": "COMPLETE",
        "bound_by": None,
        "conditions": [],
        "reasons": ["4 of 4 cycles given"],
    }
    result["prescription"] |= {"cycle": 5, "why_not_more": None, "what_would_change": None}
    return result


def zero_cycles() -> Result:
    """Nothing measured yet: the base activity."""
    result = arm_b_ok()
    result |= {"cycles": [], "cumulative": [], "warnings": [], "labs": []}
    for row in result["limits"]:
        row |= {k: None for k in row if k.startswith(("given", "predicted", "interval", "probability", "controllable"))}
        row["binding"] = False
    result["prescription"] |= {
        "cycle": 1,
        "activities_MBq": {"Lu-177": 3700.0, "Y-90": 3700.0},
        "category": {"Lu-177": "fixed", "Y-90": "unchanged"},
        "change_from_previous": {"Lu-177": None, "Y-90": None},
        "bound_by": "base",
        "reasons": ["First cycle without measurements: base activity"],
        "why_not_more": None,
        "what_would_change": None,
    }
    return result


def marrow_missing() -> Result:
    """No blood samples: the marrow is not evaluable, no increase."""
    result = arm_b_ok()
    for cycle in result["cycles"]:
        cycle["regions"] = [r for r in cycle["regions"] if r["region"] != "red marrow"]
    result["cumulative"] = cumulative(result["cycles"])
    result["limits"][1] |= {
        k: None for k in result["limits"][1] if k.startswith(("given", "predicted", "interval", "prob", "contr"))
    }
    result["prescription"] |= {
        "conditions": ["Red marrow not evaluable: acknowledgement by two persons"],
        "signable": False,
    }
    return result


def minimal() -> Result:
    """Only the keys that the contract promises, none of the extra ones."""
    result = copy.deepcopy(arm_b_ok())
    for key in ("base_MBq", "cap_MBq", "change_from_previous", "why_not_more", "what_would_change"):
        del result["prescription"][key]
    for row in result["limits"]:
        del row["interval_after_cycle_Gy"], row["interval_end_of_course_Gy"]
    for cycle in result["cycles"]:
        for region in cycle["regions"]:
            for entry in region["nuclides"].values():
                entry.pop("curve", None)
    result["subject"] = {"id": "DUO-014", "sex": "female"}
    result["protocol"] = {"name": "duonen", "version": "2026.1", "arm": "B"}
    del result["labs"]
    return result


def spoken() -> Result:
    """The controller's own words: sentences with their headings, repeated among the reasons, and one cap."""
    result = arm_b_ok()
    headline = "Cycle 3: 3700 MBq Lu-177 and 1900 MBq Y-90 proposed, set by the 23 Gy limit for the kidneys."
    more = "Why not more Y-90: the bounds are kidneys 1900 MBq, cap 5550 MBq; activities are floored to 50 MBq."
    would = (
        "What would change it: a lower measured dose per MBq to the kidneys; the next bound is then cap at 5550 MBq."
    )
    row = "kidneys (23 Gy absorbed dose, soft): 13.6 Gy given, 18.3 Gy after the next cycle."
    result["prescription"] |= {
        "reasons": [headline, more, would, row],
        "why_not_more": [more],
        "what_would_change": [would],
        "cap_MBq": 5550.0,
        "variable": "Y-90",
        "over_limit": False,
        "decision_at": "2026-05-02T08:10:00+02:00",
    }
    result["protocol"] |= {"title": "DUONEN", "illustrative": True, "sha256": "ab12" * 16}
    result["uncertainty_percent"] = {"calibration_percent": 4.0, "mass_percent": 5.0, "s_value_percent": 3.5}
    return result


SAMPLES: dict[str, Callable[[], Result]] = {
    "arm_b_ok": arm_b_ok,
    "arm_c_infeasible": arm_c_infeasible,
    "infeasible_hard": infeasible_hard,
    "stop": stop,
    "held": held,
    "complete": complete,
    "zero_cycles": zero_cycles,
    "marrow_missing": marrow_missing,
    "minimal": minimal,
    "spoken": spoken,
}


def _nothing(state: str, bound_by: str) -> dict[str, Any]:
    return {
        "state": state,
        "activities_MBq": None,
        "category": {"Lu-177": "withheld", "Y-90": "withheld"},
        "change_from_previous": None,
        "bound_by": bound_by,
        "signable": False,
    }

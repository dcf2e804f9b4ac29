"""Predicted and later measured doses side by side, and the bias of the prediction.

The prediction is that of the released version, which is kept for ever; the measurement is that of the cycle's result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from lutetia.errors import AccessDeniedError
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import given_cycles, protocol_of, subject_of


@dataclass(frozen=True, slots=True)
class DosePair:
    """Dose of one region after one cycle: predicted before it with its sd, and measured after it (both cumulative).

    `difference_percent` is that of the cycle's own dose, measured against predicted; None in a cycle whose dose was
    carried or is missing, and where no earlier sum is known.
    """

    subject_id: str
    cycle: int
    version: int
    region: str
    predicted_Gy: float
    predicted_sd_Gy: float | None
    measured_Gy: float | None
    measured_sd_Gy: float | None
    difference_Gy: float | None
    difference_percent: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class Bias:
    """Mean and sd of the cycle's differences in per cent, by region; None where there are too few pairs."""

    region: str
    pairs: int
    mean_percent: float | None
    sd_percent: float | None


def predicted_and_measured(trial: Trial, actor: Actor, subject_id: str | None = None) -> list[DosePair]:
    """Every prediction beside its measurement, of one subject or of all that the actor may see.

    Raises
    ------
    AccessDeniedError
        If the actor may not see doses.
    """
    with trial.read() as reader:
        site = None if subject_id is None else subject_of(reader, subject_id)["site"]
        access.require(actor, "see_subject", site)
        if access.masked(actor):
            raise AccessDeniedError("see_subject: doses are hidden for this role")
        sites = access.visible_sites(actor)
        subjects = [subject_of(reader, subject_id)] if subject_id is not None else reader.records("subjects")
        shown = [s for s in subjects if sites is None or s["site"] in sites]
        return [pair for s in shown for pair in _pairs(trial, reader, s)]


def bias_of(pairs: Iterable[DosePair]) -> list[Bias]:
    """Bias of the prediction by region, from the cycles that were measured and predicted."""
    by_region: dict[str, list[float]] = {}
    for pair in pairs:
        if pair.difference_percent is not None:
            by_region.setdefault(pair.region, []).append(pair.difference_percent)
    return [
        Bias(region, len(found), fmean(found) if found else None, stdev(found) if len(found) > 1 else None)
        for region, found in sorted(by_region.items())
    ]


def _pairs(trial: Trial, reader: Reader, subject: Record) -> list[DosePair]:
    if not subject["arm"]:
        return []
    methods = {li.region: li.method for li in protocol_of(trial, reader).limits_of(subject["arm"])}
    found = []
    for given in given_cycles(reader, subject["subject_id"]):
        rows = reader.records("prescriptions", subject_id=subject["subject_id"], cycle=given.cycle)
        versions = [int(r["version"]) for r in rows if r["state"] == "ADMINISTERED"]
        if not versions:
            continue
        key = {"subject_id": subject["subject_id"], "cycle": given.cycle}
        for row in reader.records("forecasts", **key, version=max(versions), horizon="next"):
            if row["absorbed_dose_Gy"] is not None:
                found.append(_pair(reader, row, methods.get(row["region"])))
    return found


def _pair(reader: Reader, forecast: Record, method: str | None) -> DosePair:
    key = {"subject_id": forecast["subject_id"], "region": forecast["region"], "nuclide": "total"}
    cycle = int(forecast["cycle"])
    after = _dose(reader, method, **key, cycle=cycle, scope="cumulative")
    own = _dose(reader, method, **key, cycle=cycle, scope="cycle")
    predicted = float(forecast["absorbed_dose_Gy"])
    measured = None if after is None else after["absorbed_dose_Gy"]
    basis = "missing" if own is None else own["basis"]
    difference = None if measured is None else measured - predicted
    percent = None
    if difference is not None and own is not None and own["absorbed_dose_Gy"] and basis != "carried":
        expected = own["absorbed_dose_Gy"] - difference
        percent = 100.0 * difference / expected if expected > 0 and math.isfinite(expected) else None
    return DosePair(
        forecast["subject_id"], cycle, int(forecast["version"]), forecast["region"], predicted,
        forecast["absorbed_dose_sd_Gy"], measured, None if after is None else after["absorbed_dose_sd_Gy"],
        difference, percent, basis,
    )  # fmt: skip


def _dose(reader: Reader, method: str | None, **where: object) -> Record | None:
    rows = reader.records("doses", **where)
    found = [r for r in rows if (method is None or r["method"] == method) and r["absorbed_dose_Gy"] is not None]
    return found[0] if found else None

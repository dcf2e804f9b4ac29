"""Predicted against measured dose: the bias of the forecasts, their intervals, and whether P(over) is calibrated.

A forecast counts if its prescription version was administered. Both sides are cumulative: the dose after that cycle
(horizon next) or at the end of the course (horizon course, judged in subjects who were given every planned cycle),
prior therapy included as in the forecast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lutetia.safety.doses import PRIOR, cycle_doses, limit_method
from lutetia.safety.exposure import given_versions
from lutetia.safety.frames import typed
from lutetia.safety.reading import TrialData
from lutetia.safety.study import DoseLimit

Z95 = 1.959963984540054
BINS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FORECASTS = {
    "subject_id": "object", "arm": "object", "cycle": "int64", "limit": "object", "region": "object",
    "metric": "object", "limit_Gy": "float64", "horizon": "object", "predicted_Gy": "float64",
    "predicted_sd_Gy": "float64", "measured_Gy": "float64", "ratio": "float64", "error_Gy": "float64", "z": "float64",
    "inside": "boolean", "predicted_cycle_Gy": "float64", "measured_cycle_Gy": "float64", "p_over": "float64",
    "over": "boolean", "row": "int64", "dose_rows": "object",
}  # fmt: skip
CALIBRATION = {
    "limit": "object", "horizon": "object", "low": "float64", "high": "float64", "n": "int64", "mean_p": "float64",
    "over": "int64", "rows": "object", "dose_rows": "object",
}  # fmt: skip


def derive_forecasts(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """Every forecast of an administered cycle beside what was measured, one row for each limit and horizon.

    `ratio` = measured / predicted and `error_Gy` = measured − predicted of the cumulative dose, `z` the error in
    predicted standard deviations, `inside` whether it lies in the central 95 %; `predicted_cycle_Gy` and
    `measured_cycle_Gy` are the parts of that cycle alone (horizon next). Measured values are missing where a dose of
    the course is, and for the horizon course unless all planned cycles were given.
    """
    doses = cycle_doses(data, infusions)
    prior = data["subjects"].set_index("subject_id")
    versions, table = given_versions(data), data["forecasts"]
    rows = []
    for limit in data.study.limits:
        own = doses[(doses["region"] == limit.region) & (doses["method"] == limit_method(data, limit))]
        doses_of = dict(iter(own.groupby("subject_id")))
        courses = {
            subject: _course(course, doses_of.get(subject)) for subject, course in infusions.groupby("subject_id")
        }
        for forecast in table[table["region"] == limit.region].itertuples():
            known = (forecast.subject_id, forecast.cycle) in versions and forecast.subject_id in courses
            version = versions.get((forecast.subject_id, forecast.cycle))
            if not known or (version is not None and version != forecast.version):
                continue
            before = float(np.nan_to_num(prior.loc[forecast.subject_id].get(PRIOR.get(limit.region, ""), 0.0)))
            rows.append(_compared(limit, forecast, courses[forecast.subject_id], before, data.study.cycles))
    return typed(FORECASTS, rows)


def calibration(forecasts: pd.DataFrame) -> pd.DataFrame:
    """How often the limit was passed, by bins of the predicted probability; one row for each bin that has forecasts."""
    known = forecasts[forecasts["p_over"].notna() & forecasts["over"].notna()]
    rows = []
    for key, own in known.groupby(["limit", "horizon"], sort=True):
        place = np.clip(np.searchsorted(BINS, own["p_over"].to_numpy(), side="right") - 1, 0, len(BINS) - 2)
        for i in np.unique(place):
            part = own[place == i]
            rows.append(
                {
                    "limit": key[0], "horizon": key[1], "low": BINS[i], "high": BINS[i + 1], "n": len(part),
                    "mean_p": part["p_over"].mean(), "over": int(part["over"].sum()), "rows": tuple(part["row"]),
                    "dose_rows": tuple(r for rows in part["dose_rows"] for r in rows),
                }
            )  # fmt: skip
    return typed(CALIBRATION, rows)


def _course(infusions: pd.DataFrame, doses: pd.DataFrame | None) -> pd.DataFrame:
    """Doses of one subject in order of the infusions; cycles without a row are missing."""
    order = infusions[["cycle", "arm"]]
    columns = ["cycle", "absorbed_dose_Gy", "bed_Gy", "row"]
    found = doses[columns] if doses is not None else pd.DataFrame(columns=columns)
    return order.merge(found, on="cycle", how="left")


def _compared(
    limit: DoseLimit, forecast: Any, course: pd.DataFrame, prior: float, planned: int | None
) -> dict[str, Any]:
    absorbed = limit.metric == "absorbed_dose"
    dose = course["absorbed_dose_Gy" if absorbed else "bed_Gy"].to_numpy(dtype=float)
    place = (
        int(np.flatnonzero(course["cycle"] == forecast.cycle)[0]) if (course["cycle"] == forecast.cycle).any() else -1
    )
    whole = forecast.horizon == "course"
    last = len(dose) - 1 if whole else place
    reached = place >= 0 and (not whole or (planned is not None and len(dose) >= planned))
    measured = prior + dose[: last + 1].sum() if reached else np.nan
    predicted = forecast.absorbed_dose_Gy if absorbed else forecast.bed_Gy
    sd = forecast.absorbed_dose_sd_Gy if absorbed else np.nan
    earlier = prior + dose[:place].sum() if place >= 0 else np.nan
    error = measured - predicted
    z = error / sd if sd > 0 else np.nan
    return {
        "subject_id": forecast.subject_id, "arm": course["arm"].iloc[0] if len(course) else "", "cycle": forecast.cycle,
        "limit": limit.id, "region": limit.region, "metric": limit.metric, "limit_Gy": limit.limit_Gy,
        "horizon": forecast.horizon, "predicted_Gy": predicted, "predicted_sd_Gy": sd, "measured_Gy": measured,
        "ratio": measured / predicted if predicted > 0 else np.nan, "error_Gy": error, "z": z,
        "inside": abs(z) <= Z95 if np.isfinite(z) else None,
        "predicted_cycle_Gy": np.nan if whole else predicted - earlier,
        "measured_cycle_Gy": np.nan if whole or place < 0 else dose[place],
        "p_over": forecast.p_over_limit, "over": measured > limit.limit_Gy if np.isfinite(measured) else None,
        "row": forecast.row,
        "dose_rows": tuple(int(r) for r in course["row"].iloc[: last + 1] if np.isfinite(r) and r) if reached else (),
    }  # fmt: skip

"""The known facts of single scans, on virtual subjects through the real kinetics."""

from __future__ import annotations

from typing import Any

from lutetia.kinetics.single_time import POPULATION_METHODS
from lutetia.simulate.population import packaged_measurement, read_population
from lutetia.simulate.single_point import NUCLIDES, OWN, best_of_days, single_point_record
from lutetia.validation.checks import Check, compared

STUDY = "One scan a cycle"
BEST_DAY_H = {"Lu-177": 72.0, "Y-90": 48.0}


def single_scan_study() -> list[Check]:
    """Best scan hour by method and nuclide, and the share of kidneys off by more than 10 %."""
    record = single_point_record(read_population(), packaged_measurement())
    checks = []
    for name in NUCLIDES:
        for method in POPULATION_METHODS:
            day, best = best_of_days(record, method, name), BEST_DAY_H[name]
            checks.append(Check(STUDY, f"{name}, {method}: best of the days 1 to 7", day, "h", best, best))
    for row in record["best_hours"]:
        checks.append(
            compared(
                STUDY, f"{row['nuclide']}, {row['method']} alone: best hour", row["scan_h"], row["expected_h"],
                unit="h", tolerance_percent=15.0, note="reference T_eff/ln 2",
            )
        )  # fmt: skip
    checks += [
        _share(record, "madsen", "Lu-177", 72.0, high=15.0),
        _share(record, "madsen", "Y-90", 48.0, high=15.0),
        _share(record, "madsen", "Lu-177", 24.0, low=30.0),
        _share(record, OWN, "Lu-177", 24.0, high=15.0),
        _share(record, OWN, "Lu-177", 72.0, high=10.0),
    ]
    return checks


def _share(
    record: dict[str, Any], method: str, name: str, hour: float, *, low: float = 0.0, high: float = 100.0
) -> Check:
    row = next(r for r in record["rows"] if (r["method"], r["nuclide"], r["scan_h"]) == (method, name, hour))
    value = 100.0 * row["share_off_by_more_than_10_percent"]
    return Check(STUDY, f"{name}, {method}, {hour:.0f} h: kidneys off by more than 10 %", value, "%", low, high)

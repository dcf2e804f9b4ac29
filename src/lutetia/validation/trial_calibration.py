"""Intervals and probabilities of whole virtual trials, level by level."""

from __future__ import annotations

from typing import Any

from lutetia.protocol.profile import read_protocol
from lutetia.simulate.calibration import Counts, calibration_counts, calibration_record
from lutetia.simulate.population import packaged_measurement, read_population
from lutetia.simulate.trials import draw_block, run_block
from lutetia.validation.checks import Check

STUDY = "Intervals and probabilities of trials"
COVERAGE_PERCENT = (93.0, 97.0)
# Points of probability: mean over all forecasts, and of any class of enough forecasts. One subject gives up to eight
# forecasts that come true or not together, so that 500 forecasts tell a share to about 4 points.
MEAN_ERROR, CLASS_ERROR, FEWEST = 3.0, 10.0, 500
# level, blocks of trials, subjects judged in each arm of a block
RUNS = (("analytic", 8, 250), ("fitted", 10, 120))


def trial_calibration_study() -> list[Check]:
    """Coverage of the nominal 95 % dose intervals, and reliability of P(over a limit), at both levels."""
    checks = []
    for level, blocks, subjects in RUNS:
        record = level_calibration(level, blocks, subjects)
        for row in record["coverage"]:
            share = 100.0 * row["share_that_holds_the_truth"]
            note = f"{row['intervals']} intervals"
            checks.append(
                Check(STUDY, f"{level}: 95 % intervals that hold the truth, {row['quantity']}", share, "%",
                      *COVERAGE_PERCENT, note=note)
            )  # fmt: skip
        for row in record["reliability"]:
            name, note = f"{level}: P(over a limit), {row['horizon']}", f"{row['forecasts']} forecasts"
            checks.append(
                Check(STUDY, f"{name}, mean error", 100.0 * row["mean_error"], "points", high=MEAN_ERROR, note=note)
            )
            checks.append(
                Check(STUDY, f"{name}, worst class of {FEWEST} or more", worst_class(row), "points", high=CLASS_ERROR)
            )
    return checks


def level_calibration(level: str, blocks: int, subjects: int) -> dict[str, Any]:
    """The calibration record of some blocks of trials of the packaged profile."""
    total: Counts = {}
    for number in range(blocks):
        block = draw_block(
            read_protocol("duonen"), read_population(), packaged_measurement(), trials=35, per_trial=56, seed=1,
            block=number, level=level,
        )  # fmt: skip
        counts = calibration_counts(block, run_block(block), subjects=subjects)
        total = {name: values + total.get(name, 0.0) for name, values in counts.items()}
    return calibration_record(total)


def worst_class(row: dict[str, Any]) -> float:
    """Largest |came true − said| of a class with enough forecasts, in points of probability."""
    enough = [b for b in row["bins"] if b["forecasts"] >= FEWEST]
    return float(max(100.0 * abs(b["came_true"] - b["said"]) for b in enough))

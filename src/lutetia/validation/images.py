"""Imaged cases with known truth through the whole of `lutetia plan`, with what goes wrong in practice planted.

Planted: noise, blur of 10 mm, motion between scans, a stated resolution that is wrong by ±10 % (the recovery comes from
a separate sphere phantom of that wrong resolution), and outlines shifted by 2 mm.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lutetia.phantom.anatomy import Anatomy, EllipsoidAnatomy
from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.phantom.example import example_options
from lutetia.phantom.subject import random_subject, reference_woman
from lutetia.plan.run import run_plan
from lutetia.validation.checks import Check

JUDGED = ("kidneys", "left kidney", "right kidney", "liver", "spleen")
BOUNDS_PERCENT = {"Lu-177": 5.0, "Y-90": 7.0}
RESOLUTIONS_MM = (9.0, 10.0, 11.0)
SHIFTS_MM = ((2.0, 0.0, 0.0), (0.0, -1.4, 1.4), (0.0, 0.0, -2.0))


def planted_options(base: CaseOptions) -> list[CaseOptions]:
    """One case for each mis-set resolution, each with outlines shifted by 2 mm in another direction."""
    pairs = zip(RESOLUTIONS_MM, SHIFTS_MM, strict=True)
    return [
        replace(base, stated_fwhm_mm=fwhm, outline_shift_mm=shift, seed=base.seed + n)
        for n, (fwhm, shift) in enumerate(pairs)
    ]


def dose_errors(anatomy: Anatomy, options: CaseOptions) -> dict[tuple[str, str], float]:
    """Relative error of the absorbed dose by region and nuclide, for one case."""
    with tempfile.TemporaryDirectory() as place:
        folder = write_image_case(anatomy, Path(place) / "case", options)
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        result = run_plan(folder, draws=200, seed=options.seed).result
    true = {row["region"]: row for row in truth["cycles"][0]["regions"]}
    found = {row["region"]: row for row in result["cycles"][0]["regions"]}
    return {
        (region, name): found[region]["nuclides"][name]["absorbed_dose_Gy"]
        / true[region]["nuclides"][name]["absorbed_dose_Gy"]
        - 1.0
        for region in JUDGED
        for name in BOUNDS_PERCENT
    }


def accuracy_checks(study: str, cases: Iterable[tuple[Anatomy, CaseOptions]]) -> list[Check]:
    """The largest error of each organ and nuclide over the cases, in per cent."""
    worst: dict[tuple[str, str], float] = {}
    for anatomy, options in cases:
        for key, error in dose_errors(anatomy, options).items():
            worst[key] = max(worst.get(key, 0.0), abs(error))
    return [
        Check(study, f"largest dose error, {region}, {name}", 100.0 * error, "%", high=BOUNDS_PERCENT[name])
        for (region, name), error in worst.items()
    ]


def example_study() -> list[Check]:
    """The example's subject and a random one, each with every planted resolution and shift."""
    base = example_options()
    cases = [
        (EllipsoidAnatomy(subject), options)
        for subject in (reference_woman(), random_subject(11))
        for options in planted_options(base)
    ]
    return accuracy_checks("images", cases)

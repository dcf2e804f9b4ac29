"""Photon dose from organs to the red marrow, against Monte Carlo in voxel adults and a mass-weighted OLINDA sum."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lutetia.dose.marrow_model import marrow_table
from lutetia.dose.marrow_sites import MARROW_SITES, marrow_points
from lutetia.dose.s_values import organ_s_value, stylised_cross_dose

REFERENCE = Path(__file__).parents[1] / "reference" / "opendose_lu177_spongiosa.csv"
SHARES: dict[str, float] = marrow_table()["sites"]["share_percent"]


def published() -> list[tuple[str, str, float]]:
    """Sex, source, and S(red marrow ← source) in Gy/(MBq h) as the marrow-weighted mean over the bones."""
    lines = [line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    total = sum(SHARES.values())
    return [
        (r["sex"], r["source"], 3.6 * sum(float(r[site]) * share for site, share in SHARES.items()) / total)
        for r in rows
    ]


@pytest.mark.parametrize(("sex", "source", "expected"), published())
def test_organ_to_marrow_of_177lu_is_the_marrow_weighted_published_value(
    sex: str, source: str, expected: float
) -> None:
    ours = float(organ_s_value("Lu-177", source, "red marrow", sex).Gy_per_MBq_h)
    assert ours == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize(("sex", "source", "expected"), published())
def test_stylised_bones_come_within_a_factor_of_two_of_voxel_adults(sex: str, source: str, expected: float) -> None:
    stylised = stylised_cross_dose("Lu-177", source, "red marrow", sex)
    assert 0.5 < stylised / expected < 1.25  # place of organs and bones, and attenuation in bone, differ


def test_the_stylised_sum_agrees_with_what_olinda_takes_from_its_remainder() -> None:
    row, body = marrow_table()["Lu-177"]["male"], marrow_table()["phantom"]["male"]
    organs = {"kidneys": 310.0, "liver": 1800.0, "spleen": 150.0}
    without_marrow = body["whole_body_g"] - body["red_marrow_g"]
    olinda = row["remainder_all"] * without_marrow - row["remainder_organs"] * body["remainder_g"]
    ours = sum(stylised_cross_dose("Lu-177", o, "red marrow", "male") / 3.6 * mass for o, mass in organs.items())
    assert ours == pytest.approx(olinda, rel=0.25)


def test_organs_give_the_marrow_less_than_the_same_activity_in_the_remainder_and_90y_almost_nothing() -> None:
    for source in ("kidneys", "liver", "spleen"):
        photons = float(organ_s_value("Lu-177", source, "red marrow", "female").Gy_per_MBq_h)
        assert photons < float(organ_s_value("Lu-177", "remainder", "red marrow", "female").Gy_per_MBq_h)
        bremsstrahlung = float(organ_s_value("Y-90", source, "red marrow", "female").Gy_per_MBq_h)
        assert (
            0.0 < bremsstrahlung < 0.02 * float(organ_s_value("Y-90", "remainder", "red marrow", "female").Gy_per_MBq_h)
        )


def test_points_lie_in_their_bones_with_the_share_of_marrow_of_each() -> None:
    points = marrow_points(20_000, 3)
    assert points.shape == (20_000, 3)
    start = 0
    for site, share in SHARES.items():
        count = round(20_000 * share / sum(SHARES.values()))
        inside = MARROW_SITES[site].contains(points[start : start + count])
        assert inside[5:-5].all(), site
        start += count
    assert np.ptp(points[:, 2]) < 130.0

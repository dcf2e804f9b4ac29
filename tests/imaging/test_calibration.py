"""Counts to activity: sensitivity, dead time, tandem window; and recovery from a sphere phantom."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from scipy import ndimage

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.errors import CaseError, InputError, PhysicsError, UnitError
from lutetia.imaging.calibration import (
    Calibration,
    calibration_doubts,
    counts_to_activity,
    tandem_factor,
    true_rate,
)
from lutetia.imaging.recovery import (
    RecoveryTable,
    choose_resolution,
    fit_recovery_curve,
    fit_resolution,
    read_recovery,
    recovery_at,
    sphere_recovery,
)

GRID = axis_aligned_grid((4, 4, 4), (5.0, 5.0, 5.0))


def counts(value: float) -> Volume:
    return Volume(np.full(GRID.shape, value, dtype=np.float32), GRID, "counts")


def test_counts_become_activity_by_duration_sensitivity_and_voxel_volume():
    volume, doubts = counts_to_activity(counts(1000.0), Calibration(10.0), duration_s=1000.0)
    np.testing.assert_allclose(volume.values, 1000 / 1000 / 10 / 0.125, rtol=1e-6)
    assert volume.unit == "MBq_per_mL"
    assert doubts == ()


@pytest.mark.parametrize("n", [0.0, 100.0, 5e4, 1.9e5])
def test_dead_time_correction_inverts_the_paralysable_model(n):
    tau = 5.0
    observed = n * np.exp(-n * tau * 1e-6)
    np.testing.assert_allclose(true_rate(observed, tau), n, rtol=1e-8, atol=1e-12)


def test_dead_time_scales_the_image_is_flagged_over_ten_per_cent_and_refused_beyond_the_maximum():
    calibration = Calibration(10.0, dead_time_us=5.0)
    n = 40_000.0
    seen = n * np.exp(-n * 5e-6)
    volume, doubts = counts_to_activity(counts(10.0), calibration, duration_s=100.0, observed_cps=seen)
    plain, _ = counts_to_activity(counts(10.0), Calibration(10.0), duration_s=100.0)
    np.testing.assert_allclose(volume.values / plain.values, np.exp(n * 5e-6), rtol=1e-5)
    assert doubts[0].code == "dead-time"
    assert "18 %" in doubts[0].message
    with pytest.raises(PhysicsError, match=r"shows at most 7\.358e"):
        true_rate(80_000.0, 5.0)
    with pytest.raises(PhysicsError, match="negative count rate"):
        true_rate(-1.0, 5.0)


def test_five_per_cent_cross_sensitivity_gives_the_known_error_of_the_integral():
    # time integral of the uncorrected over the true 177Lu activity, T_eff 50 h, equal administered activities
    calibration = Calibration(10.0, y90_cps_per_MBq=0.5)
    time = np.linspace(0, 2000, 20001)
    lutetium = np.exp(-np.log(2) * time / 50)
    seen = lutetium / tandem_factor(calibration, 1.0, time)
    assert np.trapezoid(seen) / np.trapezoid(lutetium) - 1 == pytest.approx(0.034, abs=0.001)
    with pytest.raises(PhysicsError, match="no y90_cps_per_MBq"):
        tandem_factor(Calibration(10.0), 1.0, 0.0)


def test_wrong_calibrations_are_refused():
    with pytest.raises(InputError, match=r"cps_per_MBq = 0.*expected a positive"):
        Calibration(0.0)
    with pytest.raises(InputError, match=r"dead_time_us = -1"):
        Calibration(1.0, dead_time_us=-1)
    with pytest.raises(InputError, match="without the duration"):
        counts_to_activity(counts(1.0), Calibration(1.0), duration_s=None)
    with pytest.raises(UnitError, match="expected counts"):
        counts_to_activity(Volume(counts(1).values, GRID, "MBq_per_mL"), Calibration(1.0), duration_s=1.0)


def test_old_calibrations_and_missing_tandem_sensitivity_are_doubted():
    calibration = Calibration(10.0, date=dt.date(2024, 1, 1))
    codes = [d.code for d in calibration_doubts(calibration, dt.date(2026, 1, 1), tandem=True)]
    assert codes == ["calibration-old", "tandem-cross-sensitivity"]
    assert calibration_doubts(calibration, dt.date(2024, 6, 1), tandem=False) == ()


@pytest.mark.parametrize(("radius_mm", "fwhm_mm"), [(8.0, 10.0), (15.0, 10.0), (30.0, 8.0)])
def test_sphere_recovery_agrees_with_a_blurred_voxel_sphere(radius_mm, fwhm_mm):
    axis = np.arange(-45.0, 45.5, 1.0)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    fine = np.clip(radius_mm + 0.5 - np.sqrt(x**2 + y**2 + z**2), 0, 1)
    blurred = ndimage.gaussian_filter(fine, fwhm_mm / 2.354820045, truncate=5)
    expected = (fine * blurred).sum() / fine.sum()
    assert sphere_recovery(4e-3 / 3 * np.pi * radius_mm**3, fwhm_mm) == pytest.approx(expected, abs=0.006)


def test_resolution_is_found_from_a_sphere_phantom():
    volume = np.array([0.5, 1.2, 2.6, 5.6, 11.5, 26.5])
    rng = np.random.default_rng(3)
    rc = sphere_recovery(volume, 9.0) + rng.normal(0, 0.01, 6)
    found = fit_resolution(RecoveryTable(volume, rc, np.full(6, 0.01)))
    assert abs(found.fwhm_mm - 9.0) < 3 * found.sd_mm
    assert 0.02 < found.sd_mm < 0.4
    assert found.doubts == ()
    overshoot = fit_resolution(RecoveryTable(volume, rc + np.linspace(-0.1, 0.25, 6), np.full(6, 0.01)))
    assert overshoot.doubts[0].code == "recovery-misfit"
    assert overshoot.sd_mm > found.sd_mm


def test_the_phantom_wins_over_the_stated_resolution_and_a_difference_is_doubted():
    volume = np.array([1.0, 5.0, 20.0])
    table = RecoveryTable(volume, sphere_recovery(volume, 9.0), np.full(3, 0.02))
    assert choose_resolution(table, 9.5).fwhm_mm == pytest.approx(9.0, rel=1e-3)
    assert choose_resolution(table, 9.5).sd_mm == pytest.approx(0.05 * 9.0, rel=1e-3)
    assert choose_resolution(table, 12.0).doubts[-1].code == "resolution-differs"
    assert choose_resolution(None, 10.0).sd_mm == pytest.approx(1.0)
    with pytest.raises(InputError, match="neither recovery_csv nor resolution_fwhm_mm"):
        choose_resolution(None, None)
    with pytest.raises(InputError, match="expected 1 to 60 mm"):
        choose_resolution(None, 0.1)


def test_the_recovery_curve_is_monotone_near_the_points_and_flags_extrapolation():
    volume = np.array([0.5, 1.2, 2.6, 5.6, 11.5, 26.5])
    rc = sphere_recovery(volume, 9.0)
    curve = fit_recovery_curve(RecoveryTable(volume, rc, np.full(6, 0.02)))
    grid = np.geomspace(0.1, 500, 200)
    value, sd, outside = recovery_at(curve, grid)
    assert (np.diff(value) > 0).all()
    assert (sd > 0).all()
    np.testing.assert_allclose(recovery_at(curve, volume)[0], rc, atol=0.03)
    np.testing.assert_array_equal(outside, (grid < 0.5) | (grid > 26.5))


def test_recovery_tables_are_checked_at_the_door(tmp_path):
    def table(text: str):
        path = tmp_path / "recovery.csv"
        path.write_text(text)
        return read_recovery(path)

    found = table("volume_mL,rc,sd\n10,0.8,0.02\n1,0.4,\n5,0.7,0.02\n")
    np.testing.assert_allclose(found.volume_mL, [1, 5, 10])
    np.testing.assert_allclose(found.sd, [0.03, 0.02, 0.02])
    for text, match in (
        ("volume,rc\n1,2\n", "no column volume_mL"),
        ("volume_mL,rc,sd\n1,a,0.1\n", "row 2: found a value that is not a number"),
        ("volume_mL,rc,sd\n1,0.5,0.1\n", "1 spheres; expected three or more"),
        ("volume_mL,rc,sd\n1,0.5,0.1\n2,1.5,0.1\n3,0.7,0.1\n", "outside volume_mL > 0"),
    ):
        with pytest.raises(CaseError, match=match):
            table(text)
    with pytest.raises(CaseError, match=r"cannot read 'absent\.csv'"):
        read_recovery(tmp_path / "absent.csv")

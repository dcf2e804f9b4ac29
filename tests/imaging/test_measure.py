"""Activities of regions against a known truth, with blur, wrong resolution and misplaced outlines."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import ImageError, PhysicsError, UnitError
from lutetia.imaging.carry import carry_regions
from lutetia.imaging.measure import disjoint, measure_regions, measurement_doubts, overlap_doubts
from lutetia.imaging.recovery import RecoveryTable, Resolution, fit_recovery_curve, sphere_recovery
from lutetia.imaging.resample import resample_mask, resample_volume
from lutetia.imaging.transform import identity, rigid_from_euler

FINE = axis_aligned_grid((96, 84, 110), (3.0, 3.0, 3.0), origin_mm=(-165.0, -126.0, -144.0))
SPECT = axis_aligned_grid((60, 52, 68), (4.8, 4.8, 4.8), origin_mm=(-164.0, -125.0, -143.0))
ELLIPSOIDS = {  # centre, half axes (mm), MBq/mL
    "liver": ((-75, -10, 20), (75, 70, 80), 0.15),
    "spleen": ((105, 25, 45), (35, 28, 48), 0.5),
    "left kidney": ((62, 45, -15), (30, 26, 52), 1.0),
    "right kidney": ((-62, 50, -40), (29, 26, 50), 0.9),
    "tumour 1": ((-90, -20, 30), (13, 13, 13), 3.0),
}
FWHM = 10.0


@cache
def phantom():
    """Scan in MBq/mL, masks on the fine grid, true activity of each region in MBq."""
    index = np.stack(np.meshgrid(*map(np.arange, FINE.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(FINE.position_mm(index.astype(float)), -1, 0)
    activity = np.where((x / 155) ** 2 + (y / 110) ** 2 < 1, 0.02, 0.0)
    label = np.zeros(FINE.shape, dtype=int)
    masks = {}
    for n, (name, (c, r, value)) in enumerate(ELLIPSOIDS.items(), start=1):
        masks[name] = ((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((z - c[2]) / r[2]) ** 2 < 1
        activity[masks[name]], label[masks[name]] = value, n
    truth = {name: float(activity[label == n].sum() * FINE.voxel_mL) for n, name in enumerate(masks, start=1)}
    blurred = ndimage.gaussian_filter(activity, FWHM / 2.3548 / 3.0)
    scan = resample_volume(Volume(blurred.astype(np.float32), FINE, "MBq_per_mL"), SPECT)
    return scan, [RegionMask(name, mask, FINE) for name, mask in masks.items()], truth


def measured(*, fwhm=FWHM, shift=(0.0, 0.0, 0.0), scan=None, **more):
    own, masks, _ = phantom()
    regions = [resample_mask(m, SPECT, rigid_from_euler((0, 0, 0), shift)) for m in masks]
    found = measure_regions(
        scan or own, regions, nuclide="Lu-177", time_h=24.0, resolution=Resolution(fwhm, 0.1 * fwhm, "stated"), **more
    )
    return {m.region: m for m in found}


def test_activities_are_recovered_within_two_per_cent_at_the_right_resolution():
    truth = phantom()[2]
    for name, m in measured().items():
        assert m.activity_MBq == pytest.approx(truth[name], rel=0.02), name


@pytest.mark.parametrize("fwhm", [9.0, 11.0])
@pytest.mark.parametrize("shift", [(0, 0, 0), (2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, 0, -2), (1.15, -1.15, 1.15)])
def test_organs_stay_within_four_per_cent_with_resolution_and_outlines_off(fwhm, shift):
    truth = phantom()[2]
    found = measured(fwhm=fwhm, shift=shift)
    for name in ("liver", "spleen", "left kidney", "right kidney"):
        assert found[name].activity_MBq == pytest.approx(truth[name], rel=0.04), name


def test_without_recovery_the_kidneys_lose_more_than_a_tenth():
    truth, found = phantom()[2], measured(method="none")
    assert found["left kidney"].activity_MBq < 0.9 * truth["left kidney"]


def test_uncertainties_grow_where_objects_are_small():
    found = measured()
    kidney, tumour = found["left kidney"], found["tumour 1"]
    assert tumour.recovery < kidney.recovery < found["liver"].recovery < 1
    assert tumour.recovery_sd / tumour.recovery > kidney.recovery_sd / kidney.recovery > 0
    assert 0 < kidney.sd_MBq < 0.03 * kidney.activity_MBq


def test_noise_of_the_image_shows_in_the_standard_deviation():
    scan, _, truth = phantom()
    rng = np.random.default_rng(5)
    errors, sds = [], []
    for _ in range(12):
        noise = ndimage.gaussian_filter(rng.normal(size=SPECT.shape), 0.9)
        noisy = Volume((scan.values * (1 + 0.2 * noise / noise.std())).astype(np.float32), SPECT, "MBq_per_mL")
        found = measured(scan=noisy)["left kidney"]
        errors.append(found.activity_MBq / truth["left kidney"] - 1)
        sds.append(found.sd_MBq / truth["left kidney"])
    assert 0.4 < np.mean(sds) / np.std(errors) < 2.5


def test_the_pair_is_the_sum_of_single_kidneys_and_the_whole_body_is_summed():
    scan, masks, _ = phantom()
    regions = [resample_mask(m, SPECT) for m in masks if "kidney" in m.region]
    pair = RegionMask("kidneys", regions[0].mask + regions[1].mask, SPECT)
    body = RegionMask("whole body", np.ones(SPECT.shape, dtype=bool), SPECT)
    facts = {"nuclide": "Lu-177", "time_h": 1.0, "resolution": Resolution(FWHM, 1.0, "stated")}
    found = {m.region: m for m in measure_regions(scan, [pair, *regions, body], **facts)}
    single = found["left kidney"], found["right kidney"]
    assert found["kidneys"].activity_MBq == pytest.approx(sum(s.activity_MBq for s in single))
    assert found["kidneys"].volume_mL == pytest.approx(sum(s.volume_mL for s in single))
    assert found["whole body"].activity_MBq == pytest.approx(float(scan.values.sum()) * SPECT.voxel_mL, rel=1e-5)


def test_a_tumour_in_the_liver_is_not_liver():
    masks = phantom()[1]
    parts = {r.region: r for r in disjoint(masks)}
    others = np.any([m.mask for m in masks if m.region != "liver"], axis=0)
    liver = next(m for m in masks if m.region == "liver")
    np.testing.assert_array_equal(parts["liver"].mask > 0, liver.mask & ~others)
    assert parts["tumour 1"].volume_mL == next(m for m in masks if m.region == "tumour 1").volume_mL
    (doubt,) = overlap_doubts(masks)
    assert (doubt.code, doubt.where) == ("regions-overlap", "liver")


def test_volumes_without_overlap_and_a_whole_body_change_nothing_inside_the_scan():
    scan, masks, _ = phantom()
    body = RegionMask("whole body", np.ones(SPECT.shape, dtype=bool), SPECT)
    regions = [*(resample_mask(m, SPECT) for m in masks), body]
    facts = {"nuclide": "Lu-177", "time_h": 1.0, "resolution": Resolution(FWHM, 1.0, "stated")}
    volumes = {m.region: m.volume_mL for m in disjoint([*masks, RegionMask("whole body", masks[0].mask, FINE)])}
    plain, filled = (measure_regions(scan, regions, **facts, volumes_mL=v) for v in (None, volumes))
    for a, b in zip(plain, filled, strict=True):
        assert b.activity_MBq == pytest.approx(a.activity_MBq, rel=0.01), a.region


def test_a_region_cut_by_the_field_of_view_fills_its_drawn_volume_and_is_doubted():
    scan, masks, truth = phantom()
    low = axis_aligned_grid((22, 52, 68), (4.8, 4.8, 4.8), origin_mm=(-164.0, -125.0, -143.0))
    cut = Volume(scan.values[:22], low, "MBq_per_mL")
    kidney = next(m for m in masks if m.region == "right kidney")
    (carried,) = carry_regions([kidney], low, identity())
    assert 0.3 < carried.inside < 0.9
    found = measure_regions(
        cut, [carried.region], nuclide="Lu-177", time_h=1.0, resolution=Resolution(FWHM, 1.0, "stated"),
        volumes_mL={"right kidney": carried.drawn_mL},
    )  # fmt: skip
    assert found[0].activity_MBq == pytest.approx(truth["right kidney"], rel=0.1)
    doubts = measurement_doubts(found, None, inside={"right kidney": carried.inside})
    assert [d.code for d in doubts] == ["region-truncated"]


def test_small_and_empty_regions_are_doubted():
    found = measured()
    small = measurement_doubts([found["tumour 1"]], Resolution(15.0, 1.0, "stated"), where="cycle 1, scan 2")
    assert (small[0].code, small[0].where) == ("region-small", "cycle 1, scan 2, tumour 1")
    assert measurement_doubts([found["liver"]], Resolution(FWHM, 1.0, "stated")) == ()


def test_sphere_equivalent_recovery_divides_by_the_curve():
    volume = np.array([2.0, 8.0, 40.0, 200.0])
    curve = fit_recovery_curve(RecoveryTable(volume, sphere_recovery(volume, FWHM), np.full(4, 0.02)))
    plain, corrected = measured(method="none"), measured(method="sphere", curve=curve)
    kidney = corrected["left kidney"]
    assert kidney.activity_MBq == pytest.approx(plain["left kidney"].activity_MBq / kidney.recovery)
    assert kidney.activity_MBq == pytest.approx(phantom()[2]["left kidney"], rel=0.06)


def test_wrong_inputs_are_refused():
    scan, masks, _ = phantom()
    on_scan = resample_mask(masks[0], SPECT)
    facts = {"nuclide": "Lu-177", "time_h": 1.0, "resolution": Resolution(FWHM, 1.0, "stated")}
    with pytest.raises(UnitError, match="expected MBq_per_mL"):
        measure_regions(Volume(scan.values, SPECT, "counts"), [on_scan], **facts)
    with pytest.raises(PhysicsError, match="mask on another grid"):
        measure_regions(scan, masks, **facts)
    with pytest.raises(PhysicsError, match="a region twice"):
        measure_regions(scan, [on_scan, on_scan], **facts)
    with pytest.raises(ImageError, match="no part of the region inside the scan"):
        measure_regions(scan, [RegionMask("liver", np.zeros(SPECT.shape, dtype=bool), SPECT)], **facts)
    with pytest.raises(PhysicsError, match="needs the resolution"):
        measure_regions(scan, [on_scan], nuclide="Lu-177", time_h=1.0)

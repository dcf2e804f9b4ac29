"""Registration recovers planted motions, is reproducible, ignores the edges of the image, and knows its quality."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import ImageError
from lutetia.imaging.carry import carry_regions
from lutetia.imaging.registration import body_mask, refine_for_region, register_rigid
from lutetia.imaging.transform import RigidTransform, identity, inverse, rigid_from_euler

GRID = axis_aligned_grid((76, 90, 90), (5.0, 4.4, 4.4), origin_mm=(-196.0, -196.0, -190.0))
CENTRE = (0.0, 0.0, 0.0)
CORNERS = np.array([[x, y, z] for x in (-90, 90) for y in (-60, 60) for z in (-90, 90)], dtype=float)
KIDNEY = ((62, 45, -15), (30, 26, 52))


def place(grid, transform):
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(float)
    position = grid.position_mm(index)
    return position, np.moveaxis(position if transform is None else transform.apply(position), -1, 0)


def ellipsoid(q, centre, radius):
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(q, centre, radius, strict=True)) < 1


@cache
def ct(grid=GRID, transform=None, *, seed=1, kidney=(0.0, 0.0, 0.0), table=True):
    """Torso with lungs, organs and a spine that differs along z; a table that does not move with the patient."""
    position, q = place(grid, transform)
    hu = np.full(grid.shape, -1000.0)
    hu[(q[0] / 160) ** 2 + (q[1] / 110) ** 2 < 1] = -90.0
    hu[(q[0] / 145) ** 2 + (q[1] / 95) ** 2 < 1] = 40.0
    for centre, radius, value in (
        ((-70, 0, 140), (55, 70, 80), -780), ((70, 0, 140), (55, 70, 80), -780), ((-75, -10, 20), (70, 65, 75), 60),
        ((105, 20, 45), (33, 28, 45), 50), ((-62, 50, -40), (29, 26, 50), 30), ((0, -50, -60), (60, 30, 40), -100),
    ):  # fmt: skip
        hu[ellipsoid(q, centre, radius)] = value
    hu[ellipsoid(q, np.add(KIDNEY[0], kidney), KIDNEY[1])] = 160
    for n in range(-8, 9):
        hu[ellipsoid(q, (0, 62, 28 * n), (20, 20, 10))] = 350 + 10 * n
    if table:
        hu[(position[..., 1] > 125) & (position[..., 1] < 137)] = -50
    noise = np.random.default_rng(seed).normal(0, 15, hu.shape)
    return Volume((hu + noise).astype(np.float32), grid, "HU")


def worst_mm(found: RigidTransform, planted: RigidTransform) -> float:
    return float(np.linalg.norm(found.apply(CORNERS) - planted.apply(CORNERS), axis=1).max())


def angle_error(found: RigidTransform, planted: RigidTransform) -> float:
    return RigidTransform(np.linalg.inv(planted.matrix) @ found.matrix).rotation_deg


@pytest.mark.parametrize(
    ("angles", "shift"),
    [((0, 0, 4), (5, -4, 4.8)), ((4, 0, 0), (0, 0, 8)), ((-2, 3, -1.7), (-8, 0, 0)), ((0, 0, 0), (0, 0, 0))],
)
def test_a_planted_motion_of_8_mm_and_4_degrees_is_recovered(angles, shift):
    planted = rigid_from_euler(angles, shift, centre_mm=CENTRE)
    found = register_rigid(ct(), ct(transform=inverse(planted), seed=2))
    assert worst_mm(found, planted) <= 1.0
    assert angle_error(found, planted) <= 1.0
    assert found.quality.doubts == ()
    assert found.quality.correlation > 0.9
    assert found.quality.inverse_consistency_mm < 2.0


def test_another_field_of_view_and_table_position_do_not_pull_the_result():
    planted = rigid_from_euler((0, 0, 1), (70, -20, 95))
    other = axis_aligned_grid((60, 90, 90), (5.0, 4.4, 4.4), origin_mm=(-126.0, -216.0, -50.0))
    found = register_rigid(ct(), ct(other, inverse(planted), seed=3))
    assert worst_mm(found, planted) <= 1.5
    assert found.quality.overlap < 0.9


def test_registration_is_reproducible_to_the_last_bit():
    moving = ct(transform=rigid_from_euler((1, 0, 0), (3, 0, 0)), seed=4)
    first, second = (register_rigid(ct(), moving).matrix for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_scans_of_different_bodies_are_doubted():
    other = ct(transform=RigidTransform(np.diag([-1.0, -1.0, 1.0, 1.0])), seed=5)  # spine where the belly was
    codes = [d.code for d in register_rigid(ct(), other).quality.doubts]
    assert "registration-poor" in codes


def test_an_image_without_a_body_is_refused():
    air = Volume(np.full(GRID.shape, -1000, dtype=np.float32), GRID, "HU")
    with pytest.raises(ImageError, match="cycle 1, scan 2: found no body in the CT"):
        register_rigid(ct(), air, where="cycle 1, scan 2")


def test_the_body_mask_leaves_the_table_out():
    mask, (position, _) = body_mask(ct()), place(GRID, None)
    assert mask[:, 45, 45].all()
    assert not mask[(position[..., 1] > 134)].any()


def test_spect_alone_can_be_registered():
    def spect(transform):
        _, q = place(GRID, transform)
        values = np.where((q[0] / 160) ** 2 + (q[1] / 110) ** 2 < 1, 0.02, 0.0)
        for centre, radius, value in (((-75, -10, 20), (70, 65, 75), 0.15), ((105, 20, 45), (33, 28, 45), 0.5),
                                      (*KIDNEY, 1.0), ((-62, 50, -40), (29, 26, 50), 0.9)):  # fmt: skip
            values[ellipsoid(q, centre, radius)] = value
        return Volume(values.astype(np.float32), GRID, "MBq_per_mL")

    planted = rigid_from_euler((0, 2, 2), (6, -3, 4))
    found = register_rigid(spect(None), spect(inverse(planted)), kind="SPECT")
    assert worst_mm(found, planted) < 3.0


def kidney_mask():
    _, q = place(GRID, None)
    return RegionMask("left kidney", ellipsoid(q, *KIDNEY), GRID)


def test_refinement_follows_a_kidney_that_moved_with_breathing():
    moved = ct(kidney=(0.0, 2.0, 9.0), seed=6)
    transform = refine_for_region(moved, ct(), identity(), region=kidney_mask())
    np.testing.assert_allclose(transform.matrix[:3, 3], [0, -2, -9], atol=2.0)
    same = refine_for_region(ct(seed=7), ct(), identity(), region=kidney_mask())
    assert np.linalg.norm(same.matrix[:3, 3]) < 1.0


def test_an_organ_outside_the_scan_is_not_refined_but_doubted():
    above = RegionMask(
        "left kidney", kidney_mask().mask, axis_aligned_grid(GRID.shape, GRID.spacing_mm, origin_mm=(0, 0, 900))
    )
    transform = refine_for_region(ct(seed=7), ct(), identity(), region=above)
    assert [d.code for d in transform.quality.doubts] == ["registration-region-outside"]
    np.testing.assert_array_equal(transform.matrix, np.eye(4))


def test_carried_regions_know_how_well_they_fit():
    kidney = kidney_mask()
    (good,) = carry_regions([kidney], GRID, identity(), fixed_ct=ct(seed=8), moving_ct=ct())
    assert good.correlation > 0.9
    assert good.inside == pytest.approx(1.0)
    assert good.doubts == ()
    away = ct(kidney=(0.0, -30.0, 40.0), seed=9)
    (bad,) = carry_regions([kidney], GRID, identity(), fixed_ct=away, moving_ct=ct(), where="cycle 1, scan 3")
    assert [d.code for d in bad.doubts] == ["region-misaligned"]
    assert bad.doubts[0].where == "cycle 1, scan 3, left kidney"
    (refined,) = carry_regions([kidney], GRID, identity(), fixed_ct=ct(kidney=(0, 0, 9.0)), moving_ct=ct(), refine=True)
    overlap = (refined.region.mask * ellipsoid(place(GRID, None)[1], np.add(KIDNEY[0], (0, 0, 9)), KIDNEY[1])).sum()
    assert overlap / kidney.mask.sum() > 0.92

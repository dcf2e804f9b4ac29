"""Fused pictures: the right side of the body is on the left of the picture, whatever way the arrays run."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import PhysicsError
from lutetia.report.slices import fused_views

SHAPE = (24, 20, 30)


def body() -> tuple[Volume, Volume, list[RegionMask]]:
    """A body with one hot spot high on the patient's left (LPS +x, +z)."""
    grid = axis_aligned_grid(SHAPE, (5.0, 5.0, 5.0))
    ct = np.full(SHAPE, 20.0, dtype=np.float32)
    spect = np.zeros(SHAPE, dtype=np.float32)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[17:21, 8:12, 21:26] = True
    spect[mask] = 1.0
    return Volume(spect, grid, "MBq_per_mL"), Volume(ct, grid, "HU"), [RegionMask("left kidney", mask, grid)]


def reversed_order(volume: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """The same volume stored with all axes reversed and k and i exchanged."""
    index = np.array(
        [[0, 0, -1, SHAPE[0] - 1], [0, -1, 0, SHAPE[1] - 1], [-1, 0, 0, SHAPE[2] - 1], [0, 0, 0, 1]], dtype=float
    )
    turned = np.ascontiguousarray(np.flip(volume).transpose(2, 1, 0))
    return turned, Grid(turned.shape, grid.affine @ index)  # type: ignore[arg-type]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)


def test_the_left_side_is_on_the_right_and_the_head_is_up() -> None:
    spect, ct, regions = body()
    picture = pixels(fused_views(spect, ct, regions).png)[:640, :700]
    rows, columns = np.nonzero((picture[..., 0] > 180) & (picture[..., 1] > 150) & (picture[..., 2] < 140))
    assert columns.mean() > 350
    assert rows.mean() < 320


def test_storage_order_does_not_change_the_picture() -> None:
    spect, ct, regions = body()
    values, grid = reversed_order(spect.values, spect.grid)
    other = Volume(values, grid, "MBq_per_mL")
    other_ct = Volume(reversed_order(ct.values, ct.grid)[0], grid, "HU")
    mask = RegionMask("left kidney", reversed_order(regions[0].mask, regions[0].grid)[0], grid)
    assert fused_views(other, other_ct, [mask]).png == fused_views(spect, ct, regions).png


def test_the_words_name_the_regions() -> None:
    spect, ct, regions = body()
    image = fused_views(spect, ct, regions, title="Cycle 1")
    assert image.caption.startswith("Cycle 1: ")
    assert "left kidney" in image.alt


@pytest.mark.parametrize("with_ct", [True, False])
def test_pictures_need_neither_ct_nor_regions(with_ct: bool) -> None:
    spect, ct, _ = body()
    assert fused_views(spect, ct if with_ct else None, []).png.startswith(b"\x89PNG")


def test_another_grid_is_refused() -> None:
    spect, ct, regions = body()
    moved = Volume(ct.values, axis_aligned_grid(SHAPE, (5.0, 5.0, 4.0)), "HU")
    with pytest.raises(PhysicsError, match="found CT on another grid"):
        fused_views(spect, moved, regions)


def test_an_oblique_grid_is_refused() -> None:
    spect, _, _ = body()
    turn = np.eye(4)
    turn[:2, :2] = [[0.7, -0.7], [0.7, 0.7]]
    oblique = Volume(spect.values, Grid(SHAPE, turn @ spect.grid.affine), "MBq_per_mL")
    with pytest.raises(PhysicsError, match="oblique"):
        fused_views(oblique, None, [])

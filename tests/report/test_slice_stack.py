"""Slices of the viewer: which side of the patient is where, true proportions, and stacks that survive packing."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import InputError, PhysicsError, UnknownNameError
from lutetia.report.figures.slice_stack import VIEWS, Stack, make_stack, pack_stack, slice_png, unpack_stack

SHAPE = (24, 20, 16)
#: A spot well towards the patient's left, the back and the head (LPS: +x, +y, +z).
SPOT_LPS_mm = np.array([24.0, 22.0, 50.0])


def turned_grid(order: tuple[int, int, int], signs: tuple[int, int, int]) -> Grid:
    """A grid whose array axes run along the body axes in any order and sense, about the origin."""
    base = axis_aligned_grid(SHAPE, (5.0, 4.0, 4.0)).affine[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = (base * np.array(signs))[:, list(order)]
    shape = tuple(SHAPE[n] for n in order)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid((shape[0], shape[1], shape[2]), affine)


def spot_stack(grid: Grid, *, ct: bool = True) -> Stack:
    values = np.zeros(grid.shape, dtype=np.float32)
    k, j, i = np.round(grid.index_of(SPOT_LPS_mm)).astype(int)
    values[k, j, i] = 1.0
    region = RegionMask("spleen", values > 0.5, grid)
    body = Volume(np.full(grid.shape, 40.0, dtype=np.float32), grid, "HU") if ct else None
    return make_stack(Volume(values, grid, "MBq_per_mL"), body, [region])


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)


def brightest(png: bytes) -> tuple[float, float]:
    """Place of the spot in a picture as fractions (from left, from top); red excess over blue marks the overlay."""
    rgb = picture(png)
    weight = np.clip(rgb[..., 0] - rgb[..., 2], 0, None)
    rows, columns = np.indices(weight.shape)
    total = weight.sum()
    return float((columns * weight).sum() / total / weight.shape[1]), float(
        (rows * weight).sum() / total / weight.shape[0]
    )


ALL_ORDERS = list(itertools.permutations((0, 1, 2)))
ALL_SIGNS = list(itertools.product((1, -1), repeat=3))


@pytest.mark.parametrize("order", ALL_ORDERS, ids=str)
@pytest.mark.parametrize("signs", ALL_SIGNS, ids=str)
def test_views_are_radiological_however_the_array_lies(
    order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    stack = spot_stack(turned_grid(order, signs))
    level = {view: stack.middle(view) for view in VIEWS}
    assert level["axial"] < stack.levels("axial") / 2, "the head comes first"
    assert level["coronal"] > stack.levels("coronal") / 2, "the front comes first"
    assert level["sagittal"] > stack.levels("sagittal") / 2, "the right side comes first"
    index = np.argwhere(stack.overlay == 1.0)[0]
    assert index.tolist() == [level["axial"], level["coronal"], level["sagittal"]]


def test_axial_picture_has_the_patients_left_on_its_right_and_the_back_below() -> None:
    stack = spot_stack(turned_grid((0, 1, 2), (1, 1, 1)))
    x, y = brightest(slice_png(stack, "axial", stack.middle("axial"), outlines=False))
    assert x > 0.7
    assert y > 0.7


def test_coronal_picture_has_the_head_up_and_the_patients_left_on_its_right() -> None:
    stack = spot_stack(turned_grid((0, 1, 2), (-1, 1, -1)))
    x, y = brightest(slice_png(stack, "coronal", stack.middle("coronal"), outlines=False))
    assert x > 0.7
    assert y < 0.3


def test_sagittal_picture_has_the_front_on_its_left_and_the_head_up() -> None:
    stack = spot_stack(turned_grid((2, 0, 1), (1, -1, 1)))
    x, y = brightest(slice_png(stack, "sagittal", stack.middle("sagittal"), outlines=False))
    assert x > 0.7
    assert y < 0.3


def test_pictures_have_the_proportions_of_the_body() -> None:
    stack = spot_stack(turned_grid((0, 1, 2), (1, 1, 1)))
    sizes = {view: Image.open(io.BytesIO(slice_png(stack, view, 0, side_px=480))).size for view in VIEWS}
    assert sizes["axial"] == (round(480 * 64 / 80), 480)
    assert sizes["coronal"] == (round(480 * 64 / 120), 480)
    assert sizes["sagittal"] == (round(480 * 80 / 120), 480)


def test_without_ct_activity_is_dark_on_white() -> None:
    stack = spot_stack(turned_grid((0, 1, 2), (1, 1, 1)), ct=False)
    grey = picture(slice_png(stack, "axial", stack.middle("axial"), outlines=False))
    height, width, _ = grey.shape
    assert grey[: height // 3].min() == 255.0
    assert grey[2 * height // 3 :, 2 * width // 3 :].min() < 60.0


def test_outlines_and_overlay_can_be_switched_off() -> None:
    stack = spot_stack(turned_grid((0, 1, 2), (1, 1, 1)))
    level = stack.middle("axial")
    pictures = {
        slice_png(stack, "axial", level),
        slice_png(stack, "axial", level, outlines=False),
        slice_png(stack, "axial", level, opacity=0.0, outlines=False),
        slice_png(stack, "axial", level, opacity=0.0, window="bone", outlines=False),
    }
    assert len(pictures) == 4


def test_a_packed_stack_comes_back_whole_and_packs_to_the_same_bytes() -> None:
    stack = spot_stack(turned_grid((1, 2, 0), (1, 1, -1)))
    packed = pack_stack(stack)
    back = unpack_stack(packed)
    assert back.unit == stack.unit
    assert back.spacing_mm == stack.spacing_mm
    assert np.array_equal(back.overlay, stack.overlay)
    assert back.ct is not None
    assert stack.ct is not None
    assert np.array_equal(back.ct, stack.ct)
    assert [name for name, _ in back.masks] == ["spleen"]
    assert np.array_equal(back.masks[0][1], stack.masks[0][1])
    assert pack_stack(back) == packed


@pytest.mark.parametrize("content", [b"", b"not a file", b"PK\x03\x04 broken"])
def test_bytes_that_are_no_stack_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="no slice stack"):
        unpack_stack(content)


def test_unknown_views_windows_and_levels_are_refused_with_what_exists() -> None:
    stack = spot_stack(turned_grid((0, 1, 2), (1, 1, 1)))
    with pytest.raises(UnknownNameError, match="axial"):
        slice_png(stack, "oblique", 0)
    with pytest.raises(UnknownNameError, match="bone"):
        slice_png(stack, "axial", 0, window="brain")
    with pytest.raises(InputError, match="found level 24; expected 0 to 23"):
        slice_png(stack, "axial", 24)


def test_oblique_grids_and_other_grids_are_refused() -> None:
    angle = np.deg2rad(40)
    affine = np.eye(4)
    affine[:3, :3] = [[0, np.sin(angle), np.cos(angle)], [0, np.cos(angle), -np.sin(angle)], [1, 0, 0]]
    oblique = Grid((4, 4, 4), affine)
    zeros = np.zeros((4, 4, 4), dtype=np.float32)
    with pytest.raises(PhysicsError, match="oblique"):
        make_stack(Volume(zeros, oblique, "Gy"), None, [])
    with pytest.raises(PhysicsError, match="another grid"):
        make_stack(Volume(zeros, axis_aligned_grid((4, 4, 4), (1, 1, 1)), "Gy"), Volume(zeros, oblique, "HU"), [])

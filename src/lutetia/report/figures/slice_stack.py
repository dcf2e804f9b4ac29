"""Slices of a fused study for a viewer: volumes and regions in, a packed stack or one PNG slice out.

A stack holds the arrays turned to the axes of the body, so that any slice is one indexing away. The views are
radiological: axial with the front up and the patient's right on the left; coronal with the head up and the right on the
left; sagittal with the head up and the front on the left.
Not here: resampling to one grid (`lutetia.imaging`), the printed overview (`lutetia.report.slices`).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import InputError, PhysicsError, UnknownNameError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FloatArray = NDArray[np.float64]
View = Literal["axial", "coronal", "sagittal"]
#: View → axis of the turned arrays (head → feet, front → back, right → left) along which it moves.
VIEWS: dict[str, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
#: Letters at the left and right edge of a view.
EDGES: dict[str, tuple[str, str]] = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}
#: CT windows in HU (low, high): display habits, no effect on any number.
WINDOWS: dict[str, tuple[float, float]] = {
    "soft tissue": (-160.0, 240.0),
    "liver": (-40.0, 160.0),
    "bone": (-450.0, 1050.0),
    "lung": (-1350.0, 150.0),
}
OUTLINES = ("#ffffff", "#5ad1ff", "#9cff8f", "#ffd166", "#ff9ecb", "#c9b6ff", "#7df0d8", "#f4f1a0")
_SCHEMA = "lutetia.slice-stack/1"
_SIDE_PX = 640


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A fused study on one grid, turned to (head → feet, front → back, right → left).

    Parameters
    ----------
    ct
        HU, or None.
    overlay
        Activity or dose, in `unit`.
    masks
        Region and its voxels.
    spacing_mm
        Along the three axes.
    """

    ct: NDArray[np.int16] | None
    overlay: NDArray[np.float32]
    unit: str
    masks: tuple[tuple[str, NDArray[np.bool_]], ...]
    spacing_mm: tuple[float, float, float]

    @property
    def top(self) -> float:
        """Value at the upper end of the overlay's colours: the 99.9th percentile of the volume."""
        return float(np.quantile(self.overlay, 0.999)) or 1.0

    def levels(self, view: str) -> int:
        """Number of slices of a view.

        Raises
        ------
        UnknownNameError
            For a view that `VIEWS` does not have.
        """
        if view not in VIEWS:
            raise UnknownNameError("view", view, VIEWS)
        return int(self.overlay.shape[VIEWS[view]])

    def middle(self, view: str) -> int:
        """The slice (from 0) through the middle of the first region that has voxels, else of the volume."""
        axis = VIEWS[view]
        others = tuple(n for n in range(3) if n != axis)
        for _, mask in self.masks:
            if mask.any():
                return round(float(np.flatnonzero(mask.any(axis=others)).mean()))
        return self.levels(view) // 2


def make_stack(overlay: Volume, ct: Volume | None, regions: Sequence[RegionMask]) -> Stack:
    """Turn a fused study by whole axes and leave out the air around the body; nothing is interpolated.

    Raises
    ------
    PhysicsError
        If the grids differ, or are more than about 25 degrees away from the axes of the body.
    """
    grids = {r.region: r.grid for r in regions} | ({"CT": ct.grid} if ct is not None else {})
    for name, grid in grids.items():
        if not grid.same_as(overlay.grid):
            raise PhysicsError(f"slices: found {name} on another grid than the overlay; resample it first")
    order, flips = radiological_turn(overlay.grid)

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(np.flip(np.transpose(array, order), axis=flips))

    spacing = overlay.grid.spacing_mm
    ct_HU = None if ct is None else np.clip(np.round(turned(ct.values)), -32768, 32767).astype(np.int16)
    masks = tuple((r.region, np.asarray(turned(r.mask), dtype=np.float32) >= 0.5) for r in regions)
    turned_mm = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
    values = np.asarray(turned(overlay.values), dtype=np.float32)
    if ct_HU is None:
        return Stack(None, values, overlay.unit, masks, turned_mm)
    box = _body_box(ct_HU)
    return Stack(
        np.ascontiguousarray(ct_HU[box]), np.ascontiguousarray(values[box]), overlay.unit,
        tuple((name, np.ascontiguousarray(mask[box])) for name, mask in masks), turned_mm,
    )  # fmt: skip


def radiological_turn(grid: Grid) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Axis order and flips that bring an array to (head → feet, front → back, right → left).

    Raises
    ------
    PhysicsError
        For a grid oblique to the body.
    """
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    order = [int(np.abs(directions[row]).argmax()) for row in (2, 1, 0)]
    along = [float(directions[row, axis]) for row, axis in zip((2, 1, 0), order, strict=True)]
    if len(set(order)) < 3 or min(abs(a) for a in along) < 0.9:
        raise PhysicsError("slices: found a grid oblique to the body axes; resample it to an axial grid first")
    # LPS: +z is to the head and must fall, +y to the back and +x to the left must rise.
    flips = tuple(n for n, (a, wanted) in enumerate(zip(along, (-1.0, 1.0, 1.0), strict=True)) if a * wanted < 0)
    return (order[0], order[1], order[2]), flips


def pack_stack(stack: Stack) -> bytes:
    """A stack as one compressed npz file; the same stack gives the same bytes."""
    facts = {
        "schema": _SCHEMA, "unit": stack.unit, "regions": [name for name, _ in stack.masks],
        "spacing_mm": list(stack.spacing_mm),
    }  # fmt: skip
    arrays: dict[str, NDArray[np.generic]] = {
        "facts": np.frombuffer(json.dumps(facts, sort_keys=True).encode(), dtype=np.uint8),
        "overlay": stack.overlay,
    }
    if stack.ct is not None:
        arrays["ct"] = stack.ct
    for n, (_, mask) in enumerate(stack.masks):
        arrays[f"mask{n}"] = np.packbits(mask)
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]
    return data.getvalue()


def unpack_stack(content: bytes) -> Stack:
    """A stack from the bytes of `pack_stack`.

    Raises
    ------
    InputError
        If the bytes are not such a file.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            facts = json.loads(found["facts"].tobytes())
            if facts["schema"] != _SCHEMA:
                raise InputError(
                    f"slices: found schema {facts['schema']!r}; expected {_SCHEMA!r}; import the case again"
                )
            overlay = found["overlay"]
            masks = tuple(
                (name, np.unpackbits(found[f"mask{n}"], count=overlay.size).astype(np.bool_).reshape(overlay.shape))
                for n, name in enumerate(facts["regions"])
            )
            k, j, i = facts["spacing_mm"]
            return Stack(found.get("ct"), overlay, facts["unit"], masks, (k, j, i))
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"slices: found a file that is no slice stack ({error}); import the case again") from error


def slice_png(
    stack: Stack, view: str, level: int, *, window: str = "soft tissue", opacity: float = 0.8, outlines: bool = True,
    side_px: int = _SIDE_PX,
) -> bytes:  # fmt: skip
    """One slice as PNG with true proportions, edge letters and region outlines.

    Parameters
    ----------
    level
        From 0: head, front or right side of the patient.
    window
        A key of `WINDOWS`.
    opacity
        Greatest opacity of the overlay, 0–1.
    side_px
        Longer side of the picture.

    Raises
    ------
    UnknownNameError
        For an unknown view or window.
    InputError
        For a level that the stack does not have.
    """
    from PIL import Image, ImageDraw

    if window not in WINDOWS:
        raise UnknownNameError("window", window, WINDOWS)
    if not 0 <= level < stack.levels(view):
        raise InputError(f"slices: found level {level}; expected 0 to {stack.levels(view) - 1}")
    size = _size(stack, view, side_px)

    def enlarged(array: NDArray[np.generic]) -> FloatArray:
        plane = Image.fromarray(np.ascontiguousarray(_plane(array, view, level), dtype=np.float32))
        return np.asarray(plane.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)

    heat = np.clip(enlarged(stack.overlay) / stack.top, 0.0, 1.0)
    rgb = _blend(None if stack.ct is None else enlarged(stack.ct), heat, WINDOWS[window], opacity)
    if outlines:
        for n, (_, mask) in enumerate(stack.masks):
            if _plane(mask, view, level).any():
                rgb[inner_edge(enlarged(mask) >= 0.5)] = rgb_of(outline_colour(n))
    picture = Image.fromarray(np.round(rgb * 255).astype(np.uint8), mode="RGB")
    draw = ImageDraw.Draw(picture)
    left, right = EDGES[view]
    for words, anchor, where in ((left, "lm", (8, size[1] // 2)), (right, "rm", (size[0] - 8, size[1] // 2))):
        draw.text(
            where, words, font=label_font(18), fill="#ffffff", anchor=anchor, stroke_width=2, stroke_fill="#000000"
        )
    data = io.BytesIO()
    picture.save(data, format="PNG", compress_level=1)
    return data.getvalue()


def outline_colour(number: int) -> str:
    """Colour of a region's outline by its place in the stack."""
    return OUTLINES[number % len(OUTLINES)]


def _body_box(ct_HU: NDArray[np.int16]) -> tuple[slice, slice, slice]:
    """All levels; rows and columns that hold the body (CT above −400 HU) with a margin, all where there is none."""
    inside = ct_HU > -400
    box = []
    for axis in (1, 2):
        used = np.flatnonzero(inside.any(axis=tuple(n for n in range(3) if n != axis)))
        box.append(slice(max(int(used[0]) - 3, 0), int(used[-1]) + 4) if used.size else slice(None))
    return slice(None), box[0], box[1]


def _plane(array: NDArray[np.generic], view: str, level: int) -> NDArray[np.generic]:
    """One plane with rows from top and columns from left."""
    plane = np.take(array, level, axis=VIEWS[view])
    return np.asarray(plane)


def _size(stack: Stack, view: str, side_px: int) -> tuple[int, int]:
    rows, columns = (n for n in range(3) if n != VIEWS[view])
    height_mm = stack.overlay.shape[rows] * stack.spacing_mm[rows]
    width_mm = stack.overlay.shape[columns] * stack.spacing_mm[columns]
    scale = side_px / max(height_mm, width_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def _blend(ct: FloatArray | None, heat: FloatArray, window: tuple[float, float], opacity: float) -> FloatArray:
    """Black-red-yellow-white overlay on a grey CT; without CT, dark on white."""
    if ct is None:
        return np.repeat((1.0 - heat)[..., None], 3, axis=-1)
    grey = np.clip((ct - window[0]) / (window[1] - window[0]), 0.0, 1.0)[..., None] * 0.85
    colour = np.stack([np.clip(3.0 * heat - n, 0.0, 1.0) for n in (0.0, 1.0, 2.0)], axis=-1)
    share = np.clip(2.75 * (heat - 0.04), 0.0, 1.0)[..., None] * opacity
    return np.asarray(grey * (1.0 - share) + colour * share)


def inner_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Inner edge of a mask, two pixels wide."""
    inner = mask
    for _ in range(2):
        around = np.pad(inner, 1)
        inner = inner & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inner


def rgb_of(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of a colour such as ``#0b5394``, each 0–1."""
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue


@cache
def label_font(size: int) -> FreeTypeFont:
    """The packaged font of words in pictures, at a size in pixels."""
    from PIL import ImageFont

    data = (files("lutetia.report") / "fonts" / "Inter-SemiBold.otf").read_bytes()
    return ImageFont.truetype(io.BytesIO(data), size)

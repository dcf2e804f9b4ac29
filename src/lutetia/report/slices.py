"""Fused SPECT-on-CT pictures with region outlines: volumes on one grid in, PNG out.

The views are radiological: the patient's right is on the left of the picture, the head is up in coronal views and the
front is up in axial ones. Not here: resampling to one grid (`lutetia.imaging`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import PhysicsError
from lutetia.report import palette
from lutetia.report.figures.slice_stack import inner_edge, label_font, radiological_turn, rgb_of

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageDraw import ImageDraw as ImageDrawing

FloatArray = NDArray[np.float64]
View = Literal["axial", "coronal"]
OUTLINES = ("#ffffff", "#5ad1ff", "#9cff8f", "#ffd166", "#ff9ecb", "#c9b6ff", "#7df0d8", "#f4f1a0")
_WINDOW_HU = (-160.0, 240.0)
_HEIGHT_PX = 640
_GAP_PX = 10


@dataclass(frozen=True, slots=True)
class SliceImage:
    """A picture as PNG bytes, with its caption and what a person who cannot see it must know."""

    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """One view: arrays of shape (row, column) from top left, and the size of a pixel (row, column) in mm."""

    title: str
    ct: FloatArray | None
    spect: FloatArray
    masks: tuple[tuple[str, NDArray[np.bool_]], ...]
    pixel_mm: tuple[float, float]


def fused_views(
    spect: Volume, ct: Volume | None, regions: Sequence[RegionMask], *, title: str = "", axial: int = 2
) -> SliceImage:
    """A coronal view (maximum of SPECT and outlines through the body) and axial slices through the largest regions.

    Parameters
    ----------
    spect
        Any unit; shown from zero to the 99.9th percentile.
    ct
        In HU on the same grid as `spect`, or None.
    regions
        Masks on the same grid.
    axial
        How many axial slices; each goes through the centre of one region, in the order given.

    Raises
    ------
    PhysicsError
        If the grids differ, or are more than about 25 degrees away from the axes of the body.
    """
    grids = {r.region: r.grid for r in regions} | ({"CT": ct.grid} if ct is not None else {})
    for name, grid in grids.items():
        if not grid.same_as(spect.grid):
            raise PhysicsError(f"picture: found {name} on another grid than the SPECT; resample it first")
    body = _Oriented.of(spect, ct, regions)
    planes = [body.coronal(), *(body.axial(k) for k in body.levels(axial))]
    names = ", ".join(r.region for r in regions) or "no regions"
    caption = f"{title}: " if title else ""
    return SliceImage(
        _draw(planes, [r.region for r in regions]),
        f"{caption}SPECT on CT with the regions used. Coronal view: maximum along the depth of the body.",
        f"{caption}fused SPECT and CT, one coronal and {len(planes) - 1} axial views, with outlines of {names}",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Oriented:
    """Arrays turned to (head → feet, front → back, right → left), with spacing in mm."""

    spect: FloatArray
    ct: FloatArray | None
    masks: tuple[tuple[str, NDArray[np.bool_]], ...]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, spect: Volume, ct: Volume | None, regions: Sequence[RegionMask]) -> _Oriented:
        """Turn all arrays by whole axes."""
        order, flips = radiological_turn(spect.grid)

        def turned(array: NDArray[np.generic]) -> NDArray[np.generic]:
            return np.flip(np.transpose(array, order), axis=flips)

        spacing = spect.grid.spacing_mm
        return cls(
            np.asarray(turned(spect.values), dtype=np.float64),
            None if ct is None else np.asarray(turned(ct.values), dtype=np.float64),
            tuple((r.region, np.asarray(turned(r.mask)) >= 0.5) for r in regions),
            (spacing[order[0]], spacing[order[1]], spacing[order[2]]),
        )

    def coronal(self) -> _Plane:
        """Maximum of the SPECT over depth on the CT slice through the middle of the regions."""
        depth = [np.argwhere(m.any(axis=(0, 2))).mean() for _, m in self.masks if m.any()]
        middle = round(float(np.mean(depth))) if depth else self.spect.shape[1] // 2
        masks = tuple((name, np.asarray(m.any(axis=1), dtype=np.bool_)) for name, m in self.masks)
        ct = None if self.ct is None else self.ct[:, middle, :]
        return _Plane("coronal", ct, self.spect.max(axis=1), masks, (self.spacing_mm[0], self.spacing_mm[2]))

    def axial(self, level: int) -> _Plane:
        """One axial slice."""
        masks = tuple((name, m[level, :, :]) for name, m in self.masks)
        ct = None if self.ct is None else self.ct[level]
        return _Plane("axial", ct, self.spect[level], masks, (self.spacing_mm[1], self.spacing_mm[2]))

    def levels(self, count: int) -> list[int]:
        """Levels of the axial slices: centres of the regions, no two closer than 25 mm."""
        found: list[int] = []
        for _, mask in self.masks:
            if mask.any():
                level = round(float(np.argwhere(mask.any(axis=(1, 2))).mean()))
                if all(abs(level - other) * self.spacing_mm[0] >= 25.0 for other in found):
                    found.append(level)
        return found[:count] or [self.spect.shape[0] // 2]


def _draw(planes: Sequence[_Plane], names: Sequence[str]) -> bytes:
    """The first plane at full height on the left, the others stacked on the right, a legend below."""
    from PIL import Image, ImageDraw

    top = max(float(np.quantile(p.spect, 0.999)) for p in planes) or 1.0
    large = _tile(planes[0], names, top, height=_HEIGHT_PX)
    others = len(planes) - 1
    small = [_tile(p, names, top, height=(_HEIGHT_PX - _GAP_PX * (others - 1)) // others) for p in planes[1:]]
    column = max((s.width for s in small), default=0)
    width = large.width + (_GAP_PX + column if small else 0)
    lines = _legend_lines(names, width)
    sheet = Image.new("RGB", (width, _HEIGHT_PX + 8 + 26 * len(lines)), palette.PAPER)
    sheet.paste(large, (0, 0))
    for n, tile in enumerate(small):
        sheet.paste(
            Image.new("RGB", (column, tile.height), "#000000"), (large.width + _GAP_PX, n * (tile.height + _GAP_PX))
        )
        left = large.width + _GAP_PX + (column - tile.width) // 2
        sheet.paste(tile, (left, n * (tile.height + _GAP_PX)))
    _draw_legend(ImageDraw.Draw(sheet), names, lines)
    data = io.BytesIO()
    sheet.save(data, format="PNG", optimize=False, compress_level=6)
    return data.getvalue()


def _tile(plane: _Plane, names: Sequence[str], top: float, *, height: int) -> PILImage:
    """One plane as a picture of a given height, cropped to the body."""
    from PIL import Image, ImageDraw

    rows, columns = _body_box(plane)
    scale = height / ((rows.stop - rows.start) * plane.pixel_mm[0])
    size = (max(1, round((columns.stop - columns.start) * plane.pixel_mm[1] * scale)), height)

    def enlarged(array: FloatArray) -> FloatArray:
        part = Image.fromarray(np.ascontiguousarray(array[rows, columns], dtype=np.float32))
        return np.asarray(part.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)

    heat = np.clip(enlarged(plane.spect) / top, 0.0, 1.0)
    rgb = _blend(None if plane.ct is None else enlarged(plane.ct), heat)
    for name, mask in plane.masks:
        rgb[inner_edge(enlarged(mask.astype(np.float64)) >= 0.5)] = rgb_of(_colour(names, name))
    tile = Image.fromarray(np.round(rgb * 255).astype(np.uint8), mode="RGB")
    draw = ImageDraw.Draw(tile)
    for words, anchor, where in (
        ("R", "ls", (8, height - 8)),
        ("L", "rs", (size[0] - 8, height - 8)),
        (plane.title, "lt", (8, 8)),
    ):
        draw.text(
            where, words, font=label_font(15), fill="#ffffff", anchor=anchor, stroke_width=2, stroke_fill="#000000"
        )
    return tile


def _blend(ct: FloatArray | None, heat: FloatArray) -> FloatArray:
    """Red-yellow SPECT over a grey CT; without CT, dark on white as in planar scintigraphy."""
    if ct is None:
        return np.repeat((1.0 - heat)[..., None], 3, axis=-1)
    low, high = _WINDOW_HU
    grey = np.clip((ct - low) / (high - low), 0.0, 1.0)[..., None] * 0.85
    colour = np.stack([np.clip(3.0 * heat, 0, 1), np.clip(3.0 * heat - 1.0, 0, 1), np.clip(3.0 * heat - 2.0, 0, 1)], -1)
    opacity = np.clip(2.2 * (heat - 0.04), 0.0, 0.8)[..., None]
    return np.asarray(grey * (1.0 - opacity) + colour * opacity)


def _body_box(plane: _Plane) -> tuple[slice, slice]:
    """Rows and columns that hold the body (CT above −400 HU), the whole plane where there is no CT."""
    inside = np.ones(plane.spect.shape, dtype=bool) if plane.ct is None else plane.ct > -400.0
    inside = inside if inside.sum() > 0.02 * inside.size else np.ones_like(inside)
    found = []
    for axis in (1, 0):
        used = np.flatnonzero(inside.any(axis=axis))
        found.append(slice(max(int(used[0]) - 2, 0), min(int(used[-1]) + 3, inside.shape[1 - axis])))
    return found[0], found[1]


def _legend_lines(names: Sequence[str], width: int) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    used = 0.0
    for name in dict.fromkeys(names):
        needed = label_font(15).getlength(name) + 44
        if lines[-1] and used + needed > width:
            lines.append([])
            used = 0.0
        lines[-1].append(name)
        used += needed
    return lines if lines[0] else []


def _draw_legend(draw: ImageDrawing, names: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    for row, line in enumerate(lines):
        left, top = 2.0, _HEIGHT_PX + 12 + 26 * row
        for name in line:
            draw.rectangle((left, top, left + 18, top + 14), fill="#202020")
            draw.rectangle((left + 3, top + 3, left + 15, top + 11), outline=_colour(names, name), width=2)
            draw.text((left + 25, top + 7), name, font=label_font(15), fill=palette.INK, anchor="lm")
            left += label_font(15).getlength(name) + 44


def _colour(names: Sequence[str], name: str) -> str:
    return OUTLINES[list(dict.fromkeys(names)).index(name) % len(OUTLINES)]

"""Where the red marrow of a reference adult lies: bones of the stylised body, and the share of marrow in each.

Spine, pelvis and ribs follow the skeleton of MIRD Pamphlet No. 5 Revised (Snyder, Ford, Warner 1978) and its adult of
Cristy and Eckerman (ORNL/TM-8381, 1987) in shape. Their height follows anatomy, because the ribs of that phantom begin
above most of the liver: kidneys beside T12-L3, lower ribs over liver, spleen and the upper kidneys, iliac crest at L4
(assumption). The smaller sites are ellipsoids at about their place (assumption). Bone attenuates nothing here.
Coordinates as in `lutetia.dose.stylised`. Shares: `data/marrow.toml`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lutetia.dose.marrow_model import marrow_table
from lutetia.dose.stylised import Body, ellipsoid

FloatArray = NDArray[np.float64]
_RIB_cm = 1.4
_RIBS_LOW_cm = 29.0


def _spine(low: float, high: float) -> Body:
    def inside(p: FloatArray) -> NDArray[np.bool_]:
        across = (p[..., 0] / 2.0) ** 2 + ((p[..., 1] - 5.5) / 2.5) ** 2 <= 1.0
        return np.asarray(across & (p[..., 2] >= low) & (p[..., 2] <= high))

    return Body((-2.0, 3.0, low), (2.0, 8.0, high), inside)


def _ribs(p: FloatArray) -> NDArray[np.bool_]:
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    shell = ((x / 17.0) ** 2 + (y / 9.8) ** 2 <= 1.0) & ((x / 16.5) ** 2 + (y / 9.3) ** 2 >= 1.0)
    return np.asarray(shell & (np.floor((z - _RIBS_LOW_cm) / _RIB_cm).astype(int) % 2 == 0))


def _pelvis(p: FloatArray) -> NDArray[np.bool_]:
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    outer = (x / 12.0) ** 2 + ((y + 3.0) / 12.0) ** 2 <= 1.0
    inner = (x / 11.3) ** 2 + ((y + 3.8) / 11.3) ** 2 >= 1.0
    return np.asarray(outer & inner & (y >= -3.0) & ((y <= 5.0) | (z > 14.0)))


def _pair(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Body:
    """The same ellipsoid on both sides."""
    x, y, z = centre
    a, b, c = axes
    left, right = ellipsoid(centre, axes), ellipsoid((-x, y, z), axes)
    low, high = (-x - a, y - b, z - c), (x + a, y + b, z + c)
    return Body(low, high, lambda p: left(p) | right(p))


def _single(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Body:
    low = (centre[0] - axes[0], centre[1] - axes[1], centre[2] - axes[2])
    high = (centre[0] + axes[0], centre[1] + axes[1], centre[2] + axes[2])
    return Body(low, high, ellipsoid(centre, axes))


MARROW_SITES: dict[str, Body] = {
    "cranium": _single((0.0, 0.0, 86.9), (6.8, 9.8, 8.3)),
    "mandible": _single((0.0, -5.0, 80.0), (4.0, 3.0, 1.5)),
    "scapulae": _pair((10.0, 7.5, 59.0), (3.5, 1.0, 8.0)),
    "clavicles": _pair((8.0, -2.0, 68.2), (7.0, 1.0, 1.0)),
    "sternum": _single((0.0, -9.2, 55.0), (2.5, 0.6, 9.0)),
    "ribs": Body((-17.0, -9.8, _RIBS_LOW_cm), (17.0, 9.8, _RIBS_LOW_cm + 32.2), _ribs),
    "cervical spine": _spine(66.0, 78.0),
    "thoracic spine": _spine(35.5, 66.0),
    "lumbar spine": _spine(17.0, 35.5),
    "sacrum": _single((0.0, 7.5, 11.5), (4.5, 1.8, 5.5)),
    "pelvis": Body((-12.0, -3.0, 0.0), (12.0, 9.0, 22.0), _pelvis),
    "upper femora": _pair((9.0, 0.0, -10.0), (2.0, 2.0, 12.0)),
    "upper humeri": _pair((18.4, 0.0, 60.0), (1.4, 2.0, 9.0)),
}


def marrow_points(count: int, seed: int) -> FloatArray:
    """Points spread as the red marrow is, shape (count, 3), cm: each site gets its share of them."""
    random = np.random.default_rng(seed)
    shares = marrow_table()["sites"]["share_percent"]
    edges = np.round(count * np.cumsum([0.0, *shares.values()]) / sum(shares.values())).astype(int)
    points = [MARROW_SITES[site].sample(int(n), random) for site, n in zip(shares, np.diff(edges), strict=True)]
    return np.concatenate(points)

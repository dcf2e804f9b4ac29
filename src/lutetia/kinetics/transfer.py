"""Predict the curve of one nuclide from the measured curve of another one on the same peptide.

The biology of each component is kept and the physical decay exchanged. Assumptions, printed with every prediction:
same peptide, same infusion and amino acids, so that the biological rates are equal for both nuclides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
ASSUMPTIONS = (
    "same peptide for both nuclides",
    "same infusion and amino acid protection, so equal biological rates",
)
# A fitted terminal rate may sit on its bound, the physical rate; rounding there is not an error.
_TOLERANCE = 1e-9


def transfer_nuclide(
    coefficient: ArrayLike,
    rate: ArrayLike,
    *,
    from_nuclide: str,
    to_nuclide: str,
    administered_ratio: ArrayLike,
    delay_h: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Exchange the physical decay of every component: λ' = (λ − λ_from) + λ_to, c' = ratio · c.

    Parameters
    ----------
    coefficient, rate
        Shape (..., component), MBq and effective 1/h of the measured nuclide.
    from_nuclide, to_nuclide
        Names, in any spelling of `lutetia.nuclear`.
    administered_ratio
        Administered activity of `to_nuclide` over that of `from_nuclide`, each at its own start; shape () or (...).
    delay_h
        Start of `to_nuclide` minus start of `from_nuclide`. If `to_nuclide` started first, time zero of the measured
        curve lies before its own start, and its coefficients are moved to that start first.

    Returns
    -------
    coefficient, rate
        Shape (..., component), in hours since the start of `to_nuclide`, so that Σ c/λ is its whole integral.

    Raises
    ------
    PhysicsError
        If a component is slower than the physical decay of `from_nuclide`, or the ratio is negative or not finite.

    Notes
    -----
    Exact under the assumptions of this module. Transfer there and back is the identity.
    """
    c, k = np.broadcast_arrays(np.asarray(coefficient, dtype=np.float64), np.asarray(rate, dtype=np.float64))
    ratio = np.asarray(administered_ratio, dtype=np.float64)
    if not np.isfinite(ratio).all() or (ratio < 0).any() or not np.isfinite(delay_h):
        raise PhysicsError(
            f"nuclide transfer: found an administered ratio of {administered_ratio!s} and a delay of {delay_h} h; "
            "expected a finite ratio ≥ 0 and a finite delay"
        )
    old, new = nuclide(from_nuclide).decay_constant_per_h, nuclide(to_nuclide).decay_constant_per_h
    real = c != 0.0
    if (k[real] < old * (1.0 - _TOLERANCE)).any():
        raise PhysicsError(
            f"nuclide transfer: found an effective rate of {float(k[real].min()):g} /h, below the physical decay of "
            f"{from_nuclide} ({old:g} /h); refit with that decay as lower bound"
        )
    own_start = np.exp(-k * max(-delay_h, 0.0))
    biological = np.maximum(k - old, 0.0)
    return c * own_start * ratio[..., None], np.where(real, biological + new, 0.0)

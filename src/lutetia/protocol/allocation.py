"""How a cumulative dose limit is shared over the remaining cycles: arrays in, arrays out.

Axes: draw first, then any number of free axes (subject, …), then limit, then nuclide. One formula serves absorbed
dose and BED; quadratic coefficients are zero where a limit is one of absorbed dose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CourseDose:
    """Dose per limit: given so far, and what the next cycle adds per MBq.

    `given_Gy` (draw, ..., limit); `linear_Gy_per_MBq` (draw, ..., limit, nuclide);
    `quadratic_Gy_per_MBq2` (draw, ..., limit, nuclide, nuclide), zero for limits of absorbed dose.
    """

    given_Gy: FloatArray
    linear_Gy_per_MBq: FloatArray
    quadratic_Gy_per_MBq2: FloatArray


def drift_sums(drift: FloatArray, cycles: IntArray, longest: int) -> tuple[FloatArray, FloatArray]:
    """Σ_{j<R} g^j and Σ_{j<R} g^{2j} for each limit.

    Parameters
    ----------
    drift
        g, shape (limit,): factor by which a cycle's dose per MBq changes to the next.
    cycles
        R, shape (...): cycles that share the limit.
    longest
        Largest R that can occur.

    Returns
    -------
    Two arrays of shape (..., limit).
    """
    j = np.arange(longest)
    counted = (j < np.asarray(cycles)[..., None]).astype(np.float64)
    power = drift[None, :] ** j[:, None]
    return counted @ power, counted @ power**2


def projected_dose_Gy(
    dose: CourseDose, activity_MBq: FloatArray, sums: tuple[FloatArray, FloatArray] | None = None
) -> FloatArray:
    """Dose per limit after the given activities were administered: D + S₁ lᵀA + S₂ AᵀQA.

    Parameters
    ----------
    dose
        Given dose and coefficients.
    activity_MBq
        A, shape (..., nuclide).
    sums
        S₁, S₂ of `drift_sums`, shape (..., limit); None for the next cycle alone (both 1).

    Returns
    -------
    Shape (draw, ..., limit).
    """
    first, second = sums if sums is not None else (np.float64(1.0), np.float64(1.0))
    linear, square = _cycle_terms(dose, activity_MBq)
    return np.asarray(dose.given_Gy + first * linear + second * square)


def allowed_variable_MBq(
    dose: CourseDose,
    base_MBq: FloatArray,
    variable: int,
    *,
    budget_Gy: FloatArray,
    sums: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Largest activity of the variable nuclide whose dose stays within a budget, per draw and limit.

    Solves a A² + b A + c = 0 with a = q_vv S₂, b = l_v S₁ + 2 Σ_f q_vf A_f S₂ and
    c = Σ_f l_f A_f S₁ + Σ_ff' q_ff' A_f A_f' S₂ − budget, as A = −2c / (b + √(b² − 4ac)), which for a = 0 is −c/b.

    Parameters
    ----------
    dose
        Given dose and coefficients.
    base_MBq
        Shape (nuclide,): the activities of the fixed nuclides; the entry of the variable one is not used.
    variable
        Index of the variable nuclide.
    budget_Gy
        Shape broadcasting with (draw, ..., limit): dose that the cycles in `sums` may add.
    sums
        S₁, S₂ of `drift_sums`, shape (..., limit).

    Returns
    -------
    Shape (draw, ..., limit); negative when the fixed nuclides alone pass the budget, +inf when the nuclide adds no
    dose and the budget is not passed.
    """
    first, second = sums
    fixed = base_MBq.copy()
    fixed[variable] = 0.0
    linear, square = _cycle_terms(dose, fixed)
    quadratic = dose.quadratic_Gy_per_MBq2
    cross = quadratic[..., variable, :] + quadratic[..., :, variable]
    a = quadratic[..., variable, variable] * second
    b = dose.linear_Gy_per_MBq[..., variable] * first + (cross @ fixed) * second
    c = first * linear + second * square - budget_Gy
    return _largest(a, b, c)


def _largest(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Largest A with a A² + b A + c ≤ 0 for a, b ≥ 0; negative or −inf when c > 0."""
    denominator = b + np.sqrt(np.maximum(b**2 - 4.0 * a * c, 0.0))
    a, b, c, denominator = np.broadcast_arrays(a, b, c, denominator)
    root = np.where(c > 0.0, -np.inf, np.inf)
    return np.asarray(np.divide(-2.0 * c, denominator, out=root, where=denominator > 0.0))


def _cycle_terms(dose: CourseDose, activity_MBq: FloatArray) -> tuple[FloatArray, FloatArray]:
    """lᵀA and AᵀQA per draw and limit; A has shape (..., nuclide)."""
    activity = np.asarray(activity_MBq)[..., None, :]
    linear = np.asarray((dose.linear_Gy_per_MBq * activity).sum(axis=-1))
    inner = (dose.quadratic_Gy_per_MBq2 * activity[..., None, :]).sum(axis=-1)
    return linear, np.asarray((inner * activity).sum(axis=-1))


def risk_quantile(values: FloatArray, risk: FloatArray) -> FloatArray:
    """Quantile over the draw axis at the risk of each limit, never above it.

    The order statistic at or below the risk is taken, without interpolation, so that at most the share `risk` of the
    draws lies below the result; a single draw is returned as it is.

    Parameters
    ----------
    values
        Shape (draw, ..., limit).
    risk
        Shape (limit,), each in (0, 1).

    Returns
    -------
    Shape (..., limit).
    """
    count = values.shape[0]
    if count == 1:
        return np.asarray(values[0])
    ordered = [
        np.partition(values[..., i], int(r * (count - 1)), axis=0)[int(r * (count - 1))] for i, r in enumerate(risk)
    ]
    return np.stack(ordered, axis=-1)

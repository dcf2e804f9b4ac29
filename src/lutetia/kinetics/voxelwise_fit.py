"""Compiled mono-exponential fit of millions of voxels: variable projection in blocks.

For a given rate the best amplitude is known, so one number is sought per voxel: the rate λ that maximises

    R(λ) = b² / c,   b = Σ w y e^{−λt},  c = Σ w e^{−2λt}

(the reduction of the weighted sum of squares). The best of a grid of rates gives a bracket; Newton's method on ln R in
ln λ, kept inside the bracket, finds the maximum. Loops run over the voxels of a block inside every step, so that they
compile to vector instructions; e^x is a polynomial for the same reason.

Not here: input checks, maps, nuclides (`voxelwise`).

References
----------
Golub and Pereyra, SIAM J Numer Anal 1973;10:413 (variable projection).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])
BLOCK = 256
# Nodes of the rate grid: neighbours differ by a factor of at most 1.5 for half-lives from 1 h to 7 d.
NODES = 16
# Newton steps: three leave up to 0.4 % of the time-integrated activity unconverged, six are at rounding.
ITERATIONS = 6
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
_ROUND = 6755399441055744.0  # 1.5 · 2^52: adding it leaves the rounded integer in the low bits
_LARGEST = 700.0
# Scratch rows of a block.
_K, _LOW, _HIGH, _BEST, _BEST_K, _B0, _B1, _B2, _C0, _C1, _C2, _ROWS = range(12)


@intrinsic
def _as_integer(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _as_float(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the static type; multiply-adds may be fused, nothing is reordered."""
    compile_it = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast(Function, compile_it(function))


@compiled
def decay(x: float) -> float:
    """e^(−x) for x ≥ 0 within 1e-14 (relative); constant beyond x = 700."""
    y = -min(x, _LARGEST)
    shifted = y * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (y - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    value: float = p * _as_float((_as_integer(shifted) + 1023) << 52)  # type: ignore[call-arg]
    return value


@compiled
def _scan_grid(
    activity: NDArray[np.float32], weight: FloatArray, first: int, size: int, nodes: FloatArray, table: FloatArray,
    norm: FloatArray, work: FloatArray,
) -> None:  # fmt: skip
    """Best node of the grid for each voxel and its neighbours as bracket."""
    for v in range(size):
        work[_BEST, v] = 0.0
        work[_K, v] = nodes[0]
        work[_LOW, v] = nodes[0]
        work[_HIGH, v] = nodes[1]
    for g in range(nodes.size):
        low, high = nodes[max(g - 1, 0)], nodes[min(g + 1, nodes.size - 1)]
        for v in range(size):
            work[_B0, v] = 0.0
        for t in range(weight.size):
            factor = weight[t] * table[g, t]
            for v in range(size):
                work[_B0, v] += factor * activity[t, first + v]
        inverse = 1.0 / norm[g]
        for v in range(size):
            b = work[_B0, v]
            score = b * abs(b) * inverse
            better = score > work[_BEST, v]
            work[_BEST, v] = score if better else work[_BEST, v]
            work[_K, v] = nodes[g] if better else work[_K, v]
            work[_LOW, v] = low if better else work[_LOW, v]
            work[_HIGH, v] = high if better else work[_HIGH, v]
    for v in range(size):
        work[_BEST_K, v] = work[_K, v]


@compiled
def _moments(
    time: FloatArray, activity: NDArray[np.float32], weight: FloatArray, first: int, size: int, work: FloatArray
) -> None:
    """b, c and their first two derivatives by λ (up to sign and factors 2, 4) at the present rates."""
    for row in range(_B0, _C2 + 1):
        for v in range(size):
            work[row, v] = 0.0
    for t in range(time.size):
        w, h = weight[t], time[t]
        for v in range(size):
            f = decay(work[_K, v] * h)
            wf = w * f
            y = wf * activity[t, first + v]
            work[_B0, v] += y
            work[_B1, v] += y * h
            work[_B2, v] += y * h * h
            z = wf * f
            work[_C0, v] += z
            work[_C1, v] += z * h
            work[_C2, v] += z * h * h


@compiled
def _newton(size: int, work: FloatArray) -> None:
    """One step of Newton's method on ln R in ln λ, clipped to the bracket, which shrinks by the sign of the slope."""
    for v in range(size):
        k = work[_K, v]
        per_b, per_c = 1.0 / work[_B0, v], 1.0 / work[_C0, v]
        b1, c1 = work[_B1, v] * per_b, work[_C1, v] * per_c
        slope = 2.0 * k * (c1 - b1)
        second = 2.0 * (work[_B2, v] * per_b - b1 * b1) - 4.0 * (work[_C2, v] * per_c - c1 * c1)
        curvature = slope + k * k * second
        rising = slope > 0.0
        low = k if rising else work[_LOW, v]
        high = work[_HIGH, v] if rising else k
        step = -slope / curvature
        newton = k * (1.0 + step + 0.5 * step * step)
        middle = 0.5 * (low + high)
        moved = newton if (curvature < 0.0) & (step * step < 1.0) else middle
        moved = moved if moved > low else low
        moved = moved if moved < high else high
        work[_K, v] = moved if work[_B0, v] > 0.0 else k
        work[_LOW, v] = low
        work[_HIGH, v] = high


@compiled
def fit_part(
    time: FloatArray, activity: NDArray[np.float32], weight: FloatArray, nodes: FloatArray, start: int, stop: int,
    amplitude: NDArray[np.float32], rate: NDArray[np.float32],
) -> None:  # fmt: skip
    """Fit voxels `start` to `stop`.

    Parameters
    ----------
    time, weight : (T,) hours; weight is 1/sd² up to a common factor
    activity : (T, N)
    nodes : (G,) rising rates per hour; the first and last are the bounds
    amplitude, rate : (N,) results; amplitude 0 where no curve ≥ 0 fits better than none
    """
    work = np.empty((_ROWS, BLOCK))
    table, norm = np.empty((nodes.size, time.size)), np.zeros(nodes.size)
    for g in range(nodes.size):
        for t in range(time.size):
            table[g, t] = decay(nodes[g] * time[t])
            norm[g] += weight[t] * table[g, t] * table[g, t]
    for first in range(start, stop, BLOCK):
        size = min(BLOCK, stop - first)
        total = np.float32(0.0)
        for t in range(time.size):
            for v in range(size):
                total = max(total, activity[t, first + v])
        if total <= 0.0:
            for v in range(size):
                amplitude[first + v] = 0.0
                rate[first + v] = nodes[0]
            continue
        _scan_grid(activity, weight, first, size, nodes, table, norm, work)
        for _ in range(ITERATIONS):
            _moments(time, activity, weight, first, size, work)
            _newton(size, work)
        _moments(time, activity, weight, first, size, work)
        _store(first, size, work, activity, time, weight, amplitude, rate)


@compiled
def _store(
    first: int, size: int, work: FloatArray, activity: NDArray[np.float32], time: FloatArray, weight: FloatArray,
    amplitude: NDArray[np.float32], rate: NDArray[np.float32],
) -> None:  # fmt: skip
    """Keep the iterated rate, or the node where that is better (a curve without a maximum inside its bracket)."""
    worse = False
    for v in range(size):
        positive = max(work[_B0, v], 0.0)
        worse = worse or positive * positive / work[_C0, v] < work[_BEST, v]
        amplitude[first + v] = positive / work[_C0, v]
        rate[first + v] = work[_K, v]
    if not worse:
        return
    for v in range(size):
        positive = max(work[_B0, v], 0.0)
        if positive * positive / work[_C0, v] >= work[_BEST, v]:
            continue
        b, c, k = 0.0, 0.0, work[_BEST_K, v]
        for t in range(time.size):
            f = decay(k * time[t])
            b += weight[t] * f * activity[t, first + v]
            c += weight[t] * f * f
        amplitude[first + v] = max(b, 0.0) / c
        rate[first + v] = k

"""Compiled solver of the compartment model: an adaptive Rosenbrock method of order 3 with the model's own elimination.

Plasma couples to every other state and those to plasma only, so that each linear system is solved in one pass.
Coefficients: RODAS3, Sandu et al., Atmospheric Environment 1997;31:3459. States are amounts in nmol.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lutetia.core.draws import FloatArray

ORGANS = 4
# plasma, space, bound (4), internalised (4)
STATES = 2 + 2 * ORGANS
_MAX_STEPS = 20_000


@njit(cache=True)
def _derivative(y, inflow, volume, on, off, inside, out, back, renal, kept, receptors, release, f):  # type: ignore[no-untyped-def]
    plasma = y[0]
    rate = inflow - (renal + out) * plasma + back * y[1]
    f[1] = out * plasma - back * y[1]
    for i in range(ORGANS):
        bound = y[2 + i]
        binding = on / volume * (receptors[i] - bound) * plasma
        rate += off * bound - binding
        f[2 + i] = binding - (off + inside) * bound
        f[2 + ORGANS + i] = inside * bound - release[i] * y[2 + ORGANS + i]
    f[2 + ORGANS] += kept * renal * plasma
    f[0] = rate


@njit(cache=True)
def _solve(y, s, volume, on, off, inside, out, back, renal, kept, receptors, release, right, x):  # type: ignore[no-untyped-def]
    """(s − J(y)) x = right by elimination of everything but plasma."""
    k = on / volume
    plasma = y[0]
    diagonal = s + renal + out
    value = right[0]
    d_space = s + back
    diagonal -= back * out / d_space
    value += back * right[1] / d_space
    for i in range(ORGANS):
        free = receptors[i] - y[2 + i]
        to_plasma = k * plasma + off
        d = s + k * plasma + off + inside
        diagonal += k * free - to_plasma * k * free / d
        value += to_plasma * right[2 + i] / d
    x[0] = value / diagonal
    x[1] = (right[1] + out * x[0]) / d_space
    for i in range(ORGANS):
        free = receptors[i] - y[2 + i]
        d = s + k * plasma + off + inside
        x[2 + i] = (right[2 + i] + k * free * x[0]) / d
        source = right[2 + ORGANS + i] + inside * x[2 + i]
        if i == 0:
            source += kept * renal * x[0]
        x[2 + ORGANS + i] = source / (s + release[i])


@njit(cache=True)
def _subject(  # type: ignore[no-untyped-def]
    volume, on, off, inside, out, back, renal, kept, receptors, release, dose, infusion, decay, end, tol, area
):
    """Integrals of amount · exp(−decay·t) for four organs and plasma, shape (5, decay); returns the steps taken."""
    n = STATES
    y, f, g, right = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    k1, k2, k3, k4, z = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    t, h, steps = 0.0, 1e-3, 0
    inflow = dose / infusion
    stop = infusion
    _derivative(y, inflow, volume, on, off, inside, out, back, renal, kept, receptors, release, f)
    while t < end * (1.0 - 1e-12) and steps < _MAX_STEPS:
        steps += 1
        if t + h >= stop:
            h = stop - t
        s = 2.0 / h
        _solve(y, s, volume, on, off, inside, out, back, renal, kept, receptors, release, f, k1)
        for j in range(n):
            right[j] = f[j] + 4.0 / h * k1[j]
        _solve(y, s, volume, on, off, inside, out, back, renal, kept, receptors, release, right, k2)
        for j in range(n):
            z[j] = y[j] + 2.0 * k1[j]
        _derivative(z, inflow, volume, on, off, inside, out, back, renal, kept, receptors, release, g)
        for j in range(n):
            right[j] = g[j] + (k1[j] - k2[j]) / h
        _solve(y, s, volume, on, off, inside, out, back, renal, kept, receptors, release, right, k3)
        for j in range(n):
            z[j] = y[j] + 2.0 * k1[j] + k3[j]
        _derivative(z, inflow, volume, on, off, inside, out, back, renal, kept, receptors, release, g)
        for j in range(n):
            right[j] = g[j] + (k1[j] - k2[j] - 8.0 / 3.0 * k3[j]) / h
        _solve(y, s, volume, on, off, inside, out, back, renal, kept, receptors, release, right, k4)
        error = 0.0
        for j in range(n):
            z[j] = y[j] + 2.0 * k1[j] + k3[j] + k4[j]
            scale = tol * (1e-3 * dose + max(abs(y[j]), abs(z[j])))
            error = max(error, abs(k4[j]) / scale)
        if error > 1.0:
            h *= max(0.2, 0.9 * error ** (-1.0 / 3.0))
            continue
        _derivative(z, inflow, volume, on, off, inside, out, back, renal, kept, receptors, release, g)
        for m in range(decay.shape[0]):
            e0 = np.exp(-decay[m] * t)
            half = np.exp(-0.5 * decay[m] * h)
            for i in range(ORGANS + 1):
                if i < ORGANS:
                    a, b = y[2 + i] + y[2 + ORGANS + i], z[2 + i] + z[2 + ORGANS + i]
                    slope = f[2 + i] + f[2 + ORGANS + i] - g[2 + i] - g[2 + ORGANS + i]
                else:
                    a, b, slope = y[0], z[0], f[0] - g[0]
                middle = 0.5 * (a + b) + 0.125 * h * slope
                area[i, m] += h / 6.0 * e0 * (a + 4.0 * half * middle + half * half * b)
        t += h
        for j in range(n):
            y[j], f[j] = z[j], g[j]
        if stop - t < 1e-12 * stop:
            t = stop
            if stop == infusion:
                inflow, stop, h = 0.0, end, min(h, 1e-2)
                _derivative(y, inflow, volume, on, off, inside, out, back, renal, kept, receptors, release, f)
                continue
        h = min(h * min(5.0, 0.9 * max(error, 1e-8) ** (-1.0 / 3.0)), 40.0)
    if t < end * (1.0 - 1e-9):
        return -1
    return steps


@njit(parallel=True, cache=True)
def _all(table, receptors, release, decay, end, tol, area, steps):  # type: ignore[no-untyped-def]
    for i in prange(table.shape[0]):
        r = table[i]
        steps[i] = _subject(
            r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], receptors[i], release[i], r[8], r[9], decay, end, tol,
            area[i],
        )  # fmt: skip


def solve_compartments(
    table: FloatArray, receptors: FloatArray, release: FloatArray, decay: FloatArray, *, end_h: float, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Integrals (subject, organ or plasma, nuclide) in nmol·h, and the steps each subject took (−1: not reached)."""
    area = np.zeros((len(table), ORGANS + 1, len(decay)))
    steps = np.zeros(len(table), dtype=np.float64)
    _all(table, receptors, release, decay, end_h, tolerance, area, steps)
    return area, steps

"""Compiled photon histories in a voxel grid: Woodcock tracking, Klein–Nishina, photo-absorption.

One call is one batch with its own random stream, so the result does not depend on threads. At every tentative collision
the expected energy transfer E μ_tr(E) / Σ_max is scored: unbiased, with less variance than scoring real collisions.
Not here: sources, materials, uncertainty (`photon_transport`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])
_STEP, _MIX_A, _MIX_B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the static type; the machine code is cached beside the module."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def uniform(state: NDArray[np.uint64]) -> float:
    """Next number in (0, 1) of a counter-based stream (SplitMix64); `state` has one element."""
    state[0] += _STEP
    z = state[0]
    z = (z ^ (z >> _S30)) * _MIX_A
    z = (z ^ (z >> _S27)) * _MIX_B
    z = z ^ (z >> _S31)
    value: float = (np.float64(z >> _S11) + 0.5) * _UNIT
    return value


@compiled
def scatter(energy: float, state: NDArray[np.uint64]) -> tuple[float, float]:
    """Klein–Nishina by composition and rejection: scattered energy and cosine."""
    k = energy / 0.51099895
    least = 1.0 / (1.0 + 2.0 * k)
    a1, a2 = -math.log(least), 0.5 * (1.0 - least * least)
    while True:
        if uniform(state) * (a1 + a2) < a1:
            e = math.exp(-a1 * uniform(state))
        else:
            e = math.sqrt(least * least + (1.0 - least * least) * uniform(state))
        t = (1.0 - e) / (k * e)
        if uniform(state) < 1.0 - e * t * (2.0 - t) / (1.0 + e * e):
            return energy * e, 1.0 - t


@compiled
def turned(u: float, v: float, w: float, c: float, state: NDArray[np.uint64]) -> tuple[float, float, float]:
    """Direction after scattering by the cosine c and a random azimuth."""
    s, phi = math.sqrt(max(0.0, 1.0 - c * c)), 2.0 * math.pi * uniform(state)
    cp, sp = math.cos(phi), math.sin(phi)
    if abs(w) > 0.99999:
        return s * cp, s * sp, math.copysign(c, c * w)
    t = math.sqrt(1.0 - w * w)
    return u * c + s * (u * w * cp - v * sp) / t, v * c + s * (v * w * cp + u * sp) / t, w * c - s * t * cp


@compiled
def transport_batch(
    seed: np.uint64, photons: int, source: FloatArray, source_voxel: NDArray[np.int64],
    line_cumulative: FloatArray, line_MeV: FloatArray, spacing_cm: FloatArray,
    density: NDArray[np.float32], material: NDArray[np.uint8], attenuation: FloatArray, absorption: FloatArray,
    photo: FloatArray, majorant: FloatArray, log_floor: float, bins_per_log: float, floor: float,
    score: NDArray[np.float32],
) -> tuple[float, float]:  # fmt: skip
    """Follow photons of equal total energy each; add their energy to `score` (voxel), as shares of the energy emitted.

    Parameters
    ----------
    source, source_voxel
        Cumulative share (rising to 1) of the filled voxels and their flat index; starts are stratified along it.
    line_cumulative, line_MeV
        Share of the emitted energy up to each line, and its energy.
    attenuation, absorption, photo, majorant
        Coefficients (material, energy) and largest attenuation in the grid (energy), cm²/g and 1/cm.

    Returns
    -------
    Shares of the energy that escaped, and that photons lost in collisions (an unbiased second account).
    """
    state = np.empty(1, dtype=np.uint64)
    state[0] = seed
    nk, nj, ni = density.shape
    per_k, per_j, per_i = 1.0 / spacing_cm[0], 1.0 / spacing_cm[1], 1.0 / spacing_cm[2]
    flat_density, flat_material = density.ravel(), material.ravel()
    escaped, lost = 0.0, 0.0
    place = 0
    for photon in range(photons):
        share = (photon + uniform(state)) / photons
        while source[place] < share and place < source.size - 1:
            place += 1
        voxel = source_voxel[place]
        # Position in units of voxels: one transform of the step a flight instead of one of the position.
        z = voxel // (nj * ni) + uniform(state)
        y = (voxel // ni) % nj + uniform(state)
        x = voxel % ni + uniform(state)
        line, pick = 0, uniform(state)
        while line_cumulative[line] < pick and line < line_MeV.size - 1:
            line += 1
        energy = line_MeV[line]
        weight = 1.0 / (photons * energy)
        w = 2.0 * uniform(state) - 1.0
        phi = 2.0 * math.pi * uniform(state)
        s = math.sqrt(1.0 - w * w)
        u, v = s * math.cos(phi), s * math.sin(phi)
        bin_ = int((math.log(energy) - log_floor) * bins_per_log + 0.5)
        while True:
            step = -math.log(uniform(state)) / majorant[bin_]
            x, y, z = x + u * step * per_i, y + v * step * per_j, z + w * step * per_k
            if x < 0.0 or y < 0.0 or z < 0.0 or x >= ni or y >= nj or z >= nk:
                escaped += energy * weight
                break
            here = (int(z) * nj + int(y)) * ni + int(x)
            tissue = flat_material[here]
            rho = flat_density[here]
            score[here] += energy * weight * absorption[tissue, bin_] * rho / majorant[bin_]
            if uniform(state) * majorant[bin_] >= attenuation[tissue, bin_] * rho:
                continue
            if uniform(state) < photo[tissue, bin_]:
                lost += energy * weight
                break
            after, cosine = scatter(energy, state)
            lost += (energy - after) * weight
            if after < floor:
                lost += after * weight
                score[here] += after * weight
                break
            energy = after
            u, v, w = turned(u, v, w, cosine, state)
            bin_ = int((math.log(energy) - log_floor) * bins_per_log + 0.5)
    return escaped, lost

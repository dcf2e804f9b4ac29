"""Batched variable projection: weighted least squares of sums of exponentials, compiled.

For given rates the coefficients are a linear problem with non-negativity, solved exactly (at most three coefficients,
so every active set is tried). The logarithms of the rates are then found by a damped Gauss–Newton iteration with
Kaufman's simplified Jacobian, then Newton's, inside a box, from the best nodes of a grid. One compiled function
serves all models:

    a(t) = Σ_j c_j [exp(−e^{θ_j} t) − u · exp(−e^{θ_u} t)]  (+ c_f exp(−λ_f t) for a phase of fixed rate λ_f)

Not here: what the parameters mean, which model to choose (`models`, `fit`).

References
----------
Golub and Pereyra, SIAM J Numer Anal 1973;10:413 (variable projection); Kaufman, BIT 1975;15:49 (Jacobian).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])
MAX_ITERATIONS = 80
# The simplified Jacobian converges slowly where residuals are large and the model is strongly curved; after this many
# steps the true Hessian takes over.
GAUSS_NEWTON_STEPS = 5


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the static type; the machine code is cached beside the module."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def _solve(matrix: FloatArray, right: FloatArray, active: NDArray[np.int64], size: int, out: FloatArray) -> bool:
    """Solve the sub-system of the `size` active rows by Cholesky; False if it is (nearly) singular."""
    low = np.empty((3, 3))
    for i in range(size):
        for j in range(i + 1):
            total = matrix[active[i], active[j]]
            for k in range(j):
                total -= low[i, k] * low[j, k]
            if i == j:
                if not total > 1e-13 * matrix[active[i], active[i]]:
                    return False
                low[i, i] = np.sqrt(total)
            else:
                low[i, j] = total / low[j, j]
    for i in range(size):
        total = right[active[i]]
        for k in range(i):
            total -= low[i, k] * out[k]
        out[i] = total / low[i, i]
    for i in range(size - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, size):
            total -= low[k, i] * out[k]
        out[i] = total / low[i, i]
    return True


@compiled
def _non_negative(gram: FloatArray, right: FloatArray, size: int, coefficient: FloatArray) -> float:
    """Exact non-negative least squares for ≤ 3 columns; returns the reduction of the sum of squares."""
    active = np.empty(3, dtype=np.int64)
    trial = np.empty(3)
    best = 0.0
    for j in range(size):
        coefficient[j] = 0.0
    for mask in range((1 << size) - 1, 0, -1):
        count = 0
        for j in range(size):
            if mask >> j & 1:
                active[count] = j
                count += 1
        if not _solve(gram, right, active, count, trial):
            continue
        reduction = 0.0
        feasible = True
        for i in range(count):
            feasible = feasible and trial[i] >= 0.0
            reduction += trial[i] * right[active[i]]
        if feasible and reduction > best:
            best = reduction
            for j in range(size):
                coefficient[j] = 0.0
            for i in range(count):
                coefficient[active[i]] = trial[i]
            if count == size:
                break
    return best


@compiled
def _basis(
    time: FloatArray,
    theta: FloatArray,
    phases: int,
    uptake: bool,
    fixed_rate: float,
    columns: FloatArray,
    slopes: FloatArray,
) -> None:
    """Fill the columns (coefficient, time) and their derivatives by each log-rate (parameter, time)."""
    for t in range(time.size):
        rise = 0.0
        if uptake:
            x = np.exp(theta[phases]) * time[t]
            rise = np.exp(-x)
            slopes[phases, t] = x * rise
        for j in range(phases):
            x = np.exp(theta[j]) * time[t]
            fall = np.exp(-x)
            columns[j, t] = fall - rise
            slopes[j, t] = -x * fall
        if fixed_rate > 0.0:
            columns[phases, t] = np.exp(-fixed_rate * time[t]) - rise


@compiled
def _project(
    columns: FloatArray, value: FloatArray, weight: FloatArray, size: int, gram: FloatArray, coefficient: FloatArray
) -> float:
    """Best non-negative coefficients for these columns; returns χ². Fills the weighted Gram matrix."""
    right = np.zeros(3)
    total = 0.0
    for i in range(size):
        for j in range(i + 1):
            gram[i, j] = 0.0
    for t in range(value.size):
        squared = weight[t] * weight[t]
        total += squared * value[t] * value[t]
        for i in range(size):
            scaled = squared * columns[i, t]
            right[i] += scaled * value[t]
            for j in range(i + 1):
                gram[i, j] += scaled * columns[j, t]
    for i in range(size):
        for j in range(i):
            gram[j, i] = gram[i, j]
    _non_negative(gram, right, size, coefficient)
    chi2 = 0.0
    for t in range(value.size):
        left = value[t]
        for i in range(size):
            left -= coefficient[i] * columns[i, t]
        chi2 += (weight[t] * left) ** 2
    return chi2


@compiled
def _gradient(
    columns: FloatArray, slopes: FloatArray, value: FloatArray, weight: FloatArray, size: int, phases: int,
    parameters: int, coefficient: FloatArray, gradient: FloatArray,
) -> None:  # fmt: skip
    """Exact gradient of χ²/2 by the log-rates at the best coefficients, without the prior."""
    total = 0.0
    for p in range(parameters):
        gradient[p] = 0.0
    for j in range(size):
        total += coefficient[j]
    for t in range(value.size):
        left = value[t]
        for j in range(size):
            left -= coefficient[j] * columns[j, t]
        left *= weight[t] ** 2
        for p in range(parameters):
            gradient[p] -= (coefficient[p] if p < phases else total) * slopes[p, t] * left


@compiled
def _newton_hessian(
    time: FloatArray, value: FloatArray, weight: FloatArray, phases: int, uptake: bool, fixed_rate: float, size: int,
    theta: FloatArray, gradient: FloatArray, hessian: FloatArray,
) -> None:  # fmt: skip
    """Hessian of χ²/2 from differences of the exact gradient, without prior; kept only if positive definite."""
    parameters = theta.size
    columns, slopes, gram = np.empty((3, time.size)), np.empty((3, time.size)), np.zeros((3, 3))
    coefficient, moved, found = np.zeros(3), np.zeros(3), np.zeros((3, 3))
    shifted, active = theta.copy(), np.arange(3)
    for p in range(parameters):
        shifted[p] = theta[p] + 1e-5
        _basis(time, shifted, phases, uptake, fixed_rate, columns, slopes)
        _project(columns, value, weight, size, gram, coefficient)
        _gradient(columns, slopes, value, weight, size, phases, parameters, coefficient, moved)
        for q in range(parameters):
            found[p, q] = (moved[q] - gradient[q]) / 1e-5
        shifted[p] = theta[p]
    for p in range(parameters):
        for q in range(p):
            found[p, q] = 0.5 * (found[p, q] + found[q, p])
            found[q, p] = found[p, q]
    if _solve(found, gradient, active, parameters, coefficient):
        for p in range(parameters):
            for q in range(parameters):
                hessian[p, q] = found[p, q]


@compiled
def _normal_equations(
    columns: FloatArray, slopes: FloatArray, value: FloatArray, weight: FloatArray, size: int, phases: int,
    parameters: int, gram: FloatArray, coefficient: FloatArray, hessian: FloatArray, gradient: FloatArray,
) -> None:  # fmt: skip
    """Gradient of χ²/2 and Kaufman's approximate Hessian by the log-rates, without the prior."""
    times = value.size
    active = np.empty(3, dtype=np.int64)
    count = 0
    total = 0.0
    for j in range(size):
        total += coefficient[j]
        if coefficient[j] > 0.0:
            active[count] = j
            count += 1
    moved = np.empty((3, times))
    right, solved = np.zeros(3), np.zeros(3)
    for p in range(parameters):
        scale = coefficient[p] if p < phases else total
        for t in range(times):
            moved[p, t] = scale * slopes[p, t]
    _gradient(columns, slopes, value, weight, size, phases, parameters, coefficient, gradient)
    for p in range(parameters):
        for q in range(parameters):
            hessian[p, q] = 0.0
            for t in range(times):
                hessian[p, q] += weight[t] ** 2 * moved[p, t] * moved[q, t]
    for p in range(parameters):
        for i in range(count):
            right[active[i]] = 0.0
            for t in range(times):
                right[active[i]] += weight[t] ** 2 * columns[active[i], t] * moved[p, t]
        if not _solve(gram, right, active, count, solved):
            continue
        for q in range(parameters):
            for i in range(count):
                overlap = 0.0
                for t in range(times):
                    overlap += weight[t] ** 2 * columns[active[i], t] * moved[q, t]
                hessian[p, q] -= solved[i] * overlap
    for p in range(parameters):
        for q in range(p):
            mean = 0.5 * (hessian[p, q] + hessian[q, p])
            hessian[p, q] = mean
            hessian[q, p] = mean


@compiled
def _refine(
    time: FloatArray, value: FloatArray, weight: FloatArray, phases: int, uptake: bool, fixed_rate: float,
    lower: FloatArray, upper: FloatArray, centre: FloatArray, precision: FloatArray, theta: FloatArray,
    coefficient: FloatArray,
) -> tuple[float, bool]:  # fmt: skip
    """Damped Gauss–Newton inside the box from `theta`, changed in place; returns χ² + prior misfit, and convergence."""
    parameters = theta.size
    size = phases + (1 if fixed_rate > 0.0 else 0)
    columns, slopes = np.empty((3, time.size)), np.empty((3, time.size))
    gram, hessian, damped = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    gradient, step, trial = np.zeros(3), np.zeros(3), np.empty(parameters)
    free, new_coefficient = np.empty(3, dtype=np.int64), np.zeros(3)
    _basis(time, theta, phases, uptake, fixed_rate, columns, slopes)
    cost = _project(columns, value, weight, size, gram, coefficient)
    for p in range(parameters):
        cost += precision[p] * (theta[p] - centre[p]) ** 2
    damping = 1e-3
    fresh = True
    for iteration in range(MAX_ITERATIONS):
        if fresh:
            _normal_equations(
                columns, slopes, value, weight, size, phases, parameters, gram, coefficient, hessian, gradient
            )
            if iteration >= GAUSS_NEWTON_STEPS:
                _newton_hessian(time, value, weight, phases, uptake, fixed_rate, size, theta, gradient, hessian)
            for p in range(parameters):
                gradient[p] += precision[p] * (theta[p] - centre[p])
                hessian[p, p] += precision[p]
        count = 0
        for p in range(parameters):
            gradient_p = -gradient[p]
            blocked = (theta[p] <= lower[p] and gradient_p < 0.0) or (theta[p] >= upper[p] and gradient_p > 0.0)
            if not blocked and hessian[p, p] > 0.0:
                free[count] = p
                count += 1
        if count == 0:
            return cost, True
        for p in range(parameters):
            for q in range(parameters):
                damped[p, q] = hessian[p, q]
            damped[p, p] += damping * hessian[p, p] + 1e-12
        if not _solve(damped, -gradient, free, count, step):
            damping *= 10.0
            fresh = False
            if damping > 1e12:
                return cost, False
            continue
        predicted = 0.0
        largest = 0.0
        for p in range(parameters):
            trial[p] = theta[p]
        for i in range(count):
            p = free[i]
            predicted -= gradient[p] * step[i]
            trial[p] = min(max(theta[p] + min(max(step[i], -1.5), 1.5), lower[p]), upper[p])
            largest = max(largest, abs(trial[p] - theta[p]))
        if predicted < 1e-11 * (1.0 + 1e-3 * cost) or largest < 1e-10:
            return cost, True
        _basis(time, trial, phases, uptake, fixed_rate, columns, slopes)
        new_cost = _project(columns, value, weight, size, gram, new_coefficient)
        for p in range(parameters):
            new_cost += precision[p] * (trial[p] - centre[p]) ** 2
        fresh = new_cost < cost
        if fresh:
            cost = new_cost
            damping = max(damping * 0.1, 1e-12)
            for p in range(parameters):
                theta[p] = trial[p]
            for j in range(size):
                coefficient[j] = new_coefficient[j]
        else:
            damping *= 8.0
            if damping > 1e12:
                return cost, predicted < 1e-6 * (1.0 + cost)
    return cost, False


@compiled
def _pick_starts(cost: FloatArray, grid: FloatArray, picked: NDArray[np.int64]) -> int:
    """Nodes of least cost that are at least 0.8 apart in some log-rate; returns how many."""
    count = 0
    for s in range(picked.size):
        best = -1
        for g in range(cost.size):
            distinct = True
            for i in range(count):
                distance = 0.0
                for p in range(grid.shape[1]):
                    distance = max(distance, abs(grid[g, p] - grid[picked[i], p]))
                distinct = distinct and distance >= 0.8
            if distinct and (best < 0 or cost[g] < cost[best]):
                best = g
        if best < 0:
            break
        picked[s] = best
        count += 1
    return count


@compiled
def fit_batch(
    time: FloatArray, activity: FloatArray, weight: FloatArray, phases: int, uptake: bool, fixed_rate: float,
    lower: FloatArray, upper: FloatArray, centre: FloatArray, precision: FloatArray, grid: FloatArray, starts: int,
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:  # fmt: skip
    """Fit one model to many curves.

    Parameters
    ----------
    time : (T,) hours
    activity, weight : (N, T); weight is 1/sd
    phases : number of free clearance phases; `uptake`: subtract one common uptake phase; `fixed_rate`: 0 for none
    lower, upper, centre, precision : (P,) box, and centre and 1/σ² of the normal prior of each log-rate (0: none)
    grid : (G, P) nodes of log-rates
    starts : number of distinct nodes from which the iteration starts

    Returns
    -------
    theta (N, P), coefficient (N, 3), cost (N,) = χ² + prior misfit, converged (N,)
    """
    curves, parameters, nodes = activity.shape[0], grid.shape[1], grid.shape[0]
    size = phases + (1 if fixed_rate > 0.0 else 0)
    tables = np.empty((nodes, 3, time.size))
    slopes, gram = np.empty((3, time.size)), np.zeros((3, 3))
    for g in range(nodes):
        _basis(time, grid[g], phases, uptake, fixed_rate, tables[g], slopes)
    theta, coefficient = np.empty((curves, parameters)), np.zeros((curves, 3))
    cost, converged = np.full(curves, np.inf), np.zeros(curves, dtype=np.bool_)
    node_cost, picked = np.empty(nodes), np.empty(starts, dtype=np.int64)
    trial, trial_coefficient = np.empty(parameters), np.zeros(3)
    for n in range(curves):
        for g in range(nodes):
            node_cost[g] = _project(tables[g], activity[n], weight[n], size, gram, trial_coefficient)
            for p in range(parameters):
                node_cost[g] += precision[p] * (grid[g, p] - centre[p]) ** 2
        for s in range(_pick_starts(node_cost, grid, picked)):
            trial[:] = grid[picked[s]]
            found, good = _refine(
                time, activity[n], weight[n], phases, uptake, fixed_rate, lower, upper, centre, precision, trial,
                trial_coefficient,
            )  # fmt: skip
            if found < cost[n]:
                cost[n], converged[n] = found, good
                theta[n] = trial
                coefficient[n] = trial_coefficient
    return theta, coefficient, cost, converged

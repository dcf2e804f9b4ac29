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
# Predicted decrease of χ² at which a fit has converged.
TOLERANCE = 1e-10
# The simplified Jacobian converges slowly where residuals are large and the model is strongly curved; after this many
# steps the true Hessian takes over.
GAUSS_NEWTON_STEPS = 5
# Iterations from every start; those within this χ² of the best go on to the end.
SHORT_RUN, WORTH_FINISHING = 4, 2.0
# Rows of the work array that the inner functions share instead of allocating.
_LOW, _TRIAL, _RIGHT, _MOVED, _SOLVED, _SIDE, _ROWS = 0, 3, 4, 5, 8, 9, 10


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the static type; the machine code is cached beside the module."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def _solve(matrix: FloatArray, work: FloatArray, right: int, active: NDArray[np.int64], size: int, out: int) -> bool:
    """Solve the sub-system of the `size` active rows by Cholesky, rows of `work` as sides; False if nearly singular."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[active[i], active[j]]
            for k in range(j):
                total -= work[_LOW + i, k] * work[_LOW + j, k]
            if i == j:
                if not total > 1e-13 * matrix[active[i], active[i]]:
                    return False
                work[_LOW + i, i] = np.sqrt(total)
            else:
                work[_LOW + i, j] = total / work[_LOW + j, j]
    for i in range(size):
        total = work[right, active[i]]
        for k in range(i):
            total -= work[_LOW + i, k] * work[out, k]
        work[out, i] = total / work[_LOW + i, i]
    for i in range(size - 1, -1, -1):
        total = work[out, i]
        for k in range(i + 1, size):
            total -= work[_LOW + k, i] * work[out, k]
        work[out, i] = total / work[_LOW + i, i]
    return True


@compiled
def _non_negative(
    gram: FloatArray, work: FloatArray, active: NDArray[np.int64], size: int, coefficient: FloatArray
) -> float:
    """Exact non-negative least squares for ≤ 3 columns; returns the reduction of the sum of squares."""
    best = 0.0
    for j in range(size):
        coefficient[j] = 0.0
    for mask in range((1 << size) - 1, 0, -1):
        count = 0
        for j in range(size):
            if mask >> j & 1:
                active[count] = j
                count += 1
        if not _solve(gram, work, _RIGHT, active, count, _TRIAL):
            continue
        reduction = 0.0
        feasible = True
        for i in range(count):
            feasible = feasible and work[_TRIAL, i] >= 0.0
            reduction += work[_TRIAL, i] * work[_RIGHT, active[i]]
        if feasible and reduction > best:
            best = reduction
            for j in range(size):
                coefficient[j] = 0.0
            for i in range(count):
                coefficient[active[i]] = work[_TRIAL, i]
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
def _reduction(
    columns: FloatArray, value: FloatArray, weight: FloatArray, size: int, gram: FloatArray, coefficient: FloatArray,
    work: FloatArray, active: NDArray[np.int64],
) -> float:  # fmt: skip
    """Best non-negative coefficients; returns by how much they reduce the sum of squares. Fills the Gram matrix."""
    for i in range(size):
        work[_RIGHT, i] = 0.0
        for j in range(i + 1):
            gram[i, j] = 0.0
    for t in range(value.size):
        squared = weight[t] * weight[t]
        for i in range(size):
            scaled = squared * columns[i, t]
            work[_RIGHT, i] += scaled * value[t]
            for j in range(i + 1):
                gram[i, j] += scaled * columns[j, t]
    for i in range(size):
        for j in range(i):
            gram[j, i] = gram[i, j]
    return _non_negative(gram, work, active, size, coefficient)


@compiled
def _project(
    columns: FloatArray, value: FloatArray, weight: FloatArray, size: int, gram: FloatArray, coefficient: FloatArray,
    work: FloatArray, active: NDArray[np.int64],
) -> float:  # fmt: skip
    """Best non-negative coefficients for these columns; returns χ². Fills the weighted Gram matrix."""
    _reduction(columns, value, weight, size, gram, coefficient, work, active)
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
    theta: FloatArray, gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> None:  # fmt: skip
    """Hessian of χ²/2 from differences of the exact gradient, without prior; kept only if positive definite."""
    parameters = theta.size
    columns, slopes, gram = np.empty((3, time.size)), np.empty((3, time.size)), np.zeros((3, 3))
    coefficient, moved, found = np.zeros(3), np.zeros(3), np.zeros((3, 3))
    shifted, active = theta.copy(), np.arange(3)
    for p in range(parameters):
        shifted[p] = theta[p] + 1e-5
        _basis(time, shifted, phases, uptake, fixed_rate, columns, slopes)
        _project(columns, value, weight, size, gram, coefficient, work, active)
        _gradient(columns, slopes, value, weight, size, phases, parameters, coefficient, moved)
        for q in range(parameters):
            found[p, q] = (moved[q] - gradient[q]) / 1e-5
        shifted[p] = theta[p]
    for p in range(parameters):
        for q in range(p):
            found[p, q] = 0.5 * (found[p, q] + found[q, p])
            found[q, p] = found[p, q]
    for p in range(3):
        active[p] = p
        work[_SIDE, p] = 0.0
    if _solve(found, work, _SIDE, active, parameters, _SOLVED):
        for p in range(parameters):
            for q in range(parameters):
                hessian[p, q] = found[p, q]


@compiled
def _normal_equations(
    columns: FloatArray, slopes: FloatArray, value: FloatArray, weight: FloatArray, size: int, phases: int,
    parameters: int, gram: FloatArray, coefficient: FloatArray, hessian: FloatArray, gradient: FloatArray,
    work: FloatArray, active: NDArray[np.int64],
) -> None:  # fmt: skip
    """Gradient of χ²/2 and Kaufman's approximate Hessian by the log-rates, without the prior."""
    times = value.size
    count = 0
    total = 0.0
    for j in range(size):
        total += coefficient[j]
        if coefficient[j] > 0.0:
            active[count] = j
            count += 1
    for p in range(parameters):
        scale = coefficient[p] if p < phases else total
        for t in range(times):
            work[_MOVED + p, t] = scale * slopes[p, t]
    _gradient(columns, slopes, value, weight, size, phases, parameters, coefficient, gradient)
    for p in range(parameters):
        for q in range(parameters):
            hessian[p, q] = 0.0
            for t in range(times):
                hessian[p, q] += weight[t] ** 2 * work[_MOVED + p, t] * work[_MOVED + q, t]
    for p in range(parameters):
        for i in range(count):
            work[_SIDE, active[i]] = 0.0
            for t in range(times):
                work[_SIDE, active[i]] += weight[t] ** 2 * columns[active[i], t] * work[_MOVED + p, t]
        if not _solve(gram, work, _SIDE, active, count, _SOLVED):
            continue
        for q in range(parameters):
            for i in range(count):
                overlap = 0.0
                for t in range(times):
                    overlap += weight[t] ** 2 * columns[active[i], t] * work[_MOVED + q, t]
                hessian[p, q] -= work[_SOLVED, i] * overlap
    for p in range(parameters):
        for q in range(p):
            mean = 0.5 * (hessian[p, q] + hessian[q, p])
            hessian[p, q] = mean
            hessian[q, p] = mean


@compiled
def _refine(
    time: FloatArray, value: FloatArray, weight: FloatArray, phases: int, uptake: bool, fixed_rate: float,
    lower: FloatArray, upper: FloatArray, centre: FloatArray, precision: FloatArray, theta: FloatArray,
    coefficient: FloatArray, iterations: int, columns: FloatArray, slopes: FloatArray, small: FloatArray,
    work: FloatArray, active: NDArray[np.int64],
) -> tuple[float, bool]:  # fmt: skip
    """Damped Gauss–Newton inside the box from `theta`, changed in place; returns χ² + prior misfit, and convergence.

    `columns`, `slopes` (3, time), `small` (4, 3, 3), `work` and `active` are scratch.
    """
    parameters = theta.size
    size = phases + (1 if fixed_rate > 0.0 else 0)
    gram, hessian, damped, vectors = small[0], small[1], small[2], small[3]
    gradient, trial, new_coefficient = vectors[0], vectors[1], vectors[2]
    free = active[3:]
    _basis(time, theta, phases, uptake, fixed_rate, columns, slopes)
    cost = _project(columns, value, weight, size, gram, coefficient, work, active)
    for p in range(parameters):
        cost += precision[p] * (theta[p] - centre[p]) ** 2
    damping = 1e-3
    fresh = True
    for iteration in range(iterations):
        if fresh:
            _normal_equations(
                columns, slopes, value, weight, size, phases, parameters, gram, coefficient, hessian, gradient,
                work, active,
            )  # fmt: skip
            if iteration >= GAUSS_NEWTON_STEPS:
                _newton_hessian(time, value, weight, phases, uptake, fixed_rate, size, theta, gradient, hessian, work)
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
        for p in range(parameters):
            work[_SIDE, p] = -gradient[p]
        if not _solve(damped, work, _SIDE, free, count, _SOLVED):
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
            predicted -= gradient[p] * work[_SOLVED, i]
            trial[p] = min(max(theta[p] + min(max(work[_SOLVED, i], -1.5), 1.5), lower[p]), upper[p])
            largest = max(largest, abs(trial[p] - theta[p]))
        if predicted < TOLERANCE * (1.0 + 1e-3 * cost) or largest < 1e-10:
            return cost, True
        _basis(time, trial, phases, uptake, fixed_rate, columns, slopes)
        new_cost = _project(columns, value, weight, size, gram, new_coefficient, work, active)
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
    lower, upper : (P,) box of the log-rates
    centre, precision : (N, P) and (P,), centre for each curve and 1/σ² of the normal prior of each log-rate (0: none)
    grid : (G, P) nodes of log-rates
    starts : number of distinct nodes from which the iteration starts

    Returns
    -------
    theta (N, P), coefficient (N, 3), cost (N,) = χ² + prior misfit, converged (N,)
    """
    curves, parameters, nodes, times = activity.shape[0], grid.shape[1], grid.shape[0], time.size
    size = phases + (1 if fixed_rate > 0.0 else 0)
    tables = np.empty((nodes, 3, times))
    columns, slopes, small = np.empty((3, times)), np.empty((3, times)), np.zeros((4, 3, 3))
    work, active = np.empty((_ROWS, max(times, 3))), np.empty(6, dtype=np.int64)
    for g in range(nodes):
        _basis(time, grid[g], phases, uptake, fixed_rate, tables[g], slopes)
    theta, coefficient = np.empty((curves, parameters)), np.zeros((curves, 3))
    cost, converged = np.full(curves, np.inf), np.zeros(curves, dtype=np.bool_)
    node_cost, picked = np.empty(nodes), np.empty(starts, dtype=np.int64)
    short_theta, short_cost, trial_coefficient = np.empty((starts, parameters)), np.empty(starts), np.zeros(3)
    for n in range(curves):
        for g in range(nodes):
            node_cost[g] = -_reduction(
                tables[g], activity[n], weight[n], size, small[0], trial_coefficient, work, active
            )
            for p in range(parameters):
                node_cost[g] += precision[p] * (grid[g, p] - centre[n, p]) ** 2
        count = _pick_starts(node_cost, grid, picked)
        least = np.inf
        for s in range(count):
            short_theta[s] = grid[picked[s]]
            short_cost[s], good = _refine(
                time, activity[n], weight[n], phases, uptake, fixed_rate, lower, upper, centre[n], precision,
                short_theta[s], trial_coefficient, SHORT_RUN, columns, slopes, small, work, active,
            )  # fmt: skip
            least = min(least, short_cost[s])
        for s in range(count):
            if short_cost[s] > least + WORTH_FINISHING:
                continue
            found, good = _refine(
                time, activity[n], weight[n], phases, uptake, fixed_rate, lower, upper, centre[n], precision,
                short_theta[s], trial_coefficient, MAX_ITERATIONS, columns, slopes, small, work, active,
            )  # fmt: skip
            if found < cost[n]:
                cost[n], converged[n] = found, good
                theta[n] = short_theta[s]
                coefficient[n] = trial_coefficient
    return theta, coefficient, cost, converged

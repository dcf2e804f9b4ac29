"""Batched variable projection: weighted least squares of sums of exponentials, compiled.

For given rates the coefficients are a linear problem with non-negativity, solved exactly (at most three coefficients).
The logarithms of the rates are then found by a damped Newton iteration inside a box, from the best nodes of a grid.
The Hessian is that of the reduced problem, exact where it is positive definite and Kaufman's approximation where it is
not. One compiled function serves all models:

    a(t) = Σ_j c_j [exp(−e^{θ_j} t) − u · exp(−e^{θ_u} t)]  (+ c_f exp(−λ_f t) for a phase of fixed rate λ_f)

Not here: what the parameters mean, which model to choose (`models`, `fit`).

References
----------
Golub and Pereyra, SIAM J Numer Anal 1973;10:413 (variable projection); Kaufman, BIT 1975;15:49 (Jacobian).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lutetia.kinetics.voxelwise_fit import compiled, decay

FloatArray = NDArray[np.float64]
MAX_ITERATIONS = 80
# Predicted decrease of χ² at which a fit has converged.
TOLERANCE = 1e-10
# Far from the solution Kaufman's matrix gives the better steps; after this many the exact Hessian takes over.
KAUFMAN_STEPS = 2
# A further start is left after so many steps if its χ² is above the best by this much, ...
SHORT_RUN, WORTH_FINISHING = 4, 2.0
# ... if what it can still gain is this small a part of what it lacks, or if it has come this close to the best.
HOPELESS, SAME = 0.01, 0.02
# Distance of the starts of one curve in some log-rate.
APART = 1.7
# Pivots of a Gram matrix below this share of its diagonal count as zero: columns that cannot be told apart.
_SINGULAR = 1e-13


class Form(NamedTuple):
    """Shape of a model: free clearance phases, whether it has an uptake phase, fixed rate or 0, coefficients."""

    phases: int
    uptake: bool
    fixed_rate: float
    size: int


class Prior(NamedTuple):
    """Box of the log-rates (P,), and centre and 1/σ² of their normal priors."""

    lower: FloatArray
    upper: FloatArray
    centre: FloatArray
    precision: FloatArray


class Scratch(NamedTuple):
    """Arrays that the inner functions share instead of allocating."""

    columns: FloatArray  # (3, T) one for each coefficient
    slopes: FloatArray  # (3, T) derivative of the exponential of each log-rate by it
    turns: FloatArray  # (3, T) second derivative
    left: FloatArray  # (T,) residual times squared weight
    gram: FloatArray  # (3, 3) weighted products of columns
    right: FloatArray  # (3,) columns with values
    low: FloatArray  # (3, 3) Cholesky factor
    mixed: FloatArray  # (3, 3) columns with slopes
    outer: FloatArray  # (3, 3) slopes with slopes
    hessian: FloatArray  # (3, 3)
    half: FloatArray  # (3, 3)
    vectors: FloatArray  # (8, 3) see the rows below
    chosen: NDArray[np.int64]  # (3,) active columns or free parameters


# Rows of `vectors`: sums of the residual with slopes and turns, gradient of half the cost, step, the parameters and
# coefficients tried, what each exponential is multiplied by, and the step's free parameters.
_PULL, _BEND, _GRADIENT, _STEP, _TRIAL, _NEW, _SCALE, _FREE = range(8)


@compiled
def _scratch(times: int) -> Scratch:
    table, square = (3, times), (3, 3)
    return Scratch(
        np.zeros(table), np.zeros(table), np.zeros(table), np.zeros(times), np.zeros(square), np.zeros(3),
        np.zeros(square), np.zeros(square), np.zeros(square), np.zeros(square), np.zeros(square), np.zeros((8, 3)),
        np.zeros(3, dtype=np.int64),
    )  # fmt: skip


@compiled
def _pair(g00: float, g01: float, g11: float, b0: float, b1: float) -> tuple[float, float, float]:
    """Non-negative least squares of two columns; returns both coefficients and the reduction of the sum of squares."""
    determinant = g00 * g11 - g01 * g01
    if determinant > _SINGULAR * g00 * g11:
        first, second = (b0 * g11 - b1 * g01) / determinant, (b1 * g00 - b0 * g01) / determinant
        if first >= 0.0 and second >= 0.0:
            return first, second, first * b0 + second * b1
    first = max(b0 / g00, 0.0) if g00 > 0.0 else 0.0
    second = max(b1 / g11, 0.0) if g11 > 0.0 else 0.0
    if first * b0 >= second * b1:
        return first, 0.0, first * b0
    return 0.0, second, second * b1


@compiled
def _factor(low: FloatArray, size: int) -> bool:
    """Cholesky factor of the packed matrix `low` in place; False if it is not clearly positive definite."""
    for i in range(size):
        for j in range(i + 1):
            total = low[i, j]
            for k in range(j):
                total -= low[i, k] * low[j, k]
            if i == j:
                if not total > _SINGULAR * low[i, i]:
                    return False
                low[i, i] = np.sqrt(total)
            else:
                low[i, j] = total / low[j, j]
    return True


@compiled
def _solve(low: FloatArray, size: int, side: FloatArray) -> None:
    """Replace `side` by the solution, given the Cholesky factor."""
    for i in range(size):
        for k in range(i):
            side[i] -= low[i, k] * side[k]
        side[i] /= low[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            side[i] -= low[k, i] * side[k]
        side[i] /= low[i, i]


@compiled
def _non_negative(gram: FloatArray, right: FloatArray, size: int, low: FloatArray, coefficient: FloatArray) -> float:
    """Exact non-negative least squares for ≤ 3 columns; returns the reduction of the sum of squares."""
    best: float
    coefficient[1], coefficient[2] = 0.0, 0.0
    if size == 1:
        coefficient[0] = max(right[0] / gram[0, 0], 0.0) if gram[0, 0] > 0.0 else 0.0
        best = coefficient[0] * right[0]
        return best
    if size == 2:
        coefficient[0], coefficient[1], best = _pair(gram[0, 0], gram[1, 0], gram[1, 1], right[0], right[1])
        return best
    for i in range(3):
        coefficient[i] = right[i]
        for j in range(i + 1):
            low[i, j] = gram[i, j]
    if _factor(low, 3):
        _solve(low, 3, coefficient)
        if min(coefficient[0], coefficient[1], coefficient[2]) >= 0.0:
            best = coefficient[0] * right[0] + coefficient[1] * right[1] + coefficient[2] * right[2]
            return best
    best = -1.0
    for out in range(3):
        i, j = (1 if out == 0 else 0), (1 if out == 2 else 2)
        first, second, reduction = _pair(gram[i, i], gram[j, i], gram[j, j], right[i], right[j])
        if reduction > best:
            best = reduction
            coefficient[out], coefficient[i], coefficient[j] = 0.0, first, second
    return best


@compiled
def _basis(time: FloatArray, theta: FloatArray, form: Form, scratch: Scratch) -> None:
    """Fill the columns (coefficient, time) and the derivatives of the exponentials by their log-rates (rate, time)."""
    columns, slopes, turns, phases = scratch.columns, scratch.slopes, scratch.turns, form.phases
    for j in range(phases):
        rate = np.exp(theta[j])
        for t in range(time.size):
            x = rate * time[t]
            fall = decay(x)
            columns[j, t] = fall
            slopes[j, t] = -x * fall
            turns[j, t] = (x - 1.0) * x * fall
    if form.fixed_rate > 0.0:
        for t in range(time.size):
            columns[phases, t] = decay(form.fixed_rate * time[t])
    if form.uptake:
        rate = np.exp(theta[phases])
        for t in range(time.size):
            x = rate * time[t]
            rise = decay(x)
            slopes[phases, t] = x * rise
            turns[phases, t] = (1.0 - x) * x * rise
            for j in range(form.size):
                columns[j, t] -= rise


@compiled
def _products(columns: FloatArray, squared: FloatArray, size: int, gram: FloatArray) -> None:
    """Weighted Gram matrix of the columns."""
    for i in range(size):
        for j in range(i + 1):
            total = 0.0
            for t in range(squared.size):
                total += squared[t] * columns[i, t] * columns[j, t]
            gram[i, j] = total
            gram[j, i] = total


@compiled
def _project(value: FloatArray, squared: FloatArray, size: int, coefficient: FloatArray, scratch: Scratch) -> float:
    """Best non-negative coefficients for the columns; returns χ². Fills the Gram matrix and the weighted residual."""
    columns, left, right = scratch.columns, scratch.left, scratch.right
    _products(columns, squared, size, scratch.gram)
    for i in range(size):
        total = 0.0
        for t in range(value.size):
            total += squared[t] * columns[i, t] * value[t]
        right[i] = total
    _non_negative(scratch.gram, right, size, scratch.low, coefficient)
    chi2 = 0.0
    for t in range(value.size):
        rest = value[t]
        for i in range(size):
            rest -= coefficient[i] * columns[i, t]
        left[t] = squared[t] * rest
        chi2 += left[t] * rest
    return chi2


@compiled
def _differentiate(squared: FloatArray, form: Form, parameters: int, coefficient: FloatArray, scratch: Scratch) -> None:
    """Sums over time from which gradient and Hessian follow; `scale` is what each exponential is multiplied by."""
    columns, slopes, turns = scratch.columns, scratch.slopes, scratch.turns
    left, vectors = scratch.left, scratch.vectors
    for p in range(parameters):
        pull, bend = 0.0, 0.0
        for t in range(squared.size):
            pull += left[t] * slopes[p, t]
            bend += left[t] * turns[p, t]
        vectors[_PULL, p], vectors[_BEND, p] = pull, bend
        vectors[_SCALE, p] = coefficient[p] if p < form.phases else coefficient[0] + coefficient[1] + coefficient[2]
        vectors[_GRADIENT, p] = -vectors[_SCALE, p] * pull
        for j in range(form.size):
            total = 0.0
            for t in range(squared.size):
                total += squared[t] * columns[j, t] * slopes[p, t]
            scratch.mixed[j, p] = total
        for q in range(p + 1):
            total = 0.0
            for t in range(squared.size):
                total += squared[t] * slopes[p, t] * slopes[q, t]
            scratch.outer[p, q] = total


@compiled
def _curvature(form: Form, precision: FloatArray, coefficient: FloatArray, exact: bool, scratch: Scratch) -> None:
    """Hessian of half the cost by the log-rates, f_θθ − f_θc f_cc⁻¹ f_cθ over the active columns: coefficients follow.

    Without `exact`, the terms of second derivatives are left out (Kaufman).
    """
    hessian, low, vectors, chosen = scratch.hessian, scratch.low, scratch.vectors, scratch.chosen
    count = 0
    for j in range(form.size):
        if coefficient[j] > 0.0:
            chosen[count] = j
            count += 1
    for i in range(count):
        for k in range(i + 1):
            low[i, k] = scratch.gram[chosen[i], chosen[k]]
    solvable = _factor(low, count)
    half = scratch.half
    for p in range(precision.size):
        scale = vectors[_SCALE, p]
        for i in range(count if solvable else 0):
            j = chosen[i]
            total = scale * scratch.mixed[j, p]
            if exact and (j == p or p == form.phases):
                total -= vectors[_PULL, p]
            for k in range(i):
                total -= low[i, k] * half[p, k]
            half[p, i] = total / low[i, i]
        for q in range(p + 1):
            total = scale * vectors[_SCALE, q] * scratch.outer[p, q]
            if exact and p == q:
                total -= scale * vectors[_BEND, p]
            for i in range(count if solvable else 0):
                total -= half[p, i] * half[q, i]
            hessian[p, q] = total
            hessian[q, p] = total
        hessian[p, p] += precision[p]


@compiled
def _misfit(theta: FloatArray, prior: Prior) -> float:
    """Σ ((θ − centre)/σ)² of the priors."""
    total = 0.0
    for p in range(theta.size):
        total += prior.precision[p] * (theta[p] - prior.centre[p]) ** 2
    return total


@compiled
def _direction(theta: FloatArray, prior: Prior, damping: float, scratch: Scratch) -> tuple[float, bool]:
    """Damped step of the parameters that the box does not hold; returns the predicted decrease of χ², and success."""
    hessian, low, chosen = scratch.hessian, scratch.low, scratch.chosen
    gradient, step, packed = scratch.vectors[_GRADIENT], scratch.vectors[_STEP], scratch.vectors[_FREE]
    count = 0
    for p in range(theta.size):
        step[p] = 0.0
        held = (theta[p] <= prior.lower[p] and gradient[p] > 0.0) or (theta[p] >= prior.upper[p] and gradient[p] < 0.0)
        if not held and (scratch.vectors[_SCALE, p] > 0.0 or prior.precision[p] > 0.0):
            chosen[count] = p
            count += 1
    for i in range(count):
        packed[i] = -gradient[chosen[i]]
        for k in range(i + 1):
            low[i, k] = hessian[chosen[i], chosen[k]]
        low[i, i] += damping * abs(low[i, i]) + 1e-12
        if not low[i, i] > 0.0:
            return 0.0, False
    if not _factor(low, count):
        return 0.0, False
    _solve(low, count, packed)
    predicted = 0.0
    for i in range(count):
        predicted -= gradient[chosen[i]] * packed[i]
        step[chosen[i]] = packed[i]
    return predicted, True


@compiled
def _refine(
    time: FloatArray, value: FloatArray, squared: FloatArray, form: Form, prior: Prior, theta: FloatArray,
    coefficient: FloatArray, best: float, best_theta: FloatArray, scratch: Scratch
) -> tuple[float, bool]:  # fmt: skip
    """Damped Newton iteration inside the box from `theta`, changed in place; returns the cost, and convergence.

    It is given up when it cannot beat the cost `best` that another start has reached at `best_theta`.
    """
    parameters = theta.size
    gradient, step = scratch.vectors[_GRADIENT], scratch.vectors[_STEP]
    trial, new_coefficient = scratch.vectors[_TRIAL], scratch.vectors[_NEW]
    _basis(time, theta, form, scratch)
    cost = _project(value, squared, form.size, coefficient, scratch) + _misfit(theta, prior)
    damping, fresh, exact = 1e-3, True, False
    for iteration in range(MAX_ITERATIONS):
        if fresh:
            _differentiate(squared, form, parameters, coefficient, scratch)
            for p in range(parameters):
                gradient[p] += prior.precision[p] * (theta[p] - prior.centre[p])
            exact = iteration >= KAUFMAN_STEPS
            _curvature(form, prior.precision, coefficient, exact, scratch)
        predicted, solved = _direction(theta, prior, damping, scratch)
        if not solved and exact:
            exact = False
            _curvature(form, prior.precision, coefficient, exact, scratch)
            predicted, solved = _direction(theta, prior, damping, scratch)
        if not solved:
            damping, fresh = max(8.0 * damping, 1e-2), False
            if damping > 1e12:
                return cost, False
            continue
        largest = 0.0
        for p in range(parameters):
            trial[p] = min(max(theta[p] + min(max(step[p], -1.5), 1.5), prior.lower[p]), prior.upper[p])
            largest = max(largest, abs(trial[p] - theta[p]))
        if predicted < TOLERANCE * (1.0 + 1e-3 * cost) or largest < 1e-10:
            return cost, True
        if cost > best and _no_hope(theta, cost, predicted, iteration, best, best_theta, scratch):
            return cost, False
        _basis(time, trial[:parameters], form, scratch)
        new_cost = _project(value, squared, form.size, new_coefficient, scratch)
        new_cost += _misfit(trial[:parameters], prior)
        fresh = new_cost < cost
        if fresh:
            cost = new_cost
            damping = max(damping * 0.1, 1e-12)
            for p in range(parameters):
                theta[p] = trial[p]
            for j in range(3):
                coefficient[j] = new_coefficient[j]
        else:
            damping = max(8.0 * damping, 1e-2)
            if damping > 1e12:
                return cost, predicted < 1e-6 * (1.0 + cost)
    return cost, False


@compiled
def _no_hope(
    theta: FloatArray, cost: float, predicted: float, iteration: int, best: float, best_theta: FloatArray,
    scratch: Scratch,
) -> bool:  # fmt: skip
    """Whether an iteration above the best cost of another start will not fall below it."""
    if iteration >= SHORT_RUN and cost > best + WORTH_FINISHING:
        return True
    if predicted < HOPELESS * (cost - best):
        return True
    away = 0.0
    for p in range(theta.size):
        if scratch.vectors[_SCALE, p] > 0.0:
            away = max(away, abs(theta[p] - best_theta[p]))
    return away < SAME


@compiled
def _pick_starts(cost: FloatArray, grid: FloatArray, picked: NDArray[np.int64]) -> int:
    """Nodes of least cost that are at least `APART` from each other in some log-rate; returns how many."""
    count = 0
    for s in range(picked.size):
        best = -1
        for g in range(cost.size):
            if best >= 0 and cost[g] >= cost[best]:
                continue
            distinct = True
            for i in range(count):
                distance = 0.0
                for p in range(grid.shape[1]):
                    distance = max(distance, abs(grid[g, p] - grid[picked[i], p]))
                distinct = distinct and distance >= APART
            if distinct:
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
    form = Form(phases, uptake, fixed_rate, phases + (1 if fixed_rate > 0.0 else 0))
    scratch = _scratch(times)
    tables, weighted, grams = np.empty((nodes, 3, times)), np.empty((nodes, 3, times)), np.empty((nodes, 3, 3))
    for g in range(nodes):
        _basis(time, grid[g], form, scratch)
        tables[g] = scratch.columns
    theta, coefficient = np.empty((curves, parameters)), np.zeros((curves, 3))
    cost, converged = np.full(curves, np.inf), np.zeros(curves, dtype=np.bool_)
    node_cost, picked = np.empty(nodes), np.empty(starts, dtype=np.int64)
    trial, trial_coefficient, squared = np.empty(parameters), np.zeros(3), np.empty(times)
    for n in range(curves):
        prior = Prior(lower, upper, centre[n], precision)
        changed = n == 0
        for t in range(times):
            changed = changed or weight[n, t] != weight[n - 1, t]
        if changed:
            for t in range(times):
                squared[t] = weight[n, t] ** 2
            for g in range(nodes):
                _products(tables[g], squared, form.size, grams[g])
                for j in range(form.size):
                    for t in range(times):
                        weighted[g, j, t] = squared[t] * tables[g, j, t]
        for g in range(nodes):
            for j in range(form.size):
                total = 0.0
                for t in range(times):
                    total += weighted[g, j, t] * activity[n, t]
                scratch.right[j] = total
            node_cost[g] = _misfit(grid[g], prior) - _non_negative(
                grams[g], scratch.right, form.size, scratch.low, trial_coefficient
            )
        for s in range(_pick_starts(node_cost, grid, picked)):
            for p in range(parameters):
                trial[p] = grid[picked[s], p]
            found, good = _refine(
                time, activity[n], squared, form, prior, trial, trial_coefficient, cost[n], theta[n], scratch
            )
            if found < cost[n]:
                cost[n], converged[n] = found, good
                for p in range(parameters):
                    theta[n, p] = trial[p]
                for j in range(3):
                    coefficient[n, j] = trial_coefficient[j]
    return theta, coefficient, cost, converged

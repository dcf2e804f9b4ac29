"""Linear mixed models of subjects by restricted maximum likelihood: fit, Satterthwaite degrees of freedom.

y = Xβ + Zb + ε with V = Σ θₖ Vₖ: variances and covariance of the random effects, and the residual variance. Subjects
are padded to one length, so that every matrix is a small one a subject. Steps are Newton's with the average or observed
information and end when the score vanishes, not when the likelihood stops changing, so that the result does not depend
on the last bits of a linear-algebra kernel.
Not here: designs and contrasts (`mixed`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.safety.statistics.results import FloatArray, IntArray

MOST_STEPS = 200
SCORE_TOLERANCE = 1e-9
BOUNDARY_SHARE = 1e-6
SMALLEST_SHARE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Rows padded by subject: x (subject, row, p), z (subject, row, q), y and present (subject, row)."""

    x: FloatArray
    z: FloatArray
    y: FloatArray
    present: FloatArray

    @property
    def components(self) -> list[FloatArray]:
        """∂V/∂θₖ of every subject: d₀₀, d₀₁, d₁₁ …, then the residual."""
        q = self.z.shape[2]
        found = []
        for i in range(q):
            for j in range(i + 1):
                one = self.z[:, :, None, i] * self.z[:, None, :, j]
                found.append(one if i == j else one + one.transpose(0, 2, 1))
        return [*found, self.present[:, :, None] * np.eye(self.y.shape[1])]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A converged fit: θ, β, covariance of β, its derivatives, covariance of θ (None where it is not positive)."""

    theta: FloatArray
    beta: FloatArray
    covariance: FloatArray
    derivatives: FloatArray
    theta_covariance: FloatArray | None
    criterion: float


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    score: FloatArray
    average: FloatArray
    observed: FloatArray
    fit: Fit


def padded(x: FloatArray, z: FloatArray, y: FloatArray, subject: IntArray) -> Subjects:
    """Rows put into one block a subject; `subject` is 0 … number − 1."""
    order = np.argsort(subject, kind="stable")
    size = np.bincount(subject)
    place = np.arange(len(y)) - np.repeat(np.cumsum(size) - size, size)
    s, shape = subject[order], (len(size), int(size.max()))
    wide = Subjects(np.zeros((*shape, x.shape[1])), np.zeros((*shape, z.shape[1])), np.zeros(shape), np.zeros(shape))
    wide.x[s, place], wide.z[s, place], wide.y[s, place], wide.present[s, place] = x[order], z[order], y[order], 1.0
    return wide


def fit_reml(rows: Subjects, start: FloatArray) -> Fit | str:
    """The restricted maximum-likelihood fit, or in words why there is none.

    Parameters
    ----------
    rows
        Of `padded`; X of full rank.
    start
        First guess of θ, positive definite.
    """
    theta, parts = start.copy(), rows.components
    state = _state(rows, parts, theta)
    for _ in range(MOST_STEPS):
        if float(np.abs(state.score * theta[-1]).max()) < SCORE_TOLERANCE * rows.present.sum():
            return _checked(rows, state)
        moved = _step(rows, parts, theta, state)
        if moved is None:
            return _at_boundary(rows, theta) or "the likelihood does not rise along any step"
        theta, state = moved
    return _at_boundary(rows, theta) or f"no convergence in {MOST_STEPS} steps"


def satterthwaite(fit: Fit, contrast: FloatArray) -> tuple[float, float, float | None]:
    """Estimate, standard error and degrees of freedom 2v²/(gᵀ Cov(θ) g) of a contrast; None without Cov(θ).

    v = lᵀ Cov(β) l and g its derivative by θ.

    References
    ----------
    Satterthwaite F.E., Biometrics Bull 1946;2:110–114. Fai A.H.-T., Cornelius P.L., J Stat Comput Simul
    1996;54:363–378.
    """
    value = float((contrast * fit.beta).sum())
    variance = max(0.0, float((contrast[:, None] * fit.covariance * contrast).sum()))
    if fit.theta_covariance is None:
        return value, float(np.sqrt(variance)), None
    g = (fit.derivatives * contrast[None, :, None] * contrast[None, None, :]).sum(axis=(1, 2))
    spread = float((g[:, None] * fit.theta_covariance * g).sum())
    return value, float(np.sqrt(variance)), 2.0 * variance**2 / spread if spread > 0.0 else None


def joint_test(fit: Fit, contrasts: FloatArray) -> tuple[float, int, float | None] | None:
    """F, its numerator and its denominator degrees of freedom for several contrasts (rows) at once; None without error.

    The contrasts are turned so that their estimates are uncorrelated; with νₘ of each, E = Σ νₘ/(νₘ − 2) over νₘ > 2
    and the denominator is 2E/(E − q) (Fai & Cornelius 1996).
    """
    covariance = np.einsum("ai,ij,bj->ab", contrasts, fit.covariance, contrasts)
    values, vectors = np.linalg.eigh(covariance)
    if values.max() <= 0.0:
        return None
    kept = values > 1e-10 * values.max()
    turned = np.einsum("am,ai->mi", vectors[:, kept], contrasts)
    each = [satterthwaite(fit, row) for row in turned]
    q = len(each)
    if not all(se > 0.0 for _, se, _ in each):
        return None
    f = sum((estimate / se) ** 2 for estimate, se, _ in each) / q
    known = [df for _, _, df in each if df is not None]
    if len(known) < q:
        return f, q, None
    e = sum(df / (df - 2.0) for df in known if df > 2.0)
    return f, q, (known[0] if q == 1 else (2.0 * e / (e - q) if e > q else None))


def random_covariance(theta: FloatArray, q: int) -> FloatArray:
    """D of the random effects from θ."""
    d = np.zeros((q, q))
    i, j = np.tril_indices(q)
    d[i, j] = d[j, i] = theta[:-1]
    return d


def _state(rows: Subjects, parts: list[FloatArray], theta: FloatArray) -> _State:
    absent = (1.0 - rows.present)[:, :, None] * np.eye(rows.y.shape[1])
    v = sum((t * part for t, part in zip(theta, parts, strict=True)), absent)
    w = np.linalg.inv(v) * rows.present[:, :, None] * rows.present[:, None, :]
    wx = np.einsum("smn,snp->smp", w, rows.x)
    information = np.einsum("smp,smr->pr", rows.x, wx)
    c = np.linalg.inv(information)
    beta = np.einsum("pr,smr,sm->p", c, wx, rows.y)
    residual = rows.y - np.einsum("smp,p->sm", rows.x, beta)
    py = np.einsum("smn,sn->sm", w, residual)
    criterion = float(
        np.linalg.slogdet(v)[1].sum() + np.linalg.slogdet(information)[1] + (residual * py).sum()
        + (rows.present.sum() - rows.x.shape[2]) * np.log(2.0 * np.pi)
    )  # fmt: skip
    return _derived(rows, parts, w, wx=wx, c=c, py=py, fit=Fit(theta, beta, c, np.empty(0), None, criterion))


def _derived(
    rows: Subjects, parts: list[FloatArray], w: FloatArray, *, wx: FloatArray, c: FloatArray, py: FloatArray, fit: Fit
) -> _State:
    """Score and information of θ: −½ tr(PVₖ) + ½ yᵀPVₖPy, and traces of PVₖPVₗ."""
    k = len(parts)
    vwx = [np.einsum("smn,snp->smp", part, wx) for part in parts]
    wv = [np.einsum("smn,snr->smr", w, part) for part in parts]
    a = [np.einsum("smp,smr->pr", wx, one) for one in vwx]
    u = [np.einsum("smn,sn->sm", part, py) for part in parts]
    xwu = [np.einsum("smp,sm->p", wx, one) for one in u]
    wu = [np.einsum("smn,sn->sm", w, one) for one in u]
    ca = [np.einsum("pr,rt->pt", c, one) for one in a]
    score = np.array([0.5 * ((py * u[i]).sum() - np.trace(wv[i], axis1=1, axis2=2).sum() + np.trace(ca[i]))
                      for i in range(k)])  # fmt: skip
    average, trace = np.empty((k, k)), np.empty((k, k))
    for i in range(k):
        for j in range(i + 1):
            average[i, j] = average[j, i] = (u[i] * wu[j]).sum() - (xwu[i][:, None] * c * xwu[j]).sum()
            wvwx = np.einsum("smn,snp->smp", w, vwx[j])
            inner = np.einsum("smp,smr->pr", vwx[i], wvwx)
            trace[i, j] = trace[j, i] = (
                (wv[i] * wv[j].transpose(0, 2, 1)).sum() - 2.0 * (c * inner.T).sum() + (ca[i] * ca[j].T).sum()
            )
    derivatives = np.array([np.einsum("pr,rt->pt", one, c) for one in ca])
    observed = average - 0.5 * trace
    return _State(score, 0.5 * average, observed, Fit(
        fit.theta, fit.beta, fit.covariance, derivatives, None, fit.criterion))  # fmt: skip


def _step(
    rows: Subjects, parts: list[FloatArray], theta: FloatArray, state: _State
) -> tuple[FloatArray, _State] | None:
    """One step uphill: Newton's where the observed information is positive, else the average one; halved as needed."""
    q = rows.z.shape[2]
    for information in (state.observed, state.average):
        spread = np.linalg.eigvalsh(information)
        if spread.min() <= 1e-12 * spread.max():
            continue
        direction = np.linalg.solve(information, state.score)
        for halvings in range(30):
            trial = theta + direction * 0.5**halvings
            if (
                trial[-1] <= SMALLEST_SHARE * np.abs(trial).max()
                or np.linalg.eigvalsh(random_covariance(trial, q)).min() <= 0.0
            ):
                continue
            found = _state(rows, parts, trial)
            if found.fit.criterion <= state.fit.criterion + 1e-9 * abs(state.fit.criterion) * (halvings == 0):
                return trial, found
    return None


def _checked(rows: Subjects, state: _State) -> Fit | str:
    if words := _at_boundary(rows, state.fit.theta):
        return words
    known = np.linalg.eigvalsh(state.observed).min() > 0.0
    covariance: FloatArray | None = np.asarray(np.linalg.inv(state.observed)) if known else None
    f = state.fit
    return Fit(f.theta, f.beta, f.covariance, f.derivatives, covariance, f.criterion)


def _at_boundary(rows: Subjects, theta: FloatArray) -> str:
    """In words, when random effects have no variance or are fully correlated; empty otherwise."""
    q = rows.z.shape[2]
    scale: NDArray[np.float64] = np.sqrt((rows.z**2).sum(axis=(0, 1)) / rows.present.sum())
    d = random_covariance(theta, q) * scale[:, None] * scale[None, :]
    smallest = float(np.linalg.eigvalsh(d).min())
    if theta[-1] < BOUNDARY_SHARE * float(np.abs(d).max()):
        return "the residual variance is estimated as zero"
    if smallest > BOUNDARY_SHARE * float(theta[-1] + d.max()):
        return ""
    return "the variance of a random effect is estimated as zero" if q == 1 else "the random effects are degenerate"


__all__ = ["Fit", "Subjects", "fit_reml", "joint_test", "padded", "random_covariance", "satterthwaite"]

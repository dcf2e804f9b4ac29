"""Models of repeated values: change by arm and occasion, and slopes over time, with a random effect of the subject.

When random slopes cannot be estimated the model keeps the random intercept; when that has no variance either, least
squares with standard errors clustered by subject. The method names what was fitted and a warning says why.
To add a model: build X and Z, call `_fitted`, state contrasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import fdtrc, ndtr, ndtri, stdtr, stdtrit

from lutetia.safety.statistics import reml
from lutetia.safety.statistics.results import (
    LEVEL,
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Result,
    check_one_each,
    columns,
    finite_or_none,
    labels_of,
    missing_warning,
)

LONGITUDINAL = "mixed model, log(value) ~ arm × occasion + log(baseline) + centre, random subject, REML"
SLOPES = "mixed model, value ~ arm × time, REML"
CLUSTERED = "least squares, standard errors clustered by subject (CR3)"
LEAST_VALUES, LEAST_YEARS = 3, 0.5


@dataclass(frozen=True, slots=True)
class Cell:
    """Adjusted change from baseline of one arm at one occasion, percent."""

    arm: str
    occasion: str
    n: int
    change: Result


@dataclass(frozen=True, slots=True)
class ArmRatio:
    """Ratio of an arm's adjusted value to that of the reference arm at one occasion."""

    arm: str
    reference: str
    occasion: str
    ratio: Result


@dataclass(frozen=True, slots=True)
class JointTest:
    """F test of several contrasts at once."""

    hypothesis: str
    f: float
    df: int
    df_error: float | None
    p: float
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class LongitudinalModel:
    """Changes by arm and occasion, ratios of arms, and the test that occasions do not differ between arms.

    Standard deviations are of log values; `fallback` is true where the random subject was given up.
    """

    cells: tuple[Cell, ...]
    ratios: tuple[ArmRatio, ...]
    interaction: JointTest | NotEstimable
    sd_subject: float | None
    sd_residual: float
    n_subjects: int
    n_values: int
    method: str
    fallback: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArmSlope:
    """Mean slope per year of one arm, and of the arm less the reference arm (None for the reference)."""

    arm: str
    n: int
    slope: Result
    difference: Result | None


@dataclass(frozen=True, slots=True)
class SlopeModel:
    """Slopes by arm; `left_out` are subjects with too few values or too short a time."""

    arms: tuple[ArmSlope, ...]
    equal_slopes: JointTest | NotEstimable
    left_out: tuple[str, ...]
    n_subjects: int
    n_values: int
    method: str
    fallback: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """What contrasts need: a fit of REML or of least squares, and how to speak of it."""

    fit: reml.Fit
    method: str
    degrees: float | None
    warnings: tuple[str, ...]
    random: int


def longitudinal(
    value: ArrayLike, baseline: ArrayLike, *, arm: Sequence[object], occasion: Sequence[object],
    subject: Sequence[object], centre: Sequence[object] | None = None, order: Sequence[str] | None = None,
    level: float = LEVEL,
) -> LongitudinalModel | NotEstimable:  # fmt: skip
    """Change of a positive quantity over occasions: log(y) ~ arm × occasion + log(baseline) + centre + random subject.

    One mean for every arm and occasion that has values, at the mean log(baseline) and the mix of centres of all
    subjects. Intervals and p by Satterthwaite's degrees of freedom; where these are unknown, by the normal
    distribution, and the method says "Wald z".

    Parameters
    ----------
    value, baseline
        One row a subject and occasion, > 0; baseline repeats within the subject. Shape (row,).
    arm, occasion, subject, centre
        Labels of every row; without centres there is no term for them.
    order
        Occasions in order of time; the order of their names by default. The first arm by name is the reference.

    References
    ----------
    Laird N.M., Ware J.H., Biometrics 1982;38:963–974.
    """
    rows = _rows(value, baseline, arm=arm, occasion=occasion, subject=subject, centre=centre, order=order)
    if isinstance(rows, NotEstimable):
        return rows
    z = np.ones((len(rows.y), 1))
    found = _fitted(rows.x, [z], rows.y, rows.subject, method=LONGITUDINAL, names=["random subject"])
    if isinstance(found, NotEstimable):
        return found
    cells, n = [], len(rows.sizes)
    for i, (a, o) in enumerate(rows.cells):
        contrast = np.zeros(rows.x.shape[1])
        contrast[i] = 1.0
        change = _percent(_contrast(found, contrast, -rows.reference, n=rows.sizes[i], level=level, what="change"))
        cells.append(Cell(a, o, rows.sizes[i], change))
    return LongitudinalModel(
        tuple(cells), _ratios(found, rows, level), _interaction(found, rows),
        float(np.sqrt(found.fit.theta[0])) if found.random else None, float(np.sqrt(found.fit.theta[-1])),
        int(rows.subject.max()) + 1, len(rows.y), found.method, found.random == 0 and n > 0,
        rows.warnings + found.warnings,
    )  # fmt: skip


def slopes(
    value: ArrayLike, years: ArrayLike, *, arm: Sequence[object], subject: Sequence[object], level: float = LEVEL
) -> SlopeModel | NotEstimable:
    """Mean slope per year by arm: value ~ arm × years with random intercept and slope of the subject.

    Subjects with fewer than 3 values, or values over less than half a year, are left out and named.

    Parameters
    ----------
    value
        For example eGFR in mL/min/1.73 m², shape (row,).
    years
        Time since the first administration, years, shape (row,).
    arm, subject
        Labels of every row. The first arm by name is the reference.

    References
    ----------
    Laird N.M., Ware J.H., Biometrics 1982;38:963–974.
    """
    given = columns({"value": value, "years": years})
    n = len(given["value"])
    arms, a = labels_of(arm, "arm", n)
    people, s = labels_of(subject, "subject", n)
    use = np.isfinite(given["value"]) & np.isfinite(given["years"])
    enough = _enough(given["years"], s, use, len(people))
    left_out = tuple(str(name) for name in people[~enough])
    warnings = missing_warning(int((~use).sum()), "rows")
    use = use & enough[s]
    if not use.any():
        return NotEstimable(f"no subject has {LEAST_VALUES} or more values over {LEAST_YEARS:g} years", 0, SLOPES)
    if left_out:
        warnings += (f"{len(left_out)} subjects with too few values or too short a time left out",)
    shown, a = _renumbered(a[use])
    _, s = _renumbered(s[use])
    check_one_each(s, a, "arm")
    y, t = given["value"][use], given["years"][use] - given["years"][use].mean()
    k = len(shown)
    x = np.zeros((len(y), 2 * k))
    x[np.arange(len(y)), a] = 1.0
    x[np.arange(len(y)), k + a] = t
    z = np.stack([np.ones(len(y)), t], axis=1)
    found = _fitted(x, [z, z[:, :1]], y, s, method=SLOPES, names=["random intercept and slope", "random intercept"])
    if isinstance(found, NotEstimable):
        return found
    arms_shown = tuple(str(v) for v in arms[shown])
    first = np.unique(s, return_index=True)[1]
    sizes = np.bincount(a[first], minlength=k)
    return SlopeModel(
        _arm_slopes(found, arms_shown, sizes, level), _equal_slopes(found, k, len(first)), left_out, len(first), len(y),
        found.method, found.random < 2, warnings + found.warnings,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    x: FloatArray
    y: FloatArray
    subject: IntArray
    cells: tuple[tuple[str, str], ...]
    sizes: tuple[int, ...]
    reference: float
    warnings: tuple[str, ...]


def _rows(
    value: ArrayLike, baseline: ArrayLike, *, arm: Sequence[object], occasion: Sequence[object],
    subject: Sequence[object], centre: Sequence[object] | None, order: Sequence[str] | None,
) -> _Rows | NotEstimable:  # fmt: skip
    given = columns({"value": value, "baseline": baseline})
    n = len(given["value"])
    arms, a = labels_of(arm, "arm", n)
    occasions, o = labels_of(occasion, "occasion", n)
    _, s = labels_of(subject, "subject", n)
    _, c = labels_of(centre if centre is not None else [""] * n, "centre", n)
    sequence = [str(name) for name in (order if order is not None else occasions)]
    rank = {name: i for i, name in enumerate(sequence)}
    o = np.array([rank.get(str(name), -1) for name in occasions], dtype=np.int64)[o] if n else o
    use = (given["value"] > 0) & (given["baseline"] > 0) & np.isfinite(given["value"] + given["baseline"]) & (o >= 0)
    warnings = missing_warning(int((~use).sum()), "rows without a positive value, baseline or listed occasion")
    if use.sum() < 4:
        return NotEstimable(f"{int(use.sum())} rows with value and baseline", int(use.sum()), LONGITUDINAL)
    _, s = _renumbered(s[use])
    a, o, c = a[use], o[use], _renumbered(c[use])[1]
    check_one_each(s, a, "arm")
    check_one_each(s, given["baseline"][use], "baseline")
    log_y, log_b = np.log(given["value"][use]), np.log(given["baseline"][use])
    cell, place = _renumbered(a * len(sequence) + o)
    first = np.unique(s, return_index=True)[1]
    reference = float(log_b[first].mean())
    centres = (c[:, None] == np.arange(1, c.max() + 1)).astype(np.float64)
    x = np.concatenate([
        (place[:, None] == np.arange(len(cell))).astype(np.float64), (log_b - reference)[:, None],
        centres - centres[first].mean(axis=0),
    ], axis=1)  # fmt: skip
    x, dropped = _full_rank(x, len(cell))
    if dropped:
        warnings += (
            f"{dropped} term{'s' if dropped > 1 else ''} of baseline or centre cannot be told apart, left out",
        )
    cells = tuple((str(arms[v // len(sequence)]), sequence[v % len(sequence)]) for v in cell)
    sizes = tuple(int(v) for v in np.bincount(place, minlength=len(cell)))
    return _Rows(x, log_y, s, cells, sizes, reference, warnings)


def _renumbered(index: IntArray) -> tuple[IntArray, IntArray]:
    """The numbers that occur, and every row's place among them."""
    kept, place = np.unique(index, return_inverse=True)
    return kept.astype(np.int64), place.astype(np.int64)


def _full_rank(x: FloatArray, always: int) -> tuple[FloatArray, int]:
    """Columns that are not combinations of those before them; the first `always` are kept."""
    basis: list[FloatArray] = []
    kept = []
    for j in range(x.shape[1]):
        rest = x[:, j].copy()
        size = float((rest**2).sum())
        for _ in range(2):
            for b in basis:
                rest -= float((b * rest).sum()) * b
        left = float((rest**2).sum())
        if j < always or left > 1e-10 * max(size, 1e-300):
            kept.append(j)
            basis.append(rest / np.sqrt(left))
    return x[:, kept], x.shape[1] - len(kept)


def _fitted(
    x: FloatArray, random: list[FloatArray], y: FloatArray, subject: IntArray, *, method: str, names: list[str]
) -> _Model | NotEstimable:
    """The first of the random structures that converges, else least squares with clustered errors."""
    subjects, scale = int(subject.max()) + 1, float(y.std())
    warnings: tuple[str, ...] = ()
    reason = _too_small(x, y, subject)
    if reason:
        return NotEstimable(reason, subjects, method)
    for z, name in zip(random, names, strict=True):
        width = np.sqrt((z**2).mean(axis=0))
        rows = reml.padded(x, z / width, y / scale, subject)
        found = reml.fit_reml(rows, _start(rows))
        if isinstance(found, reml.Fit):
            whole = _rescaled(found, scale, width)
            kind = "Satterthwaite" if found.theta_covariance is not None else "Wald z"
            return _Model(whole, f"{method}; {name}; {kind}", None, warnings, z.shape[1])
        warnings += (f"{name} not estimable: {found}; simpler model used",)
    fit, df = _clustered(reml.padded(x, np.zeros((len(y), 1)), y, subject), subjects)
    return _Model(
        fit, f"{method.split(',')[0]} given up; {CLUSTERED}, t with {df:g} degrees of freedom", df, warnings, 0
    )


def _too_small(x: FloatArray, y: FloatArray, subject: IntArray) -> str:
    if int(subject.max()) + 1 < 3:
        return f"{int(subject.max()) + 1} subjects; 3 or more are needed"
    if len(y) <= x.shape[1]:
        return f"{len(y)} values for {x.shape[1]} means and slopes"
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return "" if float((residual**2).sum()) > 1e-18 * max(1.0, float((y**2).sum())) else "values do not vary"


def _start(rows: reml.Subjects) -> FloatArray:
    """First guess of θ from the scatter of least-squares residuals between and within subjects."""
    n, p = float(rows.present.sum()), rows.x.shape[2]
    c = np.linalg.inv(np.einsum("smp,smr->pr", rows.x, rows.x))
    beta = np.einsum("pr,smr,sm->p", c, rows.x, rows.y)
    residual = (rows.y - np.einsum("smp,p->sm", rows.x, beta)) * rows.present
    total = float((residual**2).sum()) / max(n - p, 1.0)
    size = rows.present.sum(axis=1)
    pairs = float((size * (size - 1.0)).sum())
    shared = float((residual.sum(axis=1) ** 2 - (residual**2).sum(axis=1)).sum()) / pairs if pairs else 0.0
    between = min(max(shared, 0.05 * total), 0.9 * total)
    q = rows.z.shape[2]
    d = np.diag([between] + [0.2 * between] * (q - 1))
    return np.append(d[np.tril_indices(q)], max(total - between, 0.1 * total))


def _rescaled(fit: reml.Fit, scale: float, width: FloatArray) -> reml.Fit:
    """The fit in the units of y and z; degrees of freedom do not change with units."""
    i, j = np.tril_indices(len(width))
    theta = fit.theta * scale**2 / np.append(width[i] * width[j], 1.0)
    return reml.Fit(
        theta, fit.beta * scale, fit.covariance * scale**2, fit.derivatives * scale**2, fit.theta_covariance,
        fit.criterion,
    )  # fmt: skip


def _clustered(rows: reml.Subjects, subjects: int) -> tuple[reml.Fit, float]:
    """Least squares with the CR3 covariance: each subject's residuals from a fit without it (Bell & McCaffrey 2002)."""
    c = np.linalg.inv(np.einsum("smp,smr->pr", rows.x, rows.x))
    beta = np.einsum("pr,smr,sm->p", c, rows.x, rows.y)
    residual = (rows.y - np.einsum("smp,p->sm", rows.x, beta)) * rows.present
    hat = np.einsum("smp,pr,snr->smn", rows.x, c, rows.x)
    outside = np.linalg.pinv(np.eye(rows.y.shape[1]) - hat, rcond=1e-8, hermitian=True)
    score = np.einsum("smp,smn,sn->sp", rows.x, outside, residual)
    covariance = np.einsum("pr,sr,st,tu->pu", c, score, score, c)
    n, p = float(rows.present.sum()), rows.x.shape[2]
    theta = np.array([0.0, float((residual**2).sum()) / (n - p)])
    return reml.Fit(theta, beta, covariance, np.empty(0), None, float("nan")), float(max(1, subjects - 1))


def _contrast(model: _Model, contrast: FloatArray, shift: float, *, n: int, level: float, what: str) -> Result:
    if model.degrees is not None:
        estimate = float((contrast * model.fit.beta).sum())
        variance = float((contrast[:, None] * model.fit.covariance * contrast).sum())
        se, df = float(np.sqrt(max(0.0, variance))), model.degrees
        return _result(estimate + shift, se, df, n=n, level=level, what=what, method=model.method)
    estimate, se, degrees = reml.satterthwaite(model.fit, contrast)
    return _result(estimate + shift, se, degrees, n=n, level=level, what=what, method=model.method)


def _result(estimate: float, se: float, df: float | None, *, n: int, level: float, what: str, method: str) -> Result:
    z = estimate / se if se > 0.0 else float("nan")
    quantile = float(ndtri(0.5 + level / 2.0) if df is None else stdtrit(df, 0.5 + level / 2.0))
    p = 2.0 * float(ndtr(-abs(z)) if df is None else stdtr(df, -abs(z)))
    if not se > 0.0:
        return Result(what, estimate, None, None, None, n, method, level=level, warnings=("no standard error",))
    return Result(what, estimate, estimate - quantile * se, estimate + quantile * se, p, n, method, statistic=z, df=df,
                  level=level)  # fmt: skip


def _percent(log_change: Result) -> Result:
    with np.errstate(over="ignore"):
        estimate = 100.0 * float(np.expm1(log_change.estimate))
        low, high = (
            None if v is None else finite_or_none(100.0 * np.expm1(v)) for v in (log_change.low, log_change.high)
        )
    return Result(
        "percent change from baseline", estimate, low, high, log_change.p, log_change.n, log_change.method,
        statistic=log_change.statistic, df=log_change.df, level=log_change.level, warnings=log_change.warnings,
    )  # fmt: skip


def _ratios(model: _Model, rows: _Rows, level: float) -> tuple[ArmRatio, ...]:
    place = {cell: i for i, cell in enumerate(rows.cells)}
    reference = min(arm for arm, _ in rows.cells)
    found = []
    for (arm, occasion), i in place.items():
        j = place.get((reference, occasion))
        if arm == reference or j is None:
            continue
        contrast = np.zeros(rows.x.shape[1])
        contrast[i], contrast[j] = 1.0, -1.0
        log = _contrast(model, contrast, 0.0, n=rows.sizes[i] + rows.sizes[j], level=level, what="ratio of arms")
        with np.errstate(over="ignore"):
            estimate = float(np.exp(log.estimate))
            low, high = (None if v is None else finite_or_none(np.exp(v)) for v in (log.low, log.high))
        ratio = Result(log.quantity, estimate, low, high, log.p, log.n, log.method,
                       statistic=log.statistic, df=log.df, level=level, warnings=log.warnings)  # fmt: skip
        found.append(ArmRatio(arm, reference, occasion, ratio))
    return tuple(found)


def _interaction(model: _Model, rows: _Rows) -> JointTest | NotEstimable:
    """Test that the means of the cells are the sum of a part of the arm and a part of the occasion."""
    arms, occasions = ([*dict.fromkeys(cell[i] for cell in rows.cells)] for i in (0, 1))
    additive = np.array([[float(c[0] == a) for a in arms] + [float(c[1] == o) for o in occasions] for c in rows.cells])
    u, singular, _ = np.linalg.svd(additive)
    rank = int((singular > 1e-9).sum())
    if rank == len(rows.cells):
        return NotEstimable("one arm or one occasion has values", len(rows.y), model.method)
    contrasts = np.zeros((len(rows.cells) - rank, rows.x.shape[1]))
    contrasts[:, : len(rows.cells)] = u[:, rank:].T
    return _joint(model, contrasts, "the course over occasions is the same in all arms", len(rows.y))


def _equal_slopes(model: _Model, arms: int, n: int) -> JointTest | NotEstimable:
    if arms < 2:
        return NotEstimable("one arm has values", n, model.method)
    contrasts = np.zeros((arms - 1, 2 * arms))
    contrasts[:, arms] = -1.0
    contrasts[np.arange(arms - 1), arms + 1 + np.arange(arms - 1)] = 1.0
    return _joint(model, contrasts, "the mean slope is the same in all arms", n)


def _joint(model: _Model, contrasts: FloatArray, hypothesis: str, n: int) -> JointTest | NotEstimable:
    tested = reml.joint_test(model.fit, contrasts)
    if tested is None:
        return NotEstimable("the contrasts have no standard error", n, model.method)
    f, df, error = tested
    if model.degrees is not None:
        # With few clusters the plain F rejects too often: the approximation by Hotelling's T² (Pustejovsky J.E.,
        # Tipton E., J Bus Econ Stat 2018;36:672–683).
        error = model.degrees - df + 1.0
        if error < 1.0:
            return NotEstimable(f"{df} contrasts for {model.degrees + 1:g} subjects", n, model.method)
        f *= error / model.degrees
    p = float(fdtrc(df, error if error is not None else 1e9, f))
    return JointTest(hypothesis, f, df, error, p, n, model.method)


def _arm_slopes(model: _Model, arms: tuple[str, ...], sizes: IntArray, level: float) -> tuple[ArmSlope, ...]:
    k, found = len(arms), []
    for i, arm in enumerate(arms):
        contrast = np.zeros(2 * k)
        contrast[k + i] = 1.0
        own = _contrast(model, contrast, 0.0, n=int(sizes[i]), level=level, what="slope per year")
        difference = None
        if i:
            contrast[k] = -1.0
            both = int(sizes[i] + sizes[0])
            difference = _contrast(model, contrast, 0.0, n=both, level=level, what="difference of slopes per year")
        found.append(ArmSlope(arm, int(sizes[i]), own, difference))
    return tuple(found)


def _enough(years: FloatArray, subject: IntArray, use: BoolArray, subjects: int) -> BoolArray:
    """Subjects with enough values over a long enough time."""
    first, last = np.full(subjects, np.inf), np.full(subjects, -np.inf)
    np.minimum.at(first, subject[use], years[use])
    np.maximum.at(last, subject[use], years[use])
    count = np.bincount(subject[use], minlength=subjects)
    with np.errstate(invalid="ignore"):
        return np.asarray((count >= LEAST_VALUES) & (last - first >= LEAST_YEARS - 1e-9))

"""Gray's test: whether groups share a cumulative incidence where causes compete.

Not here: curves and tests of hazards (`survival`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from lutetia.safety.statistics.results import FloatArray, IntArray, NotEstimable
from lutetia.safety.statistics.survival import CurveTest, grouped_times, no_test, quadratic_form

GRAY = "Gray's test of cumulative incidence"


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """At risk, events of the cause and other events, shape (time, group), at the times of any event."""

    at_risk: FloatArray
    own: FloatArray
    other: FloatArray

    @property
    def free_after(self) -> FloatArray:
        """Share of each group without any event after each time (Kaplan–Meier)."""
        share = (self.own + self.other) / np.maximum(self.at_risk, 1.0)
        return np.asarray(np.cumprod(1.0 - share, axis=0), dtype=np.float64)

    @property
    def free_before(self) -> FloatArray:
        """The same just before each time."""
        return np.concatenate([np.ones((1, self.at_risk.shape[1])), self.free_after[:-1]])


def gray_test(
    time: ArrayLike, event: ArrayLike, group: Sequence[object], *, cause: int = 1
) -> CurveTest | NotEstimable:
    """Whether groups share the cumulative incidence of one cause.

    With Y at risk, S the share without event and F the incidence in a group, R = Y (1 − F)/S counts subjects who had a
    competing event as still at risk. The score of a group is Σ (d − R·D/ΣR) over the event times, D the events of all
    groups.

    Parameters
    ----------
    time
        Time to event or censoring, ≥ 0, shape (n,).
    event
        0 censored, else the number of the cause.
    group
        Name of each subject's group.
    cause
        The cause of interest.

    References
    ----------
    Gray R.J., Ann Statist 1988;16:1141–1154.
    """
    names, place, when, kind, warnings = grouped_times(time, event, group)
    if refusal := no_test(names, kind == cause, len(when), GRAY):
        return refusal
    k = len(names)
    counts = _counts(when, kind, place, cause=cause, groups=k)
    expected = _expected(counts)
    observed = counts.own.sum(axis=0)
    chi2, df = quadratic_form((observed - expected)[:-1], _covariance(counts)[:-1, :-1])
    if df == 0:
        return NotEstimable("groups are never at risk together", len(when), GRAY)
    sizes = np.bincount(place, minlength=k)
    return CurveTest(
        chi2, df, float(chdtrc(df, chi2)), tuple(names.tolist()), tuple(int(v) for v in sizes),
        tuple(observed.tolist()), tuple(expected.tolist()), len(when), GRAY, warnings,
    )  # fmt: skip


def _counts(when: FloatArray, kind: IntArray, place: IntArray, *, cause: int, groups: int) -> _Counts:
    time = np.unique(when[kind > 0])[:, None]
    member = place[:, None] == np.arange(groups)
    now = when == time
    flags = (when >= time, now & (kind == cause), now & (kind > 0) & (kind != cause))
    at_risk, own, other = ((flag[:, :, None] & member).sum(axis=1).astype(np.float64) for flag in flags)
    return _Counts(at_risk, own, other)


def _expected(counts: _Counts) -> FloatArray:
    """Events of the cause that each group would have if all shared one incidence."""
    before = counts.free_before
    steps = before * counts.own / np.maximum(counts.at_risk, 1.0)
    incidence_before = np.cumsum(steps, axis=0) - steps
    r = _over(counts.at_risk, before) * (1.0 - incidence_before)
    return np.asarray((_over(r, r.sum(axis=1, keepdims=True)) * counts.own.sum(axis=1, keepdims=True)).sum(axis=0))


def _covariance(counts: _Counts) -> FloatArray:
    """Covariance of the scores when all groups share one incidence F.

    To first order the score of group i is Σ_r ∫ (a_ir S_r/(1 − F(u−)) − C_ir F2_r) dM1_r/Y_r − ∫ C_ir (1 − F) dM2_r/Y_r
    with weights a_ir = R_i (δ_ir − R_r/ΣR), C_ir(u) = Σ_{t>u} a_ir ΔF/(1 − F(t−))², F2_r the other causes' incidence,
    M1 and M2 the martingales of the cause and of the others. Ties lower the variance as in the log-rank test.
    """
    at_risk, before, after = counts.at_risk, counts.free_before, counts.free_after
    weight = _over(at_risk, before)
    total, d = weight.sum(axis=1, keepdims=True), counts.own.sum(axis=1, keepdims=True)
    jump = _over(d, total)
    f = np.cumsum(jump, axis=0)
    f_before = f - jump
    r = weight * (1.0 - f_before)
    a = r[:, :, None] * (np.eye(at_risk.shape[1]) - _over(weight, total)[:, None, :])
    later = a * (jump / (1.0 - f_before) ** 2)[:, :, None]
    c = np.cumsum(later[::-1], axis=0)[::-1] - later
    scale = _over(before, after * np.maximum(at_risk, 1.0))
    first = (before / np.maximum(at_risk, 1.0) / (1.0 - f_before))[:, None, :] * a
    first = first - (scale * (1.0 - after - f))[:, None, :] * c
    second = (scale * (1.0 - f))[:, None, :] * c
    ties = np.where(d > 1, (d - 1.0) / np.maximum(total * before - 1.0, 1.0), 0.0)
    other_ties = np.where(counts.other > 1, (counts.other - 1.0) / np.maximum(at_risk - 1.0, 1.0), 0.0)
    found = np.einsum("tir,tjr,tr->ij", first, first, weight * jump * (1.0 - ties))
    return np.asarray(found + np.einsum("tir,tjr,tr->ij", second, second, counts.other * (1.0 - other_ties)))


def _over(a: FloatArray, b: FloatArray) -> FloatArray:
    """a / b, and 0 where b is 0."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    return np.divide(a, b, out=np.zeros(shape), where=np.broadcast_to(b > 0.0, shape))

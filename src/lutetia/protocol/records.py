"""Protocols as data: arms, dose limits, allocation, and which of their values are assumptions.

A protocol is one TOML file; the packaged ones lie in `versions/`. To add one: write such a file (`docs/how-to-add.md`).
Not here: decisions (`lutetia.protocol.controller`) and the reading of files (`lutetia.protocol.profile`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lutetia.errors import UnknownNameError

Kind = Literal["hard", "soft", "advisory"]
KINDS: tuple[Kind, ...] = ("hard", "soft", "advisory")
METRICS = ("absorbed_dose", "bed")
ALLOCATIONS = ("even", "front_load", "per_cycle_quota", "prescribed_doses", "cycle_count")
# Reasons against an increase that act whatever the protocol says: no measured dose supports one.
ALWAYS_AGAINST_INCREASE = ("limit_not_measured", "bed_incomplete")
NO_INCREASE_REASONS = ("marrow_not_evaluable", "single_time_point", "toxicity_grade_2", *ALWAYS_AGAINST_INCREASE)


@dataclass(frozen=True, slots=True)
class Limit:
    """A cumulative dose limit of one region.

    `risk` is the accepted probability that the dose at the planned end exceeds `limit_Gy`; a `hard` limit blocks the
    proposal, a `soft` one needs a two-person override, an `advisory` one is reported only.
    `limit_without_risk_factors_Gy` replaces `limit_Gy` for subjects known to have none of the protocol's risk factors.
    `tolerance_Gy` belongs to the allocation ``cycle_count``; `prescribed_doses_Gy` to ``prescribed_doses``.
    `arms` is empty when the limit holds in all of them.
    """

    id: str
    region: str
    metric: str
    limit_Gy: float
    kind: Kind
    risk: float
    method: str | None = None
    tolerance_Gy: float = 0.0
    limit_without_risk_factors_Gy: float | None = None
    prescribed_doses_Gy: tuple[float, ...] = ()
    alpha_beta_Gy: float | None = None
    repair_half_life_h: float | None = None
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: base activity per nuclide and, where one is variable, the bounds of its adjustment.

    `cap_MBq` holds the largest activity of the variable nuclide per planned cycle (None: no cap);
    `step_up` the largest relative increase over the previous prescription (None: none is set).
    """

    name: str
    base_MBq: Mapping[str, float]
    variable: str | None
    minimum_MBq: float | None
    cap_MBq: tuple[float, ...] | None
    step_up: float | None
    limit_kind: Kind | None
    description: str = ""

    @property
    def nuclides(self) -> tuple[str, ...]:
        """Names in the order of the file."""
        return tuple(self.base_MBq)


@dataclass(frozen=True, slots=True)
class Mark:
    """A value of the file that is not an established published fact.

    `kind` is ``assumption`` (not published) or ``check`` (to be checked against the primary source).
    """

    path: str
    value: str
    kind: Literal["assumption", "check"]

    def __str__(self) -> str:
        text = "assumption, not published" if self.kind == "assumption" else "check against the primary source"
        return f"{self.path} = {self.value} ({text})"


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol as read from its file; `sha256` is that of the file's bytes."""

    name: str
    version: str
    title: str
    source: str
    illustrative: bool
    cycles: int
    interval_weeks: float | None
    measured_nuclide: str | None
    allocation: str
    grid_MBq: float
    category_reference: str
    category_tolerance: float
    no_increase_when: tuple[str, ...]
    drift_per_cycle: Mapping[str, float]
    risk_factors: tuple[str, ...]
    labs_max_age_days: float
    limits: tuple[Limit, ...]
    arms: Mapping[str, Arm]
    marks: tuple[Mark, ...]
    sha256: str

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises
        ------
        UnknownNameError
            With the arms of this protocol.
        """
        if name not in self.arms:
            raise UnknownNameError("arm", name, self.arms, where=f"protocol {self.name}")
        return self.arms[name]

    def limits_of(self, arm: str, *, risk_factors: Sequence[str] | None = None) -> tuple[Limit, ...]:
        """Limits that hold in an arm, in the order of the file, with the arm's kind and the subject's risk factors.

        Parameters
        ----------
        arm
            Name of the arm.
        risk_factors
            Those of the subject; an empty sequence says that there are none, None that they are not known:
            then the value for subjects with risk factors, the lower one, is used.

        Notes
        -----
        An arm whose activity cannot vary has advisory limits, unless the protocol decides by number of cycles.
        """
        chosen = self.arm(arm)
        fixed = chosen.variable is None and self.allocation != "cycle_count"
        kind: Kind | None = "advisory" if fixed else chosen.limit_kind
        held = [limit for limit in self.limits if not limit.arms or arm in limit.arms]
        return tuple(self._for_subject(replace(li, kind=kind or li.kind), risk_factors) for li in held)

    def has_risk_factor(self, risk_factors: Sequence[str] | None) -> bool:
        """Whether a subject has a risk factor of this protocol; unknown counts as yes."""
        return risk_factors is None or any(_plain(r) in map(_plain, self.risk_factors) for r in risk_factors)

    def _for_subject(self, limit: Limit, risk_factors: Sequence[str] | None) -> Limit:
        higher = limit.limit_without_risk_factors_Gy
        if higher is None or self.has_risk_factor(risk_factors):
            return limit
        return replace(limit, limit_Gy=higher)


def _plain(text: str) -> str:
    return text.strip().lower().replace("_", " ")

"""The activity that was given, from what was measured before and after the infusion."""

from __future__ import annotations

import math
from datetime import datetime

from lutetia.core.clock import hours_between
from lutetia.errors import InputError
from lutetia.nuclear.nuclides import nuclide as nuclide_named


def administered_activity_MBq(
    nuclide: str,
    *,
    measured_MBq: float,
    measured_at: datetime,
    residual_MBq: float,
    residual_at: datetime,
    started_at: datetime,
) -> float:
    """Activity given, at the start of infusion: M·exp(−λ(t₀ − t_M)) − R·exp(−λ(t₀ − t_R)).

    Parameters
    ----------
    nuclide
        Name, such as ``Lu-177``.
    measured_MBq, measured_at
        Full vial or syringe, and when it was measured.
    residual_MBq, residual_at
        What was left in vial, syringe and lines, and when it was measured.
    started_at
        t₀, start of infusion.

    Raises
    ------
    InputError
        If not more was measured before than after.

    Notes
    -----
    The residual is taken as never infused; decay during the infusion is part of the dose calculation.
    """
    rate = nuclide_named(nuclide).decay_constant_per_h
    before = measured_MBq * math.exp(-rate * hours_between(measured_at, started_at))
    left = residual_MBq * math.exp(-rate * hours_between(residual_at, started_at))
    if before <= left:
        raise InputError(
            f"{nuclide}: found {measured_MBq:g} MBq before and {residual_MBq:g} MBq after the infusion; expected less "
            "after than before; check both measurements"
        )
    return before - left


def decayed_MBq(nuclide: str, activity_MBq: float, *, from_at: datetime, to_at: datetime) -> float:
    """An activity at another time: A·exp(−λ·Δt)."""
    return activity_MBq * math.exp(-nuclide_named(nuclide).decay_constant_per_h * hours_between(from_at, to_at))

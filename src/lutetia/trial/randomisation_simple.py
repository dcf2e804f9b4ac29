"""Simple randomisation: one independent draw a subject, in proportion to the ratio."""

from __future__ import annotations

from collections.abc import Mapping

from lutetia.trial.randomisation_draws import draw
from lutetia.trial.randomisation_records import RandomisationSpec, Tally


def simple_arm(spec: RandomisationSpec, seed: bytes, tally: Tally, levels: Mapping[str, str]) -> str:
    """Arm of the next subject; levels play no part."""
    slots = [arm for arm, parts in zip(spec.arms, spec.ratio, strict=True) for _ in range(parts)]
    return slots[int(draw(seed, "simple", tally.total) * len(slots))]

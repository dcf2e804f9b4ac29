"""What goes otherwise than planned in a virtual trial that is written as a dataset; rates in `data/clinic.toml`.

Lowered prescriptions, incomplete infusions, an unavailable nuclide, missed and late samples, subjects who never start:
drawn before the trial runs, so that decisions see what the dataset shows. Not here: rows (`export_*`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from lutetia.core.draws import stream
from lutetia.simulate.clinic import AFTER_DAYS, EVENTS, SLOTS, VirtualClinic
from lutetia.simulate.effects import LIVER
from lutetia.simulate.trials import Block, Mishaps, arm_columns

_NEVER_TREATED_DAY = -1.0


@cache
def clinic_table() -> Mapping[str, Any]:
    """The packaged rates and descriptions."""
    return tomllib.loads((files("lutetia.simulate") / "data" / "clinic.toml").read_text(encoding="utf-8"))


def draw_mishaps(block: Block, arm: str) -> Mishaps:
    """Mishaps of the cycles of one arm."""
    shares, g = clinic_table()["shares"], stream(block.seed, *block.names, arm, "mishaps")
    rows, columns = block.arm == block.arms.index(arm), arm_columns(block, arm)
    shape = block.delivery[rows].shape
    low, high = clinic_table()["lowered"]["factor"]
    lowering = np.where(g.random(shape) < shares["lowered"], g.uniform(low, high, shape), 1.0)
    delivery = block.delivery[rows] * np.where(
        g.random(shape) < shares["incomplete_infusion"], g.uniform(0.75, 0.90, shape), 1.0
    )
    each = np.repeat(delivery[..., None], len(columns), axis=-1)
    measured = block.protocol.measured_nuclide or block.nuclides[0]
    absent = g.random(shape) < shares["nuclide_unavailable"]
    for place, column in enumerate(columns):
        if len(columns) > 1 and block.nuclides[column] != measured:
            each[absent, place] = 0.0
    return Mishaps(lowering, each, g.random(shape) < shares["remade"])


def disturb(block: Block, arm: str, clinic: VirtualClinic) -> None:
    """Give a clinic its missed and late samples, and the subjects who withdraw before the first infusion.

    The sample before a decision is repeated until it is there: it and the baseline are never missed.
    """
    table, g = clinic_table(), stream(block.seed, *block.names, arm, "samples")
    shares, (n, slots) = table["shares"], clinic.day.shape
    scheduled = np.array([slot > 0 and (slot - 1) % SLOTS < len(AFTER_DAYS) for slot in range(slots)])
    missed = scheduled & (g.random((n, slots)) < shares["sample_missed"])
    single = g.random((n, slots, len(clinic.analytes))) < shares["value_missing"]
    single &= np.array([name in LIVER for name in clinic.analytes]) | scheduled[:, None]
    clinic.absent = missed[..., None] | single
    late = np.where(g.random((n, slots)) < shares["late_visit"], g.uniform(6.0, 10.0, (n, slots)), 0.0)
    jitter = np.clip(table["visits"]["jitter_days"] * g.standard_normal((n, slots)), -3.0, 3.0)
    clinic.shift = np.where(scheduled, jitter + late, 0.0)
    clinic.leaves[g.random(n) < shares["not_treated"], EVENTS.index("withdrew")] = _NEVER_TREATED_DAY

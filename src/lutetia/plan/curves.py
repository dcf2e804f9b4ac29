"""From samples of a table, or measurements of images, to `TimeActivity` records with shared draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, FloatArray
from lutetia.plan.tables import Sample
from lutetia.plan.uncertainty import Draws


def sample_curve(
    samples: Sequence[Sample],
    draws: Draws,
    *,
    nuclide: str,
    default_percent: float,
    shared: FloatArray,
    names: tuple[str | int, ...],
) -> TimeActivity:
    """Curve of one region, the blood or the whole body from the rows of a table.

    Parameters
    ----------
    samples
        Of one region, ordered in time.
    default_percent
        Independent relative standard deviation where a row gives none.
    shared
        Factors common to all samples, shape (draw,).
    names
        Of the random stream of the independent noise.
    """
    value = np.array([s.value for s in samples])
    reference = np.where(value > 0, value, value.max(initial=0.0) * 0.1)
    sd = np.array(
        [s.sd if s.sd is not None else default_percent / 100.0 * r for s, r in zip(samples, reference, strict=True)]
    )
    noisy = draws.with_noise(value, sd, *names)
    activity = Estimate(noisy.value, noisy.draws * shared[:, None])
    return TimeActivity(samples[0].region, nuclide, np.array([s.time_h for s in samples]), activity, sd)


def by_region(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Samples grouped by region, in order of first appearance."""
    grouped: dict[str, list[Sample]] = {}
    for sample in samples:
        grouped.setdefault(sample.region, []).append(sample)
    return grouped

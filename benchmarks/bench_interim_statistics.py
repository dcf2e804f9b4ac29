"""Speed of the statistics of an interim analysis: bootstrap of a rank correlation, of ε², and mixed models.

The peer is a loop of `scipy.stats.spearmanr` over the same resamples. Prints one JSON line.
Run: python benchmarks/bench_interim_statistics.py
"""

from __future__ import annotations

import json
import os
import time

import numpy as np
from scipy.stats import spearmanr

from lutetia.safety.statistics.bootstrap import RESAMPLES, resample_indices
from lutetia.safety.statistics.correlation import spearman
from lutetia.safety.statistics.groups import kruskal_wallis
from lutetia.safety.statistics.mixed import LongitudinalModel, longitudinal
from lutetia.safety.statistics.resampling import dense_ranks, spearman_of_rows
from timing import best_s

SUBJECTS, PEER_RESAMPLES = 92, 1_000
OCCASIONS = ("cycle 1", "cycle 2", "cycle 3", "cycle 4", "end of treatment")


def spearman_speed() -> dict[str, float]:
    """Microseconds a resample of the loop and of ours, their ratio and largest difference, and ours with all around."""
    g = np.random.default_rng(1)
    x = g.lognormal(-2.0, 0.4, SUBJECTS)
    y = np.round(-x + g.normal(0.0, 0.1, SUBJECTS), 2)
    rows = resample_indices(SUBJECTS, RESAMPLES, 1, "benchmark")
    times, peer = [], np.empty(PEER_RESAMPLES)
    for _ in range(2):
        start = time.perf_counter()
        for b in range(PEER_RESAMPLES):
            peer[b] = spearmanr(x[rows[b]], y[rows[b]]).statistic
        times.append((time.perf_counter() - start) / PEER_RESAMPLES)
    found = spearman_of_rows(dense_ranks(x), dense_ranks(y), rows)

    def ours() -> None:
        drawn = resample_indices(SUBJECTS, RESAMPLES, 1, "benchmark")
        spearman_of_rows(dense_ranks(x), dense_ranks(y), drawn)

    own = best_s(ours) / RESAMPLES
    return {
        "resamples": RESAMPLES,
        "peer_us_per_resample": 1e6 * min(times),
        "ours_us_per_resample": 1e6 * own,
        "ratio": min(times) / own,
        "largest_difference": float(np.abs(found[:PEER_RESAMPLES] - peer).max()),
        "whole_analysis_ms": 1e3 * best_s(lambda: spearman(x, y)),
    }


def group_speed() -> dict[str, float]:
    """Milliseconds of a Kruskal–Wallis test of four arms with the bootstrap interval of ε²."""
    g = np.random.default_rng(2)
    arms = {name: g.normal(size=SUBJECTS // 4) for name in "ABCD"}
    return {"kruskal_wallis_ms": 1e3 * best_s(lambda: kruskal_wallis(arms))}


def mixed_speed(analytes: int = 8) -> dict[str, float]:
    """How many of the analytes' models converge, and milliseconds of one."""
    g = np.random.default_rng(3)
    n = len(OCCASIONS)
    subject = np.repeat(np.arange(SUBJECTS), n)
    arm, centre = np.array(list("ABCD"))[subject % 4].tolist(), (subject // 4 % 5).tolist()
    occasion = list(OCCASIONS) * SUBJECTS
    converged, seconds = 0, []
    for _ in range(analytes):
        baseline = g.lognormal(5.0, 0.3, SUBJECTS)
        effect = g.normal(0.0, 0.15, SUBJECTS)[subject] - 0.1 * np.tile(np.arange(n), SUBJECTS)
        value = baseline[subject] * np.exp(effect + g.normal(0.0, 0.1, subject.size))
        start = time.perf_counter()
        found = longitudinal(
            value, baseline[subject], arm=arm, occasion=occasion, subject=subject.tolist(), centre=centre
        )
        seconds.append(time.perf_counter() - start)
        converged += isinstance(found, LongitudinalModel) and not found.fallback
    return {"models": analytes, "converged": converged, "model_ms": 1e3 * float(np.median(seconds))}


def main() -> None:
    """Print the figures as one JSON line."""
    result = {
        "benchmark": "interim_statistics",
        "peer": "loop of scipy.stats.spearmanr over the same resamples",
        "cores_used": 1,
        "load_before": os.getloadavg()[0],
        "subjects": SUBJECTS,
        "spearman": spearman_speed(),
        "groups": group_speed(),
        "mixed": mixed_speed(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

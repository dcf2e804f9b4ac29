"""Speed of the interim analysis: one virtual trial end to end, and Spearman bootstrap against a loop of scipy.

Prints one JSON line. Run: python benchmarks/bench_interim.py [--subjects 92] [--resamples 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from lutetia.dataset.folder import read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.safety.interim import run_interim
from lutetia.safety.statistics.correlation import spearman
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.population import read_population
from lutetia.simulate.trial_folder import write_trial
from timing import best_s


def interim_seconds(subjects: int, resamples: int) -> dict[str, float]:
    """Wall and processor seconds of reading, analysis, both reports and writing."""
    trial = simulate_trial(
        read_protocol("duonen"), subjects=subjects, seed=7, level="analytic", effect="planted",
        population=read_population(None),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_trial(trial, Path(folder) / "data")
        wall, processor = time.perf_counter(), time.process_time()
        run_interim(read_dataset(Path(folder) / "data"), out=Path(folder) / "out", resamples=resamples)
        return {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}


def spearman_ratio(subjects: int, resamples: int, compared: int = 300) -> dict[str, float]:
    """How many times as fast as a loop of `scipy.stats.spearmanr` the bootstrap of a rank correlation is."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=subjects), rng.normal(size=subjects)
    ours = best_s(lambda: spearman(x, y, resamples=resamples)) / resamples
    rows = rng.integers(0, subjects, size=(compared, subjects))
    start = time.perf_counter()
    for row in rows:
        spearmanr(x[row], y[row])
    loop = (time.perf_counter() - start) / compared
    return {"us_per_resample": 1e6 * ours, "loop_us_per_resample": 1e6 * loop, "times_as_fast": loop / ours}


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=92)
    parser.add_argument("--resamples", type=int, default=10_000)
    given = parser.parse_args()
    result = {
        "benchmark": "interim",
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "subjects": given.subjects,
        "resamples": given.resamples,
        "interim": interim_seconds(given.subjects, given.resamples),
        "spearman": spearman_ratio(given.subjects, given.resamples),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Speed of the curve fits: prints one JSON line.

- `all_models_s`: 10 regions × 1,000 draws × all models (limit 1 s): draws of ten curves, each with the sd of its curve,
  as the chain fits them. `all_models_cpu_s` is the processor time of the same, both cores together.
- `unrelated_curves_s`: the same number of curves that share neither truth nor sd.
- `ratio`: our fits per second over those of a loop of scipy's `least_squares`, same run (limit 200).
- `worst_chi2_excess`: largest amount by which our χ² exceeds the peer's on any of those curves (limit 1e-4).

Each time is the best of several runs after a warm-up, so that compiling and other work of the machine do not count.
`load` is the machine's mean number of running programs: with more than one beside this one, wall times are too long.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from lutetia.kinetics.fit import fit_model
from lutetia.kinetics.models import MODELS
from lutetia.kinetics.population import population_prior
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
RATE = nuclide("Lu-177").decay_constant_per_h
TIME_H = np.array([1.0, 4.0, 24.0, 48.0, 72.0, 96.0, 120.0, 168.0])
REPEATS, RELATIVE_SD = 5, 0.05
LIMITS = {"all_models_s": 1.0, "ratio": 200.0, "worst_chi2_excess": 1e-4}


def curves(count: int, time_h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Noisy bi-exponential curves with an uptake phase, and their sd, shape (count, time)."""
    generator = np.random.default_rng(1)
    slow = np.log(2) / (52.0 * np.exp(0.22 * generator.standard_normal((count, 1))))
    fast, rise = np.log(2) / generator.uniform(5, 20, (count, 1)), np.log(2) / generator.uniform(0.3, 2, (count, 1))
    truth = 70 * np.exp(-slow * time_h) + 30 * np.exp(-fast * time_h) - 100 * np.exp(-rise * time_h)
    return truth * np.maximum(1 + RELATIVE_SD * generator.standard_normal(truth.shape), 0.1), RELATIVE_SD * truth


def draws_of(value: FloatArray, sd: FloatArray, draws: int) -> tuple[FloatArray, FloatArray]:
    """Draws of measured curves of shape (region, time) → (region, draw, time), and the sd of each curve for them."""
    noise = np.random.default_rng(2).standard_normal((len(value), draws, value.shape[1]))
    drawn = np.maximum(value[:, None] + sd[:, None] * noise, 0.0)
    return drawn, np.broadcast_to(sd[:, None], drawn.shape)


def best_times(run: Callable[[], object]) -> tuple[float, float]:
    """Least wall time and least processor time of several runs, after one to warm up."""
    run()
    wall, processor = [], []
    for _ in range(REPEATS):
        start, start_processor = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return min(wall), min(processor)


def best_time(run: Callable[[], object]) -> float:
    """Least wall time of several runs, after one to warm up."""
    return best_times(run)[0]


def fit_all(value: FloatArray, sd: FloatArray) -> None:
    """Fit every model to every curve."""
    for model in MODELS:
        fit_model(TIME_H, value, sd, model=model, physical_rate_per_h=RATE, prior=population_prior("kidneys"))


def peer_fit(time_h: FloatArray, value: FloatArray, sd: FloatArray, starts: list[list[float]]) -> float:
    """χ² of a bounded bi-exponential fit by scipy: amplitudes and log-rates, the best of the starts."""

    def residual(x: FloatArray) -> FloatArray:
        return np.asarray((x[:2] @ np.exp(-np.exp(x[2:, None]) * time_h) - value) / sd)

    low, high = [0, 0, np.log(RATE), np.log(RATE)], [np.inf, np.inf, np.log(13.0), np.log(13.0)]
    return min(2 * float(least_squares(residual, x0, bounds=(low, high)).cost) for x0 in starts)


def peer_starts(value: FloatArray) -> list[list[float]]:
    """One sensible start, as a careful user would give."""
    return [[0.6 * value.max(), 0.4 * value.max(), np.log(np.log(2) / 50), np.log(np.log(2) / 8)]]


def main() -> int:
    """Measure, print, and return 1 if a limit is missed."""
    prior = population_prior("kidneys")
    value, sd = curves(10_000, TIME_H)
    drawn = draws_of(value[:10], sd[:10], 1000)
    seconds, processor = best_times(lambda: fit_all(*drawn))
    single = {
        m: best_time(lambda m=m: fit_model(TIME_H, *drawn, model=m, physical_rate_per_h=RATE, prior=prior))
        for m in MODELS
    }
    # The peer fits the same model, the free bi-exponential form, to the same first curves.
    peer_count = 60
    peer_s = best_time(
        lambda: [peer_fit(TIME_H, v, s, peer_starts(v)) for v, s in zip(value[:peer_count], sd, strict=False)]
    )
    peer_chi2 = np.array([peer_fit(TIME_H, v, s, peer_starts(v)) for v, s in zip(value[:300], sd, strict=False)])
    ours = fit_model(TIME_H, value[:300], sd[:300], model="bi", physical_rate_per_h=RATE).chi2
    ours_per_s, peer_per_s = len(value) / single["bi"], peer_count / peer_s
    result = {
        "benchmark": "kinetics",
        "all_models_s": round(seconds, 3),
        "all_models_cpu_s": round(processor, 3),
        "unrelated_curves_s": round(best_time(lambda: fit_all(value, sd)), 3),
        "fits_per_s": round(len(value) * len(MODELS) / seconds),
        "bi_fits_per_s": round(ours_per_s),
        "peer_fits_per_s": round(peer_per_s),
        "ratio": round(ours_per_s / peer_per_s),
        "worst_chi2_excess": float(f"{np.max(ours - peer_chi2):.3g}"),
        "better_by_more_than_0.01": int((ours < peer_chi2 - 0.01).sum()),
        "seconds_per_model": {m: round(s, 3) for m, s in single.items()},
        "limits": LIMITS,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))
    good = seconds <= LIMITS["all_models_s"] and result["ratio"] >= LIMITS["ratio"]
    return 0 if good and result["worst_chi2_excess"] <= LIMITS["worst_chi2_excess"] else 1


if __name__ == "__main__":
    sys.exit(main())

"""Speed of virtual subjects: courses per second by level, a study end to end, the compartment model, chunk overhead.

Prints one JSON line. Run: python benchmarks/bench_simulate.py [--full]   (--full adds a study of 10^6 courses).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from lutetia.nuclear.nuclides import nuclide
from lutetia.protocol.profile import read_protocol
from lutetia.simulate.compartments import CompartmentModel, compartment_model, parameter_table, residence_times_h
from lutetia.simulate.fitted import measured_fitted
from lutetia.simulate.measure import draw_errors, measured_analytic
from lutetia.simulate.population import packaged_measurement, read_population
from lutetia.simulate.study import run_study, study_spec
from lutetia.simulate.subjects import draw_subjects
from lutetia.simulate.trials import draw_block, run_block

PROTOCOL, POPULATION, MEASUREMENT = read_protocol("duonen"), read_population(), packaged_measurement()
ROUNDS = 5
NUCLIDES = ("Lu-177", "Y-90")


def best_s(work: Callable[[], object], rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter) -> float:
    """Shortest of several runs after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def course_rate(level: str, trials: int) -> tuple[float, ...]:
    """Courses per second of one core: measured and decided courses of given subjects, and with drawing the subjects.

    Then the same as rates of processor time, which other programs on the machine disturb less.
    """
    block = draw_block(PROTOCOL, POPULATION, MEASUREMENT, trials=trials, per_trial=56, seed=1, level=level)

    def everything() -> None:
        run_block(draw_block(PROTOCOL, POPULATION, MEASUREMENT, trials=trials, per_trial=56, seed=1, level=level))

    def course() -> None:
        names, cycles = block.names, PROTOCOL.cycles
        errors = draw_errors(MEASUREMENT, block.subjects.count, cycles, seed=1, names=names)
        measure = measured_analytic if level == "analytic" else measured_fitted
        true: Any = block.true if level == "analytic" else block.kinetics
        measured = measure(true, MEASUREMENT, errors, nuclides=block.nuclides, measured="Lu-177", seed=1, names=names)
        run_block(replace(block, measured=measured))

    count, clocks = 56 * trials, (time.perf_counter, time.process_time)
    return tuple(count / best_s(work, clock=clock) for clock in clocks for work in (course, everything))


def worker_rate(level: str) -> tuple[float, ...]:
    """`course_rate` in a process of its own."""
    return course_rate(level, 36 if level == "analytic" else 8)


def two_cores(level: str) -> dict[str, float]:
    """Sum of the rates of two processes that run at the same time."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rates = list(pool.map(worker_rate, [level, level]))
    names = ("measure_and_course_per_s", "draw_measure_and_course_per_s")
    sums = [sum(column) for column in zip(*rates, strict=True)]
    return dict(zip((*names, *(f"cpu_{n}" for n in names)), sums, strict=True))


def study_rate(courses: int) -> dict[str, float]:
    """A whole study with laboratory values, toxicity and statistics on two processes."""
    spec = study_spec(PROTOCOL, subjects=56, trials=-(-courses // 56), seed=1)
    start = time.perf_counter()
    run_study(spec, workers=2)
    seconds = time.perf_counter() - start
    return {"courses": courses, "seconds": seconds, "courses_per_s": courses / seconds}


def lsoda(model: CompartmentModel, i: int, rtol: float) -> np.ndarray[Any, Any]:
    """Residence times of one subject with scipy's LSODA."""
    volume, on, off, inside, out, back, renal, kept, peptide, infusion = parameter_table(model)[i]
    receptors, release = model.receptors_nmol[i], model.release_per_h[i]
    decay = [nuclide(n).decay_constant_per_h for n in NUCLIDES]

    def slope(t: float, y: np.ndarray[Any, Any], inflow: float) -> np.ndarray[Any, Any]:
        net = on / volume * (receptors - y[2:6]) * y[0] - off * y[2:6]
        change = np.empty(20)
        change[0] = inflow - (renal + out) * y[0] + back * y[1] - net.sum()
        change[1] = out * y[0] - back * y[1]
        change[2:6] = net - inside * y[2:6]
        change[6:10] = inside * y[2:6] - release * y[6:10]
        change[6] += kept * renal * y[0]
        amounts = np.append(y[2:6] + y[6:10], y[0])
        change[10:15], change[15:] = (amounts * np.exp(-rate * t) for rate in decay)
        return change

    y = np.zeros(20)
    for start, end, inflow in ((0.0, infusion, peptide / infusion), (infusion, 1500.0, 0.0)):
        y = solve_ivp(slope, (start, end), y, method="LSODA", rtol=rtol, atol=1e-8, args=(inflow,)).y[:, -1]
    return np.stack([y[10:15], y[15:]], axis=1) / peptide


def compartment_rate(subjects: int = 20_000, compared: int = 20) -> dict[str, float]:
    """Seconds for 10^6 subjects, the ratio to a loop of LSODA, and the largest relative difference from it."""
    model = compartment_model(draw_subjects(POPULATION, subjects, 1))
    seconds = best_s(lambda: residence_times_h(model, NUCLIDES), 3)
    found = residence_times_h(model, NUCLIDES)
    start = time.perf_counter()
    for i in range(compared):
        lsoda(model, i, 1e-4)
    loop = (time.perf_counter() - start) / compared
    difference = max(float(np.abs(found[i] / lsoda(model, i, 1e-8) - 1.0).max()) for i in range(compared))
    return {
        "seconds_per_million": 1e6 * seconds / subjects,
        "times_as_fast_as_lsoda": loop / (seconds / subjects),
        "largest_relative_difference": difference,
    }


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="a study of 10^6 courses instead of 10^5")
    courses = 1_000_000 if parser.parse_args().full else 100_000
    result = {
        "benchmark": "simulate",
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "analytic": two_cores("analytic"),
        "fitted": two_cores("fitted"),
        "study": study_rate(courses),
        "compartments": compartment_rate(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

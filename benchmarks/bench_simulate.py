"""Speed of virtual subjects: courses by level, a study end to end, the compartment model, overhead of a scheduler.

Prints one JSON line; `passes` judges wall time, `passes_by_processor_time` what a machine would do that runs nothing
else. Run: python benchmarks/bench_simulate.py [--quick]   (--quick: a study of 10^5 courses, which is not the bound).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import tempfile
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
from lutetia.simulate.chunks import map_chunks
from lutetia.simulate.compartments import CompartmentModel, compartment_model, parameter_table, residence_times_h
from lutetia.simulate.fitted import measured_fitted
from lutetia.simulate.measure import draw_errors, measured_analytic
from lutetia.simulate.population import packaged_measurement, read_population
from lutetia.simulate.study import ChunkTask, run_chunk, run_study, study_spec
from lutetia.simulate.subjects import draw_subjects
from lutetia.simulate.trials import draw_block, run_block

PROTOCOL, POPULATION, MEASUREMENT = read_protocol("duonen"), read_population(), packaged_measurement()
ROUNDS = 5
NUCLIDES = ("Lu-177", "Y-90")
WORKERS = 2
# What the figures are judged by.
ANALYTIC_PER_S, FITTED_PER_S, STUDY_S = 300_000, 2_000, 30.0
COMPARTMENTS_S, TIMES_LSODA, DIFFERENCE = 150.0, 60.0, 1e-3
OVERHEAD, CHUNK_S = 0.40, 0.5
Figures = dict[str, Any]


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
    return course_rate(level, 72 if level == "analytic" else 8)


def two_cores(level: str, least: float) -> Figures:
    """Sum of the rates of two processes that run at the same time."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        rates = list(pool.map(worker_rate, [level] * WORKERS))
    names = ("measure_and_course_per_s", "draw_measure_and_course_per_s")
    sums = [sum(column) for column in zip(*rates, strict=True)]
    found = dict(zip((*names, *(f"cpu_{n}" for n in names)), sums, strict=True))
    return judged(found, found[names[0]] >= least, found[f"cpu_{names[0]}"] >= least, f"≥ {least:,.0f} courses/s")


def judged(figures: Figures, wall: bool, cpu: bool, bound: str) -> Figures:
    """The figures with their bound, and whether they hold by wall time and by processor time."""
    return {**figures, "bound": bound, "passes": bool(wall), "passes_by_processor_time": bool(cpu)}


def study_rate(courses: int) -> Figures:
    """A whole study with laboratory values, toxicity, statistics and stopping rules on two processes.

    Processor time of the workers, spread over two cores, is what the study would take on an idle machine.
    """
    spec = study_spec(PROTOCOL, subjects=56, trials=-(-courses // 56), seed=1)
    before, start = processor_time_of_children(), time.perf_counter()
    run_study(spec, workers=WORKERS)
    seconds, cpu = time.perf_counter() - start, processor_time_of_children() - before
    found = {
        "courses": courses,
        "seconds": seconds,
        "processor_seconds_per_core": cpu / WORKERS,
        "courses_per_s": courses / seconds,
    }
    # starting processes, tests and calibration do not grow with the study: fewer courses cannot be scaled up
    bound = f"10^6 courses ≤ {STUDY_S:g} s" if courses >= 10**6 else f"{courses} courses ≤ {STUDY_S:g} s; not the bound"
    return judged(found, seconds <= STUDY_S, cpu / WORKERS <= STUDY_S, bound)


def processor_time_of_children() -> float:
    """Seconds that ended child processes used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def compartment_rate(subjects: int = 20_000, compared: int = 20) -> Figures:
    """Seconds for 10^6 subjects, the ratio to a loop of LSODA, and the largest relative difference from it."""
    model = compartment_model(draw_subjects(POPULATION, subjects, 1))
    clocks = (time.perf_counter, time.process_time)
    seconds, cpu = (best_s(lambda: residence_times_h(model, NUCLIDES), 3, clock) for clock in clocks)
    found = residence_times_h(model, NUCLIDES)
    start = time.process_time()
    for i in range(compared):
        lsoda(model, i, 1e-4)
    loop = (time.process_time() - start) / compared
    figures = {
        "seconds_per_million": 1e6 * seconds / subjects,
        "processor_seconds_per_million": 1e6 * cpu / subjects,
        "times_as_fast_as_lsoda": loop / (cpu / subjects),
        "largest_relative_difference": max(
            float(np.abs(found[i] / lsoda(model, i, 1e-8) - 1.0).max()) for i in range(compared)
        ),
    }
    same = figures["times_as_fast_as_lsoda"] >= TIMES_LSODA and figures["largest_relative_difference"] <= DIFFERENCE
    bound = f"10^6 ≤ {COMPARTMENTS_S:g} s, ≥ {TIMES_LSODA:g} × LSODA by processor time, within {DIFFERENCE:g}"
    wall, idle = (figures[f"{n}seconds_per_million"] <= COMPARTMENTS_S for n in ("", "processor_"))
    return judged(figures, same and wall, same and idle, bound)


def timed_chunk(task: ChunkTask) -> float:
    """Seconds that a worker spends on a chunk."""
    start = time.perf_counter()
    run_chunk(task)
    return time.perf_counter() - start


def overhead(chunks: int = 16, blocks: int = 10) -> Figures:
    """Time of a study's chunks over their own time shared by the workers, less 1: through Dask, and over processes.

    Starting the cluster is not counted (it is a service); starting processes is.
    """
    spec = replace(study_spec(PROTOCOL, subjects=56, trials=10**6, seed=1), calibrated_blocks=0)
    first = 100  # beyond the blocks that are tested
    tasks = [ChunkTask(spec, tuple(range(first + i * blocks, first + (i + 1) * blocks))) for i in range(chunks)]
    found: Figures = {"chunks": chunks, "processes": _overhead(tasks, workers=WORKERS)}
    if importlib.util.find_spec("distributed") is None:
        return judged(found | {"dask": "not installed"}, False, False, "not measured")
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=folder
        ) as cluster,
    ):
        list(map_chunks(timed_chunk, tasks[:WORKERS], scheduler=cluster.scheduler_address))
        found["dask"] = _overhead(tasks, scheduler=cluster.scheduler_address)
    holds = found["dask"]["overhead"] <= OVERHEAD and found["dask"]["seconds_a_chunk"] >= CHUNK_S
    return judged(found, holds, holds, f"Dask ≤ {OVERHEAD:.0%} of ideal, chunks ≥ {CHUNK_S:g} s")


def _overhead(tasks: list[ChunkTask], **options: Any) -> dict[str, float]:
    start = time.perf_counter()
    own = [seconds for _, seconds in map_chunks(timed_chunk, tasks, **options)]
    wall = time.perf_counter() - start
    ideal = sum(own) / WORKERS
    return {
        "seconds": wall,
        "ideal_seconds": ideal,
        "overhead": wall / ideal - 1.0,
        "seconds_a_chunk": float(np.mean(own)),
    }


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a study of 10^5 courses instead of 10^6")
    courses = 100_000 if parser.parse_args().quick else 1_000_000
    load = os.getloadavg()[0]
    figures = {
        "analytic": two_cores("analytic", ANALYTIC_PER_S),
        "fitted": two_cores("fitted", FITTED_PER_S),
        "study": study_rate(courses),
        "compartments": compartment_rate(),
        "scheduler": overhead(),
    }
    result = {
        "benchmark": "simulate",
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "passes": all(part["passes"] for part in figures.values()),
        "passes_by_processor_time": all(part["passes_by_processor_time"] for part in figures.values()),
        **figures,
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()

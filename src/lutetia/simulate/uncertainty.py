"""What is known of a virtual subject's doses: draws of every coefficient, of every dose and of every forecast.

The draws repeat the measurement: errors of the same sizes, shared over cycles and regions as in `draw_errors`, around
what was measured; at level ``fitted`` every redrawn curve is fitted again. The forecast is the one of a real proposal:
last measured coefficient × drift × one factor for the change between cycles (`lutetia.plan.uncertainty`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import FloatArray, lognormal_factors, stream
from lutetia.plan.uncertainty import default_sizes
from lutetia.protocol.allocation import CourseDose, projected_dose_Gy
from lutetia.protocol.rules import planned_sums
from lutetia.simulate.courses import KIDNEYS, ArmDoses, Courses, limit_regions
from lutetia.simulate.measure import Errors, draw_errors, measured_analytic
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import Block, arm_columns, arm_doses

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class DrawnCourses:
    """Draws of what is known about the courses of one arm.

    `nuclide_Gy` (draw, subject, cycle, region, nuclide), 0 where nothing was given; `next_Gy` and `course_Gy`
    (draw, subject, cycle, limit) what was forecast before each cycle, NaN where none was prescribed.
    """

    nuclide_Gy: FloatArray
    next_Gy: FloatArray
    course_Gy: FloatArray

    @property
    def dose_Gy(self) -> FloatArray:
        """Sum over nuclides, shape (draw, subject, cycle, region)."""
        return np.asarray(self.nuclide_Gy.sum(axis=-1))


def draw_courses(block: Block, arm: str, courses: Courses, *, draws: int, subjects: int | None = None) -> DrawnCourses:
    """Draws of doses and forecasts of the first `subjects` of an arm (default: of all)."""
    rows = np.flatnonzero(block.arm == block.arms.index(arm))[:subjects]
    count = len(rows)
    doses = arm_doses(block, arm)
    known = _known(block, arm, doses, _measured_draws(block, arm, rows, draws))
    administered = np.nan_to_num(courses.administered_MBq[:count])
    nuclide_Gy = known[:, :, 1:] * administered[None, :, :, None, :]
    return DrawnCourses(nuclide_Gy, *_forecasts(block, arm, courses, known, doses))


def _measured_draws(block: Block, arm: str, rows: IntArray, draws: int) -> FloatArray:
    """Coefficients as they may truly be, shape (draw, subject, cycle, region, nuclide)."""
    m, cycles, columns = block.measurement, block.protocol.cycles, arm_columns(block, arm)
    names: tuple[str | int, ...] = (*block.names, arm, "known")
    errors = draw_errors(m, draws * len(rows), cycles, seed=block.seed, names=names)
    nuclides = [block.nuclides[c] for c in columns]
    first = block.protocol.measured_nuclide or block.nuclides[0]
    shape = (draws, len(rows), cycles, len(REGIONS), len(columns))
    if block.level == "analytic":
        around = np.broadcast_to(block.measured[rows][..., columns], shape).reshape(-1, *shape[2:])
        drawn = measured_analytic(around, m, errors, nuclides=nuclides, measured=first, seed=block.seed, names=names)
        return drawn.reshape(shape)
    from lutetia.simulate.fitted import doses_of_points, measured_points, redrawn_points

    seen = measured_points(block.kinetics, m, measured=first, seed=block.seed, names=block.names)
    generator = stream(block.seed, *names, "scans")
    again = redrawn_points({curve: values[rows] for curve, values in seen.items()}, m, draws, generator)
    ratio = np.stack([block.kinetics.s_ratio[name][rows] for name in nuclides], axis=-1)
    drawn = doses_of_points(
        again, m, _around(block.errors, errors, rows, draws), nuclides=nuclides, measured=first,
        s_ratio=np.tile(ratio, (draws, 1, 1)),
    )  # fmt: skip
    return drawn.reshape(shape)


def _around(made: Errors, drawn: Errors, rows: IntArray, draws: int) -> Errors:
    """Drawn errors on top of those that were made: draws of a curve lie around what was measured."""
    calibration, region = (np.tile(x[rows], (draws, 1, 1)) for x in (made.calibration, made.region))
    return Errors(calibration * drawn.calibration, region * drawn.region, drawn.missed)


def _known(block: Block, arm: str, doses: ArmDoses, measured: FloatArray) -> FloatArray:
    """Draws of the coefficients known after 0, 1, … cycles: (draw, subject, cycle + 1, region, nuclide).

    Place 0 is the population; a cycle that was not measured carries the one before it.
    """
    draws, count, cycles = measured.shape[:3]
    drift = np.array([block.protocol.drift_per_cycle.get(r, 1.0) for r in REGIONS])
    spread = np.log(block.true[:, 0, :, 0]).std(axis=0)
    g = stream(block.seed, *block.names, arm, "population draws")
    people = np.exp(spread * g.standard_normal((draws, count, len(REGIONS))))
    known = [doses.population * people[..., None]]
    for k in range(cycles):
        change = between_cycles(block, arm, (draws, count, len(REGIONS)), k, "carried")
        carried = known[-1] * (drift * change)[..., None]
        missed = doses.missed[:count, k][None, :, None, None]
        known.append(np.where(missed, carried, measured[:, :, k]))
    return np.stack(known, axis=2)


def between_cycles(block: Block, arm: str, shape: tuple[int, ...], cycle: int, name: str) -> FloatArray:
    """Factors for the change of a coefficient from the last measured cycle to the coming ones."""
    generator = stream(block.seed, *block.names, arm, "between cycles", name, cycle)
    return lognormal_factors(generator, default_sizes().between_cycles_percent / 100.0, shape)


def _forecasts(
    block: Block, arm: str, courses: Courses, known: FloatArray, doses: ArmDoses
) -> tuple[FloatArray, FloatArray]:
    """Draws of the dose after each cycle and at the end of the course, as forecast before the cycle."""
    rules, where = courses.rules, limit_regions(block.protocol, arm)
    draws, count, cycles = known.shape[0], known.shape[1], known.shape[2] - 1
    given = np.zeros((draws, count, len(where)))
    next_Gy = np.full((draws, count, cycles, len(where)), np.nan)
    course_Gy = next_Gy.copy()
    for k in range(cycles):
        last = known[:, :, k][:, :, where]
        change = np.ones((draws, count, len(where)))
        if k:
            change = between_cycles(block, arm, (draws, count, len(REGIONS)), k, "forecast")[:, :, where] * rules.drift
        coming = CourseDose(
            given, last * change[..., None], _squares(doses, known, k, where, rules.bed) * change[..., None, None] ** 2
        )
        prescribed = courses.prescribed_MBq[:count, k]
        next_Gy[:, :, k] = projected_dose_Gy(coming, prescribed)
        course_Gy[:, :, k] = projected_dose_Gy(coming, prescribed, planned_sums(rules, np.array(k + 1)))
        done = CourseDose(given, known[:, :, k + 1][:, :, where], _squares(doses, known, k + 1, where, rules.bed))
        given = projected_dose_Gy(done, np.nan_to_num(courses.administered_MBq[:count, k]))
    return next_Gy, course_Gy


def _squares(doses: ArmDoses, known: FloatArray, after: int, where: IntArray, bed: NDArray[np.bool_]) -> FloatArray:
    """Draws of the quadratic coefficients of limits of BED, from those measured and draws of the kidneys; else 0."""
    nuclides = known.shape[-1]
    if doses.kidney_quadratic is None or not bed.any():
        return np.zeros((1, 1, len(where), nuclides, nuclides))
    count, k = known.shape[1], max(after - 1, 0)
    factor = known[:, :, after, KIDNEYS] / doses.measured[:count, k, KIDNEYS]
    drawn = doses.kidney_quadratic[:count, k] * factor[..., :, None] * factor[..., None, :]
    squares = np.zeros((*drawn.shape[:2], len(where), nuclides, nuclides))
    squares[:, :, bed] = drawn[:, :, None]
    return squares

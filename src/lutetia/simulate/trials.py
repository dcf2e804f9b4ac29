"""Virtual trials: subjects, arms, measurements and courses of a block of trials at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import FloatArray, stream
from lutetia.errors import InputError, UnknownNameError
from lutetia.nuclear.nuclides import canonical_nuclide
from lutetia.protocol.records import Limit, Protocol
from lutetia.simulate.courses import ArmDoses, ClinicOf, Courses, check_possible, run_courses
from lutetia.simulate.measure import Errors, draw_errors, measured_analytic
from lutetia.simulate.population import (
    OWN_HALF_LIFE,
    Measurement,
    Population,
    packaged_measurement,
    without_correlations_of,
)
from lutetia.simulate.subjects import (
    Subjects,
    TrueKinetics,
    draw_subjects,
    kidney_bed_coefficients,
    region_coefficients,
    true_kinetics,
)

LEVELS = ("analytic", "fitted")
BIOLOGIES = ("drawn", "compartment")
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Mishaps:
    """Of one arm: `lowering` (subject, cycle) prescribed over proposed; `delivery` (subject, cycle, nuclide)
    administered over prescribed, 0 for an unavailable nuclide; `remade` (subject, cycle) prescriptions made twice."""

    lowering: FloatArray
    delivery: FloatArray
    remade: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Subjects of `trials` trials with `per_trial` each, and their coefficients (subject, cycle, region, nuclide).

    `arm` (subject,) is the index into `arms`; subjects of one trial are consecutive.
    """

    protocol: Protocol
    measurement: Measurement
    level: str
    trials: int
    per_trial: int
    seed: int
    names: tuple[str | int, ...]
    arms: tuple[str, ...]
    arm: IntArray
    nuclides: tuple[str, ...]
    subjects: Subjects
    kinetics: TrueKinetics
    true: FloatArray
    measured: FloatArray
    errors: Errors
    kidney_quadratic: FloatArray | None
    population: FloatArray
    relative_sd: float
    delivery: FloatArray
    analyte_noise: Mapping[str, float]

    @property
    def true_kidney_square(self) -> FloatArray:
        """Quadratic BED coefficients of the kidneys, Gy/MBq², shape (subject, cycle, nuclide, nuclide)."""
        return kidney_squares(self.kinetics, self.nuclides)

    @property
    def missed(self) -> NDArray[np.bool_]:
        """Cycles without dosimetry, shape (subject, cycle)."""
        return self.errors.missed


def protocol_nuclides(protocol: Protocol) -> tuple[str, ...]:
    """Nuclides of all arms, in order of first use."""
    return tuple(dict.fromkeys(canonical_nuclide(n) for arm in protocol.arms.values() for n in arm.nuclides))


def draw_block(
    protocol: Protocol,
    population: Population,
    measurement: Measurement,
    *,
    trials: int,
    per_trial: int,
    seed: int,
    block: int = 0,
    level: str = "analytic",
    biology: str = "drawn",
) -> Block:
    """Subjects, truth and measurements of a block of trials; it depends on seed and block number only.

    Raises
    ------
    InputError
        For fewer than one subject or trial.
    UnknownNameError
        For an unknown level or biology.
    ProtocolError
        For a protocol under which not even one cycle can be given.
    """
    if level not in LEVELS:
        raise UnknownNameError("level", level, LEVELS)
    if biology not in BIOLOGIES:
        raise UnknownNameError("biology", biology, BIOLOGIES)
    if per_trial < 1 or trials < 1:
        raise InputError(f"virtual trial: found {trials} trials of {per_trial} subjects; expected 1 or more of both")
    names: tuple[str | int, ...] = ("block", block)
    nuclides, arms = protocol_nuclides(protocol), tuple(protocol.arms)
    if biology == "compartment":
        population = without_correlations_of(population, "tumour_burden_mL")
    subjects = draw_subjects(population, trials * per_trial, seed, *names)
    kinetics = true_kinetics(population, subjects, nuclides, cycles=protocol.cycles, seed=seed, names=names)
    if biology == "compartment":
        kinetics = _with_sink(kinetics, subjects, population)
    true = region_coefficients(kinetics, nuclides)
    typical = _typical(population, nuclides)
    for arm in arms:
        check_possible(protocol, arm, typical[:, _columns(protocol, arm, nuclides)])
    measured_name = protocol.measured_nuclide or nuclides[0]
    errors = draw_errors(measurement, subjects.count, protocol.cycles, seed=seed, names=names)
    if level == "analytic":
        if measurement.single_point or measurement.scan_hours != packaged_measurement().scan_hours:
            raise InputError("level analytic: knows no imaging schedule; choose level fitted for other scans")
        measured = measured_analytic(
            true, measurement, errors, nuclides=nuclides, measured=measured_name, seed=seed, names=names
        )
    else:
        from lutetia.simulate.fitted import measured_fitted

        measured = measured_fitted(
            kinetics, measurement, errors, nuclides=nuclides, measured=measured_name, seed=seed, names=names
        )
    delivery = 1.0 + measurement.administered * stream(seed, *names, "delivery").standard_normal(true.shape[:2])
    return Block(
        protocol=protocol,
        measurement=measurement,
        level=level,
        trials=trials,
        per_trial=per_trial,
        seed=seed,
        names=names,
        arms=arms,
        arm=_allocation(trials, per_trial, len(arms), seed=seed, names=names),
        nuclides=nuclides,
        subjects=subjects,
        kinetics=kinetics,
        true=true,
        measured=measured,
        errors=errors,
        kidney_quadratic=_bed(protocol, kinetics, nuclides, measured[:, :, 0] / true[:, :, 0]),
        population=typical,
        relative_sd=_told_sd(measurement),
        delivery=delivery,
        analyte_noise={name: s.within_log_sd for name, s in population.quantities.items()},
    )


def _with_sink(kinetics: TrueKinetics, subjects: Subjects, population: Population) -> TrueKinetics:
    """Organ curves scaled by the sink effect of each subject's tumour burden; blood and remainder stay."""
    from lutetia.simulate.compartments import sink_factors

    factor = sink_factors(subjects, population.quantities["tumour_burden_mL"].median)
    rate = kinetics.rate_Gy_per_h_per_MBq.copy()
    rate[:, :, :4] *= factor[:, None, :, None]
    return replace(kinetics, rate_Gy_per_h_per_MBq=rate)


def run_block(
    block: Block, clinics: Mapping[str, ClinicOf] | None = None, *, mishaps: Mapping[str, Mishaps] | None = None
) -> dict[str, Courses]:
    """Courses of every arm of a block, by arm; rows are the subjects `block.arm == index of the arm`."""
    return {
        arm: run_courses(
            block.protocol, arm, arm_doses(block, arm),
            delivery=block.delivery[block.arm == i] if mishaps is None else mishaps[arm].delivery,
            clinic=None if clinics is None else clinics[arm],
            lowering=None if mishaps is None else mishaps[arm].lowering,
        )
        for i, arm in enumerate(block.arms)
        if (block.arm == i).any()
    }  # fmt: skip


def arm_doses(block: Block, arm: str) -> ArmDoses:
    """Coefficients of one arm's subjects, nuclides in the arm's order."""
    rows = block.arm == block.arms.index(arm)
    columns = arm_columns(block, arm)
    quadratic = block.kidney_quadratic
    return ArmDoses(
        true=_of_nuclides(block.true[rows], columns),
        measured=_of_nuclides(block.measured[rows], columns),
        missed=block.missed[rows],
        single=_single(block.measurement, block.protocol.cycles),
        kidney_quadratic=None if quadratic is None else quadratic[rows][..., columns, :][..., columns],
        population=block.population[:, columns],
        relative_sd=block.relative_sd,
    )


def _of_nuclides(values: FloatArray, columns: list[int]) -> FloatArray:
    """Columns of the last axis, without a copy where they are the first ones in order."""
    return values[..., : len(columns)] if columns == list(range(len(columns))) else values[..., columns]


def _single(m: Measurement, cycles: int) -> NDArray[np.bool_]:
    """Cycles that are measured by one scan: none, all, or all but the first for the subject's own half-life."""
    alone = np.full(cycles, bool(m.single_point))
    alone[0] &= m.single_point != OWN_HALF_LIFE
    return alone


def arm_columns(block: Block, arm: str) -> list[int]:
    """Places of an arm's nuclides among those of its block."""
    return _columns(block.protocol, arm, block.nuclides)


def _columns(protocol: Protocol, arm: str, nuclides: tuple[str, ...]) -> list[int]:
    return [nuclides.index(canonical_nuclide(n)) for n in protocol.arm(arm).nuclides]


def _typical(population: Population, nuclides: tuple[str, ...]) -> FloatArray:
    """Coefficients of a subject with every median, shape (region, nuclide)."""
    values = {name: np.array([s.median]) for name, s in population.quantities.items()}
    person = Subjects(values, np.zeros(1, dtype=bool))
    still = {n: type(s)(s.median, s.cv, 0.0, s.status, s.source) for n, s in population.quantities.items()}
    calm = replace(population, quantities=still)
    kinetics = true_kinetics(calm, person, nuclides, cycles=1, seed=0, names=("typical",))
    return np.asarray(region_coefficients(kinetics, nuclides)[0, 0])


def _bed(protocol: Protocol, kinetics: TrueKinetics, nuclides: tuple[str, ...], error: FloatArray) -> FloatArray | None:
    """Quadratic kidney coefficients as measured, where a limit is one of BED; `error` is measured over true dose."""
    limit = next((li for li in protocol.limits if li.metric == "bed"), None)
    return None if limit is None else kidney_squares(kinetics, nuclides, error, limit=limit)


def kidney_squares(
    kinetics: TrueKinetics, nuclides: tuple[str, ...], error: FloatArray | None = None, *, limit: Limit | None = None
) -> FloatArray:
    """Quadratic BED coefficients of the kidneys, Gy/MBq², shape (subject, cycle, nuclide, nuclide).

    Parameters
    ----------
    kinetics, nuclides
        The true curves, and the nuclides on the last axes.
    error
        Measured over true dose per activity of the kidneys, shape (subject, cycle, nuclide); default: the truth.
    limit
        Whose radiobiology counts where it states one; else that of `lutetia.dose.bed.radiobiology`.
    """
    from lutetia.dose.bed import radiobiology

    known = radiobiology("kidneys")
    assert known is not None
    true = kidney_bed_coefficients(
        kinetics,
        nuclides,
        alpha_beta_Gy=(limit.alpha_beta_Gy if limit else None) or known.alpha_beta_Gy,
        repair_half_life_h=(limit.repair_half_life_h if limit else None) or known.repair_half_life_h,
    )
    return true if error is None else np.asarray(true * error[..., :, None] * error[..., None, :])


def _told_sd(m: Measurement) -> float:
    parts = (m.calibration_site, m.calibration_cycle, m.recovery, m.segmentation, m.fit)
    return float(np.sqrt(sum(p**2 for p in parts)))


def _allocation(trials: int, per_trial: int, arms: int, *, seed: int, names: tuple[str | int, ...]) -> IntArray:
    """Permuted blocks of one subject an arm, trial after trial."""
    g = stream(seed, *names, "allocation")
    rounds = -(-per_trial // arms)
    blocks = g.permuted(np.broadcast_to(np.arange(arms), (trials, rounds, arms)), axis=-1)
    return np.asarray(blocks.reshape(trials, rounds * arms)[:, :per_trial].reshape(-1))


__all__ = ["Block", "arm_columns", "arm_doses", "draw_block", "protocol_nuclides", "run_block"]

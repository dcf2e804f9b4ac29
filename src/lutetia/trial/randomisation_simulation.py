"""Simulation of a randomisation scheme before the trial: how unequal arms become, and how well arms are guessed.

Each virtual trial draws a seed and the levels of its subjects (every level equally likely: an assumption), and calls
the scheme that the trial itself uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import stream
from lutetia.errors import InputError
from lutetia.trial.randomisation import SCHEMES, check_spec
from lutetia.trial.randomisation_draws import SEED_BYTES
from lutetia.trial.randomisation_records import RandomisationSpec, Tally

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SchemeSimulation:
    """Outcomes by virtual trial.

    Parameters
    ----------
    arm_sizes
        Shape (trial, arm).
    largest_level_range
        Shape (trial,): the largest difference between arms within one level of one factor.
    guessed
        Shape (trial,): share of arms named rightly by somebody who knows all earlier arms of the first factor's level
        (the site) and always names the arm given least often there (chance: 1/arms).
    """

    arm_sizes: IntArray
    largest_level_range: IntArray
    guessed: NDArray[np.float64]

    @property
    def size_range(self) -> IntArray:
        """Largest minus smallest arm, shape (trial,)."""
        return np.asarray(self.arm_sizes.max(axis=1) - self.arm_sizes.min(axis=1), dtype=np.int64)


def simulate_scheme(spec: RandomisationSpec, *, subjects: int, trials: int, seed: int = 1) -> SchemeSimulation:
    """Allocate `subjects` subjects in `trials` virtual trials; every factor has to list its levels.

    Raises
    ------
    InputError
        If the specification contradicts itself, a factor lists no levels, or a number is not positive.
    """
    check_spec(spec)
    if subjects < 1 or trials < 1:
        raise InputError(f"simulation: found {subjects} subjects and {trials} trials; expected 1 or more of both")
    if blank := [factor.name for factor in spec.factors if not factor.levels]:
        raise InputError(f"simulation: factor {blank[0]!r} lists no levels; name them")
    found = [_one_trial(spec, subjects, stream(seed, "randomisation", trial)) for trial in range(trials)]
    sizes, ranges, guessed = zip(*found, strict=True)
    return SchemeSimulation(np.array(sizes), np.array(ranges), np.array(guessed, dtype=np.float64))


def _one_trial(spec: RandomisationSpec, subjects: int, random: np.random.Generator) -> tuple[list[int], int, float]:
    seed, tally, right = random.bytes(SEED_BYTES), Tally.of(spec, ()), 0
    columns = {f.name: random.integers(len(f.levels), size=subjects) for f in spec.factors}
    guesses = random.random((subjects, len(spec.arms)))
    for subject in range(subjects):
        levels = {f.name: f.levels[columns[f.name][subject]] for f in spec.factors}
        arm = SCHEMES[spec.scheme].next_arm(spec, seed, tally, levels)
        right += arm == _guess(spec, tally, levels, guesses[subject])
        tally.add(levels, arm)
    ranges = [max(counts) - min(counts) for counts in tally.by_level.values()]
    return list(tally.by_arm), max(ranges, default=0), right / subjects


def _guess(spec: RandomisationSpec, tally: Tally, levels: Mapping[str, str], tie_break: NDArray[np.float64]) -> str:
    """The arm given least often, relative to its ratio, at the first factor's level; ties at random."""
    first = next(iter(levels.items()), None)
    counts = tally.of_level(*first) if first else tally.by_arm
    shares = [count / part for count, part in zip(counts, spec.ratio, strict=True)]
    return spec.arms[min(range(len(shares)), key=lambda index: (shares[index], tie_break[index]))]

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lutetia.errors import InputError
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.trial.randomisation_simulation import simulate_scheme

ARMS, EVEN = ("A", "B", "C", "D"), (1, 1, 1, 1)
SITES = Factor("site", ("01", "02", "03", "04", "05"))
REFERENCE = Path(__file__).parents[1] / "reference" / "randomisation_ranges.csv"


def reference_rows() -> list[dict[str, str]]:
    lines = REFERENCE.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def spec_of(row: dict[str, str]) -> RandomisationSpec:
    binary = (Factor(f"factor {n}", ("no", "yes")) for n in range(int(row["binary_factors"])))
    factors = (*((SITES,) if row["sites"] == "5" else ()), *binary)
    return RandomisationSpec(row["scheme"], ARMS, EVEN, factors, overall_weight=float(row["overall_weight"]))


@pytest.mark.parametrize("row", reference_rows(), ids=lambda r: "-".join(list(r.values())[:4]))
def test_mean_ranges_of_arm_sizes_agree_with_independent_simulations(row: dict[str, str]) -> None:
    found = simulate_scheme(spec_of(row), subjects=92, trials=300, seed=5)
    assert found.size_range.mean() == pytest.approx(float(row["mean_range"]), abs=float(row["tolerance"]))


def test_overall_balance_makes_arms_more_equal() -> None:
    with_it = RandomisationSpec("minimisation", ARMS, EVEN, (SITES,))
    without = RandomisationSpec("minimisation", ARMS, EVEN, (SITES,), overall_weight=0.0)
    first, second = (simulate_scheme(spec, subjects=92, trials=100).size_range.mean() for spec in (with_it, without))
    assert second - first > 1.0


def test_every_subject_is_allocated_and_the_seed_repeats() -> None:
    spec = RandomisationSpec("blocks", ARMS, EVEN, (SITES,))
    first, second = (simulate_scheme(spec, subjects=31, trials=8, seed=3) for _ in range(2))
    assert (first.arm_sizes.sum(axis=1) == 31).all()
    np.testing.assert_array_equal(first.arm_sizes, second.arm_sizes)
    np.testing.assert_array_equal(first.guessed, second.guessed)


def test_guessing_pays_with_fixed_small_blocks_and_not_with_simple_randomisation() -> None:
    simple = simulate_scheme(RandomisationSpec("simple", ARMS, EVEN, (SITES,)), subjects=92, trials=60)
    fixed = simulate_scheme(RandomisationSpec("blocks", ARMS, EVEN, (SITES,), (4,)), subjects=92, trials=60)
    varied = simulate_scheme(RandomisationSpec("blocks", ARMS, EVEN, (SITES,), (4, 8)), subjects=92, trials=60)
    assert simple.guessed.mean() == pytest.approx(0.25, abs=0.025)
    # Fixed blocks of 4, known: (1/4 + 1/3 + 1/2 + 1)/4 = 0.52.
    assert fixed.guessed.mean() == pytest.approx(0.52, abs=0.03)
    assert simple.guessed.mean() < varied.guessed.mean() < fixed.guessed.mean()


def test_a_simulation_without_subjects_or_levels_is_refused() -> None:
    with pytest.raises(InputError, match="0 subjects"):
        simulate_scheme(RandomisationSpec("simple", ARMS, EVEN), subjects=0, trials=1)
    with pytest.raises(InputError, match="lists no levels"):
        simulate_scheme(RandomisationSpec("blocks", ARMS, EVEN, (Factor("site"),)), subjects=4, trials=1)

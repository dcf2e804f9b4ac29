"""Records of randomisation: specification, one allocation, and the running counts of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Factor:
    """A stratification or minimisation factor; no `levels` means that any value is taken (sites may join later)."""

    name: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RandomisationSpec:
    """What the published hash fixes.

    Parameters
    ----------
    scheme
        A key of `SCHEMES`.
    arms, ratio
        Names and allocation ratio; one number an arm.
    factors
        Strata of the blocks, or factors of the minimisation.
    block_sizes
        Sizes that a block draws from, each equally likely.
    p_best
        Probability of the arm that would leave the least imbalance.
    overall_weight
        Weight of the imbalance of whole arms beside each factor's (weight 1); 0 leaves it out.
    """

    scheme: str
    arms: tuple[str, ...]
    ratio: tuple[int, ...]
    factors: tuple[Factor, ...] = ()
    block_sizes: tuple[int, ...] = (4, 8)
    p_best: float = 0.8
    overall_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Allocated:
    """One allocation: the levels as they were entered, and the arm given."""

    levels: Mapping[str, str]
    arm: str


def stratum_text(levels: Mapping[str, str]) -> str:
    """Levels as one text, "site=01;diabetes=yes"; "all" without factors."""
    return ";".join(f"{name}={level}" for name, level in levels.items()) or "all"


def stratum_levels(text: str) -> dict[str, str]:
    """Levels from the text that `stratum_text` makes."""
    return {} if text == "all" else dict(part.split("=", 1) for part in text.split(";"))


@dataclass(slots=True)
class Tally:
    """Counts of earlier allocations: total, by stratum, and by factor level and arm. Grows with `add`."""

    arms: tuple[str, ...]
    total: int = 0
    in_stratum: dict[str, int] = field(default_factory=dict)
    by_arm: list[int] = field(default_factory=list)
    by_level: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: RandomisationSpec, earlier: Iterable[Allocated]) -> Tally:
        """Counts of the given allocations."""
        tally = cls(spec.arms, by_arm=[0] * len(spec.arms))
        for one in earlier:
            tally.add(one.levels, one.arm)
        return tally

    def add(self, levels: Mapping[str, str], arm: str) -> None:
        """Count one more allocation."""
        index, stratum = self.arms.index(arm), stratum_text(levels)
        self.total += 1
        self.in_stratum[stratum] = self.in_stratum.get(stratum, 0) + 1
        self.by_arm[index] += 1
        for pair in levels.items():
            self.by_level.setdefault(pair, [0] * len(self.arms))[index] += 1

    def of_level(self, factor: str, level: str) -> list[int]:
        """Subjects by arm at one level of a factor."""
        return self.by_level.get((factor, level), [0] * len(self.arms))

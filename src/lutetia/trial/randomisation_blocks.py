"""Permuted blocks of random size within strata.

Every stratum has its own stream of draws, so that a site that joins later changes no other stratum's list. Each block
draws its size, then its order by a Fisher–Yates shuffle.

References
----------
Matthews 2006, *Introduction to Randomized Controlled Clinical Trials* (blocks of random size within strata).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice

from lutetia.trial.randomisation_draws import draws
from lutetia.trial.randomisation_records import RandomisationSpec, Tally, stratum_text


def block_arm(spec: RandomisationSpec, seed: bytes, tally: Tally, levels: Mapping[str, str]) -> str:
    """Arm of the next subject: the entry of its stratum's list after those already used there."""
    stratum = stratum_text(levels)
    position = tally.in_stratum.get(stratum, 0)
    return block_list(spec, seed, stratum, length=1 << max(4, (position + 1).bit_length()))[position]


@lru_cache(maxsize=256)
def block_list(spec: RandomisationSpec, seed: bytes, stratum: str, *, length: int) -> tuple[str, ...]:
    """The first `length` arms of a stratum's list; a longer list begins with the shorter one."""
    return tuple(islice(_entries(spec, seed, stratum), length))


def _entries(spec: RandomisationSpec, seed: bytes, stratum: str) -> Iterator[str]:
    numbers = draws(seed, f"blocks/{stratum}")
    one = [arm for arm, parts in zip(spec.arms, spec.ratio, strict=True) for _ in range(parts)]
    while True:
        size = spec.block_sizes[int(next(numbers) * len(spec.block_sizes))]
        yield from _shuffled(one * (size // len(one)), numbers)


def _shuffled(block: list[str], numbers: Iterator[float]) -> list[str]:
    for last in range(len(block) - 1, 0, -1):
        chosen = int(next(numbers) * (last + 1))
        block[last], block[chosen] = block[chosen], block[last]
    return block

"""Randomisation: the specification of a scheme, the schemes, and the replay of a whole trial.

Here: pure functions of (specification, seed, earlier allocations). Not here: storing, concealing and handing out
(`randomisation_list`), and simulation (`randomisation_simulation`).
To add a scheme: a function `(spec, seed, tally, levels) -> arm` in a file beside this one and a line of `SCHEMES`; it
then runs through simulation, replay and the parametrised tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lutetia.errors import InputError, UnknownNameError
from lutetia.trial.randomisation_blocks import block_arm
from lutetia.trial.randomisation_draws import commitment
from lutetia.trial.randomisation_minimisation import minimised_arm
from lutetia.trial.randomisation_records import Allocated, Factor, RandomisationSpec, Tally, stratum_text
from lutetia.trial.randomisation_simple import simple_arm

SCHEMA = "lutetia.randomisation/1"
NextArm = Callable[[RandomisationSpec, bytes, Tally, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a scheme finds the next arm; `by_stratum` tells whether each stratum has a list of its own ahead of time."""

    description: str
    by_stratum: bool
    next_arm: NextArm


SCHEMES: dict[str, Scheme] = {
    "blocks": Scheme("permuted blocks of random size within strata", True, block_arm),
    "minimisation": Scheme("Pocock–Simon minimisation with a random element", False, minimised_arm),
    "simple": Scheme("independent draws, no balancing", False, simple_arm),
}


def check_spec(spec: RandomisationSpec) -> RandomisationSpec:
    """The specification itself, if it does not contradict itself.

    Raises
    ------
    InputError
        For fewer than two arms, a repeated name, a ratio or block size that does not fit, or a
        probability out of range.
    UnknownNameError
        For a scheme that `SCHEMES` lacks.
    """
    if spec.scheme not in SCHEMES:
        raise UnknownNameError("randomisation scheme", spec.scheme, SCHEMES)
    if len(spec.arms) < 2 or len(set(spec.arms)) != len(spec.arms) or not all(spec.arms):
        raise InputError(f"randomisation: found the arms {spec.arms}; expected two or more with different names")
    if len(spec.ratio) != len(spec.arms) or min(spec.ratio) < 1:
        raise InputError(f"randomisation: found ratio {spec.ratio}; expected one whole number ≥ 1 for each arm")
    if wrong := [size for size in spec.block_sizes if size < 1 or size % sum(spec.ratio)]:
        raise InputError(f"randomisation: found block size {wrong[0]}; expected a multiple of {sum(spec.ratio)}")
    if spec.scheme == "blocks" and not spec.block_sizes:
        raise InputError("randomisation: found no block sizes; expected one or more, such as 4 and 8")
    if spec.scheme == "minimisation" and len(set(spec.ratio)) > 1:
        raise InputError(f"randomisation: found ratio {spec.ratio}; minimisation needs equal parts, or use blocks")
    if spec.scheme == "minimisation" and not (spec.factors or spec.overall_weight):
        raise InputError("randomisation: found no factor and no overall weight; minimisation needs one of them")
    if not 1.0 / len(spec.arms) < spec.p_best <= 1.0:
        raise InputError(f"randomisation: found p_best {spec.p_best}; expected more than 1/{len(spec.arms)}, at most 1")
    if spec.overall_weight < 0:
        raise InputError(f"randomisation: found an overall weight of {spec.overall_weight}; expected 0 or more")
    names = [factor.name for factor in spec.factors]
    if len(set(names)) != len(names):
        raise InputError(f"randomisation: found the factors {', '.join(names)}; expected each once")
    return spec


def check_levels(spec: RandomisationSpec, levels: Mapping[str, str], *, where: str = "randomisation") -> dict[str, str]:
    """Levels of one subject in the order of the factors.

    Raises
    ------
    InputError
        If a factor is missing, unknown, or has a level that it does not list.
    """
    known = {factor.name: factor for factor in spec.factors}
    if unknown := sorted(set(levels) - set(known)):
        raise InputError(f"{where}: found the factor {unknown[0]!r}; expected {', '.join(known) or 'none'}")
    for name, factor in known.items():
        if not levels.get(name):
            raise InputError(f"{where}: {name} is missing; give {' or '.join(factor.levels) or 'its value'}")
        if factor.levels and levels[name] not in factor.levels:
            raise InputError(f"{where}: found {name} {levels[name]!r}; expected {' or '.join(factor.levels)}")
        if set(levels[name]) & set(";=/"):
            raise InputError(f"{where}: found {name} {levels[name]!r}; expected a name without ; = /")
    return {name: levels[name] for name in known}


def next_arm(spec: RandomisationSpec, seed: bytes, earlier: Sequence[Allocated], levels: Mapping[str, str]) -> str:
    """Arm of the next subject, given all earlier allocations in their order.

    Parameters
    ----------
    spec, seed
        The committed specification and its 32 bytes.
    earlier
        Allocations so far, with the levels that were entered at the time.
    levels
        Level of every factor of the new subject.
    """
    checked = check_levels(spec, levels)
    return SCHEMES[spec.scheme].next_arm(spec, seed, Tally.of(spec, earlier), checked)


@dataclass(frozen=True, slots=True)
class ReplayFault:
    """An allocation that the revealed seed does not reproduce (`number` counts from 1)."""

    number: int
    stratum: str
    found: str
    expected: str


def replay(spec: RandomisationSpec, seed: bytes, allocated: Sequence[Allocated]) -> tuple[ReplayFault, ...]:
    """Serial replay: every allocation again from the seed and the allocations before it; empty when all agree.

    Raises
    ------
    InputError
        If an allocation has an arm or level that the specification does not know.
    """
    check_spec(spec)
    tally, faults = Tally.of(spec, ()), []
    for number, one in enumerate(allocated, start=1):
        levels = check_levels(spec, one.levels, where=f"allocation {number}")
        if one.arm not in spec.arms:
            raise InputError(f"allocation {number}: found arm {one.arm!r}; expected {', '.join(spec.arms)}")
        expected = SCHEMES[spec.scheme].next_arm(spec, seed, tally, levels)
        if expected != one.arm:
            faults.append(ReplayFault(number, stratum_text(levels), one.arm, expected))
        tally.add(levels, one.arm)
    return tuple(faults)


def spec_bytes(spec: RandomisationSpec) -> bytes:
    """The specification as canonical JSON: what the published hash covers besides the seed."""
    record = {"schema": SCHEMA, **asdict(spec)}
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def spec_hash(spec: RandomisationSpec, seed: bytes) -> str:
    """SHA-256(seed ‖ specification), published before the first subject."""
    return commitment(seed, spec_bytes(check_spec(spec)))


def read_spec(text: str | bytes, *, where: str = "randomisation") -> RandomisationSpec:
    """A specification from its canonical JSON.

    Raises
    ------
    InputError
        If the text is no such record.
    """
    try:
        record: dict[str, Any] = json.loads(text)
        if record.pop("schema", None) != SCHEMA:
            raise InputError(f"{where}: found no {SCHEMA!r} record; give the published specification")
        factors = tuple(Factor(f["name"], tuple(f["levels"])) for f in record.pop("factors"))
        lists: dict[str, Any] = {key: tuple(record.pop(key)) for key in ("arms", "ratio", "block_sizes")}
        return check_spec(RandomisationSpec(factors=factors, **lists, **record))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: the specification cannot be read ({error})") from error

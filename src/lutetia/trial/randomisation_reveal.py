"""The revealed seed as a file that anybody can check: hash, specification, seed, and every allocation in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.errors import InputError
from lutetia.trial.randomisation import read_spec, replay, spec_bytes, spec_hash
from lutetia.trial.randomisation_draws import seed_of_hex
from lutetia.trial.randomisation_records import Allocated, RandomisationSpec, stratum_levels, stratum_text

SCHEMA = "lutetia.randomisation-reveal/1"


@dataclass(frozen=True, slots=True)
class Reproduced:
    """Number of allocations that the revealed seed reproduces, and the hash that agrees."""

    allocations: int
    commitment: str


def reveal_record(spec: RandomisationSpec, seed: bytes, allocated: Sequence[Allocated]) -> dict[str, Any]:
    """What is published after the trial; holds no subject identifiers, only the order, strata and arms."""
    return {
        "schema": SCHEMA,
        "commitment": spec_hash(spec, seed),
        "seed": seed.hex(),
        "specification": json.loads(spec_bytes(spec)),
        "allocations": [{"stratum": stratum_text(one.levels), "arm": one.arm} for one in allocated],
    }


def replay_record(record: dict[str, Any], *, where: str) -> Reproduced:
    """Check the hash and compute every allocation again.

    Raises
    ------
    InputError
        If the record cannot be read, its hash does not fit, or an allocation is not reproduced (the first is named).
    """
    try:
        if record["schema"] != SCHEMA:
            raise InputError(f"{where}: found schema {record['schema']!r}; expected {SCHEMA!r}")
        spec = read_spec(json.dumps(record["specification"]), where=where)
        seed = seed_of_hex(record["seed"], where=f"{where}: seed")
        allocated = [Allocated(stratum_levels(row["stratum"]), row["arm"]) for row in record["allocations"]]
        published = record["commitment"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: is not the record of a revealed seed ({error!r})") from error
    if (computed := spec_hash(spec, seed)) != published:
        raise InputError(f"{where}: the published hash is {published}, seed and specification give {computed}")
    if faults := replay(spec, seed, allocated):
        first = faults[0]
        raise InputError(
            f"{where}: {len(faults)} of {len(allocated)} allocations are not reproduced; the first is number "
            f"{first.number} ({first.stratum}): found {first.found}, the seed gives {first.expected}"
        )
    return Reproduced(len(allocated), computed)


def replay_file(path: Path) -> Reproduced:
    """`replay_record` of a JSON file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    return replay_record(record, where=str(path))

"""The seed of a scheme, revealed at the end, and its record: what `lutetia randomise replay` checks.

Here too: the sizes of blocks, which only who makes the list reads before. Not here: allocations (`randomisation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutetia.errors import TrialError
from lutetia.trial import Actor, Change, Event, Reader, Trial, Update, access
from lutetia.trial.randomisation import read_spec
from lutetia.trial.randomisation_draws import seed_of_hex
from lutetia.trial.randomisation_list import active_scheme, allocations, as_allocated, opened_scheme
from lutetia.trial.randomisation_reveal import replay_record, reveal_record
from lutetia.trial.randomisation_seal import read_key
from lutetia.trial.schema import canonical
from lutetia.workflow.edits import required_text
from lutetia.workflow.randomisation import REVEALED


@dataclass(frozen=True, slots=True)
class Reveal:
    """Ends the scheme, and publishes its seed."""

    reason: str


def reveal(trial: Trial, actor: Actor, command: Reveal) -> dict[str, Any]:
    """End the scheme and return the record of its seed, checked by a replay of every allocation before it is stored.

    Raises
    ------
    AccessDeniedError
        Unless the unmasked statistician asks.
    TrialError
        While the study is not locked: from the seed follow all allocations that are still to come.
    InputError
        If an allocation is not reproduced; nothing is revealed then.
    """
    access.require(actor, "generate_list")
    reason, key = required_text(command.reason, "reason of the revelation"), read_key(trial.folder / "keys")

    def change(reader: Reader) -> Change:
        scheme = active_scheme(reader)
        if not reader.records("locks", level="study", state="locked"):
            raise TrialError("seed: found the study open; expected it locked; ask the data manager to lock it first")
        spec, seed = opened_scheme(scheme, key)
        record = reveal_record(spec, seed, [as_allocated(row) for row in allocations(reader, scheme["scheme_id"])])
        replay_record(record, where=f"scheme {scheme['scheme_id']}")
        values = {"state": REVEALED, "revealed_seed": seed.hex(), "revealed_at": reader.now,
                  "specification": record["specification"]}  # fmt: skip
        return Change("reveal_seed", [Update("randomisation_schemes", scheme["record_id"], values)], record)

    record: dict[str, Any] = trial.commit(change, actor, reason).result
    return record


def revealed_record(trial: Trial, actor: Actor) -> dict[str, Any]:
    """The record that `reveal` returned for the last revealed scheme; the reading is noted in the trail.

    Raises
    ------
    AccessDeniedError
        Unless the unmasked statistician asks.
    TrialError
        If no seed was revealed.
    """
    access.require(actor, "generate_list")

    def change(reader: Reader) -> Change:
        found = reader.records("randomisation_schemes", state=REVEALED)
        if not found:
            raise TrialError("randomisation: no seed is revealed; reveal it first, after the last allocation")
        scheme = found[-1]
        spec = read_spec(canonical(scheme["specification"]))
        seed = seed_of_hex(scheme["revealed_seed"], where=f"scheme {scheme['scheme_id']}: seed")
        record = reveal_record(spec, seed, [as_allocated(row) for row in allocations(reader, scheme["scheme_id"])])
        return Change("read_revealed_record", [Event({"scheme_id": scheme["scheme_id"]})], record)

    record: dict[str, Any] = trial.commit(change, actor).result
    return record


def block_sizes(trial: Trial, actor: Actor) -> tuple[int, ...]:
    """Sizes of blocks of the scheme in force, for who makes the list.

    Raises
    ------
    AccessDeniedError
        Unless the unmasked statistician asks.
    TrialError
        If there is no scheme in force.
    """
    access.require(actor, "generate_list")
    key = read_key(trial.folder / "keys")
    with trial.read() as reader:
        return opened_scheme(active_scheme(reader), key)[0].block_sizes

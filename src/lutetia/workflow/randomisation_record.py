"""The record of a revealed seed, again: what `lutetia randomise replay` checks, for who lost the first copy."""

from __future__ import annotations

from typing import Any

from lutetia.errors import TrialError
from lutetia.trial import Actor, Change, Event, Reader, Trial, access
from lutetia.trial.randomisation import read_spec
from lutetia.trial.randomisation_draws import seed_of_hex
from lutetia.trial.randomisation_list import allocations, as_allocated
from lutetia.trial.randomisation_reveal import reveal_record
from lutetia.trial.schema import canonical
from lutetia.workflow.randomisation import REVEALED


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

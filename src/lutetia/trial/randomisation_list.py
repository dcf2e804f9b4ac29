"""The concealed list in the database, and one allocation as a change that runs inside the write lock.

Here: which records a new list, a longer list and an allocation consist of. Not here: who may and when
(`lutetia.workflow.randomisation`), the schemes (`randomisation`), encryption (`randomisation_seal`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lutetia.errors import InputError, TrialError
from lutetia.trial.randomisation import SCHEMES, check_levels, next_arm, read_spec, spec_bytes, spec_hash
from lutetia.trial.randomisation_blocks import block_list
from lutetia.trial.randomisation_draws import draw, seed_of_hex
from lutetia.trial.randomisation_records import Allocated, RandomisationSpec, stratum_levels, stratum_text
from lutetia.trial.randomisation_seal import open_entry, seal_entry
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Create, Edit
from lutetia.trial.schema import canonical

ACTIVE = "active"


_SIZES = "block_sizes"


@dataclass(frozen=True, slots=True)
class Allocation:
    """One allocation as it is stored and shown on the receipt."""

    subject_id: str
    arm: str
    stratum: str
    position: int
    slot: int
    scheme_id: str


def scheme_edits(scheme_id: str, spec: RandomisationSpec, seed: bytes, *, key: bytes, by: str, at: str) -> list[Edit]:
    """The record of a scheme: specification and published hash in clear; seed and block sizes sealed.

    Whoever knows the sizes of blocks and earlier arms can name the last arms of a block; so nobody reads them, neither
    in tables and trail nor in an export, until the seed is revealed.
    """
    known = json.loads(spec_bytes(spec))
    secret = " ".join([seed.hex(), *(str(size) for size in known.pop(_SIZES))])
    values = {
        "scheme_id": scheme_id, "kind": spec.scheme, "specification": known,
        "commitment": spec_hash(spec, seed), "sealed_seed": seal_entry(key, secret, _seed_place(scheme_id)),
        "state": ACTIVE, "generated_by": by, "generated_at": at,
    }  # fmt: skip
    return [Create("randomisation_schemes", values)]


def list_edits(
    reader: Reader, scheme_id: str, spec: RandomisationSpec, *, seed: bytes, key: bytes, sites: Iterable[str],
    length: int,
) -> list[Edit]:  # fmt: skip
    """Sealed entries of every stratum that has fewer than `length`; nothing for a scheme that is not listed ahead."""
    if not SCHEMES[spec.scheme].by_stratum:
        return []
    edits: list[Edit] = []
    for stratum in strata(spec, sites):
        held = reader.count("randomisation_list", scheme_id=scheme_id, stratum=stratum)
        arms = block_list(spec, seed, stratum, length=length)
        for position in range(held, length):
            sealed = seal_entry(key, arms[position], _place(scheme_id, stratum, position))
            named = {"scheme_id": scheme_id, "stratum": stratum, "position": position, "sealed": sealed}
            edits.append(Create("randomisation_list", named))
    return edits


def strata(spec: RandomisationSpec, sites: Iterable[str]) -> list[str]:
    """Every combination of levels; the factor `site` takes the given sites.

    Raises
    ------
    InputError
        If another factor lists no levels.
    """
    choices = []
    for factor in spec.factors:
        levels = tuple(sites) if factor.name == "site" and not factor.levels else factor.levels
        if not levels:
            raise InputError(f"randomisation: factor {factor.name!r} lists no levels; blocks need them")
        choices.append([(factor.name, level) for level in levels])
    return [stratum_text(dict(pairs)) for pairs in itertools.product(*choices)]


def active_scheme(reader: Reader) -> Record:
    """The scheme by which subjects are allocated now.

    Raises
    ------
    TrialError
        If none was generated.
    """
    found = reader.records("randomisation_schemes", state=ACTIVE)
    if not found:
        text = "randomisation: found no list; expected one; ask the unmasked statistician to generate it"
        raise TrialError(text)
    return found[-1]


def opened_scheme(scheme: Record, key: bytes) -> tuple[RandomisationSpec, bytes]:
    """Specification and seed of a stored scheme, checked against its published hash.

    Raises
    ------
    TrialError
        If they do not fit the hash.
    """
    secret, *sizes = open_entry(key, scheme["sealed_seed"], _seed_place(scheme["scheme_id"])).split()
    seed, known = seed_of_hex(secret), {_SIZES: [int(size) for size in sizes]}
    spec = read_spec(canonical({**known, **scheme["specification"]}))  # earlier programs kept the sizes there
    if spec_hash(spec, seed) != scheme["commitment"]:
        text = f"randomisation scheme {scheme['scheme_id']}: specification and seed do not give the published hash"
        raise TrialError(f"{text} {scheme['commitment']}; nobody is allocated; restore the last backup")
    return spec, seed


def open_spec(scheme: Record) -> RandomisationSpec:
    """The specification as far as it is known before the seed is revealed; its block sizes are not the list's."""
    known = scheme["specification"]
    return read_spec(canonical({_SIZES: [sum(known["ratio"])], **known}))


def allocate(
    reader: Reader, subject: Record, levels: Mapping[str, str], *, key: bytes
) -> tuple[Allocation, list[Edit]]:
    """The next arm for a subject and the edits that store it; call it inside the write lock only.

    Raises
    ------
    InputError
        If levels are missing or unknown.
    TrialError
        If the subject has an arm already, or the list of its stratum is used up.
    """
    subject_id = subject["subject_id"]
    if subject["arm"] or reader.find("allocations", {"subject_id": subject_id}):
        raise TrialError(f"subject {subject_id}: is randomised already; expected one allocation a subject")
    scheme = active_scheme(reader)
    spec, seed = opened_scheme(scheme, key)
    checked = check_levels(spec, levels, where=f"subject {subject_id}")
    stratum, scheme_id = stratum_text(checked), scheme["scheme_id"]
    earlier = allocations(reader, scheme_id)
    position = sum(row["stratum"] == stratum for row in earlier)
    if SCHEMES[spec.scheme].by_stratum:
        arm = _listed_arm(reader, scheme_id, stratum, position=position, key=key)
    else:
        arm = next_arm(spec, seed, [as_allocated(row) for row in earlier], checked)
    found = Allocation(subject_id, arm, stratum, position, len(earlier) + 1, scheme_id)
    return found, [Create("allocations", _allocation_values(found, spec, seed))]


def allocations(reader: Reader, scheme_id: str) -> list[Record]:
    """Allocations of a scheme in the order in which they were made."""
    return sorted(reader.records("allocations", scheme_id=scheme_id), key=lambda row: int(row["slot"]))


def as_allocated(row: Record) -> Allocated:
    """A stored allocation as the schemes count it: by the levels entered at the time."""
    return Allocated(stratum_levels(row["stratum"]), row["arm"])


def _listed_arm(reader: Reader, scheme_id: str, stratum: str, *, position: int, key: bytes) -> str:
    row = reader.find("randomisation_list", {"scheme_id": scheme_id, "stratum": stratum, "position": position})
    if row is None:
        text = f"randomisation: the list of stratum {stratum} has no entry {position + 1}; nobody was allocated"
        raise TrialError(f"{text}; ask the unmasked statistician to make the list longer")
    return open_entry(key, row["sealed"], _place(scheme_id, stratum, position))


def _allocation_values(found: Allocation, spec: RandomisationSpec, seed: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {
        "subject_id": found.subject_id, "scheme_id": found.scheme_id, "stratum": found.stratum,
        "position": found.position, "slot": found.slot, "arm": found.arm,
    }  # fmt: skip
    if spec.scheme == "minimisation":
        values["draw"] = repr(draw(seed, "minimisation", found.slot - 1))
    return values


def _place(scheme_id: str, stratum: str, position: int) -> str:
    return f"{scheme_id}/{stratum}/{position}"


def _seed_place(scheme_id: str) -> str:
    return f"{scheme_id}/seed"

"""Randomise subjects: the list and its published hash, the allocation, and what is recorded afterwards.

An allocation is one transaction inside the single writer's turn: lock, then read, then write. Nothing is ever deleted:
a wrong stratum, a cross-over and an unblinding are events beside the allocation.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lutetia.errors import AccessDeniedError, InputError, StaleRecordError, TransitionError, TrialError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Record, Trial, Update, access
from lutetia.trial.randomisation import SCHEMES, check_levels, check_spec
from lutetia.trial.randomisation_draws import new_seed
from lutetia.trial.randomisation_list import (
    ACTIVE,
    Allocation,
    active_scheme,
    allocate,
    allocations,
    list_edits,
    open_spec,
    opened_scheme,
    scheme_edits,
)
from lutetia.trial.randomisation_records import Factor, RandomisationSpec, stratum_text
from lutetia.trial.randomisation_seal import make_key, read_key
from lutetia.trial.schema import canonical
from lutetia.workflow.course_records import GIVEN_STATES, cycle_of, local_day, subject_of
from lutetia.workflow.documents import version_in_force
from lutetia.workflow.edits import allowed_subject, deviation_edits, now_of, required_text, subject_step
from lutetia.workflow.eligibility import enrolment_faults
from lutetia.workflow.sites_users import open_site
from lutetia.workflow.study_setup import needed, study_record

REVEALED = "revealed"
UNBLINDING_KINDS = ("emergency", "regulatory", "analysis", "accidental")


@dataclass(frozen=True, slots=True)
class GenerateList:
    """A new scheme. `length`: entries of each stratum of a list (default: the planned number of subjects).

    `seed` may be given in demonstration databases only; elsewhere the operating system draws it.
    """

    spec: RandomisationSpec
    length: int | None = None
    seed: bytes | None = None


@dataclass(frozen=True, slots=True)
class ExtendList:
    """Entries for sites that joined, and up to `length` for all strata."""

    length: int


@dataclass(frozen=True, slots=True)
class Randomise:
    """`levels` holds the factors other than the site; `version` is that of the subject's record the person saw."""

    subject_id: str
    levels: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None


@dataclass(frozen=True, slots=True)
class CorrectStratum:
    """The levels that were true at the time of allocation."""

    subject_id: str
    levels: Mapping[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class RecordCrossOver:
    """The subject was treated as in another arm, for instance because a nuclide was not available."""

    subject_id: str
    cycle: int
    as_treated_arm: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unblind:
    """Somebody learns, or learnt by accident, the arm of a subject; `impact`: on conduct and analysis."""

    subject_id: str
    kind: str
    person: str
    reason: str
    impact: str


@dataclass(frozen=True, slots=True)
class Published:
    """What everybody may know of a scheme: its published hash and how far it is (`state`: active or revealed)."""

    scheme_id: str
    kind: str
    state: str
    commitment: str
    specification: Mapping[str, Any]
    generated_at: str
    allocated: int
    entries: int


@dataclass(frozen=True, slots=True)
class RandomiseForm:
    """What the page of a randomisation asks for: factors besides the site, and what forbids it (empty: ready)."""

    subject_id: str
    version: int
    factors: tuple[Factor, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RandomisationReceipt:
    """What the person who randomised gets; `arm` is None for masked roles, `receipt` the hash of `receipt_hash`."""

    subject_id: str
    arm: str | None
    stratum: str
    slot: int
    at: str
    commitment: str
    receipt: str
    sequence: int
    head: str


def generate_list(trial: Trial, actor: Actor, command: GenerateList) -> Published:
    """Draw a seed, publish its hash, and store the sealed list; only the unmasked statistician may.

    Raises
    ------
    AccessDeniedError
        For every other role.
    InputError
        If the specification contradicts itself or does not fit the protocol's arms.
    TrialError
        If subjects were allocated by the scheme in force.
    """
    access.require(actor, "generate_list")
    spec = check_spec(command.spec)
    if command.length is not None and command.length < 1:
        raise InputError(f"list: found a length of {command.length}; expected 1 entry a stratum or more")
    if command.seed is not None and not trial.demonstration:
        raise TrialError("seed: found a given one; expected none, because this is not a demonstration database")
    seed, key = command.seed or new_seed(), make_key(trial.folder / "keys")

    def change(reader: Reader) -> Change:
        settings = study_record(reader)["settings"]
        if set(spec.arms) != set(needed(settings, "arms")):
            raise InputError(f"arms: found {', '.join(spec.arms)}; expected those of the protocol, "
                             f"{', '.join(settings['arms'])}")  # fmt: skip
        scheme_id = f"R{reader.count('randomisation_schemes') + 1:02d}"
        length = command.length or int(needed(settings, "planned_n"))
        edits: list[Edit] = [*_superseded(reader), *scheme_edits(scheme_id, spec, seed, key=key, by=actor.user_id,
                                                                 at=reader.now)]  # fmt: skip
        edits += list_edits(reader, scheme_id, spec, seed=seed, key=key, sites=_sites(reader), length=length)
        return Change("generate_list", edits)

    trial.commit(change, actor)
    return published(trial)


def extend_list(trial: Trial, actor: Actor, command: ExtendList) -> Published:
    """Add sealed entries for new sites or longer strata; earlier entries stay as they are."""
    access.require(actor, "generate_list")
    key = read_key(trial.folder / "keys")

    def change(reader: Reader) -> Change:
        scheme = active_scheme(reader)
        spec, seed = opened_scheme(scheme, key)
        if not SCHEMES[spec.scheme].by_stratum:
            raise InputError(f"list: {spec.scheme} has no list ahead of time; expected nothing to extend")
        edits = list_edits(
            reader, scheme["scheme_id"], spec, seed=seed, key=key, sites=_sites(reader), length=command.length
        )
        if not edits:
            raise InputError(f"list: every stratum has {command.length} entries already; nothing was added")
        return Change("extend_list", edits)

    trial.commit(change, actor)
    return published(trial)


def read_randomise(trial: Trial, actor: Actor, subject_id: str) -> RandomiseForm:
    """What a randomisation of this subject needs; reads no entry of the list.

    Raises
    ------
    AccessDeniedError
        Without the right to randomise at the subject's site.
    TrialError
        If there is no list.
    """
    allowed_subject(trial, actor, "randomise", subject_id)
    with trial.read() as reader:
        subject = subject_of(reader, subject_id)
        spec = open_spec(active_scheme(reader))
        faults = tuple(enrolment_faults(reader, subject_id))
    if subject["state"] != "ELIGIBLE" and not faults:
        faults = (f"the subject is {subject['state']}; expected ELIGIBLE",)
    factors = tuple(factor for factor in spec.factors if factor.name != "site")
    return RandomiseForm(subject_id, int(subject["record_version"]), factors, faults)


def randomise(trial: Trial, actor: Actor, command: Randomise) -> RandomisationReceipt:
    """Allocate an arm to a subject whose consent and eligibility are signed.

    Raises
    ------
    AccessDeniedError
        Without the right to randomise at the subject's site.
    TransitionError, TrialError
        If the subject is not eligible, signatures are missing or void, or the list is used up; nothing is allocated.
    StaleRecordError
        If the subject's record changed since the person saw it.
    """
    allowed_subject(trial, actor, "randomise", command.subject_id)

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        _check_ready(reader, subject, command)
        scheme = active_scheme(reader)
        key = read_key(trial.folder / "keys")
        levels = _with_site(scheme, subject, command.levels)
        _check_baseline(reader, subject, levels)
        found, edits = allocate(reader, subject, levels, key=key)
        stamped = _stamped(edits, actor, reader.now, seed=opened_scheme(scheme, key)[1])
        return Change("randomise", [*stamped, *_subject_edits(reader, subject, found)], found)

    receipt = trial.commit(change, actor)
    return _receipt(trial, actor, receipt)


def correct_stratum(trial: Trial, actor: Actor, command: CorrectStratum) -> Receipt:
    """Record the true stratum; allocation and entered stratum stay.

    Raises
    ------
    InputError
        If the subject is not randomised, or the levels are those entered or recorded before.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason of the correction")

    def change(reader: Reader) -> Change:
        subject = _randomised(reader, command.subject_id)
        allocation = reader.record("allocations", {"subject_id": command.subject_id})
        scheme = reader.record("randomisation_schemes", {"scheme_id": allocation["scheme_id"]})
        true = stratum_text(check_levels(open_spec(scheme), _with_site(scheme, subject, command.levels)))
        if true == subject["stratum_true"]:
            raise InputError(f"subject {command.subject_id}: has the stratum {true} already; nothing was changed")
        details = {"entered": subject["stratum_entered"], "true": true}
        text = f"wrong stratum entered at randomisation: {subject['stratum_entered']}; true: {true}"
        on = local_day(reader, subject["site"], now_of(reader))
        edits: list[Edit] = [
            Update("subjects", subject["record_id"], {"stratum_true": true}),
            _event(reader, actor, command.subject_id, "wrong_stratum", on=on, reason=reason, details=details),
            *deviation_edits(reader, command.subject_id, [("randomisation", "minor", text)], on=on),
        ]
        return Change("correct_stratum", edits)

    return trial.commit(change, actor, reason)


def record_cross_over(trial: Trial, actor: Actor, command: RecordCrossOver) -> Receipt:
    """Record that a cycle was given as in another arm: the randomised arm stays, a deviation is added.

    The subject's row of the exchange folder gets a column `as_treated_arm`.

    Raises
    ------
    InputError
        If the arm is the randomised one, unknown, or the subject is not randomised.
    MissingRecordError, TransitionError
        If the subject has no such cycle, or it was not given.
    """
    allowed_subject(trial, actor, "record_administration", command.subject_id)
    reason = required_text(command.reason, "reason of the cross-over")

    def change(reader: Reader) -> Change:
        subject = _randomised(reader, command.subject_id)
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        if cycle["state"] not in GIVEN_STATES:
            where = f"subject {command.subject_id}, cycle {command.cycle}"
            raise TransitionError(f"{where}: is {cycle['state']}; expected a cycle that was given; record that first")
        arms = needed(study_record(reader)["settings"], "arms")
        if command.as_treated_arm not in arms or command.as_treated_arm == subject["arm"]:
            others = ", ".join(arm for arm in arms if arm != subject["arm"])
            raise InputError(f"as-treated arm: found {command.as_treated_arm!r}; expected another arm: {others}")
        on = local_day(reader, subject["site"], now_of(reader))
        details = {"randomised_arm": subject["arm"], "as_treated_arm": command.as_treated_arm, "cycle": command.cycle}
        text = f"cycle {command.cycle} not given as randomised (see the randomisation events)"
        flag = {"further": (subject["further"] or {}) | {"as_treated_arm": command.as_treated_arm}}
        edits: list[Edit] = [
            Update("subjects", subject["record_id"], flag),
            _event(reader, actor, command.subject_id, "cross_over", on=on, reason=reason, details=details),
            *deviation_edits(reader, command.subject_id, [("missing_nuclide", "major", text)], on=on),
        ]
        return Change("record_cross_over", edits)

    return trial.commit(change, actor, reason)


def unblind(trial: Trial, actor: Actor, command: Unblind) -> str | None:
    """Record an unblinding with reason and impact, then return the arm; None to a masked actor, who reports one.

    Raises
    ------
    AccessDeniedError
        Without sight of the subject, or in a session without the one-time code that the account needs.
    InputError
        For an unknown kind, or without reason, person or impact.
    """
    allowed_subject(trial, actor, "see_subject", command.subject_id)
    if not actor.second_factor:
        raise AccessDeniedError("unblind: found a session without one-time code; set one up and sign in again")
    if command.kind not in UNBLINDING_KINDS:
        raise InputError(f"unblinding: found kind {command.kind!r}; expected one of {', '.join(UNBLINDING_KINDS)}")
    reason = required_text(command.reason, "reason of the unblinding")
    details = {
        "kind": command.kind,
        "person": required_text(command.person, "who learns the arm"),
    }
    impact = required_text(command.impact, "impact of the unblinding")

    def change(reader: Reader) -> Change:
        subject = _randomised(reader, command.subject_id)
        on = local_day(reader, subject["site"], now_of(reader))
        event = _event(
            reader, actor, command.subject_id, "unblinding", on=on, reason=reason, details=details, impact=impact
        )
        return Change("unblind", [event], subject["arm"])

    arm = str(trial.commit(change, actor, reason).result)
    return None if access.masked(actor) else arm


def published(trial: Trial) -> Published:
    """The last scheme as everybody may see it.

    Raises
    ------
    TrialError
        If none was generated.
    """
    with trial.read() as reader:
        found = [row for row in reader.records("randomisation_schemes") if row["state"] in (ACTIVE, REVEALED)]
        scheme = found[-1] if found else active_scheme(reader)
        used = len(allocations(reader, scheme["scheme_id"]))
        entries = reader.count("randomisation_list", scheme_id=scheme["scheme_id"])
    return Published(
        scheme["scheme_id"], scheme["kind"], scheme["state"], scheme["commitment"], scheme["specification"],
        scheme["generated_at"], used, entries,
    )  # fmt: skip


def _superseded(reader: Reader) -> Sequence[Edit]:
    edits = []
    for row in reader.records("randomisation_schemes", state=ACTIVE):
        if reader.count("allocations", scheme_id=row["scheme_id"]):
            text = f"randomisation: subjects were allocated by scheme {row['scheme_id']}; it cannot be replaced"
            raise TrialError(f"{text}; extend its list, or end it by revealing its seed")
        edits.append(Update("randomisation_schemes", row["record_id"], {"state": "superseded"}))
    return edits


def _sites(reader: Reader) -> list[str]:
    return [row["site"] for row in reader.records("sites") if row["state"] == "open"]


def _check_ready(reader: Reader, subject: Record, command: Randomise) -> None:
    where = f"subject {command.subject_id}"
    if command.version not in (None, subject["record_version"]):
        raise StaleRecordError(f"{where}: somebody changed the record since you opened it; reload and look again")
    if subject["arm"]:
        raise TrialError(f"{where}: is randomised already; expected one allocation a subject")
    subject_step(reader, subject, "RANDOMISED")
    open_site(reader, subject["site"])
    if faults := enrolment_faults(reader, command.subject_id):
        raise TrialError(f"{where}: cannot be randomised: {'; '.join(faults)}")


def _with_site(scheme: Record, subject: Record, levels: Mapping[str, str]) -> dict[str, str]:
    """The entered levels and, where the scheme has it as a factor, the subject's site: nobody types it."""
    if "site" in levels:
        raise InputError("levels: found the site; expected the other factors, because the subject's record holds it")
    named = {factor["name"] for factor in scheme["specification"]["factors"]}
    return dict(levels) | ({"site": subject["site"]} if "site" in named else {})


def _check_baseline(reader: Reader, subject: Record, levels: Mapping[str, str]) -> None:
    """Refuse a level that the subject's baseline form contradicts, where it has an item of the factor's name."""
    answers = {row["item"]: row["value"] for row in reader.records("baseline", subject_id=subject["subject_id"])}
    for name, level in levels.items():
        if answers.get(name) not in (None, level):
            found = f"subject {subject['subject_id']}: found {name} {level!r}; the baseline form says {answers[name]!r}"
            raise InputError(f"{found}; correct one of them before the randomisation")


def _stamped(edits: Sequence[Edit], actor: Actor, at: str, *, seed: bytes) -> list[Edit]:
    """The allocation's record with who and when, and the hash of it all that the printed receipt carries."""
    found: list[Edit] = []
    for edit in edits:
        if isinstance(edit, Create):
            values = {**edit.values, "allocated_by": actor.user_id, "allocated_at": at}
            found.append(Create(edit.table, values | {"receipt": receipt_hash(values, seed)}))
    return found


def receipt_hash(allocation: Mapping[str, Any], seed: bytes) -> str:
    """HMAC-SHA-256 of an allocation under the scheme's seed: shows no arm now, can be checked once that is revealed."""
    names = ("subject_id", "scheme_id", "stratum", "slot", "arm", "allocated_by", "allocated_at")
    content = canonical({name: allocation[name] for name in names})
    return hmac.new(seed, content.encode(), "sha256").hexdigest()


def _subject_edits(reader: Reader, subject: Record, found: Allocation) -> list[Edit]:
    subject_id, site = subject["subject_id"], subject["site"]
    on = local_day(reader, site, now_of(reader))
    protocol = version_in_force(reader, "protocol", site, on)
    version = protocol["version"] if protocol else study_record(reader)["protocol_version"]
    values = {"arm": found.arm, "randomised_on": on, "stratum_entered": found.stratum, "stratum_true": found.stratum,
              "protocol_version": version}  # fmt: skip
    step = subject_step(reader, subject, "RANDOMISED")
    event = {"subject_id": subject_id, "event": "randomised", "on": on}
    return [Update("subjects", subject["record_id"], {**step.values, **values}), Create("disposition", event)]


def _receipt(trial: Trial, actor: Actor, receipt: Receipt) -> RandomisationReceipt:
    found: Allocation = receipt.result
    with trial.read() as reader:
        scheme = reader.record("randomisation_schemes", {"scheme_id": found.scheme_id})
        stored = reader.record("allocations", {"subject_id": found.subject_id})
    arm = None if access.masked(actor) else found.arm
    return RandomisationReceipt(
        found.subject_id, arm, found.stratum, found.slot, receipt.at, scheme["commitment"], stored["receipt"],
        receipt.sequence, receipt.head,
    )  # fmt: skip


def _randomised(reader: Reader, subject_id: str) -> Record:
    subject = subject_of(reader, subject_id)
    if not subject["arm"]:
        raise InputError(f"subject {subject_id}: is not randomised; expected a randomised subject")
    return subject


def _event(
    reader: Reader, actor: Actor, subject_id: str, kind: str, *, on: str, reason: str, details: Mapping[str, Any],
    impact: str | None = None,
) -> Create:  # fmt: skip
    number = reader.next_number("randomisation_events", "event", subject_id=subject_id)
    values = {"subject_id": subject_id, "event": number, "kind": kind, "on": on, "reason": reason, "impact": impact,
              "details": dict(details), "recorded_by": actor.user_id, "recorded_at": reader.now}  # fmt: skip
    return Create("randomisation_events", values)

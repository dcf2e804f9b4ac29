"""Set up a trial from a protocol: planned size, visits, limits, stopping rule, checklist, windows; amend it later.

The settings that are stored are the table of `study.toml` (contract of the exchange folder) with a few keys more that
only a running trial needs. Numbers that no publication fixes have defaults here that are assumptions and say so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lutetia.core.clock import time_zone
from lutetia.errors import InputError, StaleRecordError
from lutetia.protocol.profile import packaged_protocols, parse_protocol, read_protocol
from lutetia.protocol.records import Arm, Limit, Protocol
from lutetia.safety.study import read_study
from lutetia.trial import Actor, Change, Clock, Create, Edit, Reader, Receipt, Study, Trial, Update, access
from lutetia.workflow.study_text import toml_text

SCHEMA = "lutetia.study/1"
PROTOCOL_FILE, STUDY_FILE = "protocol.toml", "study.toml"


@dataclass(frozen=True, slots=True)
class Visit:
    """Days of a visit: `baseline` before the first infusion, the others after the infusion of their cycle."""

    name: str
    first_day: int
    last_day: int


@dataclass(frozen=True, slots=True)
class Monitor:
    """A Bayesian stopping rule per arm: P(rate > p0) ≥ τ stops; `looks` are subjects per arm (empty: after each)."""

    id: str
    event: str
    within_days: int
    p0: float
    tau: float
    prior_ess: float
    looks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One line of the eligibility checklist and the answer, yes or no, that makes a subject eligible."""

    item: str
    text: str
    required: str = "yes"


# Assumptions: windows, stopping rule and checklist of an illustrative trial.
VISITS = (Visit("baseline", -28, 0), Visit("week 2", 7, 21), Visit("week 4", 22, 35), Visit("week 6", 36, 49))
MONITORS = (
    Monitor(
        "haematology or kidney",
        "grade 3 or more of haemoglobin, platelets, neutrophils; grade 2 or more of creatinine",
        within_days=56, p0=0.10, tau=0.95, prior_ess=2.0,
    ),
)  # fmt: skip
CHECKLIST = (
    ChecklistItem("adult", "Is 18 years old or older"),
    ChecklistItem("tumour", "Has a histologically confirmed gastroenteropancreatic neuroendocrine tumour"),
    ChecklistItem("receptors", "Target lesions take up a somatostatin receptor tracer"),
    ChecklistItem("kidneys", "Kidney function is within the protocol's entry limits"),
    ChecklistItem("blood_counts", "Blood counts are within the protocol's entry limits"),
    ChecklistItem("liver", "Liver function is within the protocol's entry limits"),
    ChecklistItem("pregnancy", "Is pregnant or breast-feeding", required="no"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a trial adds to its protocol.

    Parameters
    ----------
    protocol
        Packaged name, or the path of a protocol file.
    planned_n
        Subjects to be randomised.
    cycle_window_days
        Days before and after the planned day of a cycle on which it may be given.
    timezone
        IANA zone of the study; a site has its own.
    """

    study_id: str
    title: str
    planned_n: int
    protocol: str = "duonen"
    visits: tuple[Visit, ...] = VISITS
    monitors: tuple[Monitor, ...] = MONITORS
    checklist: tuple[ChecklistItem, ...] = CHECKLIST
    ctcae: str = "5.0"
    coding_version: str = "terms only, not coded"
    cycle_window_days: int = 7
    timezone: str = "Europe/Warsaw"


@dataclass(frozen=True, slots=True)
class AmendProtocol:
    """A new version of the protocol file; `version` is the `record_version` of the study that the person saw."""

    content: bytes
    reason: str
    version: int | None = None


def create_study(
    folder: Path, plan: StudyPlan, *, url: str | None = None, demonstration: bool = False, clock: Clock | None = None,
    authenticator: Any = None,
) -> Trial:  # fmt: skip
    """A new trial in a new folder; see `Trial.create`.

    Raises
    ------
    InputError, ProtocolError, UnknownNameError
        If the plan or its protocol contradicts itself.
    StorageError
        If the folder or database is not empty.
    """
    content = _protocol_bytes(plan.protocol)
    protocol = parse_protocol(content, where=f"protocol {plan.protocol}")
    settings = study_settings(protocol, plan)
    study = Study(
        plan.study_id, plan.title, protocol.name, protocol.version, settings,
        {PROTOCOL_FILE: content, STUDY_FILE: toml_text(settings).encode()},
    )  # fmt: skip
    return Trial.create(
        folder, study=study, url=url, demonstration=demonstration, clock=clock, authenticator=authenticator
    )


def study_settings(protocol: Protocol, plan: StudyPlan) -> dict[str, Any]:
    """The table of `study.toml`, checked by the reader that the safety report uses.

    Raises
    ------
    InputError
        If the plan contradicts itself.
    """
    _check_plan(plan)
    settings: dict[str, Any] = {
        "schema": SCHEMA,
        "title": plan.title,
        "planned_n": plan.planned_n,
        "ctcae": plan.ctcae,
        "coding_version": plan.coding_version,
        "timezone": plan.timezone,
        "cycle_window_days": plan.cycle_window_days,
        **protocol_settings(protocol),
        "visits": [{"name": v.name, "window_days": [v.first_day, v.last_day]} for v in plan.visits],
        "monitors": [_monitor(m) for m in plan.monitors],
        "checklist": [{"item": c.item, "text": c.text, "required": c.required} for c in plan.checklist],
    }
    read_study(tomllib.loads(toml_text(settings)))
    return settings


def protocol_settings(protocol: Protocol) -> dict[str, Any]:
    """The part of the settings that comes from the protocol file."""
    return {
        "cycles": protocol.cycles,
        "interval_weeks": protocol.interval_weeks or 8.0,  # assumption where the protocol states none
        "protocol": {
            "file": PROTOCOL_FILE, "name": protocol.name, "version": protocol.version, "sha256": protocol.sha256,
        },
        "category": {"reference": protocol.category_reference, "tolerance": protocol.category_tolerance},
        "arms": {arm.name: _arm(arm) for arm in protocol.arms.values()},
        "limits": [_limit(limit) for limit in protocol.limits],
    }  # fmt: skip


def study_record(reader: Reader) -> dict[str, Any]:
    """The one record of the study."""
    return reader.records("study")[0]


def checklist_of(settings: Mapping[str, Any]) -> tuple[ChecklistItem, ...]:
    """The eligibility checklist of a stored study."""
    return tuple(ChecklistItem(c["item"], c["text"], c["required"]) for c in settings.get("checklist", ()))


def study_protocol(trial: Trial, reader: Reader) -> Protocol:
    """The protocol in force: the stored file, or the packaged one of the same hash where a study brought none.

    Raises
    ------
    InputError
        If there is neither.
    """
    record = study_record(reader)
    name, stored = record["protocol_name"], (record["files"] or {}).get(PROTOCOL_FILE)
    if stored is not None:
        return parse_protocol(trial.files.get(stored), where=f"protocol {name}")
    expected = record["settings"].get("protocol", {}).get("sha256")
    if name in packaged_protocols() and (found := read_protocol(name)).sha256 == expected:
        return found
    text = f"study {record['study_id']}: holds no {PROTOCOL_FILE}, and no packaged protocol has its hash {expected}"
    raise InputError(f"{text}; put the protocol file beside study.toml and create the trial again")


def amend_protocol(trial: Trial, actor: Actor, command: AmendProtocol) -> Receipt:
    """Put a new version of the protocol in force; earlier versions stay in the files and in the trail.

    Raises
    ------
    AccessDeniedError
        Without the right to set the trial up.
    InputError
        If the version is the one in force, or an arm in use is missing.
    """
    access.require(actor, "manage_users")
    protocol = parse_protocol(command.content, where="amended protocol")

    def change(reader: Reader) -> Change:
        study = study_record(reader)
        if command.version not in (None, study["record_version"]):
            raise StaleRecordError("study: somebody changed it since you opened it; reload, compare and save again")
        _check_amendment(reader, study, protocol)
        settings = dict(study["settings"]) | protocol_settings(protocol)
        stored = {PROTOCOL_FILE: command.content, STUDY_FILE: toml_text(settings).encode()}
        hashes = {name: trial.files.put(content) for name, content in stored.items()}
        values = {"protocol_name": protocol.name, "protocol_version": protocol.version, "settings": settings,
                  "files": hashes}  # fmt: skip
        edits: list[Edit] = [Update("study", {"study_id": study["study_id"]}, values)]
        edits += [
            Create("files", {"sha256": hashes[name], "size": len(content), "name": name, "added_by": actor.user_id,
                             "added_at": reader.now})
            for name, content in stored.items()
            if not reader.find("files", {"sha256": hashes[name]})
        ]  # fmt: skip
        return Change("amend_protocol", edits)

    return trial.commit(change, actor, command.reason)


def _check_amendment(reader: Reader, study: Mapping[str, Any], protocol: Protocol) -> None:
    if protocol.sha256 == study["settings"]["protocol"]["sha256"]:
        raise InputError(f"amended protocol: is the one in force (version {protocol.version}); nothing was changed")
    if protocol.version == study["protocol_version"]:
        raise InputError(f"amended protocol: found version {protocol.version} again; give the amendment a new version")
    used = {row["arm"] for row in reader.records("subjects") if row["arm"]}
    if missing := sorted(used - set(protocol.arms)):
        raise InputError(f"amended protocol: lacks arm {missing[0]}, to which subjects are randomised; keep that arm")


def _check_plan(plan: StudyPlan) -> None:
    if not plan.study_id.strip() or not plan.title.strip():
        raise InputError("study: found no identifier or title; expected both")
    if plan.planned_n < 1 or plan.cycle_window_days < 0:
        found = f"{plan.planned_n} subjects and a window of {plan.cycle_window_days} days"
        raise InputError(f"study: found {found}; expected at least one subject and 0 days or more")
    time_zone(plan.timezone, where="study: timezone")
    for name, values in (
        ("visit", [v.name for v in plan.visits]),
        ("checklist item", [c.item for c in plan.checklist]),
        ("monitor", [m.id for m in plan.monitors]),
    ):
        if repeated := [value for value in values if values.count(value) > 1]:
            raise InputError(f"study: {name} {repeated[0]!r} is named twice; expected once")
    if wrong := [c.item for c in plan.checklist if c.required not in ("yes", "no")]:
        raise InputError(f"study: checklist item {wrong[0]!r} requires neither yes nor no; give one of them")
    for monitor in plan.monitors:
        if not (0 < monitor.p0 < 1 and 0 < monitor.tau < 1 and monitor.prior_ess > 0 and monitor.within_days > 0):
            raise InputError(f"study: monitor {monitor.id!r}: expected p0 and tau between 0 and 1, others above 0")


def _protocol_bytes(name: str) -> bytes:
    if name in packaged_protocols():
        return (files("lutetia.protocol") / "versions" / f"{name}.toml").read_bytes()
    read_protocol(name)  # the clear message for an unknown name or an unreadable file
    return Path(name).read_bytes()


def _arm(arm: Arm) -> dict[str, Any]:
    found: dict[str, Any] = {"description": arm.description, "base_MBq": dict(arm.base_MBq)}
    return found | ({"variable": arm.variable} if arm.variable else {})


def _limit(limit: Limit) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": limit.id, "region": limit.region, "metric": limit.metric, "limit_Gy": limit.limit_Gy, "kind": limit.kind,
    }  # fmt: skip
    return found | ({"method": limit.method} if limit.method else {})


def _monitor(monitor: Monitor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": monitor.id, "event": monitor.event, "within_days": monitor.within_days, "p0": monitor.p0,
        "tau": monitor.tau, "prior_ess": monitor.prior_ess,
    }  # fmt: skip
    return found | ({"looks": list(monitor.looks)} if monitor.looks else {})

"""Set up a trial from a protocol: planned size, visits, limits, stopping rule, checklist, windows; amend it later.

The settings that are stored are the table of `study.toml` (contract of the exchange folder) with a few keys more that
only a running trial needs. Numbers that no publication fixes have defaults here that are assumptions and say so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.errors import InputError, StaleRecordError
from lutetia.protocol.profile import packaged_protocols, parse_protocol, read_protocol
from lutetia.protocol.records import Protocol
from lutetia.trial import Actor, Change, Clock, Create, Edit, Reader, Receipt, Trial, Update, access
from lutetia.workflow.study_file import (
    PROTOCOL_FILE,
    SCHEMA,
    STUDY_FILE,
    check_table,
    checked_study,
    is_study_file,
    protocol_bytes,
    protocol_settings,
    sound_settings,
    study_table,
    template,
)
from lutetia.workflow.study_text import toml_text


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


# Windows, stopping rule and checklist of the template: assumptions of an illustrative trial.
_TEMPLATE = tomllib.loads(template())
VISITS = tuple(Visit(row["name"], *row["window_days"]) for row in _TEMPLATE["visits"])
MONITORS = tuple(Monitor(**row) for row in _TEMPLATE["monitors"])
CHECKLIST = tuple(ChecklistItem(**row) for row in _TEMPLATE["checklist"])


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


@dataclass(frozen=True, slots=True)
class AmendSettings:
    """A changed study file (docs/reference/study.md); `version` is the `record_version` that the person saw."""

    content: bytes
    reason: str
    version: int | None = None


#: New values of the study's record, and the files that go with them, by name.
_Amended = tuple[dict[str, Any], dict[str, bytes]]


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
    content = protocol_bytes(plan.protocol)
    settings = study_settings(parse_protocol(content, where=f"protocol {plan.protocol}"), plan)
    study = checked_study(settings, content).study(plan.study_id)
    return Trial.create(
        folder, study=study, url=url, demonstration=demonstration, clock=clock, authenticator=authenticator
    )


def study_settings(protocol: Protocol, plan: StudyPlan) -> dict[str, Any]:
    """The whole table of `study.toml`, checked as a file is.

    Raises
    ------
    InputError
        If the plan contradicts itself.
    """
    settings: dict[str, Any] = {
        "schema": SCHEMA,
        "id": plan.study_id,
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
    check_table(settings, where="study")
    return settings


def study_record(reader: Reader) -> dict[str, Any]:
    """The one record of the study; of its settings those that are sound (`start_notes` names the others)."""
    found = reader.records("study")[0]
    return {**found, "settings": sound_settings(found["settings"])}


def needed(settings: Mapping[str, Any], name: str) -> Any:
    """A setting that a trial cannot do without.

    Raises
    ------
    InputError
        If the study has none that is sound.
    """
    if name not in settings:
        text = f"study: {name}: found nothing sound in its settings; amend the study with a study.toml that gives it"
        raise InputError(f"{text} (docs/reference/study.md)")
    return settings[name]


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
    return parse_protocol(_protocol_content(trial, record), where=f"protocol {record['protocol_name']}")


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

    def amended(reader: Reader, study: Mapping[str, Any]) -> _Amended:
        _check_amendment(reader, study, protocol)
        settings = dict(study["settings"]) | protocol_settings(protocol)
        files = {PROTOCOL_FILE: command.content, STUDY_FILE: toml_text(settings).encode()}
        named = {"protocol_name": protocol.name, "protocol_version": protocol.version}
        return {**named, "settings": settings}, files

    return _amend(trial, actor, command, amended)


def amend_study(trial: Trial, actor: Actor, command: AmendProtocol) -> Receipt:
    """Put an amended protocol or an amended study file in force, whichever the file is; see the two functions.

    Raises
    ------
    AccessDeniedError
        Without the right to set the trial up.
    InputError
        As `amend_protocol` and `amend_settings`.
    """
    if is_study_file(command.content):
        return amend_settings(trial, actor, AmendSettings(command.content, command.reason, command.version))
    return amend_protocol(trial, actor, command)


def amend_settings(trial: Trial, actor: Actor, command: AmendSettings) -> Receipt:
    """Put a changed study file in force: title, planned size, windows, checklist, visits, stopping rules, sessions.

    The protocol is amended by `amend_protocol`; the earlier file stays in the files and in the trail.

    Raises
    ------
    AccessDeniedError
        Without the right to set the trial up.
    InputError
        If the file has a fault, contradicts the protocol in force, is of another study, or changes nothing.
    """
    access.require(actor, "manage_users")
    where = "amended study.toml"
    table = study_table(command.content, where=where)

    def amended(reader: Reader, study: Mapping[str, Any]) -> _Amended:
        checked = checked_study(table, _protocol_content(trial, study), where=where, content=command.content)
        made = checked.study(study["study_id"])
        if made.study_id != study["study_id"]:
            text = f"{where}: id: found {made.study_id!r}; this trial is {study['study_id']!r}"
            raise InputError(f"{text}; correct it or leave it out")
        for key in ("seed", "simulated"):
            if made.settings.get(key) != study["settings"].get(key):
                found, held = made.settings.get(key), study["settings"].get(key)
                raise InputError(f"{where}: {key}: found {found}; this trial began with {held}, which cannot change")
        if made.settings == study["settings"]:
            raise InputError(f"{where}: says what is in force already; nothing was changed")
        return {"title": made.title, "settings": made.settings}, checked.files

    return _amend(trial, actor, command, amended)


def _amend(
    trial: Trial,
    actor: Actor,
    command: AmendProtocol | AmendSettings,
    amended: Callable[[Reader, Mapping[str, Any]], _Amended],
) -> Receipt:
    def change(reader: Reader) -> Change:
        study = study_record(reader)
        if command.version not in (None, study["record_version"]):
            raise StaleRecordError("study: somebody changed it since you opened it; reload, compare and save again")
        values, stored = amended(reader, study)
        hashes = {name: trial.files.put(content) for name, content in stored.items()}
        edits: list[Edit] = [Update("study", {"study_id": study["study_id"]}, {**values, "files": hashes})]
        edits += [
            Create("files", {"sha256": hashes[name], "size": len(content), "name": name, "added_by": actor.user_id,
                             "added_at": reader.now})
            for name, content in stored.items()
            if not reader.find("files", {"sha256": hashes[name]})
        ]  # fmt: skip
        return Change("amend_protocol" if isinstance(command, AmendProtocol) else "amend_settings", edits)

    return trial.commit(change, actor, command.reason)


def _protocol_content(trial: Trial, study: Mapping[str, Any]) -> bytes:
    """The protocol file in force; see `study_protocol`."""
    named, stored = study["settings"].get("protocol") or {}, study["files"] or {}
    if (sha256 := stored.get(PROTOCOL_FILE) or stored.get(named.get("file"))) is not None:
        return trial.files.get(sha256)
    name, expected = study["protocol_name"], named.get("sha256")
    if name in packaged_protocols() and read_protocol(name).sha256 == expected:
        return protocol_bytes(name)
    text = f"study {study['study_id']}: holds no {PROTOCOL_FILE}, and no packaged protocol has its hash {expected}"
    raise InputError(f"{text}; put the protocol file beside study.toml and create the trial again")


def _check_amendment(reader: Reader, study: Mapping[str, Any], protocol: Protocol) -> None:
    if protocol.sha256 == (study["settings"].get("protocol") or {}).get("sha256"):
        raise InputError(f"amended protocol: is the one in force (version {protocol.version}); nothing was changed")
    if protocol.version == study["protocol_version"]:
        raise InputError(f"amended protocol: found version {protocol.version} again; give the amendment a new version")
    used = {row["arm"] for row in reader.records("subjects") if row["arm"]}
    if missing := sorted(used - set(protocol.arms)):
        raise InputError(f"amended protocol: lacks arm {missing[0]}, to which subjects are randomised; keep that arm")


def _monitor(monitor: Monitor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": monitor.id, "event": monitor.event, "within_days": monitor.within_days, "p0": monitor.p0,
        "tau": monitor.tau, "prior_ess": monitor.prior_ess,
    }  # fmt: skip
    return found | ({"looks": list(monitor.looks)} if monitor.looks else {})

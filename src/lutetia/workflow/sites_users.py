"""Sites and the delegation log: which sites take part, and who may do which task there from when to when.

Not here: accounts, passwords and roles (`accounts_form`), what a role may do (`trial.access`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lutetia.core.clock import time_zone
from lutetia.errors import InputError, MissingRecordError, TrialError
from lutetia.trial import Actor, Change, Create, Reader, Receipt, Record, Trial, Update, access
from lutetia.trial.clock import day
from lutetia.workflow.edits import required_text

#: Tasks of the delegation log; a new one is a new word here.
TASKS: dict[str, str] = {
    "consent": "take informed consent",
    "eligibility": "assess and sign eligibility",
    "randomisation": "randomise",
    "prescription": "sign prescriptions",
    "dosimetry": "perform dosimetry",
    "administration": "administer the product",
    "product": "receive and account for the product",
    "data_entry": "enter data",
    "adverse_events": "assess adverse events",
    "monitoring": "verify source data",
}
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,11}")
_SENDER = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")  # an application entity title of DICOM (PS3.5, AE)


@dataclass(frozen=True, slots=True)
class AddSite:
    """A site that joins; `site` is its short number or code and part of subject numbers."""

    site: str
    name: str
    country: str
    timezone: str
    opened_on: str
    dicom_senders: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ChangeSite:
    """New values of a site: name, country, timezone, opened_on, dicom_senders; `version` is the one the person saw."""

    site: str
    values: Mapping[str, Any]
    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class CloseSite:
    """The site enrols nobody more; its subjects stay in the trial."""

    site: str
    on: str
    reason: str


@dataclass(frozen=True, slots=True)
class Delegate:
    """A line of the delegation log."""

    user_id: str
    site: str
    task: str
    started_on: str


@dataclass(frozen=True, slots=True)
class EndDelegation:
    """The last day of a delegation."""

    delegation_id: str
    ended_on: str
    reason: str


def add_site(trial: Trial, actor: Actor, command: AddSite) -> Receipt:
    """Open a site.

    Raises
    ------
    InputError
        For a code that could not be part of a subject's number, an unknown time zone, or a date that is none.
    DuplicateRecordError
        If the code is taken.
    """
    access.require(actor, "manage_users")
    if not _SITE.fullmatch(command.site):
        raise InputError(f"site: found {command.site!r}; expected up to 12 letters, digits or hyphens, such as 01")
    time_zone(command.timezone, where="site: timezone")
    values = {
        "site": command.site, "name": required_text(command.name, "name of the site"), "country": command.country,
        "timezone": command.timezone, "state": "open", "opened_on": day(command.opened_on, where="opened_on"),
    }  # fmt: skip

    def change(reader: Reader) -> Change:
        senders = _checked_senders(reader, command.dicom_senders, command.site)
        return Change("add_site", [Create("sites", values | {"dicom_senders": senders})])

    return trial.commit(change, actor)


def change_site(trial: Trial, actor: Actor, command: ChangeSite) -> Receipt:
    """Correct a site's record; name the columns that change.

    Raises
    ------
    InputError
        For a column that cannot change, an unknown time zone, a DICOM sender that is no title or another site's, or an
        opening after the site was closed or after a subject was screened there.
    """
    access.require(actor, "manage_users")
    allowed = ("name", "country", "timezone", "opened_on", "dicom_senders")
    if unknown := [name for name in command.values if name not in allowed]:
        raise InputError(f"site: found {unknown[0]!r}; expected {', '.join(allowed)}")
    if "timezone" in command.values:
        time_zone(str(command.values["timezone"]), where="site: timezone")

    def change(reader: Reader) -> Change:
        values = dict(command.values)
        if "dicom_senders" in values:
            values["dicom_senders"] = _checked_senders(reader, values["dicom_senders"], command.site)
        if "opened_on" in values:
            values["opened_on"] = _checked_opening(reader, command.site, str(values["opened_on"]))
        return Change("change_site", [Update("sites", {"site": command.site}, values, command.version)])

    return trial.commit(change, actor, command.reason)


def _checked_opening(reader: Reader, site: str, opened_on: str) -> str:
    """The corrected day of opening; not after the closure or the first screening."""
    found = day(opened_on, where="opened_on")
    closed = reader.record("sites", {"site": site})["closed_on"]
    if closed and found > closed:
        raise InputError(f"opened_on: found {found}, after the site was closed on {closed}; correct one of them")
    own = {row["subject_id"] for row in reader.records("subjects", site=site)}
    screened = [row["on"] for row in reader.records("disposition", event="screened") if row["subject_id"] in own]
    if screened and found > min(screened):
        raise InputError(f"opened_on: found {found}; expected a day up to the first screening there, {min(screened)}")
    return found


def _checked_senders(reader: Reader, senders: Sequence[str], site: str) -> list[str]:
    """Titles of scanners and archives that may send images for a site; each belongs to one site only."""
    for title in senders:
        if not _SENDER.fullmatch(title):
            raise InputError(f"DICOM sender: found {title!r}; expected a title of 1 to 16 plain letters or digits")
    for other in reader.records("sites"):
        if other["site"] != site and (taken := set(senders) & set(other["dicom_senders"] or ())):
            raise InputError(f"DICOM sender {min(taken)}: belongs to site {other['site']}; a sender has one site only")
    return list(dict.fromkeys(senders))


def close_site(trial: Trial, actor: Actor, command: CloseSite) -> Receipt:
    """Close a site for enrolment."""
    access.require(actor, "manage_users")

    def change(reader: Reader) -> Change:
        found = open_site(reader, command.site)
        on = day(command.on, where="on")
        if found["opened_on"] and on < found["opened_on"]:
            raise InputError(f"site {command.site}: found {on}, before it was opened on {found['opened_on']}")
        return Change("close_site", [Update("sites", {"site": command.site}, {"state": "closed", "closed_on": on})])

    return trial.commit(change, actor, required_text(command.reason, "reason of the closure"))


def open_site(reader: Reader, site: str) -> Record:
    """The record of a site that takes subjects.

    Raises
    ------
    MissingRecordError
        If there is no such site.
    TrialError
        If it is closed.
    """
    found = reader.find("sites", {"site": site})
    if found is None:
        raise MissingRecordError(f"site {site}: is not in this trial; ask the administrator to add it")
    if found["state"] != "open":
        raise TrialError(f"site {site}: was closed on {found['closed_on']}; expected an open site")
    return found


def delegate(trial: Trial, actor: Actor, command: Delegate) -> Receipt:
    """Write a line of the delegation log; `result` is its number.

    Raises
    ------
    InputError
        For a task that the log does not know, or a delegation that overlaps one of the same task.
    MissingRecordError
        If there is no such user or site.
    """
    access.require(actor, "manage_users")
    if command.task not in TASKS:
        raise InputError(f"task: found {command.task!r}; expected one of {', '.join(TASKS)}")
    started_on = day(command.started_on, where="started_on")

    def change(reader: Reader) -> Change:
        open_site(reader, command.site)
        if reader.find("users", {"user_id": command.user_id}) is None:
            raise MissingRecordError(f"user {command.user_id}: has no account; add the account first")
        held = reader.records("delegations", user_id=command.user_id, site=command.site, task=command.task)
        if any(row["ended_on"] is None or row["ended_on"] >= started_on for row in held):
            raise InputError(f"{command.user_id}: holds {command.task} at site {command.site} already; end that first")
        number = f"D{reader.count('delegations') + 1:04d}"
        values = {"delegation_id": number, "user_id": command.user_id, "site": command.site, "task": command.task,
                  "started_on": started_on, "delegated_by": actor.user_id}  # fmt: skip
        return Change("delegate", [Create("delegations", values)], result=number)

    return trial.commit(change, actor)


def end_delegation(trial: Trial, actor: Actor, command: EndDelegation) -> Receipt:
    """Write the last day of a delegation; the line stays in the log."""
    access.require(actor, "manage_users")
    ended_on = day(command.ended_on, where="ended_on")

    def change(reader: Reader) -> Change:
        found = reader.record("delegations", {"delegation_id": command.delegation_id})
        if found["ended_on"]:
            raise InputError(f"delegation {command.delegation_id}: ended on {found['ended_on']} already")
        if ended_on < found["started_on"]:
            raise InputError(f"delegation: found the end {ended_on} before the start {found['started_on']}")
        return Change("end_delegation", [Update("delegations", found["record_id"], {"ended_on": ended_on})])

    return trial.commit(change, actor, required_text(command.reason, "reason"))


def delegated(reader: Reader, user_id: str, site: str, task: str, on: str) -> bool:
    """Whether the log says that the person had this task at the site on that day."""
    rows = reader.records("delegations", user_id=user_id, site=site, task=task)
    return any(row["started_on"] <= on and (row["ended_on"] is None or on <= row["ended_on"]) for row in rows)

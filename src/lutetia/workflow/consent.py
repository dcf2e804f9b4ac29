"""Consent: which version a subject signed, when and with whom; and its withdrawal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lutetia.errors import InputError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Record, Trial, Update, access
from lutetia.trial.states import SUBJECT_RANDOMISED
from lutetia.workflow.course_records import local_day, subject_of
from lutetia.workflow.cycles import cancelled_cycles
from lutetia.workflow.documents import version_in_force
from lutetia.workflow.edits import allowed_subject, local_now, now_of, query_edits, required_text, subject_step
from lutetia.workflow.entry_checks import SoftFinding, check_form
from lutetia.workflow.screening import past_day
from lutetia.workflow.sites_users import delegated

MAIN = "main"
CONSENT_BEFORE_DAYS = 365  # assumption: an older consent is of another trial, or of another year


@dataclass(frozen=True, slots=True)
class RecordConsent:
    """A consent that the subject signed on paper; `taken_by` is the user who took it."""

    subject_id: str
    consent_version: str
    signed_on: str
    taken_by: str
    kind: str = MAIN
    note: str = ""


@dataclass(frozen=True, slots=True)
class WithdrawConsent:
    """The subject withdrew consent; treatment and data collection end, data so far stay."""

    subject_id: str
    on: str
    reason: str


def record_consent(trial: Trial, actor: Actor, command: RecordConsent) -> Receipt:
    """Store a consent; the version has to be the one in force at the site on that day.

    A version of a site without registered consent documents, and a person without a delegation to take consent, are
    stored and asked about.

    Raises
    ------
    InputError
        For a future date, another version than the one in force, or a person who has no role at the site.
    DuplicateRecordError
        If this version was signed already.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        form = {"kind": command.kind, "consent_version": command.consent_version, "signed_on": command.signed_on,
                "note": command.note}  # fmt: skip
        where = f"consent of {command.subject_id}"
        _require_taker(reader, command.taken_by, subject["site"])
        checked = check_form("consents", form, now=local_now(reader, command.subject_id), where=where)
        _check_signed(reader, command.subject_id, str(checked.values["signed_on"]), where)
        findings = [*checked.findings, *_consent_findings(reader, subject, command)]
        key = {"subject_id": command.subject_id, "kind": command.kind, "consent_version": command.consent_version}
        values = checked.values | key | {"taken_by": command.taken_by}
        values["document_id"] = _consent_document(reader, subject["site"], command)
        edits: list[Edit] = [Create("consents", values)]
        event = {"subject_id": command.subject_id, "event": "consented", "on": command.signed_on}
        if command.kind == MAIN and reader.find("disposition", event) is None:
            edits.append(Create("disposition", event))
        edits += query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"], table="consents",
                             values=values)  # fmt: skip
        return Change("record_consent", edits)

    return trial.commit(change, actor)


def withdraw_consent(trial: Trial, actor: Actor, command: WithdrawConsent) -> Receipt:
    """End the participation of a subject who withdrew: cycles that were not given are cancelled, their prescriptions
    become void; nothing that was collected before goes.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason of the withdrawal")

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        on = past_day(command.on, local_day(reader, subject["site"], now_of(reader)), "on")
        withdrawn = withdrawn_consents(reader, command.subject_id, on)
        if not withdrawn:
            raise InputError(f"subject {command.subject_id}: found no consent in force; expected one to withdraw")
        randomised = current["state"] in SUBJECT_RANDOMISED
        event = {"subject_id": command.subject_id, "event": "withdrew" if randomised else "screen_failed", "on": on,
                 "reason": reason}  # fmt: skip
        state = "CONSENT_WITHDRAWN" if randomised else "SCREEN_FAILED"
        edits: list[Edit] = [*withdrawn, Create("disposition", event), subject_step(reader, current, state)]
        edits += cancelled_cycles(reader, command.subject_id, f"consent withdrawn: {reason}")
        return Change("withdraw_consent", edits)

    return trial.commit(change, actor, reason)


def withdrawn_consents(reader: Reader, subject_id: str, on: str) -> list[Edit]:
    """The end, on a day, of every consent of a subject that is in force.

    Raises
    ------
    InputError
        If one of them was signed later.
    """
    consents = reader.records("consents", subject_id=subject_id, withdrawn_on=None)
    if any(on < row["signed_on"] for row in consents if row["signed_on"]):
        raise InputError(f"withdrawal: found {on}, before the consent was signed; correct the date")
    return [Update("consents", int(row["record_id"]), {"withdrawn_on": on}) for row in consents]


def main_consents(reader: Reader, subject_id: str) -> list[Record]:
    """Signed main consents of a subject that were not withdrawn."""
    rows = reader.records("consents", subject_id=subject_id, kind=MAIN, withdrawn_on=None)
    return [row for row in rows if row["signed_on"]]


def consent_takers(reader: Reader, site: str) -> dict[str, str]:
    """Printed names, by account, of who may have taken a consent at a site: people who enter data there.

    Where the delegation log of the site has lines for consent, only those who stand in them.
    """
    staff = {
        row["user_id"] for row in reader.records("grants", site=site) if row["role"] in access.RIGHTS["enter_data"]
    }
    logged = {row["user_id"] for row in reader.records("delegations", site=site, task="consent")}
    named = (staff & logged) or staff
    return {row["user_id"]: row["name"] for row in reader.records("users") if row["user_id"] in named}


def _check_signed(reader: Reader, subject_id: str, signed_on: str, where: str) -> None:
    """Refuse a day long before screening, and one after the subject left."""
    days = {str(row["event"]): str(row["on"]) for row in reader.records("disposition", subject_id=subject_id)}
    screened = days.get("screened", signed_on)
    if (date.fromisoformat(screened) - date.fromisoformat(signed_on)).days > CONSENT_BEFORE_DAYS:
        raise InputError(f"{where}: signed_on: found {signed_on}, more than {CONSENT_BEFORE_DAYS} days before "
                         f"screening on {screened}; check the year")  # fmt: skip
    for event in ("screen_failed", "withdrew", "died"):
        if signed_on > days.get(event, signed_on):
            left = f"after the subject left ({event.replace('_', ' ')}) on {days[event]}"
            raise InputError(f"{where}: signed_on: found {signed_on}, {left}; correct the date")


def _require_taker(reader: Reader, user_id: str, site: str) -> None:
    """Refuse a person whose roles are all elsewhere; whether the task was delegated is asked, not refused."""
    granted = reader.records("grants", user_id=user_id)
    if granted and not any(row["site"] == site and row["role"] in access.RIGHTS["enter_data"] for row in granted):
        held = ", ".join(sorted({row["role"].replace("_", " ") for row in granted}))
        raise InputError(f"taken_by: found {user_id} ({held}); expected a person who enters data at site {site}")


def _consent_findings(reader: Reader, subject: Record, command: RecordConsent) -> Sequence[SoftFinding]:
    found = []
    if version_in_force(reader, "consent", subject["site"], command.signed_on) is None:
        text = f"no consent form is registered as in force at site {subject['site']} on {command.signed_on}"
        found.append(SoftFinding("consent_version", f"{text}; which version was signed?"))
    if not delegated(reader, command.taken_by, subject["site"], "consent", command.signed_on):
        text = f"{command.taken_by} was not delegated to take consent at site {subject['site']} on {command.signed_on}"
        found.append(SoftFinding("taken_by", f"{text}; is the delegation log complete?"))
    return found


def _consent_document(reader: Reader, site: str, command: RecordConsent) -> str | None:
    document = version_in_force(reader, "consent", site, command.signed_on)
    if document is None:
        return None
    if command.consent_version != document["version"]:
        found = f"found version {command.consent_version}; expected {document['version']}, in force at site {site}"
        raise InputError(f"consent of {command.subject_id}: {found} on {command.signed_on}; consent again on that form")
    return str(document["document_id"])

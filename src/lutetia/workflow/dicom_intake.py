"""DICOM objects that arrive for the trial: who it is, pseudonym, cycle, filing; or quarantine with the reason.

Here: the use case `receive_object`, the cycle that an image belongs to, and the decision on quarantined objects. Not
here: the network (`lutetia.node`), what passes the door (`lutetia.imaging.pseudonymise`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol, cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from lutetia.errors import IdentityError, ImageError, InputError, MissingRecordError, StorageError
from lutetia.imaging.dicom_files import stored_values
from lutetia.imaging.pseudonymise import Pseudonym, check_admissible, pseudonymise
from lutetia.trial import access
from lutetia.trial.backup import QUARANTINE
from lutetia.trial.identities import date_shift, subjects_of_local_number
from lutetia.trial.keys import KeyRing, seal, unseal
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Receipt, Update
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import cycle_of, given_cycles, site_zone, study_of, subject_of
from lutetia.workflow.edits import required_text

FOLLOWING = timedelta(days=28)  # assumption: images later than this after an infusion belong to no cycle by themselves
_DAYS = ("AcquisitionDate", "AcquisitionDateTime", "SeriesDate", "StructureSetDate", "ContentDate", "StudyDate")


class Identities(Protocol):
    """The site's identity list, as far as the door needs it."""

    @property
    def salt(self) -> str:
        """Secret of the trial for unique identifiers."""

    def subject_of_patient(self, patient_id: str, *, site: str) -> str | None:
        """The subject of a hospital's patient number."""

    def shift_days(self, subject_id: str) -> int:
        """By how many days the subject's DICOM dates move."""


@dataclass(frozen=True, slots=True)
class SiteIdentities:
    """The identity list of a trial's folder; patient numbers are compared without blanks and case."""

    trial: Trial

    @property
    def salt(self) -> str:
        """Secret of the trial for unique identifiers."""
        return KeyRing(self.trial.folder / "keys").key("dicom").hex()

    def subject_of_patient(self, patient_id: str, *, site: str) -> str | None:
        """The subject of this site with that number in the hospital."""
        with self.trial.read() as reader:
            here = {row["subject_id"] for row in reader.records("subjects", site=site)}
        found = [s for s in subjects_of_local_number(self.trial, patient_id) if s in here]
        return found[0] if len(found) == 1 else None

    def shift_days(self, subject_id: str) -> int:
        """By how many days the subject's DICOM dates move."""
        return date_shift(self.trial, subject_id)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an object: ``filed``, ``known`` (it was there already) or ``quarantined`` with the reason."""

    outcome: str
    subject_id: str | None = None
    cycle: int | None = None
    reason: str = ""


#: Kinds that are noted of a refused object; any other text of that field may be a name.
_MODALITIES = frozenset(
    ("CR", "CT", "DX", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SC", "SEG",
     "SR", "US", "XA")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AssignImages:
    """Put the images of a series to another cycle."""

    series_uid: str
    cycle: int


def site_of_sender(reader: Reader, sender: str) -> str | None:
    """The site that has named this application entity as one of its senders."""
    for site in reader.records("sites"):
        if sender in (site["dicom_senders"] or []):
            return str(site["site"])
    return None


def receive_object(trial: Trial, identities: Identities, dataset: Dataset, *, sender: str) -> Received:
    """Pseudonymise one object and file it by subject and cycle; what may not pass is sealed in quarantine.

    Parameters
    ----------
    dataset
        As it arrived, with file meta information.
    sender
        Name of the sending application entity; its site is in the site's list of senders.

    Raises
    ------
    InputError
        If no site has this sender.
    """
    with trial.read() as reader:
        site = site_of_sender(reader, sender)
    if site is None:
        raise InputError(f"DICOM sender {sender!r}: found in no site's list of senders; add it to the site")
    try:
        _check_object(dataset)
        subject = _subject(identities, dataset, site)
        clean, cycle = _pseudonymised(trial, identities, dataset, site=site, subject=subject)
        return _file(trial, clean, (subject, cycle, sender))
    except (ImageError, IdentityError, InputError) as error:
        return _quarantine(trial, dataset, sender=sender, reason=str(error))


def _check_object(dataset: Dataset) -> None:
    """Refuse what must not pass, and images that nobody could read later: one of them would stop a whole import."""
    check_admissible(dataset)
    if dataset.SOPClassUID != RTStructureSetStorage:
        stored_values(dataset, where="DICOM object")


def _subject(identities: Identities, dataset: Dataset, site: str) -> str:
    subject = identities.subject_of_patient(str(dataset.PatientID), site=site)
    if subject is None:
        raise IdentityError(
            "DICOM object: found a patient who is not in the site's identity list; add the subject there first"
        )
    return subject


def _pseudonymised(
    trial: Trial, identities: Identities, dataset: Dataset, *, site: str, subject: str
) -> tuple[Dataset, int | None]:
    """The object as it may pass, and the cycle that its date belongs to."""
    with trial.read() as reader:
        study = study_of(reader)
        cycle = cycle_of_day(reader, subject, acquired_on(dataset))
        zone = site_zone(reader, site)
    door = Pseudonym(
        subject,
        identities.shift_days(subject),
        identities.salt,
        str(study["study_id"]),
        site_id=site,
        time_point="" if cycle is None else f"cycle {cycle}",
        zone=zone,
    )
    return pseudonymise(dataset, door), cycle


def _file(trial: Trial, clean: Dataset, filing: tuple[str, int | None, str]) -> Received:
    subject, cycle, sender = filing
    digest = trial.files.put(_bytes(clean))
    uid = str(clean.SOPInstanceUID)

    def change(reader: Reader) -> Change:
        before = reader.find("dicom_objects", {"sop_instance_uid": uid})
        if before is not None and before["subject_id"] != subject:
            raise IdentityError(
                "DICOM object: found one that was received for another subject before; expected the same patient; "
                "correct the patient number at the sender"
            )
        if before is not None:
            return Change("receive DICOM object again", [], result="known")
        values = _object_values(clean) | {
            "subject_id": subject,
            "cycle": cycle,
            "sha256": digest,
            "sender": sender,
            "received_at": reader.now,
            "state": "unassigned" if cycle is None else "filed",
        }
        return Change("receive DICOM object", [Create("dicom_objects", values)], result="filed")

    outcome = cast(str, trial.commit(change, _door_actor(sender)).result)
    return Received(outcome, subject, cycle)


def _object_values(clean: Dataset) -> dict[str, object]:
    """What the database keeps of an object; `taken_at` is the moved time of its acquisition."""
    day, clock = str(clean.get("AcquisitionDate") or ""), str(clean.get("AcquisitionTime") or "")
    taken = None
    with suppress(ValueError):
        offset = str(clean.get("TimezoneOffsetFromUTC") or "+0000")
        taken = datetime.strptime(f"{day} {clock[:6]} {offset}", "%Y%m%d %H%M%S %z").isoformat()
    return {
        "sop_instance_uid": str(clean.SOPInstanceUID),
        "series_uid": str(clean.get("SeriesInstanceUID", "")),
        "study_uid": str(clean.get("StudyInstanceUID", "")),
        "frame_uid": str(clean.get("FrameOfReferenceUID", "")),
        "modality": str(clean.get("Modality", "")),
        "sop_class": str(clean.SOPClassUID),
        "taken_at": taken,
    }


def _quarantine(trial: Trial, dataset: Dataset, *, sender: str, reason: str) -> Received:
    """Seal the object as it came, outside of the file store, and keep only why in the database."""
    digest = _seal_away(trial, _bytes(dataset))

    def change(reader: Reader) -> Change:
        if reader.find("quarantine", {"sha256": digest}) is not None:
            return Change("DICOM object in quarantine again", [])
        values = {
            "sha256": digest,
            "reason": reason,
            "sender": sender,
            "modality": known if (known := str(dataset.get("Modality", ""))) in _MODALITIES else "",
            "received_at": reader.now,
            "state": "waiting",
        }
        return Change("DICOM object to quarantine", [Create("quarantine", values)])

    trial.commit(change, _door_actor(sender))
    return Received("quarantined", reason=reason)


def release_quarantined(trial: Trial, identities: Identities, actor: Actor, *, sha256: str) -> Received:
    """Try a quarantined object again, as after its patient was added to the identity list.

    Raises
    ------
    AccessDeniedError, InputError
        If the actor may not enter data at the sender's site; if the object may still not pass.
    """
    row, site = _waiting(trial, actor, sha256)
    dataset = pydicom.dcmread(io.BytesIO(_unseal(trial, sha256)))
    _check_object(dataset)
    subject = _subject(identities, dataset, site)
    clean, cycle = _pseudonymised(trial, identities, dataset, site=site, subject=subject)
    received = _file(trial, clean, (subject, cycle, str(row["sender"])))
    _decide(trial, actor, sha256, "released")
    return received


def discard_quarantined(trial: Trial, actor: Actor, *, sha256: str, reason: str) -> None:
    """Remove a quarantined object for good, with a reason in the audit trail.

    That it came, from whom and why it was refused stays on record.

    Raises
    ------
    AccessDeniedError, InputError
        If the actor may not enter data at the sender's site; without a reason, or if the object does not wait.
    """
    _waiting(trial, actor, sha256)
    _decide(trial, actor, sha256, "discarded", reason=required_text(reason, "reason"))


def assign_images(trial: Trial, actor: Actor, command: AssignImages) -> Receipt:
    """Put all images of a series to a cycle, where the dates alone did not tell.

    Raises
    ------
    MissingRecordError, AccessDeniedError
        If there is no such series or cycle, or the actor may not enter data at the subject's site.
    """

    def change(reader: Reader) -> Change:
        rows = reader.records("dicom_objects", series_uid=command.series_uid)
        if not rows:
            raise MissingRecordError("series: is not in this trial; reload the page")
        if len(subjects := {row["subject_id"] for row in rows}) > 1:
            raise InputError(f"series: holds images of {len(subjects)} subjects; expected one; ask the sender's site")
        access.require(actor, "enter_data", subject_of(reader, rows[0]["subject_id"])["site"])
        cycle_of(reader, rows[0]["subject_id"], command.cycle)
        values = {"cycle": command.cycle, "state": "filed"}
        keys = [{"sop_instance_uid": row["sop_instance_uid"]} for row in rows]
        return Change("assign images to a cycle", [Update("dicom_objects", key, values) for key in keys])

    return trial.commit(change, actor)


def write_images(
    trial: Trial, subject_id: str, cycle: int, folder: Path, *, series: Collection[str] | None = None
) -> int:
    """Write the filed objects of a cycle as files into a folder, a subfolder a series; the number of files.

    `series`: unique identifiers of the series that are written; None for all.
    """
    with trial.read() as reader:
        rows = reader.records("dicom_objects", subject_id=subject_id, cycle=cycle, state="filed")
    rows = [row for row in rows if series is None or row["series_uid"] in series]
    series = {uid: f"{n:02d}" for n, uid in enumerate(sorted({r["series_uid"] for r in rows}), start=1)}
    for number, row in enumerate(rows, start=1):
        path = folder / f"{series[row['series_uid']]}_{row['modality'].lower()}" / f"{number:05d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(trial.files.get(row["sha256"]))
    return len(rows)


def _waiting(trial: Trial, actor: Actor, sha256: str) -> tuple[Record, str]:
    with trial.read() as reader:
        row = reader.record("quarantine", {"sha256": sha256})
        site = site_of_sender(reader, row["sender"])
    access.require(actor, "enter_data", site)
    if row["state"] != "waiting" or site is None:
        raise InputError(f"quarantine: found an object that is {row['state']}; expected one that waits")
    return row, site


def _decide(trial: Trial, actor: Actor, sha256: str, state: str, *, reason: str | None = None) -> None:
    def change(reader: Reader) -> Change:
        values = {"state": state, "decided_by": actor.user_id, "decided_at": reader.now}
        if (found := reader.record("quarantine", {"sha256": sha256})["state"]) != "waiting":
            raise InputError(f"quarantine: found an object that is {found}; somebody decided meanwhile")
        return Change(f"quarantined object {state}", [Update("quarantine", {"sha256": sha256}, values)])

    trial.commit(change, actor, reason)
    _sealed_path(trial, sha256).unlink(missing_ok=True)


def _sealed_path(trial: Trial, sha256: str) -> Path:
    return trial.folder / QUARANTINE / f"{sha256}.sealed"


def _seal_away(trial: Trial, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    path = _sealed_path(trial, digest)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(seal(_quarantine_key(trial), content, context=digest), encoding="ascii")
        beside.replace(path)
    except OSError as error:
        raise StorageError(f"quarantine: {error.strerror}; free space on the disk and send again") from error
    return digest


def _unseal(trial: Trial, sha256: str) -> bytes:
    try:
        text = _sealed_path(trial, sha256).read_text(encoding="ascii")
    except OSError as error:
        raise StorageError("quarantine: the sealed object cannot be read; let it be sent again") from error
    return unseal(_quarantine_key(trial), text, context=sha256)


def _quarantine_key(trial: Trial) -> bytes:
    return KeyRing(trial.folder / "keys").key("quarantine")


def _door_actor(sender: str) -> Actor:
    return Actor("dicom-node", f"DICOM node, sender {sender}")


def acquired_on(dataset: Dataset) -> date | None:
    """Day of the acquisition as the hospital wrote it; None where the object has none."""
    for keyword in _DAYS:
        with suppress(ValueError):
            return date.fromisoformat(str(dataset.get(keyword) or "")[:8])
    return None


def cycle_of_day(reader: Reader, subject_id: str, day: date | None) -> int | None:
    """The last cycle given on or before a day, not more than `FOLLOWING` before it."""
    if day is None:
        return None
    zone = site_zone(reader, subject_of(reader, subject_id)["site"]) or UTC
    days = {given.cycle: given.start.astimezone(zone).date() for given in given_cycles(reader, subject_id)}
    before = [(start, cycle) for cycle, start in days.items() if timedelta(0) <= day - start <= FOLLOWING]
    return max(before)[1] if before else None


def _bytes(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()

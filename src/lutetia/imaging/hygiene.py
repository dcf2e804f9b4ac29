"""Patient identity: a key to compare, copies without names, and texts without identifiers.

No function here returns or prints a name or an identifier. The key of a patient is salted with random bytes of the
running process: it can be compared within one run and means nothing outside of it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from lutetia.errors import IdentityError

_PROCESS_SALT = secrets.token_hex(16)
_IDENTIFIERS = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthName", "AccessionNumber")
# Attributes emptied in copies: the direct identifiers of DICOM PS3.15 Annex E that occur in the objects read here.
# Dates and times stay, because dosimetry needs them: a copy is pseudonymous, not anonymous.
_EMPTIED = (
    "PatientName", "PatientBirthDate", "PatientBirthTime", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "OtherPatientIDs", "OtherPatientNames", "OtherPatientIDsSequence",
    "PatientComments", "AdditionalPatientHistory", "MedicalRecordLocator", "IssuerOfPatientID", "EthnicGroup",
    "Occupation", "MilitaryRank", "CountryOfResidence", "RegionOfResidence", "InsurancePlanIdentification",
    "AccessionNumber", "StudyID", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
    "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "RequestingPhysician",
    "OperatorsName", "ContentCreatorName", "ReviewerName", "StationName", "DeviceSerialNumber", "ProtocolName",
    "StudyDescription", "SeriesDescription", "ImageComments", "RequestAttributesSequence", "PersonName",
    "RequestedProcedureDescription", "PerformedProcedureStepDescription", "PerformedProcedureStepID",
    "StructureSetName", "StructureSetDescription", "StructureSetLabel", "FileSetID", "InstanceCreatorUID",
)  # fmt: skip


def patient_key(dataset: Dataset, *, salt: str | None = None) -> str:
    """Salted SHA-256 of the patient's identity (identifier, else name and birth date); empty if there is none.

    Parameters
    ----------
    dataset
        Any DICOM object.
    salt
        Replaces the random salt of the process.
    """
    parts = [_plain(dataset, "PatientID")]
    if not parts[0]:
        parts = [_plain(dataset, "PatientName"), _plain(dataset, "PatientBirthDate")]
    if not any(parts):
        return ""
    text = "\x1f".join([_PROCESS_SALT if salt is None else salt, *parts])
    return hashlib.sha256(text.encode()).hexdigest()


def check_one_patient(keys: Mapping[str, str]) -> None:
    """Check that all objects belong to one subject.

    Parameters
    ----------
    keys
        Where the object is in the case → its patient key; empty keys are not compared.

    Raises
    ------
    IdentityError
        Naming the first two places that differ, never a name or identifier.
    """
    known = [(where, key) for where, key in keys.items() if key]
    for where, key in known[1:]:
        if key != known[0][1]:
            raise IdentityError(
                f"{where}: found another patient identity than in {known[0][0]}; expected one subject in a case; "
                "check that no file of another subject is in the folder"
            )


def identifiers(datasets: Iterable[Dataset]) -> frozenset[str]:
    """Words of names and identifiers that must not appear in messages; only to be passed to `redact`."""
    texts = {_plain(dataset, name) for dataset in datasets for name in _IDENTIFIERS}
    words = {word for text in texts for word in [text, *re.split(r"[\s^=,;._\-\\/]+", text)]}
    return frozenset(word for word in words if len(word) >= 3)


def redact(text: str, words: Iterable[str]) -> str:
    """Replace every identifying word in a text by ``…``, whatever its case."""
    for word in sorted(words, key=len, reverse=True):
        text = re.sub(re.escape(word), "…", text, flags=re.IGNORECASE)
    return text


def deidentify(dataset: Dataset, pseudonym: str, *, salt: str) -> Dataset:
    """Copy of a DICOM object without direct identifiers, for use in a case.

    Names, identifiers, free texts and private attributes are removed at every level, unique identifiers are replaced
    by salted ones (references between objects stay valid with the same salt), the patient becomes `pseudonym`.
    Dates and times are kept, as dosimetry needs them.
    """
    copy = pydicom.dcmread(_buffer(dataset), force=True)
    copy.remove_private_tags()
    words = identifiers([dataset])
    copy.walk(lambda owner, element: _clean(owner, element, salt, words))
    copy.PatientID, copy.PatientName = pseudonym, pseudonym
    copy.PatientIdentityRemoved = "YES"
    copy.DeidentificationMethod = "direct identifiers removed, dates kept"
    if "SOPInstanceUID" in copy:
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    return copy


def _buffer(dataset: Dataset) -> pydicom.filebase.DicomBytesIO:
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    buffer.seek(0)
    return buffer


def _clean(owner: Dataset, element: pydicom.DataElement, salt: str, words: frozenset[str]) -> None:
    if element.VR in ("LO", "SH", "ST", "LT", "UT", "UC") and isinstance(element.value, str):
        element.value = redact(element.value, words).replace("…", "_")
    if element.keyword in _EMPTIED or element.VR == "PN":
        del owner[element.tag]
    elif element.VR == "UI" and element.value:
        values = element.value if element.VM > 1 else [element.value]
        new = [_replaced(str(value), salt) for value in values]
        element.value = new if element.VM > 1 else new[0]


def _replaced(uid: str, salt: str) -> str:
    """UIDs that DICOM itself defines stay; all others are replaced by a hash."""
    return uid if uid.startswith("1.2.840.10008.") else str(UID(pydicom.uid.generate_uid(entropy_srcs=[salt, uid])))


def _plain(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else re.sub(r"\s+", " ", str(value)).strip().lower()

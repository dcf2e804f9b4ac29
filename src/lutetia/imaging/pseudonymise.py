"""Pseudonyms at the door of a trial: a DICOM object with the subject's pseudonym, shifted dates and no free text.

What passes is listed (`data/pseudonymisation.toml`); whatever is not listed is removed, private attributes included.
All dates of a subject move by the same whole number of days, so that every interval survives; times of day stay. Unique
identifiers are replaced by salted ones, which keeps references between objects. Pixels are not looked at: an object
that says that it has burned-in text, or of a kind whose pixels may show names, is refused and belongs in quarantine.

Not here: who the subject is and by how many days dates move (the site's identity list), the receiver (`lutetia.node`).
"""

from __future__ import annotations

import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag
from pydicom.uid import UID_dictionary, generate_uid  # type: ignore[attr-defined]

from lutetia.core.regions import canonical_region
from lutetia.errors import IdentityError, ImageError, UnknownNameError
from lutetia.imaging.hygiene import identifiers

#: Codes of PS3.16 CID 7050 that say what was done.
METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
METHOD = "lutetia: listed attributes kept, dates moved by whole days"
_NUMBERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})
_NUMBER_TEXT = frozenset({"DS", "IS"})
_PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})
_DATE = re.compile(r"^(\d{4})\.?(\d{2})\.?(\d{2})")
_OLDEST_AGE = 89
_LONG_NUMBER = 5  # digits of a patient's number that a count or an index does not have by chance
_UNLISTED = _NUMBERS | _NUMBER_TEXT | {"TM", "UI"}  # kinds of values that pass without being named
_BARE = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe"})

# The library's warnings of odd values repeat them, names and birth dates among them, on the error output and in logs.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """What replaces a patient: the subject, by how many days its dates move, and where it belongs in the trial.

    `salt` is secret and the same for the whole trial, so that objects that refer to each other still do. `zone` is that
    of the hospital's clocks: an object without an offset gets the one that its acquisition truly had, because the moved
    date may lie on the other side of a clock change.
    """

    subject_id: str
    shift_days: int
    salt: str
    protocol_id: str
    sponsor: str = "not stated"
    site_id: str = ""
    time_point: str = ""
    zone: ZoneInfo | None = None


@dataclass(frozen=True, slots=True)
class _Rules:
    objects: dict[str, str]
    kept: frozenset[str]
    regions: frozenset[str]
    sequences: frozenset[str]
    emptied: frozenset[str]
    dates: frozenset[str]


@cache
def _rules() -> _Rules:
    text = (files("lutetia.imaging") / "data" / "pseudonymisation.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    root = table["objects"].pop("root")
    return _Rules(
        {root + uid: name for uid, name in table["objects"].items()},
        frozenset(table["kept"]["names"].split()),
        frozenset(table["kept"]["region_names"].split()),
        frozenset(table["sequences"]["names"].split()),
        frozenset(table["emptied"]["names"].split()),
        frozenset(table["dates"]["names"].split()),
    )


def admissible_classes() -> tuple[str, ...]:
    """SOP class UIDs of the kinds of objects that dosimetry uses."""
    return tuple(_rules().objects)


def check_admissible(dataset: Dataset) -> None:
    """Refuse objects that must not pass by themselves: other kinds, burned-in text, no patient.

    Raises
    ------
    ImageError
        For kinds of objects that dosimetry does not use, and burned-in annotation.
    IdentityError
        If the object names no patient.
    """
    known = _rules().objects
    uid = str(dataset.get("SOPClassUID", ""))
    if uid not in known:
        kinds = ", ".join(sorted(known.values()))
        name = pydicom.uid.UID(uid).name
        found = "an unknown kind" if name == uid else f"the kind {name!r}"  # an unknown one may be a person's name
        raise ImageError(f"DICOM object: found {found}; expected one of {kinds}")
    if str(dataset.get("BurnedInAnnotation") or "NO").strip().upper() != "NO":
        raise ImageError("DICOM object: found burned-in text; expected pixels without it; remove it at the sender")
    if not str(dataset.get("PatientID", "")).strip():
        raise IdentityError("DICOM object: found no patient identifier; expected the one of the site's identity list")


def pseudonymise(dataset: Dataset, pseudonym: Pseudonym) -> Dataset:
    """A new object with what passes the door, ready to be written.

    Parameters
    ----------
    dataset
        One object, admissible by `check_admissible`.
    pseudonym
        Of its patient.

    Raises
    ------
    ImageError, IdentityError
        As `check_admissible`; for dates that cannot be read.
    """
    check_admissible(dataset)
    cleaner = _Cleaner(pseudonym, _words(dataset))
    result = cleaner.cleaned(dataset)
    _write_identity(result, pseudonym)
    _state_offset(dataset, result, pseudonym.zone)
    result.file_meta = _file_meta(dataset, result)
    return result


def shift_date(text: str, days: int) -> str:
    """A DICOM date or date-time moved by whole days; the rest of the value stays.

    Raises
    ------
    ImageError
        If it does not begin with a date.
    """
    found = _DATE.match(text)
    if found is None:
        raise ImageError("DICOM date: found a value that is no date; expected YYYYMMDD; correct it at the sender")
    year, month, day = (int(part) for part in found.groups())
    try:
        moved = date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise ImageError("DICOM date: found an impossible date; expected YYYYMMDD; correct it at the sender") from error
    rest = text[found.end() :]
    if re.search(r"[^\d.+\-]", rest):
        raise ImageError("DICOM date: found words after the date; expected a time or nothing; correct it at the sender")
    return f"{moved:%Y%m%d}" + rest


@dataclass(frozen=True, slots=True)
class _Cleaner:
    """Rules applied to one object; `words` are the patient's own names and numbers."""

    pseudonym: Pseudonym
    words: frozenset[str]

    def cleaned(self, dataset: Dataset) -> Dataset:
        result = Dataset()
        for element in dataset:
            value = self._element(element, dataset)
            if value is not None:
                result.add(value)
        return result

    def _element(self, element: DataElement, owner: Dataset) -> DataElement | None:
        rules, tag, keyword = _rules(), element.tag, element.keyword
        if tag.is_private or not keyword or _is_overlay_or_curve(tag) or not _is_what_it_says(element):
            return None
        if keyword in rules.emptied:
            keeps_number = element.VR == "IS"
            return self._number(element) if keeps_number else DataElement(tag, element.VR, self._emptied(element))
        if element.VR == "SQ":
            if keyword not in rules.sequences:
                return None
            return DataElement(tag, "SQ", DicomSequence([self.cleaned(item) for item in element.value]))
        if element.VR == "UI":
            return self._mapped(element, self._uid)
        if element.VR in ("DA", "DT"):
            if keyword not in rules.dates:
                return None
            return self._mapped(element, lambda text: shift_date(text, self.pseudonym.shift_days))
        if element.VR == "TM":
            if keyword.startswith("Patient"):
                return None  # the time of birth
            return self._mapped(element, lambda text: text if re.fullmatch(r"[\d:.]{2,16}", text) else "")
        if element.VR in _NUMBER_TEXT:
            return self._number(element)
        if element.VR in _NUMBERS or keyword in _PIXELS:
            return element
        return self._text(element, owner)

    def _emptied(self, element: DataElement) -> str:
        """Empty, but times of day stay: they are no identifier and intervals rest on them."""
        if element.VR == "TM" and re.fullmatch(r"[\d:.]{2,16}", str(element.value or "")):
            return str(element.value)
        return ""

    def _mapped(self, element: DataElement, change: object) -> DataElement:
        assert callable(change)
        if element.value in (None, ""):
            return DataElement(element.tag, element.VR, element.value)
        many = element.VM > 1
        values = [change(str(v).strip()) for v in (element.value if many else [element.value])]
        return DataElement(element.tag, element.VR, values if many else values[0])

    def _number(self, element: DataElement) -> DataElement | None:
        """A number written as text; anything else under such a tag is removed."""
        values = element.value if element.VM > 1 else [element.value]
        if element.value in (None, ""):
            return DataElement(element.tag, element.VR, None)
        own = {str(value).strip() for value in values} & self.words
        if any(len(number) >= _LONG_NUMBER for number in own):
            return None
        return element if all(_is_number(value) for value in values) else None

    def _uid(self, uid: str) -> str:
        if uid in UID_dictionary:
            return uid
        return str(generate_uid(prefix="2.25.", entropy_srcs=[self.pseudonym.salt, uid]))

    def _text(self, element: DataElement, owner: Dataset) -> DataElement | None:
        rules = _rules()
        if element.keyword in rules.regions:
            return DataElement(element.tag, element.VR, self._region(str(element.value or ""), owner))
        if element.keyword not in rules.kept or element.VR in ("OB", "OW", "UN", "UR"):
            return None
        values = [str(v) for v in (element.value if element.VM > 1 else [element.value or ""])]
        if any(self._speaks_of_patient(value, coded=element.VR == "CS") for value in values):
            return None
        if element.keyword == "PatientAge":
            values = [_age(values[0])]
        return DataElement(element.tag, element.VR, values if len(values) > 1 else values[0])

    def _speaks_of_patient(self, value: str, *, coded: bool) -> bool:
        """Whether one of the patient's words is in a text; in a code string it must be a word of its own."""
        plain = _folded(value)
        if coded:
            return bool(self.words & set(re.split(r"[\W_]+", plain)))
        return any(word in plain for word in self.words)

    def _region(self, name: str, owner: Dataset) -> str:
        """The canonical name of a known region, else a number: a name that someone typed may be the patient's."""
        try:
            return canonical_region(name)
        except UnknownNameError:
            number = owner.get("ROINumber", owner.get("SegmentNumber", owner.get("ReferencedROINumber", "")))
            return f"region {number}".strip()


def _words(dataset: Dataset) -> frozenset[str]:
    """Words that must not come out: the patient's names, numbers and birth date, other people's names, the hospital."""
    found = {_folded(word) for word in identifiers([dataset])}
    for element in dataset:
        if element.VR == "PN" and element.value:
            found |= {word for word in re.split(r"[\W_]+", _folded(str(element.value))) if len(word) > 3}
    hospital = _folded(str(dataset.get("InstitutionName") or "").strip())
    born = _DATE.match(str(dataset.get("PatientBirthDate") or ""))
    if born is not None:
        year, month, day = born.groups()
        found |= {f"{year}{month}{day}", f"{year}-{month}-{day}", f"{day}.{month}.{year}", f"{day}/{month}/{year}"}
    return frozenset(found | ({hospital} if len(hospital) > 3 else set()))


def _folded(text: str) -> str:
    """Small letters without accents: devices write Łuczyńska as LUCZYNSKA."""
    plain = unicodedata.normalize("NFKD", text.lower()).translate(_BARE)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _age(text: str) -> str:
    """An age in the standard's form, years above `_OLDEST_AGE` as one class; anything else is left empty."""
    found = re.fullmatch(r"(\d{1,4})([DWMY])", text.strip())
    if found is None:
        return ""
    number, unit = int(found[1]), found[2]
    years = number / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[unit]
    return f"{_OLDEST_AGE + 1:03d}Y" if years >= _OLDEST_AGE + 1 else f"{number:03d}{unit}"


def _is_what_it_says(element: DataElement) -> bool:
    """Whether numbers, times and identifiers stand under attributes that hold such: text is not passed as a number."""
    if element.VR not in _UNLISTED:
        return True
    expected = set(dictionary_VR(element.tag).split(" or "))
    alike = _NUMBERS | _NUMBER_TEXT if element.VR in _NUMBERS | _NUMBER_TEXT else {element.VR}
    return bool(expected & alike)


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(float(str(value)))
    except ValueError:
        return False


def _is_overlay_or_curve(tag: BaseTag) -> bool:
    return tag.group & 0xFF00 in (0x5000, 0x6000)


def _write_identity(result: Dataset, pseudonym: Pseudonym) -> None:
    """Patient, clinical trial and de-identification attributes."""
    result.PatientID = result.PatientName = pseudonym.subject_id
    result.PatientBirthDate = ""
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = METHOD
    result.DeidentificationMethodCodeSequence = DicomSequence([_code(*pair) for pair in METHOD_CODES])
    result.LongitudinalTemporalInformationModified = "MODIFIED"
    result.ClinicalTrialSponsorName = pseudonym.sponsor
    result.ClinicalTrialProtocolID = pseudonym.protocol_id
    result.ClinicalTrialProtocolName = ""
    result.ClinicalTrialSiteID = pseudonym.site_id
    result.ClinicalTrialSiteName = ""
    result.ClinicalTrialSubjectID = pseudonym.subject_id
    if pseudonym.time_point:
        result.ClinicalTrialTimePointID = pseudonym.time_point
    result.BurnedInAnnotation = "NO"
    if "StructureSetLabel" in result:
        result.StructureSetLabel = "regions"
    if "SharedFunctionalGroupsSequence" in result:
        result.DeviceSerialNumber = "removed"  # enhanced objects must have one


def _state_offset(original: Dataset, result: Dataset, zone: ZoneInfo | None) -> None:
    """Write the offset from UTC that the hospital's clock had on the true day, if the object does not say one."""
    if zone is None or str(result.get("TimezoneOffsetFromUTC") or ""):
        return
    for prefix in ("Acquisition", "Series", "StructureSet", "Content", "Study"):
        text = f"{original.get(prefix + 'Date') or ''} {str(original.get(prefix + 'Time') or '')[:6]}"
        with suppress(ValueError):
            moment = datetime.strptime(text, "%Y%m%d %H%M%S").replace(tzinfo=zone)
            result.TimezoneOffsetFromUTC = f"{moment:%z}"
            return


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _file_meta(original: Dataset, result: Dataset) -> pydicom.dataset.FileMetaDataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    meta.TransferSyntaxUID = original.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    return meta


def texts(dataset: Dataset) -> Iterable[str]:
    """Every text value of an object at every level, for leak checks."""
    for element in dataset.iterall():
        if element.VR != "SQ" and element.keyword not in _PIXELS:
            yield str(element.value)

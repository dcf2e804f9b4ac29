"""What the header of a scan says about subject and administration, for comparison with what the case says.

Nothing is computed from these facts: the case counts. A fact that is missing or cannot be read is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset

from lutetia.errors import LutetiaError
from lutetia.imaging.dicom_time import date_time, offset_of

# RadionuclideTotalDose is in Bq in PET and in MBq in NM (DICOM PS3.3), but exports mix them up. Assumption: nobody is
# given less than 1 MBq or more than 1 TBq of a nuclide for therapy, so that the size tells the unit.
LEAST_BQ = 1e6


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """Sex of the subject, activity given in MBq, and start of the administration."""

    sex: Literal["female", "male"] | None = None
    administered_MBq: float | None = None
    administered_at: datetime | None = None


NO_FACTS = HeaderFacts()


def header_facts(dataset: Dataset, *, zone: ZoneInfo | None) -> HeaderFacts:
    """Read PatientSex, RadionuclideTotalDose and RadiopharmaceuticalStartDateTime of one object.

    Parameters
    ----------
    zone
        Time zone of DICOM times without offset.
    """
    given = (dataset.get("RadiopharmaceuticalInformationSequence") or [Dataset()])[0]
    letter = str(dataset.get("PatientSex") or "").strip().upper()
    sexes: dict[str, Literal["female", "male"]] = {"F": "female", "M": "male"}
    return HeaderFacts(sexes.get(letter), _activity_MBq(given), _started_at(given, dataset, zone))


def _activity_MBq(given: Dataset) -> float | None:
    try:
        value = float(given.get("RadionuclideTotalDose") or 0.0)
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(value) and value > 0):
        return None
    return value / 1e6 if value >= LEAST_BQ else value


def _started_at(given: Dataset, dataset: Dataset, zone: ZoneInfo | None) -> datetime | None:
    try:
        return date_time(
            given, "RadiopharmaceuticalStartDateTime", zone=offset_of(dataset) or zone, where="administration"
        )
    except LutetiaError:  # not readable, or without zone: nothing to compare with
        return None

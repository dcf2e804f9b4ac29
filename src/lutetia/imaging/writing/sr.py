"""Comprehensive 3D SR out: organ doses of one cycle as a measurement report (TID 1500).

One measurement group for each region, method and nuclide, and one for all nuclides together: mean absorbed dose, its
standard deviation, biologically effective dose (of all nuclides only). A group refers to its segment, where there is
one. What was not evaluable is not written: there is no code for it that could not be taken for a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from highdicom import sr
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from lutetia import __version__
from lutetia.core.numbers import six_digits
from lutetia.core.regions import is_tumour
from lutetia.errors import PhysicsError
from lutetia.imaging.writing.common import make_uid, save
from lutetia.imaging.writing.results import (
    MANUFACTURER,
    MODEL,
    SERIAL,
    ResultStudy,
    SourceSeries,
    made_by,
    patient_and_study,
)
from lutetia.imaging.writing.seg import ORGAN, TUMOUR, TYPES

ABSORBED_DOSE = Code("128533", "DCM", "Mean Absorbed Radiation Dose")
STANDARD_DEVIATION, MEAN = Code("386136009", "SCT", "Standard Deviation"), Code("373098007", "SCT", "Mean")
GRAY = Code("Gy", "UCUM", "Gray")
BED = Code("BED", "99LUTETIA", "Biologically Effective Dose")
NUCLIDE, ALL_NUCLIDES = Code("89457008", "SCT", "Radioactive isotope"), Code("ALL", "99LUTETIA", "All nuclides")
BASIS = Code("BASIS", "99LUTETIA", "Basis of the dose")
PROCEDURE = Code("DOSIMETRY", "99LUTETIA", "Internal dosimetry of a therapy cycle")
NUCLIDES: dict[str, Code] = {
    "Lu-177": Code("447553000", "SCT", "^177^Lutetium"),
    "Y-90": Code("14691008", "SCT", "^90^Yttrium"),
}
SIDES = {"left kidney": Code("7771000", "SCT", "Left"), "right kidney": Code("24028007", "SCT", "Right")}
MARROW, BODY = Code("14016003", "SCT", "Bone marrow"), Code("38266002", "SCT", "Entire body")
OTHER_TYPES = {"red marrow": MARROW, "whole body": BODY, "remainder": BODY}


@dataclass(frozen=True, slots=True)
class DoseEntry:
    """Dose of a region by one method: from one nuclide, or from all (`nuclide` None, only there with BED).

    `segment` is the number of the region in the SEG of the cycle, None where it has none.
    """

    region: str
    nuclide: str | None
    absorbed_dose_Gy: float
    absorbed_dose_sd_Gy: float | None
    bed_Gy: float | None
    method: str
    basis: str
    segment: int | None = None


def write_dose_sr(
    entries: Sequence[DoseEntry], path: Path, study: ResultStudy, *, source: SourceSeries, seg_uid: str
) -> Path:
    """Write the organ doses of one cycle.

    Parameters
    ----------
    source
        The images that the regions were drawn on.
    seg_uid
        SOP Instance UID of the SEG that the entries' segments are in.

    Raises
    ------
    PhysicsError
        If there is no entry.
    """
    if not entries:
        raise PhysicsError("SR: found no organ dose in the cycle; expected at least one")
    groups = [_group(n, entry, study, source, seg_uid) for n, entry in enumerate(entries, start=1)]
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=make_uid("software", __version__), name="lutetia", manufacturer_name=MANUFACTURER, model_name=MODEL
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=PROCEDURE,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    dataset = sr.Comprehensive3DSR(
        evidence=_evidence(study, source, seg_uid),
        content=report,
        series_instance_uid=study.uid("SR", "series"),
        series_number=10 * study.cycle + 3,
        sop_instance_uid=study.uid("SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        record_evidence=False,
    )
    dataset.SeriesDescription = f"Organ doses, cycle {study.cycle}"
    dataset.ManufacturerModelName, dataset.DeviceSerialNumber = MODEL, SERIAL
    dataset.SoftwareVersions = __version__
    made_by(dataset, study, study.uid("SR", "dimensions"))
    save(dataset, path)
    return path


def _group(
    number: int, entry: DoseEntry, study: ResultStudy, source: SourceSeries, seg_uid: str
) -> sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    label = f"{entry.region}, {entry.nuclide or 'all nuclides'}"
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=study.uid("SR", str(number)), identifier=label),
        "finding_type": _concept(TUMOUR if is_tumour(entry.region) else ORGAN),
        "finding_sites": None if is_tumour(entry.region) else [_site(entry.region)],
        "algorithm_id": sr.AlgorithmIdentification(name="lutetia", version=__version__, parameters=[entry.method]),
        "measurements": _measurements(entry),
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(name=_concept(NUCLIDE), value=_concept(_nuclide(entry.nuclide))),
            sr.QualitativeEvaluation(name=_concept(BASIS), value=_private(entry.basis)),
        ],
    }
    if entry.segment is None:
        return sr.MeasurementsAndQualitativeEvaluations(**common)
    segment = sr.ReferencedSegment(
        sop_class_uid=SegmentationStorage,
        sop_instance_uid=seg_uid,
        segment_number=entry.segment,
        source_series=sr.SourceSeriesForSegmentation(referenced_series_instance_uid=source.series_uid),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)


def _measurements(entry: DoseEntry) -> list[sr.Measurement]:
    def measured(name: Code, value: float, derivation: Code | None) -> sr.Measurement:
        return sr.Measurement(
            name=_concept(name),
            value=six_digits(value),
            unit=_concept(GRAY),
            derivation=None if derivation is None else _concept(derivation),
        )

    found = [measured(ABSORBED_DOSE, entry.absorbed_dose_Gy, MEAN)]
    if entry.absorbed_dose_sd_Gy is not None:
        found.append(measured(ABSORBED_DOSE, entry.absorbed_dose_sd_Gy, STANDARD_DEVIATION))
    if entry.bed_Gy is not None:
        found.append(measured(BED, entry.bed_Gy, None))
    return found


def _site(region: str) -> sr.FindingSite:
    place = TYPES.get(region) or OTHER_TYPES.get(region)
    side = SIDES.get(region)
    return sr.FindingSite(
        anatomic_location=_private(region) if place is None else _concept(place),
        laterality=None if side is None else _concept(side),
    )


def _nuclide(name: str | None) -> Code:
    if name is None:
        return ALL_NUCLIDES
    return NUCLIDES.get(name) or Code(name, "99LUTETIA", name)


def _private(text: str) -> CodedConcept:
    """A concept of our own whose meaning is the text."""
    return CodedConcept(text.upper().replace(" ", "_")[:16], "99LUTETIA", text[:64])


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme_designator, code.meaning)


def _evidence(study: ResultStudy, source: SourceSeries, seg_uid: str) -> list[Dataset]:
    """What the report refers to: the SEG of this study."""
    dataset = patient_and_study(study)
    dataset.SOPClassUID, dataset.SOPInstanceUID = SegmentationStorage, seg_uid
    dataset.SeriesInstanceUID = study.uid("SEG", "series")
    dataset.Modality = "SEG"
    return [dataset]

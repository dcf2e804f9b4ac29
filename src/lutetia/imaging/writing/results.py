"""What all DICOM results of a plan share: the pseudonym they are filed under, and the images they refer to.

Only the case's pseudonym is written as patient; results are a study of their own. Of the source images they hold the
unique identifiers of instances, series, study and frame of reference, so that a viewer can lay them over the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from lutetia import __version__
from lutetia.core.geometry import Grid
from lutetia.errors import ImageError
from lutetia.imaging.dicom_files import read_series
from lutetia.imaging.dicom_geometry import planes_of_series, stack
from lutetia.imaging.nifti import is_nifti
from lutetia.imaging.writing.common import (
    IMPLEMENTATION_UID,
    date_and_time,
    item,
    make_uid,
    plane_attributes,
    set_attributes,
)

MANUFACTURER, MODEL, SERIAL = "Lutetia", "Lutetia", __version__


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """A DICOM series that results refer to; `instance_uids` in the order of k where there is one file a slice."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    instance_uids: tuple[str, ...]
    frame_of_reference_uid: str


@dataclass(frozen=True, slots=True)
class ResultStudy:
    """The study that the results of one cycle are filed in.

    `key` is what UIDs are made of: the same key gives the same UIDs. `made_at` dates study and content.
    """

    key: str
    pseudonym: str
    sex: Literal["female", "male"]
    made_at: datetime
    cycle: int

    @property
    def study_uid(self) -> UID:
        """Study Instance UID, common to all objects and cycles of one export."""
        return make_uid(self.key, "result study")

    def uid(self, *names: str) -> UID:
        """UID of an object of this cycle."""
        return make_uid(self.key, self.cycle, *names)


def read_source(path: Path, *, where: str) -> SourceSeries:
    """Identifiers of a series on disk, slices in the order of k.

    Raises
    ------
    ImageError
        If it is NIfTI, which has no identifiers, or cannot be read.
    """
    if is_nifti(path):
        raise ImageError(
            f"{where}: found a NIfTI file; expected DICOM: DICOM results refer to DICOM images; plan without --dicom"
        )
    datasets = read_series(path, where=where)
    head = datasets[0]
    if len(datasets) > 1:
        _, index = stack(planes_of_series(datasets, where=where), where=where)
        datasets = [dataset for _, dataset in sorted(zip(index, datasets, strict=True), key=lambda pair: int(pair[0]))]
    return SourceSeries(
        str(head.StudyInstanceUID),
        str(head.SeriesInstanceUID),
        str(head.SOPClassUID),
        tuple(str(dataset.SOPInstanceUID) for dataset in datasets),
        str(head.get("FrameOfReferenceUID", "")),
    )


def patient_and_study(study: ResultStudy) -> Dataset:
    """The pseudonym as patient, and the study of the results."""
    dataset = item(
        SpecificCharacterSet="ISO_IR 192",
        PatientName=f"{study.pseudonym}^",
        PatientID=study.pseudonym,
        PatientBirthDate="",
        PatientSex="F" if study.sex == "female" else "M",
        PatientIdentityRemoved="YES",
        DeidentificationMethod="Pseudonym; of the images only UIDs are kept",
        StudyInstanceUID=study.study_uid,
        StudyDate=f"{study.made_at:%Y%m%d}",
        StudyTime=f"{study.made_at:%H%M%S}",
        StudyID="1",
        StudyDescription="Dosimetry",
        AccessionNumber="",
        ReferringPhysicianName="",
    )
    return dataset


def new_result(study: ResultStudy, sop_class: UID, instance_uid: UID) -> Dataset:
    """Dataset with the patient, study, equipment and common modules."""
    dataset = patient_and_study(study)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = instance_uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    set_attributes(
        dataset,
        {
            "SOPClassUID": sop_class,
            "SOPInstanceUID": instance_uid,
            "Manufacturer": MANUFACTURER,
            "ManufacturerModelName": MODEL,
            "DeviceSerialNumber": SERIAL,
            "SoftwareVersions": __version__,
            "PositionReferenceIndicator": "",
            **date_and_time("InstanceCreation", study.made_at),
            **date_and_time("Content", study.made_at),
            **date_and_time("Series", study.made_at),
        },
    )
    return dataset


def source_headers(source: SourceSeries, study: ResultStudy, grid: Grid) -> list[Dataset]:
    """Headers of the source images with the pseudonym in place of the patient, for objects that refer to them.

    They have the planes of the grid, k by k; a multi-frame image has them all, as functional groups.
    """
    headers = []
    for k, uid in enumerate(source.instance_uids):
        header = patient_and_study(study)
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        set_attributes(
            header,
            {
                "SOPClassUID": source.sop_class_uid,
                "SOPInstanceUID": uid,
                "StudyInstanceUID": source.study_uid,
                "SeriesInstanceUID": source.series_uid,
                "FrameOfReferenceUID": source.frame_of_reference_uid,
                "Modality": "OT",
                "Rows": grid.shape[1],
                "Columns": grid.shape[2],
                **plane_attributes(grid, k),
            },
        )
        if len(source.instance_uids) == 1:
            set_attributes(header, _functional_groups(grid))
        headers.append(header)
    return headers


def _functional_groups(grid: Grid) -> dict[str, Any]:
    plane = plane_attributes(grid, 0)
    measures = item(PixelSpacing=plane["PixelSpacing"], SliceThickness=plane["SliceThickness"])
    orientation = item(ImageOrientationPatient=plane["ImageOrientationPatient"])
    places = [plane_attributes(grid, k)["ImagePositionPatient"] for k in range(grid.shape[0])]
    return {
        "NumberOfFrames": grid.shape[0],
        "SharedFunctionalGroupsSequence": [
            item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])
        ],
        "PerFrameFunctionalGroupsSequence": [
            item(PlanePositionSequence=[item(ImagePositionPatient=place)]) for place in places
        ],
    }


def made_by(dataset: Dataset, study: ResultStudy, organisation: UID) -> None:
    """Replace everything that a library took from the clock or from chance, so that equal input gives equal bytes."""
    set_attributes(dataset, {k: v for k, v in _moments(study).items() if k in dataset})
    for entry in dataset.get("ContributingEquipmentSequence") or []:
        entry.ContributionDateTime = f"{study.made_at:%Y%m%d%H%M%S}"
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for entry in dataset.get(keyword) or []:
            entry.DimensionOrganizationUID = organisation
    for element in patient_and_study(study):
        dataset[element.tag] = element
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_UID


def _moments(study: ResultStudy) -> dict[str, str]:
    names = ("Content", "Series", "InstanceCreation", "Acquisition")
    return {key: value for name in names for key, value in date_and_time(name, study.made_at).items()}

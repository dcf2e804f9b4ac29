"""What all written objects share: the study they belong to, deterministic UIDs, pixels, and safe writing.

Names and identifiers begin with VIRTUAL: nothing written here can be taken for a person.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from lutetia import __version__
from lutetia.core.geometry import Grid
from lutetia.errors import OutputError

PatientPosition = Literal["HFS", "FFS", "HFP", "FFP"]
IMPLEMENTATION_UID = generate_uid(entropy_srcs=["lutetia", "implementation"])


@dataclass(frozen=True, slots=True)
class Study:
    """One visit of a virtual subject: identity, study and frame of reference.

    `started_at` gives the study's date and time; times are written as they stand there (a zone is not converted),
    with TimezoneOffsetFromUTC only if `write_offset`.
    """

    key: str
    patient_id: str
    sex: Literal["female", "male"]
    started_at: datetime
    position: PatientPosition = "HFS"
    weight_kg: float | None = None
    height_cm: float | None = None
    write_offset: bool = False

    def __post_init__(self) -> None:
        if not self.patient_id.startswith("VIRTUAL"):
            raise OutputError("DICOM writing: found a patient identifier that does not begin with VIRTUAL; use one")

    @property
    def study_uid(self) -> UID:
        """Study Instance UID."""
        return make_uid(self.key, "study")

    @property
    def frame_of_reference_uid(self) -> UID:
        """Frame of Reference UID: common to the SPECT and CT of one visit."""
        return make_uid(self.key, "frame of reference")


@dataclass(frozen=True, slots=True)
class WrittenSeries:
    """A series on disk, as later objects refer to it; `files` and `instance_uids` in the order of k."""

    study: Study
    series_uid: UID
    sop_class_uid: UID
    instance_uids: tuple[UID, ...]
    files: tuple[Path, ...]
    grid: Grid


def make_uid(*names: str | int) -> UID:
    """UID that depends on the names only."""
    return generate_uid(entropy_srcs=["lutetia", *map(str, names)])


def new_object(study: Study, sop_class: UID, instance_uid: UID) -> Dataset:
    """Dataset with the patient, study, equipment and common modules."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = instance_uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance_uid
    set_attributes(dataset, _patient_and_study(study))
    set_attributes(dataset, _equipment())
    return dataset


def _patient_and_study(study: Study) -> dict[str, Any]:
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "VIRTUAL^SUBJECT",
        "PatientID": study.patient_id,
        "PatientBirthDate": "",
        "PatientSex": "F" if study.sex == "female" else "M",
        "StudyInstanceUID": study.study_uid,
        "StudyDate": f"{study.started_at:%Y%m%d}",
        "StudyTime": f"{study.started_at:%H%M%S}",
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
    }
    if study.write_offset:
        values["TimezoneOffsetFromUTC"] = f"{study.started_at:%z}"
    if study.weight_kg is not None:
        values["PatientWeight"] = f"{study.weight_kg:g}"
    if study.height_cm is not None:
        values["PatientSize"] = f"{study.height_cm / 100:g}"
    return values


def _equipment() -> dict[str, Any]:
    return {
        "Manufacturer": "Lutetia",
        "ManufacturerModelName": "Virtual subject",
        "DeviceSerialNumber": "VIRTUAL",
        "SoftwareVersions": __version__,
        "PositionReferenceIndicator": "",
    }


def set_attributes(dataset: Dataset, values: dict[str, Any]) -> None:
    """Set DICOM attributes by keyword."""
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def item(**values: Any) -> Dataset:
    """A sequence item with the given attributes."""
    dataset = Dataset()
    set_attributes(dataset, values)
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded concept."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def date_and_time(prefix: str, moment: datetime) -> dict[str, str]:
    """The pair of attributes `prefix`Date and `prefix`Time, to the millisecond."""
    return {f"{prefix}Date": f"{moment:%Y%m%d}", f"{prefix}Time": f"{moment:%H%M%S}.{moment.microsecond // 1000:03d}"}


def plane_attributes(grid: Grid, k: int) -> dict[str, Any]:
    """Image plane module of slice k."""
    orientation, thickness = orientation_of(grid), grid.spacing_mm[0]
    return {
        "ImagePositionPatient": decimals(grid.position_mm((float(k), 0.0, 0.0))),
        "ImageOrientationPatient": orientation,
        "PixelSpacing": decimals(grid.spacing_mm[1:]),
        "SliceThickness": decimals([thickness])[0],
        "SliceLocation": decimals([k * thickness])[0],
    }


def orientation_of(grid: Grid) -> list[str]:
    """ImageOrientationPatient: direction of i (along a row), then of j (along a column)."""
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return decimals([*directions[:, 2], *directions[:, 1]])


def stacking_direction(grid: Grid) -> float:
    """+1 if k runs along the normal row × column, −1 if against it."""
    return 1.0 if np.cross(grid.affine[:3, 2], grid.affine[:3, 1]) @ grid.affine[:3, 0] > 0 else -1.0


def decimals(values: Any) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [f"{round(float(v), 6) + 0.0:.10g}" for v in values]


def set_pixels(dataset: Dataset, stored: NDArray[np.uint16] | NDArray[np.int16]) -> None:
    """Pixel module of one plane (row, column) or of frames (frame, row, column), 16 bits."""
    signed = stored.dtype == np.int16
    set_attributes(
        dataset,
        {
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": stored.shape[-2],
            "Columns": stored.shape[-1],
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": int(signed),
            "PixelData": np.ascontiguousarray(stored.astype("<i2" if signed else "<u2")).tobytes(),
        },
    )
    dataset["PixelData"].VR = "OW"


def save(dataset: Dataset, path: Path) -> None:
    """Write one object; the file appears only when it is complete."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(beside, enforce_file_format=True)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(
            f"{path.name}: cannot be written ({error.strerror}); check the folder and free space"
        ) from error


def check_new_folder(path: Path) -> None:
    """Refuse a path that is not free for a new folder.

    Raises
    ------
    OutputError
        If `path` exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(
            f"{path}: found a file or a folder with content; expected a new or empty folder; name another"
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside `path`, renamed to it at the end; removed if anything fails.

    Raises
    ------
    OutputError
        If `path` exists and is not an empty folder.
    """
    check_new_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield beside
        if path.exists():
            path.rmdir()
        beside.chmod(0o755)
        beside.rename(path)
    finally:
        if beside.exists():
            shutil.rmtree(beside, ignore_errors=True)


def middle(start: datetime, duration_s: float) -> datetime:
    """Middle of an acquisition."""
    return start + timedelta(seconds=duration_s / 2)

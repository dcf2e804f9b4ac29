"""Small DICOM objects for the tests, written with pydicom alone: independent of the package's own writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

FRAME = "1.2.826.0.1.3680043.8.498.1"
HFS = np.array([1.0, 0, 0, 0, 1, 0])
SECRET_NAME, SECRET_ID = "Wisniewska^Zofia", "PESEL58031201234"
LU_HALF_LIFE_S = 159.528 * 3600


def base(sop_class: str, modality: str, **more: Any) -> Dataset:
    """An object with identity and identifiers only."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.Modality = sop_class, modality
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SeriesInstanceUID = data.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.7"
    data.FrameOfReferenceUID = FRAME
    data.PatientName, data.PatientID = SECRET_NAME, SECRET_ID
    for key, value in more.items():
        setattr(data, key, value)
    return data


def pixels(data: Dataset, stored: np.ndarray) -> Dataset:
    """Put 16-bit stored values of shape (row, column) or (frame, row, column) into an object."""
    data.Rows, data.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        data.NumberOfFrames = len(stored)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(stored.dtype.kind == "i")
    data.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    return data


def item(**values: Any) -> Dataset:
    """A sequence item."""
    data = Dataset()
    for key, value in values.items():
        setattr(data, key, value)
    return data


def radiopharmaceutical(
    meaning: str = "^177^Lutetium", half_life_s: float | None = LU_HALF_LIFE_S, **more: Any
) -> Sequence:
    info = item(RadionuclideCodeSequence=Sequence([item(CodeValue="X", CodeMeaning=meaning)]), **more)
    if half_life_s is not None:
        info.RadionuclideHalfLife = half_life_s
    return Sequence([info])


def ramp(shape: tuple[int, int, int] = (4, 5, 6)) -> np.ndarray:
    """Distinct value for every voxel, by (k, j, i)."""
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return (100 * k + 10 * j + i + 1).astype(np.float64)


def pt_series(
    values_Bq_per_mL: np.ndarray,
    *,
    orientation: np.ndarray = HFS,
    origin: Any = (-10.0, -20.0, 30.0),
    spacing: tuple[float, float, float] = (4.0, 3.0, 2.0),
    slopes: Any = None,
    **more: Any,
) -> list[Dataset]:
    """PT slices in the order of k along the normal row × column; rescale slope differs from slice to slice."""
    normal = np.cross(orientation[:3], orientation[3:])
    out = []
    for k, plane in enumerate(values_Bq_per_mL):
        slope = (0.5 + 0.25 * k) if slopes is None else slopes[k]
        data = base(PositronEmissionTomographyImageStorage, "PT", **more)
        data.ImageOrientationPatient = [float(v) for v in orientation]
        data.ImagePositionPatient = [float(v) for v in np.array(origin) + k * spacing[0] * normal]
        data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        data.RescaleSlope, data.RescaleIntercept = slope, 0
        defaults = {
            "Units": "BQML", "DecayCorrection": "NONE", "CorrectedImage": ["ATTN", "SCAT"],
            "AcquisitionDate": "20260113", "AcquisitionTime": "093000", "SeriesDate": "20260113",
            "SeriesTime": "093000", "ActualFrameDuration": 1800000,
            "RadiopharmaceuticalInformationSequence": radiopharmaceutical(),
        }  # fmt: skip
        for key, value in defaults.items():
            if key not in data:
                setattr(data, key, value)
        out.append(pixels(data, np.rint(plane / slope).astype(np.uint16)))
    return out


def nm_object(
    stored: np.ndarray,
    *,
    gap_mm: float | None = 4.0,
    orientation: np.ndarray = HFS,
    origin: Any = (-10.0, -20.0, 30.0),
    mapping: tuple[str, float] | None = ("Bq/ml", 2.5),
    **more: Any,
) -> Dataset:
    data = base(NuclearMedicineImageStorage, "NM", ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"])
    detector = item(
        ImageOrientationPatient=[float(v) for v in orientation], ImagePositionPatient=[float(v) for v in origin]
    )
    data.DetectorInformationSequence = Sequence([detector])
    data.PixelSpacing, data.SliceThickness = [3.0, 2.0], 4.0
    if gap_mm is not None:
        data.SpacingBetweenSlices = gap_mm
    data.SliceVector = list(range(1, len(stored) + 1))
    data.AcquisitionDate, data.AcquisitionTime, data.CorrectedImage = "20260113", "093000", ["ATTN", "SCAT"]
    data.RotationInformationSequence = Sequence([item(ActualFrameDuration=20000, NumberOfFramesInRotation=60)])
    data.RadiopharmaceuticalInformationSequence = radiopharmaceutical()
    if mapping:
        unit = item(CodeValue=mapping[0], CodingSchemeDesignator="UCUM", CodeMeaning=mapping[0])
        data.RealWorldValueMappingSequence = Sequence(
            [
                item(
                    RealWorldValueSlope=mapping[1],
                    RealWorldValueIntercept=0.0,
                    MeasurementUnitsCodeSequence=Sequence([unit]),
                )
            ]
        )
    for key, value in more.items():
        setattr(data, key, value)
    return pixels(data, stored.astype(np.uint16))


def ct_series(
    hounsfield: np.ndarray,
    *,
    origin: Any = (-10.0, -20.0, 30.0),
    orientation: np.ndarray = HFS,
    spacing: tuple[float, float, float] = (4.0, 3.0, 2.0),
    **more: Any,
) -> list[Dataset]:
    normal = np.cross(orientation[:3], orientation[3:])
    out = []
    for k, plane in enumerate(hounsfield):
        data = base(CTImageStorage, "CT", **more)
        data.ImageOrientationPatient = [float(v) for v in orientation]
        data.ImagePositionPatient = [float(v) for v in np.array(origin) + k * spacing[0] * normal]
        data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 2.0, -1024, "HU"
        out.append(pixels(data, np.rint((plane + 1024) / 2).astype(np.int16)))
    return out


def rtstruct(
    contours: dict[str, list[np.ndarray]], *, kind: str = "CLOSED_PLANAR", frame: str = FRAME, **more: Any
) -> Dataset:
    """Contours: name → list of (point, 3) positions in mm."""
    data = base(RTStructureSetStorage, "RTSTRUCT", **more)
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(), Sequence()
    for number, (name, points) in enumerate(contours.items(), start=1):
        data.StructureSetROISequence.append(item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame))
        drawn = [
            item(ContourGeometricType=kind, NumberOfContourPoints=len(p), ContourData=[f"{v:.6g}" for v in np.ravel(p)])
            for p in points
        ]
        data.ROIContourSequence.append(item(ReferencedROINumber=number, ContourSequence=Sequence(drawn)))
    return data


def seg_object(
    masks: dict[str, np.ndarray],
    *,
    kind: str = "BINARY",
    origin: Any = (-10.0, -20.0, 30.0),
    spacing: tuple[float, float, float] = (4.0, 3.0, 2.0),
    drop_empty: bool = True,
    **more: Any,
) -> Dataset:
    """SEG with one frame a segment and slice; 8-bit pixels also for BINARY (1 bit is packed by pydicom)."""
    data = base(SegmentationStorage, "SEG", SegmentationType=kind, **more)
    data.SegmentSequence = Sequence([item(SegmentNumber=n, SegmentLabel=name) for n, name in enumerate(masks, start=1)])
    measures = item(PixelSpacing=[spacing[1], spacing[2]], SliceThickness=spacing[0], SpacingBetweenSlices=spacing[0])
    plane = item(ImageOrientationPatient=[float(v) for v in HFS])
    data.SharedFunctionalGroupsSequence = Sequence(
        [item(PixelMeasuresSequence=Sequence([measures]), PlaneOrientationSequence=Sequence([plane]))]
    )
    data.PerFrameFunctionalGroupsSequence = Sequence()
    frames = []
    if kind == "LABELMAP":
        label = np.zeros(next(iter(masks.values())).shape)
        for number, mask in enumerate(masks.values(), start=1):
            label[mask > 0] = number
        masks = {"": label}
    for number, mask in enumerate(masks.values(), start=1):
        for k, values in enumerate(mask):
            if drop_empty and not values.any():
                continue
            position = [float(v) for v in np.add(origin, (0, 0, k * spacing[0]))]
            group = item(PlanePositionSequence=Sequence([item(ImagePositionPatient=position)]))
            if kind != "LABELMAP":
                group.SegmentIdentificationSequence = Sequence([item(ReferencedSegmentNumber=number)])
            data.PerFrameFunctionalGroupsSequence.append(group)
            frames.append(np.rint(values * 255) if kind == "FRACTIONAL" else values)
    stored = np.array(frames).astype(np.uint8)
    data.Rows, data.Columns = stored.shape[1:]
    data.NumberOfFrames, data.SamplesPerPixel, data.PhotometricInterpretation = len(stored), 1, "MONOCHROME2"
    data.PixelRepresentation = 0
    if kind == "BINARY":
        data.BitsAllocated = data.BitsStored = 1
        data.HighBit = 0
        packed = np.packbits(stored.ravel(), bitorder="little").tobytes()
    else:
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit = 7
        packed = stored.tobytes()
        if kind == "FRACTIONAL":
            data.MaximumFractionalValue, data.SegmentationFractionalType = 255, "OCCUPANCY"
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    return data


def write(folder: Path, objects: list[Dataset], *, seed: int = 0) -> Path:
    """Write objects in shuffled order of file names."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, k in enumerate(np.random.default_rng(seed).permutation(len(objects))):
        objects[k].save_as(folder / f"{n:04d}.dcm", enforce_file_format=True)
    return folder

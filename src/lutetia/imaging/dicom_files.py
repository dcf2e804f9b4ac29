"""DICOM files of one folder, read quietly and within bounds.

pydicom's own warnings and errors may quote element values, which may identify a patient: they never leave this
module. A folder may hold at most `MAX_FILES` files and `MAX_BYTES` bytes: a folder that is larger is not one series
but a whole archive, named by mistake.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lutetia.errors import ImageError
from lutetia.imaging.hygiene import identifiers, redact

MAX_FILES = 20_000
MAX_BYTES = 8 * 1024**3
_BROKEN = (ValueError, EOFError, OSError, LookupError, AttributeError, struct.error, TypeError, RuntimeError)


def list_files(path: Path, *, where: str) -> list[Path]:
    """Files of a folder and its subfolders, or the one file; hidden files and DICOMDIR are left out.

    Raises
    ------
    ImageError
        If there is nothing at `path`, no file in it, or more than `MAX_FILES` files or `MAX_BYTES` bytes.
    """
    if not path.exists():
        raise ImageError(f"{where}: found nothing at {path.name!r}; expected a DICOM folder or file; check the path")
    files, size = [], 0
    for file in [path] if path.is_file() else _walk(path):
        size += file.stat().st_size
        files.append(file)
        if len(files) > MAX_FILES or size > MAX_BYTES:
            raise ImageError(
                f"{where}: found more than {MAX_FILES} files or {MAX_BYTES // 1024**3} GiB; expected the files of one "
                "series; name the folder of the series itself"
            )
    if not files:
        raise ImageError(f"{where}: found an empty folder; expected the DICOM files of one series; export it again")
    return sorted(files)


def _walk(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden and file.name.upper() != "DICOMDIR":
            yield file


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and value checks: their texts can quote element values."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_dataset(path: Path, *, where: str, pixels: bool = True) -> Dataset:
    """One DICOM object.

    Raises
    ------
    ImageError
        If the file is not DICOM, is truncated, or is compressed in a way that cannot be decoded here.
    """
    try:
        with quiet():
            dataset = pydicom.dcmread(path, stop_before_pixels=not pixels)
            dataset.decode()
    except InvalidDicomError:
        raise ImageError(
            f"{where}: found a file that is not DICOM ({path.name}); expected DICOM files only; remove it"
        ) from None
    except _BROKEN:
        raise ImageError(f"{where}: found a truncated or damaged DICOM file ({path.name}); export it again") from None
    if "SOPClassUID" not in dataset:
        raise ImageError(
            f"{where}: found a DICOM file without SOP class ({path.name}), truncated or damaged; export it again"
        )
    return dataset


def read_series(path: Path, *, where: str) -> list[Dataset]:
    """All objects of the one series in a folder (or the one file), with their pixels not yet decoded.

    Raises
    ------
    ImageError
        If a file is not DICOM or damaged, or if there is more than one series.
    """
    datasets: list[Dataset] = []
    for file in list_files(path, where=where):
        try:
            datasets.append(read_dataset(file, where=where))
        except ImageError as error:
            raise ImageError(redact(str(error), identifiers(datasets))) from None
    series = {str(dataset.get("SeriesInstanceUID", "")) for dataset in datasets}
    if len(series) > 1:
        kinds = ", ".join(sorted({str(dataset.get("Modality", "?")) for dataset in datasets}))
        raise ImageError(
            f"{where}: found {len(series)} series ({kinds}) in one folder; expected one; give each series its own "
            "folder, or let `lutetia new-case` sort the export"
        )
    return datasets


def stored_values(dataset: Dataset, *, where: str) -> NDArray[np.generic]:
    """Stored pixel values, shape (frame, row, column), before any rescaling.

    Raises
    ------
    ImageError
        If the pixel data are missing, shorter than the header says, coloured, or compressed with an unknown codec.
    """
    if int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
        raise ImageError(
            f"{where}: found a colour image; expected grey values; give the original series, not a capture"
        )
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise ImageError(f"{where}: found an image object without pixel data, truncated or damaged; export it again")
    try:
        with quiet():
            values = np.asarray(dataset.pixel_array)
    except _BROKEN:
        raise ImageError(
            f"{where}: found pixel data that are truncated, or compressed in a way that cannot be decoded; "
            "export the series again, uncompressed"
        ) from None
    return values if values.ndim == 3 else values[np.newaxis]

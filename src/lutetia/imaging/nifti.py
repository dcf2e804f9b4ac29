"""NIfTI images and label maps in, through SimpleITK, which turns their RAS axes into LPS."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lutetia.core.geometry import Grid
from lutetia.errors import ImageError
from lutetia.imaging.dicom_files import MAX_BYTES

PLACE_TOLERANCE_MM = 0.5  # assumption: rounding of single-precision headers is finer
BLOCK_BYTES = 1 << 22
HEADER_BYTES = (348, 540)  # first number of a NIfTI-1 and a NIfTI-2 file; another one means the other byte order
REAL_TYPES = {"16": "f4", "64": "f8"}  # `datatype` of the header
sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings on standard error can quote file names


def is_nifti(path: Path) -> bool:
    """Whether a path names a NIfTI file (``.nii`` or ``.nii.gz``)."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(path: Path, *, where: str) -> tuple[NDArray[np.float64], Grid]:
    """Values of shape (k, j, i) and the grid (LPS, mm) of a three-dimensional NIfTI image.

    Raises
    ------
    ImageError
        If the file is missing, too large, damaged, not three-dimensional, has sheared axes, no orientation or two, or
        holds values that are not finite.
    """
    if not path.is_file():
        raise ImageError(f"{where}: found nothing at {path.name!r}; expected a NIfTI file; check the path")
    if path.stat().st_size > MAX_BYTES:
        raise ImageError(f"{where}: found a NIfTI file over {MAX_BYTES // 1024**3} GiB; expected one image")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise ImageError(
            f"{where}: found a NIfTI file that cannot be read (truncated, not NIfTI, or with sheared axes); "
            "write it again"
        ) from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ImageError(
            f"{where}: found a NIfTI image of {image.GetDimension()} dimensions; expected three, one value a voxel"
        )
    _check_content(path, image, where=where)
    _check_place(image, where=where)
    return sitk.GetArrayFromImage(image).astype(np.float64), grid_of(image)


def _check_content(path: Path, image: sitk.Image, *, where: str) -> None:
    """Refuse a truncated file and values that are not finite: the library turns both into zeros, without an error."""
    each, start = int(_header(image, "bitpix", "8")) // 8, int(float(_header(image, "vox_offset", "352")))
    size = int(np.prod(image.GetSize())) * each
    found, finite = 0, True
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            real = _real_type(file.read(start), image)
            while block := file.read(BLOCK_BYTES):  # to the end, where gzip has its checksum
                part = block[: max(size - found, 0)]
                if real is not None:
                    finite &= bool(np.isfinite(np.frombuffer(part, real, count=len(part) // each)).all())
                found += len(block)
    except (OSError, EOFError, zlib.error):
        found = 0
    if found < size:
        raise ImageError(f"{where}: found a truncated NIfTI file ({path.name}); write it again")
    if not finite:
        raise ImageError(
            f"{where}: found values that are not a number or infinite; expected finite values; write the file again, "
            "with 0 where nothing was measured"
        )


def _real_type(head: bytes, image: sitk.Image) -> str | None:
    """Type of the voxels in the file, with its byte order, if it can hold values that are not finite."""
    order = "<" if int.from_bytes(head[:4], "little") in HEADER_BYTES else ">"
    letter = REAL_TYPES.get(_header(image, "datatype", ""))
    return None if letter is None else order + letter


def _check_place(image: sitk.Image, *, where: str) -> None:
    """Refuse a NIfTI header without orientation, with two that contradict each other, or not in mm."""
    has_q, has_s = (_header(image, f"{name}_code", "0") != "0" for name in ("qform", "sform"))
    if not (has_q or has_s):
        raise ImageError(
            f"{where}: found a NIfTI image without orientation (qform and sform are unset); it cannot be placed in the "
            "patient; write it with its affine"
        )
    if int(float(_header(image, "xyzt_units", "2"))) & 7 not in (0, 2):
        raise ImageError(f"{where}: found a NIfTI image whose lengths are not in mm; write it again in mm")
    rows = [_header(image, f"srow_{axis}", "").split() for axis in "xyz"]
    if not (has_q and has_s and all(len(row) == 4 for row in rows)):
        return
    sform = np.array(rows, dtype=np.float64)
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] *= np.array(image.GetSize()) - 1
    gaps = [np.abs(corners @ (sform - _qform(image, sign)).T).max() for sign in (1.0, -1.0)]
    if min(gaps) > PLACE_TOLERANCE_MM:
        raise ImageError(
            f"{where}: found a NIfTI image whose qform and sform place it {min(gaps):.1f} mm apart; expected one "
            "place; write it again with one affine"
        )


def _header(image: sitk.Image, key: str, absent: str) -> str:
    return str(image.GetMetaData(key)).strip() if image.HasMetaDataKey(key) else absent


def _qform(image: sitk.Image, sign: float) -> NDArray[np.float64]:
    """3 × 4 matrix of the quaternion form of a NIfTI header; `sign` is its handedness (qfac)."""
    b, c, d = (float(_header(image, f"quatern_{name}", "0")) for name in "bcd")
    rotation = Rotation.from_quat([b, c, d, np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))]).as_matrix()
    spacing = np.array([float(_header(image, f"pixdim[{n}]", "1")) for n in (1, 2, 3)]) * [1.0, 1.0, sign]
    offset = np.array([float(_header(image, f"qoffset_{axis}", "0")) for axis in "xyz"])
    return np.column_stack([rotation * spacing, offset])


def grid_of(image: sitk.Image) -> Grid:
    """Grid of a SimpleITK image (x, y, z order) in our (k, j, i) order."""
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = direction[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    size = image.GetSize()
    return Grid((size[2], size[1], size[0]), affine)


def image_of(values: NDArray[np.generic], grid: Grid) -> sitk.Image:
    """SimpleITK image of an array on a grid; the grid must have axes at right angles."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    spacing = grid.spacing_mm[::-1]
    image.SetSpacing(spacing)
    image.SetOrigin(grid.origin_mm.tolist())
    image.SetDirection((grid.affine[:3, 2::-1] / np.array(spacing)).ravel().tolist())
    return image

"""NIfTI images and label maps in, through SimpleITK, which turns their RAS axes into LPS."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from lutetia.core.geometry import Grid
from lutetia.errors import ImageError
from lutetia.imaging.dicom_files import MAX_BYTES


def is_nifti(path: Path) -> bool:
    """Whether a path names a NIfTI file (``.nii`` or ``.nii.gz``)."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(path: Path, *, where: str) -> tuple[NDArray[np.float64], Grid]:
    """Values of shape (k, j, i) and the grid (LPS, mm) of a three-dimensional NIfTI image.

    Raises
    ------
    ImageError
        If the file is missing, too large, damaged, not three-dimensional, or has sheared axes.
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
    return sitk.GetArrayFromImage(image).astype(np.float64), grid_of(image)


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

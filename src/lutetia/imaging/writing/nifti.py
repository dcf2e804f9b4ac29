"""NIfTI images and label maps out."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import OutputError
from lutetia.imaging.nifti import image_of


def write_nifti(volume: Volume, path: Path) -> Path:
    """Write the values of a volume, in its own unit, as 32-bit NIfTI (``.nii`` or ``.nii.gz``).

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    _write(image_of(volume.values, volume.grid), path)
    return path


def write_label_map(masks: Sequence[RegionMask], path: Path) -> dict[str, str]:
    """Write regions as labels 1, 2, … where they fill at least half a voxel; returns label → region.

    Raises
    ------
    OutputError
        If there is no region, or the file cannot be written.
    """
    if not masks:
        raise OutputError(f"{path.name}: found no region to write; expected at least one")
    labels = np.zeros(masks[0].grid.shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[np.asarray(mask.mask, dtype=np.float32) >= 0.5] = number
    _write(image_of(labels, masks[0].grid), path)
    return {str(number): mask.region for number, mask in enumerate(masks, start=1)}


def _write(image: sitk.Image, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path), useCompression=path.name.endswith(".gz"))
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path.name}: cannot be written; check the folder and free space") from error

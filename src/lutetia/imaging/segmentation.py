"""Regions in: RTSTRUCT, SEG or NIfTI label map, with names made canonical at the door.

To accept one more format: its names and its regions, as two functions in a module beside this one, and a branch of
`read_segmentation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from lutetia.core.geometry import Grid
from lutetia.core.regions import canonical_region
from lutetia.core.volume import RegionMask
from lutetia.errors import ImageError, UnknownNameError
from lutetia.imaging.dicom_files import list_files, read_dataset
from lutetia.imaging.hygiene import check_one_patient, identifiers, patient_key, redact
from lutetia.imaging.nifti import is_nifti, read_nifti
from lutetia.imaging.rtstruct import rtstruct_frames, rtstruct_names, rtstruct_regions
from lutetia.imaging.seg import seg_names, seg_regions


def read_segmentation(
    path: Path,
    labels: Mapping[str, str] | None = None,
    *,
    grid: Grid | None = None,
    frame_of_reference: str = "",
    patient: str = "",
    where: str = "segmentation",
) -> list[RegionMask]:
    """Read the regions of a segmentation file.

    Parameters
    ----------
    path
        RTSTRUCT, SEG, or NIfTI label map.
    labels
        Number or name in the file → region. When given, only these are read; needed for NIfTI. Without it every name
        in the file must be a known region.
    grid
        Of the image that the regions were drawn on; needed for RTSTRUCT, checked for NIfTI.
    frame_of_reference, patient
        Of that image (``CtScan``, ``SpectScan``); compared with those of the file unless one of them is empty.

    Returns
    -------
    Masks of occupancy 0–1; RTSTRUCT on `grid`, SEG and NIfTI on their own grid.

    Raises
    ------
    ImageError, IdentityError, UnknownNameError
        For unreadable files, other frames of reference or subjects, unknown names, regions outside the image.
    """
    if is_nifti(path):
        return _label_map(path, labels, grid, where=where)
    files = list_files(path, where=where)
    if len(files) != 1:
        raise ImageError(f"{where}: found {len(files)} files; expected one segmentation object; name the file itself")
    dataset = read_dataset(files[0], where=where)
    check_one_patient({"the image it was drawn on": patient, where: patient_key(dataset)})
    modality = str(dataset.get("Modality", ""))
    words = identifiers([dataset])
    if modality == "RTSTRUCT":
        if grid is None:
            raise ImageError(f"{where}: found an RTSTRUCT; expected the image that it was drawn on; give `scan`")
        chosen = choose_regions(rtstruct_names(dataset), labels, words=words, where=where)
        _check_frames(rtstruct_frames(dataset, chosen), frame_of_reference, where=where)
        return rtstruct_regions(dataset, chosen, grid, where=where)
    if modality == "SEG":
        _check_frames([{str(dataset.get("FrameOfReferenceUID") or "")} - {""}], frame_of_reference, where=where)
        chosen = choose_regions(seg_names(dataset), labels, words=words, where=where)
        return seg_regions(dataset, chosen, where=where)
    raise ImageError(f"{where}: found an object of modality {modality!r}; expected RTSTRUCT, SEG or a NIfTI label map")


def choose_regions(
    names: Mapping[int, str],
    labels: Mapping[str, str] | None,
    *,
    words: frozenset[str] = frozenset(),
    where: str,
) -> dict[int, str]:
    """Numbers in a file → canonical regions: those that `labels` lists, else all.

    Parameters
    ----------
    names
        Number → name in the file.
    words
        Identifying words that must not be quoted.
    """
    if not names:
        raise ImageError(f"{where}: found no drawn regions; expected at least one; export the segmentation again")
    chosen: dict[int, str] = {}
    if labels is None:
        for number, name in names.items():
            chosen[number] = _known(name, words, where=where)
    for key, region in (labels or {}).items():
        match = [
            n for n, name in names.items() if str(n) == str(key) or name.strip().lower() == str(key).strip().lower()
        ]
        if not match:
            listed = redact(", ".join(f"{n} {name!r}" for n, name in names.items()), words)
            raise ImageError(f"{where}: found no region {key!r} in the file; it has {listed}; correct `labels`")
        chosen[match[0]] = canonical_region(region, where=f"{where}, labels")
    twice = sorted({region for region in chosen.values() if list(chosen.values()).count(region) > 1})
    if twice:
        raise ImageError(
            f"{where}: found {twice[0]} twice in the file; expected each region once; choose with `labels`"
        )
    return chosen


def _known(name: str, words: frozenset[str], *, where: str) -> str:
    try:
        return canonical_region(name, where=where)
    except UnknownNameError as error:
        text = redact(str(error), words)
        raise ImageError(f'{text}; give labels = {{ "name in the file" = "region" }} for those to be used') from None


def _check_frames(found: Iterable[set[str]], expected: str, *, where: str) -> None:
    """Refuse regions of which one cannot be in the expected frame; a region that names none is taken as it is."""
    if expected and any(possible and expected not in possible for possible in found):
        raise ImageError(
            f"{where}: found regions in another frame of reference than the image of `scan`; expected the same; "
            "name the scan that they were drawn on, or export them for it"
        )


def _label_map(path: Path, labels: Mapping[str, str] | None, grid: Grid | None, *, where: str) -> list[RegionMask]:
    values, own = read_nifti(path, where=where)
    numbers = np.unique(values)
    if not np.array_equal(numbers, np.rint(numbers)):
        raise ImageError(f"{where}: found a NIfTI image with fractions; expected a label map of whole numbers")
    if not labels:
        raise ImageError(
            f"{where}: found a NIfTI label map without names; expected them in the case; "
            'give labels = { 1 = "left kidney", 2 = "right kidney" }'
        )
    if grid is not None and not _overlap(own, grid):
        raise ImageError(f"{where}: found a label map outside the image it was drawn on; check `scan` and the geometry")
    chosen = choose_regions({int(n): "" for n in numbers if n != 0}, labels, where=where)
    return [RegionMask(region, values == number, own) for number, region in chosen.items()]


def _overlap(own: Grid, other: Grid) -> bool:
    """Whether the boxes of two grids share any place (checked on corners and centre lines)."""
    share = np.stack(np.meshgrid(*([np.linspace(0.0, 1.0, 9)] * 3), indexing="ij"), axis=-1).reshape(-1, 3)
    index = other.index_of(own.position_mm(share * (np.array(own.shape) - 1)))
    return bool(((index >= -0.5) & (index <= np.array(other.shape) - 0.5)).all(axis=1).any())

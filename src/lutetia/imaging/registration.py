"""Rigid registration of two scans of one subject through SimpleITK.

CT to CT: mutual information of clipped HU inside the body, on voxels of about `SPACING_MM`, from the best of several
starts. Outside of an image, at its edges and on the table nothing is compared: an edge of the field of view that
takes part pulls the result along z. One thread and regular sampling make it reproducible.
SPECT to SPECT: correlation of square roots, for scans without CT.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lutetia.core.chain import Doubt
from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import ImageError
from lutetia.imaging.nifti import image_of
from lutetia.imaging.resample import coarse_grid, resample_mask, resample_volume
from lutetia.imaging.transform import RegistrationQuality, RigidTransform, inverse

FloatArray = NDArray[np.float64]
Kind = Literal["CT", "SPECT"]
SPACING_MM = 5.0
COARSE_MM = 10.0
HU_RANGE = (-200.0, 250.0)  # assumption: soft tissue and the outline of bone decide, not air or metal
# Assumptions: beyond these a registration is doubted; tests recover a planted motion far within them.
MIN_CORRELATION = {"CT": 0.8, "SPECT": 0.6}
MAX_INCONSISTENCY_MM = 2.0
MIN_OVERLAP = 0.6
MAX_REFINEMENT_MM = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """An image ready for comparison: values, and where they may be compared."""

    volume: Volume
    mask: NDArray[np.bool_]

    @property
    def image(self) -> sitk.Image:
        return image_of(self.volume.values, self.volume.grid)

    @property
    def mask_image(self) -> sitk.Image:
        return image_of(self.mask.astype(np.uint8), self.volume.grid)


def register_rigid(
    fixed: Volume,
    moving: Volume,
    *,
    kind: Kind = "CT",
    spacing_mm: float = SPACING_MM,
    where: str = "registration",
) -> RigidTransform:
    """Rigid transform from `fixed` to `moving`, with its quality.

    Parameters
    ----------
    fixed, moving
        Two CTs in HU, or two SPECT volumes.
    kind
        "CT" or "SPECT".
    spacing_mm
        Voxels on which the images are compared.

    Returns
    -------
    p_moving = R p_fixed + t; quality with correlation, inverse consistency and overlap, and doubts about them.

    Raises
    ------
    ImageError
        If an image holds no body, or the registration does not come to an end.
    """
    reduced = [resample_volume(v, coarse_grid(v.grid, spacing_mm), fill=float(v.values.min())) for v in (fixed, moving)]
    coarse = [_prepare(v, COARSE_MM, kind, where=where) for v in reduced]
    fine = [_prepare(v, spacing_mm, kind, where=where) for v in reduced]
    start = _best_start(coarse[0], coarse[1], kind)
    forward = _optimise(coarse, fine, start, kind, where=where)
    # Swapped images and the same distance from the start: an independent estimate of the inverse.
    backward = _optimise(coarse[::-1], fine[::-1], inverse(forward), kind, where=where)
    both = _middle(forward, inverse(backward))
    return RigidTransform(both.matrix, _quality(fine[0], fine[1], both, (forward, backward), kind, where=where))


def refine_for_region(
    fixed: Volume, moving: Volume, transform: RigidTransform, *, region: RegionMask, margin_mm: float = 15.0
) -> RigidTransform:
    """Shift a registration so that one organ fits: organs move against the body with breathing and posture.

    Only the shift is changed, only the surroundings of the organ are compared. A shift over `MAX_REFINEMENT_MM` is
    refused with a doubt, and one that does not raise the correlation there is not made.

    Parameters
    ----------
    region
        On any grid in the moving space (where it was drawn).
    """
    here = [_prepare(v, SPACING_MM * 0.8, "CT", where=region.region) for v in (fixed, moving)]
    near = _near(region, here[0].volume.grid, transform, margin_mm) & here[0].mask
    if near.sum() < 50:
        doubt = Doubt(
            "registration-region-outside", f"{region.region} is outside the scan it is carried to", region.region
        )
        return _with_doubt(transform, doubt)
    local = _Prepared(here[0].volume, near)
    method = _method(local, here[1], "CT", sampling=1.0)
    shift = sitk.TranslationTransform(3)
    method.SetInitialTransform(shift, inPlace=True)
    method.SetMovingInitialTransform(_affine(transform))
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.02, 60)
    try:
        method.Execute(local.image, here[1].image)
    except RuntimeError:
        return _with_doubt(transform, Doubt("registration-refinement", "the organ could not be aligned", region.region))
    matrix = transform.matrix.copy()
    moved = np.eye(4)
    moved[:3, 3] = shift.GetOffset()
    refined = RigidTransform(matrix @ moved, transform.quality)
    before, after = (_correlation(local, here[1], t)[0] for t in (transform, refined))
    moved_mm = float(np.linalg.norm(shift.GetOffset()))
    if moved_mm > MAX_REFINEMENT_MM:
        text = f"aligning the organ alone would move it by {moved_mm:.0f} mm; the alignment of the body is kept"
        return _with_doubt(transform, Doubt("registration-refinement", text, region.region))
    return refined if after > before else transform


def region_correlations(
    fixed: Volume, moving: Volume, transforms: Sequence[RigidTransform], *, regions: Sequence[RegionMask]
) -> list[float | None]:
    """Correlation of two CTs within 10 mm of each region, None where they share too little there.

    Parameters
    ----------
    transforms
        From fixed to moving space, one a region.
    regions
        In the moving space.
    """
    here = [_prepare(v, SPACING_MM, "CT", where="registration") for v in (fixed, moving)]
    out: list[float | None] = []
    for transform, region in zip(transforms, regions, strict=True):
        near = _near(region, here[0].volume.grid, transform, 10.0) & here[0].mask
        value = _correlation(_Prepared(here[0].volume, near), here[1], transform)[0] if near.sum() >= 50 else -1.0
        out.append(None if value <= -1.0 else value)
    return out


def _with_doubt(transform: RigidTransform, doubt: Doubt) -> RigidTransform:
    q = transform.quality
    quality = RegistrationQuality(q.method, q.correlation, q.inverse_consistency_mm, q.overlap, (*q.doubts, doubt))
    return RigidTransform(transform.matrix, quality)


def _near(region: RegionMask, grid: Grid, transform: RigidTransform, margin_mm: float) -> NDArray[np.bool_]:
    """Voxels within a margin of a carried region."""
    mask = resample_mask(region, grid, transform).mask > 0.5
    if not mask.any():
        return np.asarray(mask)
    distance = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)
    return np.asarray(distance <= margin_mm)


def _prepare(volume: Volume, spacing_mm: float, kind: Kind, *, where: str) -> _Prepared:
    grid = coarse_grid(volume.grid, spacing_mm)
    small = resample_volume(volume, grid, fill=float(volume.values.min()))
    if kind == "CT":
        values = np.clip(small.values, *HU_RANGE)
        mask = body_mask(small)
    else:
        values = np.sqrt(np.clip(small.values, 0.0, None))
        mask = _dilated(values > 0.1 * values.max(), 3)
    inner = np.zeros(mask.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True  # the outermost voxels are the edge of the field of view
    mask = mask & inner
    if mask.sum() < 200:
        raise ImageError(f"{where}: found no body in the {kind}; expected a patient; check the series")
    return _Prepared(Volume(values.astype(np.float32), grid, volume.unit), mask)


def body_mask(ct: Volume) -> NDArray[np.bool_]:
    """Body of a CT in HU: largest connected piece of tissue without the table, with a margin of two voxels."""
    tissue = ndimage.binary_opening(ct.values > -300, iterations=1)
    labels, count = ndimage.label(tissue)
    if count == 0:
        return np.zeros(ct.values.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return _dilated(labels == sizes.argmax(), 2)


def _dilated(mask: NDArray[np.bool_], iterations: int) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_dilation(mask, iterations=iterations), dtype=bool)


def _method(fixed: _Prepared, moving: _Prepared, kind: Kind, *, sampling: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    if kind == "CT":
        method.SetMetricAsMattesMutualInformation(32)
    else:
        method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR if sampling < 1 else method.NONE)
    method.SetMetricSamplingPercentage(sampling, seed=1)
    method.SetMetricFixedMask(fixed.mask_image)
    method.SetMetricMovingMask(sitk.Cast(image_of(_valid(moving), moving.volume.grid), sitk.sitkUInt8))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _valid(moving: _Prepared) -> NDArray[np.uint8]:
    """Moving voxels that may be compared: all but the edge of the field of view."""
    valid = np.zeros(moving.mask.shape, dtype=np.uint8)
    valid[1:-1, 1:-1, 1:-1] = 1
    return valid


def _best_start(fixed: _Prepared, moving: _Prepared, kind: Kind) -> RigidTransform:
    """Best of shifts along z from equal coordinates and from equal centres of the bodies."""
    centre = [p.volume.grid.position_mm(np.argwhere(p.mask).mean(axis=0)) for p in (fixed, moving)]
    across = centre[1] - centre[0]
    bases = [np.zeros(3), across, np.array([across[0], across[1], 0.0])]
    best, best_score = np.eye(4), -np.inf
    for base in bases:
        for z in np.arange(-100.0, 101.0, 20.0):
            matrix = np.eye(4)
            matrix[:3, 3] = np.add(base, (0.0, 0.0, z))
            score, overlap = _correlation(fixed, moving, RigidTransform(matrix))
            if overlap >= 0.5 and score > best_score:
                best, best_score = matrix, score
    return RigidTransform(best)


def _optimise(
    coarse: list[_Prepared], fine: list[_Prepared], start: RigidTransform, kind: Kind, *, where: str
) -> RigidTransform:
    """Two levels of optimisation from a start."""
    current = start
    for (fixed, moving), step_mm, sampling in ((coarse, 4.0, 1.0), (fine, 1.0, 0.3)):
        centre = fixed.volume.grid.position_mm(np.argwhere(fixed.mask).mean(axis=0))
        euler = _euler(current, centre)
        method = _method(fixed, moving, kind, sampling=sampling)
        method.SetInitialTransform(euler, inPlace=True)
        method.SetOptimizerAsRegularStepGradientDescent(step_mm, 0.02, 80, 0.6)
        try:
            method.Execute(fixed.image, moving.image)
        except RuntimeError:
            raise ImageError(
                f"{where}: found two scans that could not be registered (too little in common); expected the same part "
                "of the body; give a segmentation for each scan"
            ) from None
        current = _rigid(euler)
    return current


def _middle(first: RigidTransform, second: RigidTransform) -> RigidTransform:
    """Transform half-way between two that are close to each other: their errors have opposite signs in part."""
    gap = np.linalg.inv(first.matrix) @ second.matrix
    half = np.eye(4)
    half[:3, :3] = Rotation.from_rotvec(Rotation.from_matrix(gap[:3, :3]).as_rotvec() / 2).as_matrix()
    half[:3, 3] = gap[:3, 3] / 2
    return _rounded(first.matrix @ half)


def _rounded(matrix: FloatArray) -> RigidTransform:
    """Without the last digits, which depend on the order in which the library adds."""
    out = np.eye(4)
    rotation = Rotation.from_rotvec(Rotation.from_matrix(matrix[:3, :3]).as_rotvec().round(8))
    out[:3, :3] = rotation.as_matrix()
    out[:3, 3] = matrix[:3, 3].round(6)
    return RigidTransform(out)


def _euler(transform: RigidTransform, centre: FloatArray) -> sitk.Euler3DTransform:
    euler = sitk.Euler3DTransform()
    euler.SetCenter(centre.tolist())
    euler.SetMatrix(transform.matrix[:3, :3].ravel().tolist(), 1e-6)
    euler.SetTranslation((transform.apply(centre) - centre).tolist())
    return euler


def _affine(transform: RigidTransform) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(transform.matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(transform.matrix[:3, 3].tolist())
    return affine


def _rigid(euler: sitk.Euler3DTransform) -> RigidTransform:
    rotation = np.array(euler.GetMatrix()).reshape(3, 3)
    centre = np.array(euler.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.array(euler.GetTranslation()) + centre - rotation @ centre
    return RigidTransform(matrix)


def _correlation(fixed: _Prepared, moving: _Prepared, transform: RigidTransform) -> tuple[float, float]:
    """Correlation where both images may be compared, and the share of the fixed body where they can."""
    there = resample_volume(moving.volume, fixed.volume.grid, transform, fill=np.nan).values
    valid = Volume(_valid(moving).astype(np.float32), moving.volume.grid, "counts")
    common = fixed.mask & np.isfinite(there) & (resample_volume(valid, fixed.volume.grid, transform).values > 0.99)
    overlap = float(common.sum() / fixed.mask.sum())
    if common.sum() < 50:
        return -1.0, overlap
    a, b = fixed.volume.values[common].astype(np.float64), there[common].astype(np.float64)
    spread = a.std() * b.std()
    return (float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else -1.0), overlap


def _inside(fixed: _Prepared, kind: Kind) -> _Prepared:
    """The organs without the outline of the body, which fits whatever the organs do."""
    if kind == "SPECT":
        return fixed
    inner = ndimage.binary_erosion(fixed.mask, iterations=4)
    return _Prepared(fixed.volume, np.asarray(inner, dtype=bool))


def _quality(
    fixed: _Prepared,
    moving: _Prepared,
    result: RigidTransform,
    ways: tuple[RigidTransform, RigidTransform],
    kind: Kind,
    *,
    where: str,
) -> RegistrationQuality:
    overlap = _correlation(fixed, moving, result)[1]
    correlation = _correlation(_inside(fixed, kind), moving, result)[0]
    forward, backward = ways
    points = fixed.volume.grid.position_mm(np.argwhere(fixed.mask)[::17].astype(np.float64))
    gap_mm = float(np.linalg.norm(backward.apply(forward.apply(points)) - points, axis=-1).max())
    doubts = []
    if correlation < MIN_CORRELATION[kind] or gap_mm > MAX_INCONSISTENCY_MM:
        text = f"registration is uncertain: correlation {correlation:.2f}, inverse consistency {gap_mm:.1f} mm"
        doubts.append(Doubt("registration-poor", text, where))
    if overlap < MIN_OVERLAP:
        doubts.append(Doubt("registration-overlap", f"the scans share only {100 * overlap:.0f} % of the body", where))
    return RegistrationQuality(f"{kind} rigid", correlation, gap_mm, overlap, tuple(doubts))

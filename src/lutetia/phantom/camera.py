"""Image-space model of a quantitative SPECT acquisition: resolution blur, correlated noise, counts.

This is not a projector with reconstruction: attenuation and scatter are taken as perfectly corrected, the resolution
as stationary and Gaussian. The noise has the variance of `noise_gain` × Poisson and the correlation length of a
smoothed iterative reconstruction (assumptions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.core.volume import Volume

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True, slots=True)
class Camera:
    """Resolution, sensitivity and noise of a SPECT system.

    `calibration_error` multiplies the sensitivity that the true counts have relative to the `cps_per_MBq` that the
    site believes in; `y90_cps_per_MBq` is the bremsstrahlung of 90Y in the 177Lu window.
    """

    fwhm_mm: float = 10.0
    cps_per_MBq: float = 9.4
    y90_cps_per_MBq: float = 0.0
    noise_gain: float = 4.0
    noise_fwhm_mm: float = 8.0
    calibration_error: float = 1.0


def blur(volume: Volume, fwhm_mm: float) -> Volume:
    """Convolve with a normalised Gaussian; what lies outside the grid counts as empty."""
    from scipy.ndimage import gaussian_filter

    if fwhm_mm <= 0:
        return volume
    sigma = [fwhm_mm / FWHM_PER_SIGMA / spacing for spacing in volume.grid.spacing_mm]
    values = gaussian_filter(volume.values, sigma, mode="constant", truncate=5.0)
    return Volume(np.maximum(values, 0.0), volume.grid, volume.unit)


def correlated_noise(
    shape: tuple[int, int, int], sigma_voxels: tuple[float, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian noise of variance 1 a voxel with a Gaussian correlation, shape (k, j, i)."""
    from scipy.ndimage import gaussian_filter

    white = generator.standard_normal(shape, dtype=np.float32)
    if max(sigma_voxels) <= 0:
        return white
    impulse = np.zeros([2 * math.ceil(5.0 * s) + 1 for s in sigma_voxels])
    impulse[tuple(n // 2 for n in impulse.shape)] = 1.0
    norm = math.sqrt(float((gaussian_filter(impulse, sigma_voxels, mode="constant") ** 2).sum()))
    return np.asarray(gaussian_filter(white, sigma_voxels, mode="wrap") / norm, dtype=np.float32)


def acquire_counts(
    activity: Volume,
    camera: Camera,
    generator: np.random.Generator,
    *,
    duration_s: float,
    y90_per_lu177: float = 0.0,
) -> Volume:
    """Reconstructed counts of an activity concentration at mid-acquisition.

    counts = concentration · voxel volume · duration · (c_Lu + c_Y · A_Y/A_Lu) · calibration error, blurred, with noise.

    Parameters
    ----------
    activity
        177Lu concentration, MBq/mL.
    y90_per_lu177
        Activity ratio of 90Y to 177Lu at the time of the scan.
    """
    sensitivity = (camera.cps_per_MBq + camera.y90_cps_per_MBq * y90_per_lu177) * camera.calibration_error
    blurred = blur(activity, camera.fwhm_mm)
    expected = blurred.values * np.float32(sensitivity * duration_s * activity.grid.voxel_mL)
    if camera.noise_gain <= 0:
        return Volume(expected, activity.grid, "counts")
    sigma = tuple(camera.noise_fwhm_mm / FWHM_PER_SIGMA / s for s in activity.grid.spacing_mm)
    noise = correlated_noise(activity.grid.shape, sigma, generator)
    noisy = expected + np.sqrt(np.float32(camera.noise_gain) * expected) * noise
    return Volume(np.maximum(noisy, 0.0), activity.grid, "counts")

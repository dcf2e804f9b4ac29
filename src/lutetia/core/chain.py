"""The records that flow from scans to the next activity, in the order in which they arise.

RoiMeasurement → TimeActivity → KineticFit → (per nuclide) OrganDose → Forecast → Prescription.
Units are in the names. A field that could not be evaluated is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import Estimate

FloatArray = NDArray[np.float64]
MAX_COMPONENTS = 4


@dataclass(frozen=True, slots=True)
class Doubt:
    """A warning that does not stop the work: a stable code, a sentence for people, and where it arose.

    `severity` "first-line" is printed at the top of the report.
    """

    code: str
    message: str
    where: str = ""
    severity: Literal["note", "warning", "first-line"] = "warning"


@dataclass(frozen=True, slots=True)
class RoiMeasurement:
    """Activity of one region at one time.

    `sd_MBq` is the part of the uncertainty that is independent between scans (counting noise, registration);
    what is shared over scans (calibration, volume, recovery) is drawn once and multiplies all of them.
    `volume_mL` is None for measurements that come from a table.
    """

    region: str
    nuclide: str
    time_h: float
    activity_MBq: float
    sd_MBq: float
    volume_mL: float | None = None
    mass_g: float | None = None
    recovery: float = 1.0
    recovery_sd: float = 0.0
    scan: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TimeActivity:
    """Activity of one region and nuclide over time; not decay-corrected.

    `time_h` shape (time,), from the start of infusion of the cycle's first nuclide; `activity_MBq` an Estimate of
    shape (time,); `sd_MBq` shape (time,): independent part, used as fit weights.
    """

    region: str
    nuclide: str
    time_h: FloatArray
    activity_MBq: Estimate
    sd_MBq: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class KineticFit:
    """Sum of at most `MAX_COMPONENTS` exponentials, padded with zeros.

    a(t) = Σ coefficient_i · exp(−rate_i · t).  `coefficient_MBq` and `rate_per_h` are Estimates of shape (component,).
    `rate_per_h` is effective (biological + physical) for the nuclide named.
    """

    region: str
    nuclide: str
    model: str
    coefficient_MBq: Estimate
    rate_per_h: Estimate
    extrapolated_fraction: float | None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NuclideDose:
    """Dose of one nuclide to one region in one cycle."""

    nuclide: str
    basis: str
    model: str
    absorbed_dose_Gy: Estimate
    administered_MBq: float
    time_integrated_activity_MBq_h: Estimate | None = None
    effective_half_life_h: float | None = None
    extrapolated_fraction: float | None = None
    method: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OrganDose:
    """Dose to one region in one cycle by one method, all nuclides.

    `bed_Gy` is None where no α/β is defined for the region (marrow). `bed_coefficient_Gy_per_MBq2` has shape
    (nuclide, nuclide): BED = D + AᵀQA with A the administered activities in the order of `nuclides`.
    """

    region: str
    method: str
    nuclides: tuple[NuclideDose, ...]
    absorbed_dose_Gy: Estimate
    bed_Gy: Estimate | None = None
    bed_coefficient_Gy_per_MBq2: Estimate | None = None
    mass_g: float | None = None
    volume_mL: float | None = None
    doubts: tuple[Doubt, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """What the next cycle would do, per MBq: input of the activity controller.

    Parameters
    ----------
    regions, nuclides
        Names of the trailing axes.
    given_Gy, given_bed_Gy
        Estimates of shape (region,): absorbed dose and BED so far.
    linear_Gy_per_MBq
        Estimate of shape (region, nuclide).
    quadratic_Gy_per_MBq2
        Estimate of shape (region, nuclide, nuclide), zero where BED is not used.
    """

    regions: tuple[str, ...]
    nuclides: tuple[str, ...]
    given_Gy: Estimate
    given_bed_Gy: Estimate
    linear_Gy_per_MBq: Estimate
    quadratic_Gy_per_MBq2: Estimate

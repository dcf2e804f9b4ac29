"""The studies of `lutetia validate` by name. To add one: a function that returns checks, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from lutetia.validation.checks import Check
from lutetia.validation.dose_effect import dose_effect_study
from lutetia.validation.energies import kernel_energy_study, nuclide_study
from lutetia.validation.images import example_study
from lutetia.validation.kinetics import robustness_study
from lutetia.validation.monte_carlo import patient_study, photon_study
from lutetia.validation.registration import registration_study
from lutetia.validation.s_values import s_value_study
from lutetia.validation.single_scan import single_scan_study
from lutetia.validation.spheres import cylinder_study, sphere_study
from lutetia.validation.tables import coverage_study, noise_free_study
from lutetia.validation.trial_calibration import trial_calibration_study
from lutetia.validation.voxels import cube_study, voxel_study

STUDIES: dict[str, Callable[[], list[Check]]] = {
    "nuclides": nuclide_study,
    "kernel-energy": kernel_energy_study,
    "voxel-s-values": voxel_study,
    "s-values": s_value_study,
    "spheres": sphere_study,
    "cubes": cube_study,
    "cylinders": cylinder_study,
    "photon-monte-carlo": photon_study,
    "dose-maps": patient_study,
    "kinetics": robustness_study,
    "noise-free": noise_free_study,
    "coverage": coverage_study,
    "registration": registration_study,
    "single-scan": single_scan_study,
    "trial-calibration": trial_calibration_study,
    "dose-effect": dose_effect_study,
    "images": example_study,
}

"""S-values of a real patient's organs, segmented from CT, against the organ models at the same masses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask
from lutetia.dose.region_s import patient_s_values
from lutetia.dose.s_values import organ_s_value

LABELS = Path(__file__).parents[3] / "shared" / "data" / "patient15" / "patient15_LuDOTATATE_src.i33"
ORGANS = {15000: "liver", 16000: "spleen", 17000: "left kidney", 18000: "right kidney"}
LESIONS = {19000: "tumour 1", 20000: "tumour 2", 21000: "tumour 3"}


@pytest.fixture(scope="module")
def drawn() -> list[RegionMask]:
    if not LABELS.exists():
        pytest.skip(f"patient phantom not found at {LABELS}: S-values of a real anatomy are NOT checked")
    values = np.fromfile(LABELS, dtype="<u2").reshape(90, 70, 108)
    grid = axis_aligned_grid((90, 70, 108), (4.4196, 3.9063, 3.9063))
    return [RegionMask(name, values == label, grid) for label, name in (ORGANS | LESIONS).items()]


@pytest.mark.shared_data
@pytest.mark.parametrize(("nuclide", "tolerance"), [("Lu-177", 0.01), ("Y-90", 0.03)])
def test_self_dose_of_real_organs_is_near_the_organ_model(
    drawn: list[RegionMask], nuclide: str, tolerance: float
) -> None:
    patient = patient_s_values(drawn, nuclide)
    for organ, mass in zip(patient.regions, patient.mass_g, strict=True):
        if organ in ORGANS.values():
            model = float(organ_s_value(nuclide, organ, organ, "female", mass).Gy_per_MBq_h)
            assert patient.between(organ, organ) == pytest.approx(model, rel=tolerance), organ


@pytest.mark.shared_data
def test_cross_dose_in_a_real_anatomy_is_below_one_percent(drawn: list[RegionMask]) -> None:
    """Activities of the phantom as time-integrated activities of equal half-life."""
    patient = patient_s_values(drawn, "Lu-177")
    activity = np.array([104.0, 34.2, 31.2, 37.2, 15.4, 4.8, 8.2])
    dose = patient.values_Gy_per_MBq_h * activity
    share = 1.0 - np.diag(dose) / dose.sum(axis=1)
    assert (share > 0).all()
    assert (share[:4] < 0.01).all()


@pytest.mark.shared_data
def test_irregular_lesions_lose_more_yttrium_energy_than_spheres(drawn: list[RegionMask]) -> None:
    patient = patient_s_values(drawn, "Y-90")
    for lesion in LESIONS.values():
        mass = patient.mass_g[patient.regions.index(lesion)]
        sphere = float(organ_s_value("Y-90", lesion, lesion, "female", mass).Gy_per_MBq_h)
        assert 0.85 < patient.between(lesion, lesion) / sphere < 0.98, lesion

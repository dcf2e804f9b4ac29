"""The radiopharmaceutical of a written scan and the NM/PET patient orientation, as DICOM attributes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset

from lutetia.errors import UnknownNameError
from lutetia.imaging.writing.common import PatientPosition, code, item
from lutetia.nuclear.nuclides import canonical_nuclide, nuclide

# DICOM PS3.16 CID 18 (SNOMED CT concepts).
NUCLIDE_CODES: dict[str, tuple[str, str]] = {
    "Lu-177": ("447553000", "^177^Lutetium"),
    "Y-90": ("14691008", "^90^Yttrium"),
}


@dataclass(frozen=True, slots=True)
class Radiopharmaceutical:
    """What was given: nuclide, activity and start of infusion."""

    nuclide: str
    administered_MBq: float
    administered_at: datetime
    name: str = "DOTATATE"

    @property
    def half_life_s(self) -> float:
        """Half-life in seconds, from the one table."""
        return nuclide(self.nuclide).half_life_h * 3600.0


def radiopharmaceutical_item(given: Radiopharmaceutical, *, pet: bool) -> Dataset:
    """Item of RadiopharmaceuticalInformationSequence; PET attributes (dose, half-life, start) where `pet`."""
    name = canonical_nuclide(given.nuclide)
    if name not in NUCLIDE_CODES:
        raise UnknownNameError("nuclide for DICOM writing", name, NUCLIDE_CODES)
    value, meaning = NUCLIDE_CODES[name]
    entries: dict[str, Any] = {
        "RadionuclideCodeSequence": [code(value, "SCT", meaning)],
        "Radiopharmaceutical": given.name,
        "RadiopharmaceuticalStartTime": f"{given.administered_at:%H%M%S}",
        "RadionuclideTotalDose": f"{given.administered_MBq * (1e6 if pet else 1.0):.10g}",  # PET: Bq, NM: MBq
    }
    if pet:
        entries["RadiopharmaceuticalStartDateTime"] = f"{given.administered_at:%Y%m%d%H%M%S}"
        entries["RadionuclideHalfLife"] = f"{given.half_life_s:.10g}"
    return item(**entries)


def orientation_sequences(position: PatientPosition) -> dict[str, Any]:
    """Patient orientation (recumbent, supine or prone) and relationship to the gantry, as codes."""
    lying = code("40199007", "SCT", "supine") if position.endswith("S") else code("1240000", "SCT", "prone")
    orientation = code("102538003", "SCT", "recumbent")
    orientation.PatientOrientationModifierCodeSequence = [lying]
    toward = ("102540008", "headfirst") if position.startswith("H") else ("102541007", "feet-first")
    return {
        "PatientOrientationCodeSequence": [orientation],
        "PatientGantryRelationshipCodeSequence": [code(toward[0], "SCT", toward[1])],
    }

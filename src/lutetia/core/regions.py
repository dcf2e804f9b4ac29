"""Canonical names of organs and the aliases that segmentation tools give them.

To add an organ: one row of `REGIONS`. Tumours are `tumour 1`, `tumour 2`, …; lumbar vertebrae `vertebra L1` … `L5`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lutetia.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Region:
    """A canonical region: its aliases at the door and the density used where no CT gives one (ICRU Report 44)."""

    name: str
    aliases: tuple[str, ...]
    density_g_per_mL: float


# Densities: ICRU Report 44 (1989) adult tissues; kidney 1.05, liver and spleen 1.06, muscle-like soft tissue 1.05,
# blood 1.06, red marrow 1.03. Whole vertebra (spongiosa with cortex): 1.2 is an assumption.
REGIONS: tuple[Region, ...] = (
    Region("kidneys", ("kidney", "both kidneys", "kidneys total", "renal"), 1.05),
    Region("left kidney", ("kidney left", "kidney l", "l kidney", "lkidney", "lt kidney", "left renal"), 1.05),
    Region("right kidney", ("kidney right", "kidney r", "r kidney", "rkidney", "rt kidney", "right renal"), 1.05),
    Region("liver", ("hepar", "whole liver"), 1.06),
    Region("spleen", ("lien",), 1.06),
    Region("red marrow", ("bone marrow", "marrow", "rm", "red bone marrow", "active marrow"), 1.03),
    Region("whole body", ("body", "total body", "wb", "external", "skin outline"), 1.04),
    Region("remainder", ("remainder of body", "rest of body", "rob"), 1.04),
)
_TUMOUR = re.compile(r"^(?:tumou?r|lesion|metastasis|met|gtv)\s*(\d+)$")
_VERTEBRA = re.compile(r"^(?:vertebrae?|vertebra)?\s*(l[1-5])(?:\s*vertebrae?)?$")
_BY_NAME = {alias: region for region in REGIONS for alias in (region.name, *region.aliases)}
_TUMOUR_DENSITY, _VERTEBRA_DENSITY = 1.05, 1.2


def canonical_region(name: str, *, where: str = "") -> str:
    """Canonical name of a region written in any accepted way: ``Kidney_L`` → ``left kidney``.

    Raises
    ------
    UnknownNameError
        With the close names, if no alias fits; `where` (such as "cycle 1, regions.csv row 3") begins the text.
    """
    plain = re.sub(r"[\s_\-.]+", " ", name.strip().lower()).strip()
    if plain in _BY_NAME:
        return _BY_NAME[plain].name
    if match := _TUMOUR.match(plain):
        return f"tumour {int(match[1])}"
    if match := _VERTEBRA.match(plain):
        return f"vertebra {match[1].upper()}"
    raise UnknownNameError("region", name, [r.name for r in REGIONS] + ["tumour 1", "vertebra L2"], where=where)


def density_g_per_mL(region: str) -> float:
    """Tissue density assumed for a canonical region, g/mL."""
    if region.startswith("tumour "):
        return _TUMOUR_DENSITY
    if region.startswith("vertebra "):
        return _VERTEBRA_DENSITY
    return _BY_NAME[canonical_region(region)].density_g_per_mL


def shared_name(region: str) -> str:
    """Name under which a region shares what one body has in common: both kidneys are one organ in two parts."""
    return "kidneys" if region in ("left kidney", "right kidney") else region


def is_tumour(region: str) -> bool:
    """Whether a canonical region is a tumour."""
    return region.startswith("tumour ")

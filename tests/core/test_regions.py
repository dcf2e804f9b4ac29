"""Names of organs: every alias, spellings of segmentation tools, and what is unknown."""

from __future__ import annotations

import pytest

from lutetia.core.regions import REGIONS, canonical_region, density_g_per_mL, is_tumour
from lutetia.errors import UnknownNameError


@pytest.mark.parametrize(("alias", "name"), [(a, r.name) for r in REGIONS for a in (r.name, *r.aliases)])
def test_every_alias_leads_to_its_organ_however_it_is_written(alias: str, name: str) -> None:
    for written in (alias, alias.upper(), alias.replace(" ", "_"), alias.replace(" ", "-"), f"  {alias.title()} "):
        assert canonical_region(written) == name


def test_no_alias_stands_for_two_organs() -> None:
    aliases = [alias for region in REGIONS for alias in (region.name, *region.aliases)]
    assert len(aliases) == len(set(aliases))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Kidney_L", "left kidney"),
        ("kidney.right", "right kidney"),
        ("Tumor 3", "tumour 3"),
        ("lesion_02", "tumour 2"),
        ("GTV1", "tumour 1"),
        ("metastasis-12", "tumour 12"),
        ("L4", "vertebra L4"),
        ("vertebrae_L2", "vertebra L2"),
        ("L1 vertebra", "vertebra L1"),
    ],
)
def test_spellings_of_tools_are_understood(written: str, name: str) -> None:
    assert canonical_region(written) == name
    assert canonical_region(name) == name


@pytest.mark.parametrize("written", ["kidny", "tumour", "L6", "", "heart"])
def test_an_unknown_region_says_where_and_lists_names(written: str) -> None:
    with pytest.raises(UnknownNameError, match=r"^regions\.csv row 3: unknown region .*(did you mean|known:) "):
        canonical_region(written, where="regions.csv row 3")


def test_a_near_miss_names_what_was_meant() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*left kidney"):
        canonical_region("left kidny")


def test_densities_are_those_of_the_tissue() -> None:
    assert density_g_per_mL("kidneys") == density_g_per_mL("left kidney") == 1.05
    assert density_g_per_mL("liver") == 1.06
    assert density_g_per_mL("tumour 7") == 1.05
    assert density_g_per_mL("vertebra L2") == 1.2


def test_only_tumours_are_tumours() -> None:
    assert is_tumour("tumour 1")
    assert not any(is_tumour(region.name) for region in REGIONS)

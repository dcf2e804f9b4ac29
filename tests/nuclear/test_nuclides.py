"""The table of nuclides against ICRP Publication 107, and that it is the only home of its constants."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import lutetia.validation
from lutetia.errors import UnknownNameError
from lutetia.nuclear.beta import beta_spectrum
from lutetia.nuclear.nuclides import canonical_nuclide, first_class_nuclides, nuclide

ROOT = Path(__file__).parents[2]
HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


def rows() -> list[dict[str, str]]:
    text = (Path(lutetia.validation.__file__).parent / "data" / "icrp107_energies.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@pytest.mark.parametrize("row", rows(), ids=lambda r: r["nuclide"])
def test_half_life_and_mean_energies_are_those_of_icrp_107(row: dict[str, str]) -> None:
    found = nuclide(row["nuclide"])
    assert found.half_life_h == pytest.approx(float(row["half_life"]) * HOURS[row["unit"]], rel=1e-5)
    assert found.electron_MeV * 1e3 == pytest.approx(float(row["electron_keV"]), rel=1e-4)
    assert found.photon_MeV * 1e3 == pytest.approx(float(row["photon_keV"]), rel=1e-4)


@pytest.mark.parametrize("name", first_class_nuclides())
def test_lines_and_betas_add_up_to_the_mean_energies(name: str) -> None:
    found = nuclide(name)
    lines = sum(e * n for e, n in found.electrons)
    assert found.beta_MeV + lines == pytest.approx(found.electron_MeV, rel=2e-5)
    assert sum(e * n for e, n in found.photons) == pytest.approx(found.photon_MeV, rel=1e-4)


@pytest.mark.parametrize("name", [n for n in first_class_nuclides() if nuclide(n).betas])
def test_computed_beta_spectra_have_the_mean_energy_of_icrp_107_within_half_a_percent(name: str) -> None:
    found = nuclide(name)
    node, weight = np.polynomial.legendre.leggauss(200)
    mean = 0.0
    for branch in found.betas:
        energy = 0.5 * branch.endpoint_MeV * (node + 1)
        density = beta_spectrum(
            energy, branch.endpoint_MeV, branch.charge, mass_number=found.mass_number, shape=branch.shape
        )
        mean += branch.per_decay * float(energy @ (density * weight)) * 0.5 * branch.endpoint_MeV
    assert mean == pytest.approx(found.beta_MeV, rel=0.005)


@pytest.mark.parametrize("spelling", ["177Lu", "Lu177", "lutetium-177", "^177^Lutetium", "[177Lu]", "LU-177"])
def test_every_spelling_of_a_nuclide_gives_its_canonical_name(spelling: str) -> None:
    assert canonical_nuclide(spelling) == "Lu-177"


def test_an_unknown_nuclide_is_refused_with_close_names() -> None:
    with pytest.raises(UnknownNameError, match=r"cycle 1: unknown nuclide.*'Lu-999'"):
        canonical_nuclide("Lu-999", where="cycle 1")


def test_without_the_extra_an_unknown_nuclide_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutetia.nuclear.nuclides.icrp107_names", lambda: ())
    with pytest.raises(UnknownNameError, match=r"pip install 'lutetia\[nuclides\]'.*'Tc-99m'"):
        nuclide("Tc-99m")


def half_life_literals(text: str) -> list[str]:
    """Numbers in a source text that look like the half-life of 177Lu or 90Y in days or hours."""
    known = [h / unit for name in ("Lu-177", "Y-90") for h in (nuclide(name).half_life_h,) for unit in (1.0, 24.0)]
    numbers = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", text)
    return [n for n in numbers if any(abs(float(n) / value - 1.0) < 0.0015 for value in known)]


def test_half_lives_are_written_in_the_data_file_only() -> None:
    """Known failure: the half-life of one nuclide in three places with different values."""
    found = {}
    for path in (ROOT / "src").rglob("*.py"):
        if literals := half_life_literals(path.read_text(encoding="utf-8")):
            found[path.name] = literals
    assert not found, f"half-lives typed a second time: {found}"


def test_the_search_for_half_lives_finds_them() -> None:
    text = "A = 6.647 * 24; B = 159.5; C = 64.1; D = (2.67, 6.65); window = (-160.0, 1.0)"
    assert half_life_literals(text) == ["6.647", "159.5", "64.1", "2.67", "6.65"]

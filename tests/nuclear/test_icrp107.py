"""The optional extra as an oracle for our table and as the source of all other nuclides."""

from __future__ import annotations

import pytest

from lutetia.dose.point_kernels import point_kernel
from lutetia.dose.spectra import electron_emissions
from lutetia.errors import InputError, PhysicsError
from lutetia.nuclear.icrp107 import icrp107_names, read_icrp107
from lutetia.nuclear.nuclides import first_class_nuclides, nuclide

needs_extra = pytest.mark.skipif(not icrp107_names(), reason="the extra `nuclides` is absent: oracle NOT run")


@needs_extra
@pytest.mark.parametrize("name", first_class_nuclides())
def test_our_table_agrees_with_the_extra(name: str) -> None:
    ours, theirs = nuclide(name), read_icrp107(name)
    assert ours.half_life_h == pytest.approx(theirs.half_life_h, rel=1e-5)
    assert ours.electron_MeV == pytest.approx(theirs.electron_MeV, rel=1e-5)
    assert ours.photon_MeV == pytest.approx(theirs.photon_MeV, rel=1e-5)


@needs_extra
@pytest.mark.parametrize("name", ["Lu-177", "Y-90", "I-131", "Tb-161"])
def test_computed_and_tabulated_beta_spectra_give_the_same_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = point_kernel(name)
    theirs = read_icrp107(name)
    monkeypatch.setattr("lutetia.dose.point_kernels.find_nuclide", lambda _: theirs)
    tabulated = point_kernel.__wrapped__(name)
    middle = 0.5 * (ours.edge_mm[1:] + ours.edge_mm[:-1])
    mean = [float(middle @ k.electron_MeV / k.electron_MeV.sum()) for k in (ours, tabulated)]
    assert mean[0] == pytest.approx(mean[1], rel=0.01)


@needs_extra
def test_any_other_nuclide_comes_from_the_extra_with_its_beta_spectrum_normalised() -> None:
    fluorine = nuclide("F-18")
    energy, number = electron_emissions(fluorine)
    assert fluorine.half_life_h == pytest.approx(109.77 / 60, rel=1e-4)
    assert float(energy @ number) == pytest.approx(fluorine.electron_MeV, rel=1e-9)


@needs_extra
def test_alpha_emitters_are_refused_because_their_dose_is_not_computed() -> None:
    with pytest.raises(PhysicsError, match=r"Ac-225: found 5.* MeV of alpha energy"):
        electron_emissions(nuclide("Ac-225"))


def test_reading_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutetia.nuclear.icrp107._folder", lambda: None)
    with pytest.raises(InputError, match="install the extra"):
        read_icrp107.__wrapped__("F-18")

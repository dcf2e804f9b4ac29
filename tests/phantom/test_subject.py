"""The virtual subjects: anatomy without overlaps, masses near the reference, activity that adds up."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.errors import UnknownNameError
from lutetia.phantom.shapes import Ellipsoid
from lutetia.phantom.subject import Subject, random_subject, reference_woman, second_cycle_of
from lutetia.phantom.voxels import render_masks

COARSE = axis_aligned_grid((80, 60, 80), (4.0, 4.0, 4.0), origin_mm=(-160.0, -120.0, -140.0))


def surface(shape: Ellipsoid) -> np.ndarray:
    directions = np.random.default_rng(3).standard_normal((2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(shape.centre_mm) + directions * np.asarray(shape.semi_axes_mm)


SUBJECTS = [reference_woman(), *(random_subject(seed) for seed in range(20))]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_organs_do_not_overlap_and_inclusions_lie_inside(subject: Subject) -> None:
    for a, b in combinations(subject.organs, 2):
        if b.inside == a.region:
            assert a.shape.contains(surface(b.shape)).all()
        else:
            assert not a.shape.contains(surface(b.shape)).any(), f"{a.region} and {b.region}"


def test_masses_are_near_the_reference_woman_of_icrp_89() -> None:
    subject = reference_woman()
    kidneys = subject.mass_g("left kidney") + subject.mass_g("right kidney")
    assert kidneys == pytest.approx(275.0, rel=0.05)
    assert subject.mass_g("liver") == pytest.approx(1400.0, rel=0.05)
    assert subject.mass_g("spleen") == pytest.approx(130.0, rel=0.2)


@pytest.mark.parametrize("subject", SUBJECTS[:6], ids=lambda s: s.name)
def test_all_of_the_activity_is_in_the_body_at_the_start(subject: Subject) -> None:
    assert sum(subject.whole_body().coefficient) == pytest.approx(1.0)
    later = subject.whole_body().activity_MBq([1.0, 24.0, 168.0], "Lu-177", 1.0)
    assert (np.diff(later) < 0).all()
    assert later[0] < 1.0


def test_the_same_seed_gives_the_same_subject_and_another_seed_another() -> None:
    assert random_subject(5) == random_subject(5)
    assert random_subject(5).organ("liver") != random_subject(6).organ("liver")


def test_random_subjects_differ_in_masses_places_and_kinetics() -> None:
    subjects = SUBJECTS[1:]
    for region, least in (("left kidney", 0.08), ("liver", 0.05), ("spleen", 0.05), ("tumour 1", 0.2)):
        masses = np.log([s.mass_g(region) for s in subjects])
        assert least < masses.std() < 0.6, region
        assert abs(masses.mean() - np.log(reference_woman().mass_g(region))) < 0.2
        places = np.array([s.organ(region).shape.centre_mm for s in subjects])
        assert places.std(axis=0).max() > 1.5, region
        slow = np.log([min(s.organ(region).biology.biological_rate_per_h) for s in subjects])
        assert 0.1 < slow.std() < 0.35
        uptake = np.log([max(s.organ(region).biology.coefficient) for s in subjects])
        assert 0.15 < uptake.std() < 0.5


def test_the_second_cycle_keeps_the_anatomy_and_all_activity_but_not_the_kinetics() -> None:
    one, two = reference_woman(), second_cycle_of(reference_woman())
    assert [o.shape for o in one.organs] == [o.shape for o in two.organs]
    assert sum(two.whole_body().coefficient) == pytest.approx(1.0)
    ratio = {
        o.region: later.biology.time_integrated_activity_MBq_h("Lu-177", 1.0)
        / o.biology.time_integrated_activity_MBq_h("Lu-177", 1.0)
        for o, later in zip(one.organs, two.organs, strict=True)
    }
    assert 1.005 < ratio["left kidney"] < 1.03
    assert ratio["spleen"] == pytest.approx(0.95)
    assert ratio["liver"] == 1.0


def test_masks_hold_the_volume_of_each_organ_without_its_inclusions() -> None:
    subject = reference_woman()
    for mask in render_masks(subject, COARSE):
        assert mask.volume_mL == pytest.approx(subject.volume_mL(mask.region), rel=0.01), mask.region
    total = np.sum([m.mask for m in render_masks(subject, COARSE)], axis=0)
    assert total.max() <= 1.0 + 1e-6


def test_an_unknown_organ_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="left kidney"):
        reference_woman().organ("left kidny")

"""Tumour response by RECIST 1.1: boundaries of growth and shrinkage, lymph nodes, non-target and new lesions."""

from __future__ import annotations

import pytest

from lutetia.clinical.recist import (
    Derived,
    Lesion,
    baseline_doubts,
    derive_response,
    overall_response,
    sum_of_diameters,
)


def organ(mm: float | None, name: str = "T1") -> Lesion:
    return Lesion(name, "target", False, mm, region="liver")


def node(mm: float | None, name: str = "N1") -> Lesion:
    return Lesion(name, "target", True, mm, region="lymph node")


def other(finding: str, name: str = "O1") -> Lesion:
    return Lesion(name, "non_target", finding=finding)


def derived(now: list[Lesion], baseline: list[Lesion], *between: list[Lesion]) -> Derived:
    return derive_response(now, baseline=baseline, between=between)


@pytest.mark.parametrize(
    ("now", "nadir", "expected"),
    [(0.0, 80.0, "CR"), (70.0, 80.0, "PR"), (70.1, 80.0, "SD"), (95.9, 80.0, "SD"), (96.0, 80.0, "PD"),
     (30.0, 25.0, "PD"), (29.9, 25.0, "PR"), (14.9, 10.0, "PR"), (15.0, 10.0, "PD"), (60.0, 50.0, "PD")],
)  # fmt: skip
def test_the_sum_is_compared_with_baseline_and_nadir(now: float, nadir: float, expected: str) -> None:
    found = derived([organ(now)], [organ(100.0)], [organ(nadir)])
    assert found.category == found.target == expected
    assert (found.sum_mm, found.baseline_mm, found.nadir_mm) == (now, 100.0, nadir)
    assert found.from_baseline == pytest.approx(now / 100.0 - 1.0, abs=1e-12)
    assert found.from_nadir == pytest.approx(now / nadir - 1.0, abs=1e-12)


@pytest.mark.parametrize("nadir", [5.3, 7.1, 13.3, 25.0, 33.3, 41.7, 66.6])
def test_growth_of_exactly_a_fifth_is_progression_whatever_the_decimals(nadir: float) -> None:
    now = round(nadir * 1.2, 3)
    found = derived([organ(now)], [organ(200.0)], [organ(nadir)])
    assert found.target == ("PD" if now - nadir >= 5.0 else "PR")


def test_the_baseline_itself_is_a_nadir() -> None:
    assert derived([organ(60.0)], [organ(50.0)]).category == "PD"
    assert derived([organ(59.0)], [organ(50.0)]).category == "SD"
    assert derived([organ(60.0)], [organ(50.0)], [organ(55.0)]).category == "PD"


def test_a_lymph_node_counts_by_its_short_axis_and_is_normal_below_10_mm() -> None:
    baseline = [organ(40.0), node(20.0)]
    gone = derived([organ(0.0), node(9.9)], baseline)
    assert (gone.category, gone.sum_mm) == ("CR", 9.9)
    assert derived([organ(0.0), node(10.0)], baseline).category == "PR"
    assert derived([organ(0.1), node(9.0)], baseline).category == "PR"
    several = [node(20.0, f"N{n}") for n in range(4)]
    small, larger = ([node(mm, f"N{n}") for n in range(4)] for mm in (5.0, 9.0))
    assert derived(larger, several, small).category == "CR", "normal nodes do not progress by growing to normal ones"


def test_a_target_that_was_not_measured_leaves_the_response_open_unless_the_others_grew() -> None:
    baseline = [organ(40.0), organ(30.0, "T2")]
    for now in ([organ(10.0)], [organ(10.0), organ(None, "T2")]):
        found = derived(now, baseline)
        assert (found.category, found.sum_mm, found.from_nadir) == ("NE", None, None)
    assert derived([organ(84.0)], baseline).category == "PD"
    assert derived([organ(40.0), organ(30.0, "T2")], baseline, [organ(1.0)]).category == "SD", "no nadir without all"


def test_a_lesion_that_comes_back_after_complete_response_is_progression() -> None:
    assert derived([organ(3.0)], [organ(40.0)], [organ(0.0)]).category == "PD"
    assert derived([organ(3.0)], [organ(40.0)], [organ(4.0)]).category == "PR"


@pytest.mark.parametrize(
    ("target", "non_target", "expected"),
    [("CR", "CR", "CR"), ("CR", "", "CR"), ("CR", "non-CR/non-PD", "PR"), ("CR", "NE", "PR"),
     ("PR", "non-CR/non-PD", "PR"), ("PR", "NE", "PR"), ("PR", "CR", "PR"), ("SD", "NE", "SD"), ("SD", "CR", "SD"),
     ("NE", "non-CR/non-PD", "NE"), ("PD", "CR", "PD"), ("CR", "PD", "PD"), ("NE", "PD", "PD"), ("", "CR", "CR"),
     ("", "non-CR/non-PD", "non-CR/non-PD"), ("", "NE", "NE"), ("", "PD", "PD"), ("", "", "NE")],
)  # fmt: skip
def test_the_overall_response_follows_the_published_tables(target: str, non_target: str, expected: str) -> None:
    assert overall_response(target, non_target) == expected


def test_non_target_lesions_are_gone_present_worse_or_not_evaluated() -> None:
    baseline = [organ(40.0), other("present"), other("present", "O2")]

    def found(*non_targets: Lesion) -> tuple[str, str]:
        response = derived([organ(0.0), *non_targets], baseline)
        return response.non_target, response.category

    assert found(other("gone"), other("gone", "O2")) == ("CR", "CR")
    assert found(other("gone"), other("present", "O2")) == ("non-CR/non-PD", "PR")
    assert found(other("gone")) == found(other("gone"), other("", "O2")) == ("NE", "PR")
    assert found(other("worse")) == ("PD", "PD")
    nodal = Lesion("O1", "non_target", True, 9.0)
    assert derived([organ(0.0), nodal], [organ(40.0), Lesion("O1", "non_target", True, 12.0)]).category == "CR"


def test_a_new_lesion_is_progression_whatever_the_targets_do() -> None:
    assert derived([organ(10.0), Lesion("X", "new")], [organ(100.0)]).category == "PD"
    assert derived([Lesion("X", "new")], [organ(100.0)]).category == "PD"


def test_a_sum_needs_every_target_of_the_baseline_and_only_those() -> None:
    assert sum_of_diameters([organ(10.0), node(15.0), organ(99.0, "T9")], {"T1", "N1"}) == 25.0
    assert sum_of_diameters([organ(10.0)], {"T1", "N1"}) is None
    assert sum_of_diameters([organ(10.0)], set()) is None


def test_a_baseline_that_does_not_fit_the_criteria_is_named() -> None:
    assert baseline_doubts([organ(10.0), node(15.0), other("present")]) == ()
    assert "T1: 9.9 mm; a target lesion of at least 10 mm" in baseline_doubts([organ(9.9)])[0]
    assert "N1: 14 mm; a target lymph node has a short axis of at least 15 mm" in baseline_doubts([node(14.0)])[0]
    assert "below 10 mm is normal" in baseline_doubts([Lesion("O1", "non_target", True, 9.0)])[0]
    many = [Lesion(f"T{n}", "target", False, 20.0, region=f"organ {n}") for n in range(6)]
    assert baseline_doubts(many) == ("6 target lesions; at most 5 are followed",)
    liver = [organ(20.0, f"T{n}") for n in range(3)]
    assert baseline_doubts(liver) == ("3 target lesions in liver; at most 2 of an organ are followed",)

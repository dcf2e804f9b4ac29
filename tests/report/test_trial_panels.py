"""Panels of the trial report: every subject is drawn, groups differ by more than colour, nothing crashes when empty."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from lutetia.report import palette
from lutetia.report.figures.agreement import agreement_panel
from lutetia.report.figures.boxes import Group, box_panel
from lutetia.report.figures.cycle_activity import NuclideActivity, cycle_activity_panel
from lutetia.report.figures.edish import edish_panel
from lutetia.report.figures.flow import ArmFlow, flow_panel
from lutetia.report.figures.frame import Labels, apart, log_labels, log_ticks, signed_ticks, swarm
from lutetia.report.figures.heat_map import CATEGORIES, heat_map_panel
from lutetia.report.figures.incidence import Steps, incidence_panel
from lutetia.report.figures.scatter import Cloud, FittedLine, scatter_panel
from lutetia.report.figures.stacks import Stack, stack_panel
from lutetia.report.figures.stopping import ArmPath, stopping_panel
from lutetia.report.figures.trajectories import Trajectory, trajectory_panel
from lutetia.report.figures.waterfall import Bar, waterfall_panel

SVG = "{http://www.w3.org/2000/svg}"
TITLE = Labels("Title", "x", "y")
# Severe deficiencies in linear RGB (Machado, Oliveira, Fernandes 2009, severity 1.0).
VISION = {
    "normal": np.eye(3),
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def elements(svg: bytes, name: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall(f"{SVG}{name}")


def words(svg: bytes) -> list[str]:
    return [e.text or "" for e in elements(svg, "text")]


def lab(colour: str, matrix: object) -> np.ndarray:
    channels = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(matrix) @ linear, 0.0, 1.0)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.asarray(to_xyz) @ seen / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_arms_stay_apart_for_every_kind_of_colour_vision(vision: str) -> None:
    seen = [lab(colour, VISION[vision]) for colour in palette.ARMS]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) > 20.0


def test_words_in_an_arms_colour_can_be_read_on_paper() -> None:
    assert min(palette.contrast(colour, palette.PAPER) for colour in palette.ARMS) >= 4.5


def test_a_box_plot_shows_every_subject_and_its_median() -> None:
    svg = box_panel(TITLE, [Group("A", (1.0, 2.0, 3.0, 4.0, 50.0), 0)], limit=23.0, limit_text="limit 23 Gy")
    assert len(elements(svg, "circle")) == 5
    assert {"3.00", "n = 5", "limit 23 Gy"} <= set(words(svg))


def test_a_group_of_one_has_a_point_and_no_box() -> None:
    few = box_panel(TITLE, [Group("A", (1.0,), 0)])
    many = box_panel(TITLE, [Group("A", (1.0, 2.0, 3.0, 4.0, 5.0), 0)])
    assert len(elements(few, "rect")) == 0
    assert len(elements(many, "rect")) == 1


def test_a_limit_far_above_the_doses_is_said_in_words() -> None:
    svg = box_panel(TITLE, [Group("A", (0.1, 0.2), 0)], limit=2.0, limit_text="limit 2 Gy")
    assert "limit 2 Gy is beyond this axis" in words(svg)


def test_marks_of_four_arms_have_four_shapes() -> None:
    clouds = [Cloud(name, (1.0,), (2.0,), n) for n, name in enumerate("ABCD")]
    svg = scatter_panel(TITLE, clouds)
    assert (len(elements(svg, "circle")), len(elements(svg, "rect"))) == (2, 2)
    assert len({p.get("d", "").count("L") for p in elements(svg, "path")}) == 2


def test_a_waterfall_is_sorted_and_has_one_bar_per_subject() -> None:
    svg = waterfall_panel(TITLE, [Bar(-20.0, 0), Bar(-70.0, 2), Bar(5.0, 0), Bar(-40.0, 2)], ["A", "B", "C"])
    arms = [palette.arm_colour(n) for n in (0, 0, 2, 2)]
    bars = [r for r in elements(svg, "rect") if float(r.get("width", "0")) > 50]
    assert [r.get("fill") for r in bars] == arms
    heights = [float(r.get("height", "")) for r in bars]
    assert heights[1] / heights[3] == pytest.approx(20 / 70, rel=1e-2)


def test_a_trajectory_says_how_many_subjects_stand_behind_each_place() -> None:
    line = Trajectory("arm A", (0.0, 1.0), (0.0, -30.0), (math.nan, -40.0), (math.nan, -20.0), (14, 9), 0)
    svg = trajectory_panel(TITLE, [line], [(0.0, "baseline"), (1.0, "nadir 1")])
    assert {"14", "9", "arm A", "baseline", "nadir 1"} <= set(words(svg))


def test_a_place_without_an_estimate_breaks_no_line() -> None:
    line = Trajectory("A", (0.0, 1.0, 2.0), (0.0, math.nan, -30.0), (math.nan,) * 3, (math.nan,) * 3, (3, 0, 3), 0)
    svg = trajectory_panel(TITLE, [line], [(0.0, "a"), (1.0, "b"), (2.0, "c")])
    assert b"nan" not in svg


def test_an_incidence_curve_has_its_final_value_and_numbers_at_risk() -> None:
    svg = incidence_panel(TITLE, [Steps("arm B", (4.0, 9.0), (0.1, 0.25), (12, 7, 2), 20.0, 1)], [0.0, 8.0, 16.0])
    assert {"arm B 25 %", "12", "7", "2", "at risk"} <= set(words(svg))


def test_a_group_without_events_is_a_flat_curve() -> None:
    svg = incidence_panel(TITLE, [Steps("arm B", (), (), (12, 7), 20.0, 1)], [0.0, 8.0])
    assert "arm B 0 %" in words(svg)


def test_every_decision_is_a_cell_with_a_sign() -> None:
    decided = [["unchanged", "reduced"], ["unchanged", "increased"], ["unchanged", None]]
    svg = heat_map_panel(TITLE, ["cycle 1", "cycle 2"], decided)
    assert len(elements(svg, "rect")) == 6
    assert sorted(w for w in words(svg) if w in "−=+") == sorted(["=", "=", "=", "−", "+"])
    assert len({sign for _, sign, _ in CATEGORIES.values()}) == len(CATEGORIES)


def test_the_stopping_path_ends_at_events_of_evaluable() -> None:
    svg = stopping_panel(TITLE, [(3, 2), (6, 3)], [ArmPath("arm A", (0, 0, 1, 1), 0), ArmPath("arm B", (), 1)])
    assert {"arm A: 1/4", "arm B: 0/0", "stop"} <= set(words(svg))


def test_stacked_means_are_labelled_by_part_and_total() -> None:
    svg = stack_panel(TITLE, [Stack("B", (("Lu-177", 6.3), ("Y-90", 19.0)), 12)])
    assert {"6.30", "19.0", "25.3", "n = 12"} <= set(words(svg))


def test_activities_of_two_nuclides_stand_beside_each_other() -> None:
    series = [NuclideActivity(n, ((3.7, 3.6), (3.7,)), 3.7) for n in ("Lu-177", "Y-90")]
    svg = cycle_activity_panel(TITLE, series, ["cycle 1", "cycle 2"])
    assert len(elements(svg, "circle")) == 6
    assert {"n = 2", "n = 1", "base 3.7"} <= set(words(svg))


def test_flow_boxes_never_lose_words() -> None:
    reason = "stopped early after an adverse event that the investigator called related to study treatment: 3"
    svg = flow_panel(
        TITLE, [("Screened: 9",), ("Randomised: 4",)], ("Not randomised: 5",), [ArmFlow("A", ((reason,),), 0)]
    )
    assert " ".join(words(svg)).endswith(reason)


EMPTY: dict[str, Callable[[], bytes]] = {
    "agreement": lambda: agreement_panel(TITLE, [Cloud("A", (), (), 0)]),
    "boxes": lambda: box_panel(TITLE, [Group("A", (), 0)]),
    "activity": lambda: cycle_activity_panel(TITLE, [NuclideActivity("Lu-177", ((), ()))], ["1", "2"]),
    "edish": lambda: edish_panel(TITLE, []),
    "flow": lambda: flow_panel(TITLE, [("Screened: 0",), ("Randomised: 0",)], (), []),
    "heat map": lambda: heat_map_panel(TITLE, ["1"], []),
    "incidence": lambda: incidence_panel(TITLE, [], [0.0, 8.0]),
    "scatter": lambda: scatter_panel(TITLE, [], fit=FittedLine((), ())),
    "stacks": lambda: stack_panel(TITLE, [Stack("A", (), 0)]),
    "stopping": lambda: stopping_panel(TITLE, [], []),
    "trajectory": lambda: trajectory_panel(TITLE, [], []),
    "waterfall": lambda: waterfall_panel(TITLE, [], []),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_panel_says_so_and_stays_a_picture(name: str) -> None:
    assert len(words(EMPTY[name]())) >= 2


@pytest.mark.parametrize("name", EMPTY)
def test_a_panel_has_the_same_bytes_every_time(name: str) -> None:
    assert EMPTY[name]() == EMPTY[name]()


def test_equal_values_keep_apart_in_a_swarm() -> None:
    offsets = swarm([10.0] * 5, 4.0, step=2.0, room=20.0)
    gaps = [abs(a - b) for a, b in itertools.combinations(offsets, 2)]
    assert min(gaps) >= 4.0
    assert max(map(abs, offsets)) <= 20.0


def test_labels_keep_apart_in_their_order() -> None:
    placed = apart([50.0, 51.0, 49.0], 11.0, (0.0, 60.0))
    assert placed[2] < placed[0] < placed[1] <= 60.0
    assert min(b - a for a, b in itertools.pairwise(sorted(placed))) >= 11.0 - 1e-9


@pytest.mark.parametrize(("low", "high"), [(-80.0, 5.0), (0.0, 0.3), (-0.02, -0.01), (3.0, 3.0)])
def test_signed_ticks_hold_the_values(low: float, high: float) -> None:
    ticks = signed_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) >= 2


def test_logarithmic_ticks_are_one_two_five() -> None:
    ticks = log_ticks(0.3, 12.0)
    assert log_labels(ticks) == ["0.2", "0.5", "1", "2", "5", "10", "20"]

"""Figures: what is drawn where, escaped words, same bytes, colours that everyone can read."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from lutetia.errors import OutputError
from lutetia.report import palette
from lutetia.report.figures.activities import CycleActivity, activity_panel
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks, tick_labels
from lutetia.report.figures.contributions import CycleDose, cumulative_panel
from lutetia.report.figures.curves import Curve, hour_ticks, time_activity_panel
from lutetia.report.figures.limits import LimitBar, limit_panel
from lutetia.report.figures.methods import MethodDoses, method_panel

SVG = "{http://www.w3.org/2000/svg}"


def elements(svg: bytes, name: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall(f"{SVG}{name}")


def words(svg: bytes) -> list[str]:
    return [e.text or "" for e in elements(svg, "text")]


def curve(nuclide: str = "Lu-177", **more: object) -> Curve:
    grid = tuple(float(t) for t in range(0, 200, 10))
    fit = tuple(100.0 * 0.99**t for t in grid)
    values: dict[str, object] = {
        "time_h": (4.0, 24.0, 96.0),
        "activity_MBq": (96.0, 78.0, 38.0),
        "sd_MBq": (5.0, 4.0, 2.0),
        "last_measured_h": 96.0,
    } | more
    return Curve(nuclide=nuclide, grid_h=grid, fit_MBq=fit, **values)  # type: ignore[arg-type]


def test_every_measured_point_is_drawn_with_its_error_bar() -> None:
    svg = time_activity_panel("kidneys", [curve()])
    circles = elements(svg, "circle")
    assert len(circles) == 3
    assert [float(c.get("cy", "")) for c in circles] == sorted(float(c.get("cy", "")) for c in circles)


def test_the_part_beyond_the_last_scan_is_dashed() -> None:
    paths = elements(time_activity_panel("kidneys", [curve()]), "path")
    dashed = [p for p in paths if p.get("stroke-dasharray")]
    solid = [p for p in paths if p.get("stroke") and not p.get("stroke-dasharray")]
    assert len(dashed) == len(solid) == 1
    assert dashed[0].get("d", "").split(" L")[0].removeprefix("M") == solid[0].get("d", "").split(" L")[
        -1
    ].removeprefix("L")


def test_a_predicted_curve_has_no_points_and_its_own_colour() -> None:
    svg = time_activity_panel("kidneys", [curve("Y-90", time_h=(), activity_MBq=(), sd_MBq=())])
    assert not elements(svg, "circle")
    assert palette.nuclide_colour("Y-90") in svg.decode()


def test_the_part_of_a_bar_beyond_the_limit_has_another_colour() -> None:
    inside = limit_panel("k", [LimitBar("given", 20.0)], limit_Gy=23.0, limit_text="limit")
    beyond = limit_panel("k", [LimitBar("given", 29.0, (25.0, 33.0), "29.0 Gy")], limit_Gy=23.0, limit_text="limit")
    assert len(elements(inside, "rect")) == 1
    assert len(elements(beyond, "rect")) == 2
    assert "29.0 Gy" in words(beyond)


def test_a_missing_dose_is_words_and_not_a_bar() -> None:
    svg = limit_panel("k", [LimitBar("given", None)], limit_Gy=23.0, limit_text="limit")
    assert not elements(svg, "rect")
    assert "not evaluable" in words(svg)


def test_heights_of_stacked_doses_are_in_proportion() -> None:
    steps = [CycleDose("cycle 1", (("Lu-177", 1.0), ("Y-90", 3.0))), CycleDose("cycle 2", (("Lu-177", 2.0),))]
    bars = elements(cumulative_panel("kidneys", steps), "rect")
    heights = {b.get("fill"): float(b.get("height", "")) for b in bars[:3]}
    lu, y = (heights[palette.nuclide_colour(n)] for n in ("Lu-177", "Y-90"))
    assert y == pytest.approx(3.0 * lu, rel=2e-3)


def test_a_cycle_that_is_not_evaluable_is_a_question_mark() -> None:
    assert "?" in words(cumulative_panel("marrow", [CycleDose("cycle 1", None)]))


def test_the_proposal_is_an_open_bar_and_base_and_cap_are_named() -> None:
    series = CycleActivity("Y-90", "⁹⁰Y", (3700.0, None, 2250.0), 3700.0, 5550.0)
    svg = activity_panel(series, ["1", "2", "3"], proposed=2)
    assert [bool(b.get("stroke-dasharray")) for b in elements(svg, "rect")] == [False, True]
    assert {"base 3.70", "cap 5.55", "2.25"} <= set(words(svg))


def test_methods_stand_side_by_side() -> None:
    methods = [MethodDoses("blood", (0.2, None), ((0.1, 0.3), None)), MethodDoses("image", (0.5, 0.6), (None, None))]
    assert len(elements(method_panel("marrow", methods, ["1", "2"]), "circle")) == 3 + 2


def test_words_in_figures_are_escaped() -> None:
    svg = time_activity_panel("</text><script>1</script>", [curve()], note="<b>")
    assert not ET.fromstring(svg).findall(f".//{SVG}script")


def test_a_figure_has_the_same_bytes_every_time() -> None:
    assert time_activity_panel("a", [curve()]) == time_activity_panel("a", [curve()])


@pytest.mark.parametrize("high", [0.003, 0.46, 1.0, 7.3, 23.0, 119.0, 4.1e5])
def test_ticks_are_round_and_reach_the_highest_value(high: float) -> None:
    ticks = nice_ticks(high)
    assert ticks[0] == 0.0
    assert ticks[-1] >= high * (1 - 1e-9)
    assert 2 <= len(ticks) <= 7
    assert len(set(tick_labels(ticks))) == len(ticks)


@pytest.mark.parametrize("last", [3.0, 24.0, 100.0, 240.0, 700.0])
def test_hours_are_divided_like_days(last: float) -> None:
    assert 2 <= len(hour_ticks(last)) <= 6


def test_axes_without_extent_are_refused() -> None:
    with pytest.raises(OutputError, match="expected finite, increasing"):
        Axes(Canvas(10, 10), (0, 0, 10, 10), (0.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("severity", ["ok", "info", "warning", "danger"])
def test_text_on_coloured_ground_keeps_the_contrast_of_wcag_aa(severity: str) -> None:
    colour, wash = palette.SEVERITY[severity]
    assert palette.contrast(colour, wash) >= 4.5
    assert palette.contrast(palette.MUTED, wash) >= 4.5
    assert palette.contrast(palette.INK, wash) >= 4.5


def test_text_on_paper_keeps_the_contrast_of_wcag_aa() -> None:
    for colour in (palette.INK, palette.MUTED, palette.ACCENT, palette.LIMIT):
        assert palette.contrast(colour, palette.PAPER) >= 4.5
        assert palette.contrast(colour, palette.WASH) >= 4.5
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21.0)


def test_graphic_colours_keep_three_to_one() -> None:
    assert all(palette.contrast(c, palette.PAPER) >= 3.0 for c in palette.SERIES)

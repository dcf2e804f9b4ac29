"""Figures of the closed report: every subject is drawn, and words in pictures agree with the tables."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from lutetia.dataset.folder import read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.report.document import Figure, plain
from lutetia.report.html import checked_svg
from lutetia.safety.catalogue import TABLES
from lutetia.safety.context import Context, derive_context
from lutetia.safety.figure_catalogue import FIGURES
from lutetia.safety.figures import predicted_pairs
from lutetia.safety.figures_laboratory import occasions
from lutetia.safety.reading import read_trial
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.population import read_population
from lutetia.simulate.trial_folder import write_trial

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    made = simulate_trial(
        read_protocol("duonen"), subjects=16, seed=9, level="analytic", effect="planted",
        population=read_population(None),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("figures") / "data"
    write_trial(made, folder)
    return derive_context(read_trial(read_dataset(folder)), resamples=300)


def marks(figure: Figure, name: str) -> int:
    return sum(len(ET.fromstring(panel.image).findall(f"{SVG}{name}")) for panel in figure.panels)


def words(figure: Figure) -> list[str]:
    return [e.text or "" for panel in figure.panels for e in ET.fromstring(panel.image).findall(f"{SVG}text")]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawing_only_with_number_caption_and_alternative_text(context: Context, name: str) -> None:
    figure = FIGURES[name](context)
    assert plain(figure.caption).startswith(f"{name}\u2002")
    for panel in figure.panels:
        assert checked_svg(panel.image)
        assert panel.alt
        assert b"nan" not in panel.image


def test_every_administration_is_a_point(context: Context) -> None:
    given = context.exposure[context.exposure["subject_id"].isin(context.sets.saf)]
    assert marks(FIGURES["F2"](context), "circle") == len(given)


def test_the_flow_adds_up_to_those_screened(context: Context) -> None:
    found = dict(
        re.fullmatch(r"(.*): (\d+)", w).groups() for w in words(FIGURES["F1"](context)) if re.search(r": \d+$", w)
    )  # type: ignore[union-attr]
    assert int(found["Screened"]) == int(found["Randomised"]) + int(found["Not randomised"])
    randomised = [int(w.split()[2]) for w in words(FIGURES["F1"](context)) if w.endswith(" randomised")]
    assert sum(randomised) == len(context.sets.itt)


def test_medians_in_the_box_plot_are_those_of_the_table(context: Context) -> None:
    table = TABLES["T6"](context)
    panel = next(p for p in FIGURES["F4"](context).panels if "kidneys" in p.alt)
    for arm, median in re.findall(r"arm (\w) median ([\d.]+) Gy", panel.alt):
        assert float(median) == pytest.approx(
            float(table.value(f"{arm} / kidneys", "absorbed_dose_Gy", "median") or 0), rel=5e-3
        )


def test_parts_of_the_nuclides_add_up_to_the_mean_of_the_total(context: Context) -> None:
    doses = context.limits[(context.limits["limit"] == "kidneys") & context.limits["subject_id"].isin(context.sets.dos)]
    shown = [float(w) for w in words(FIGURES["F3"](context)) if re.fullmatch(r"\d+\.\d+", w)]
    for arm in ("B", "C"):
        mean = float(doses.loc[doses["arm"] == arm, "dose_Gy"].mean())
        assert min(abs(value - mean) for value in shown) < 0.06


def test_every_subject_of_the_waterfall_has_a_bar(context: Context) -> None:
    notes = [w for w in words(FIGURES["F5"](context)) if w.endswith(" subjects")]
    sizes = [
        len(context.extremes[context.extremes["analyte"] == a].dropna(subset=["percent_change"]))
        for a in ("lymphocytes",)
    ]
    assert notes[0] == f"{sizes[0]} subjects"


def test_the_course_of_a_count_starts_at_baseline_and_holds_every_nadir(context: Context) -> None:
    rows, ticks = occasions(context, "platelets")
    assert (rows.loc[rows["place"] == 0, "ratio"] == 1.0).all()
    names = [name for _, name in ticks]
    first = rows[rows["place"] == names.index("n1")].set_index("subject_id")["ratio"]
    nadirs = context.nadirs[(context.nadirs["analyte"] == "platelets") & (context.nadirs["cycle"] == 1)]
    expected = nadirs.set_index("subject_id").eval("value / baseline").dropna()
    assert np.allclose(first.sort_index(), expected.loc[first.index].sort_index())


def test_rank_correlations_in_the_scatter_are_those_of_the_table(context: Context) -> None:
    table, text = TABLES["T13"](context), " ".join(words(FIGURES["F7"](context)))
    rho = float(table.value("rank / all", "lymphocytes", "estimate") or 0.0)
    assert f"ρ = {rho:.2f}".replace("-", "−") in text


def test_the_final_incidence_is_a_share_of_the_arm_where_nobody_was_lost(context: Context) -> None:
    own = context.durations[context.durations["endpoint"] == "lymphocytes ≥ G2"]
    text = words(FIGURES["F8"](context))
    panel = [w for w in text if re.fullmatch(r"arm \w \d+ %", w)]
    assert len(panel) == 16
    for arm in context.arms:
        among = own[own["arm"] == arm]
        share = 100.0 * float((among["status"] == 1).mean())
        assert any(w.startswith(f"arm {arm} ") and float(w.split()[2]) >= share - 1.0 for w in panel)


def test_every_decision_is_a_cell_of_the_heat_map(context: Context) -> None:
    signs = [w for w in words(FIGURES["F11"](context)) if w in "−=+○×"]
    decided = context.decisions[context.decisions["subject_id"].isin(context.sets.saf)]
    assert len(signs) == len(decided.dropna(subset=["category"]))


def test_predictions_are_compared_from_the_second_cycle_on(context: Context) -> None:
    limit = context.data.study.limits[0]
    pairs = predicted_pairs(context, limit)
    assert len(pairs) > 10
    assert pairs["cycle"].min() == 2
    assert "bias" in " ".join(words(FIGURES["F12"](context)))


def test_arms_of_the_stopping_figure_stand_where_the_table_says(context: Context, tmp_path: Path) -> None:
    table, text = TABLES["T16"](context), words(FIGURES["F13"](context))
    for arm in context.arms:
        row = f"haematology or kidney / {arm}"
        events, n = (table.value(row, column, "count") for column in ("events", "evaluable"))
        assert f"arm {arm}: {events}/{n}" in text

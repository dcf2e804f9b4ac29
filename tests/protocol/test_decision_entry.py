"""DECISION.toml: what is refused, and what the answer holds."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lutetia.cli.decide import decide as command
from lutetia.errors import LutetiaError
from lutetia.protocol.entry import parse_decision, read_decision

GOOD: dict[str, Any] = {
    "protocol": "duonen",
    "arm": "B",
    "cycle": 2,
    "given_Gy": {"kidneys": 7.47, "red marrow": 0.25},
    "predicted_Gy_per_GBq": {
        "kidneys": {"Lu-177": 0.42, "Y-90": 1.6},
        "red marrow": {"Lu-177": 0.0145, "Y-90": 0.058},
    },
    "previous_MBq": {"Lu-177": 3700, "Y-90": 3700},
}
TEXT = """
protocol = "duonen"
arm = "B"
cycle = 2
given_Gy = { kidneys = 7.47, "red marrow" = 0.25 }
previous_MBq = { "Lu-177" = 3700, "Y-90" = 3700 }
[predicted_Gy_per_GBq]
kidneys = { "Lu-177" = 0.42, "Y-90" = 1.6 }
"red marrow" = { "Lu-177" = 0.0145, "Y-90" = 0.058 }
"""


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(armm="B"), "unknown key 'armm'; did you mean arm"),
        (changed(arm="E"), "unknown arm 'E'; known: A, B, C, D"),
        (changed(cycle=0), "cycle: found 0; expected a whole number"),
        (changed(given_Gy={"kidneys": -1.0, "red marrow": 0.2}), "given_Gy: kidneys: found -1; expected 0 or more"),
        (changed(given_Gy={"kidneys": 1.0}), "given_Gy: red marrow is missing"),
        (changed(given_Gy={"kidnees": 1.0, "red marrow": 0.1}), "unknown region 'kidnees'"),
        (changed(predicted_Gy_per_GBq={"kidneys": {"Lu-177": 0.4, "Y-90": 1.6}}), "red marrow is missing"),
        (
            changed(predicted_Gy_per_GBq={"kidneys": {"Lu-177": 0.4}, "red marrow": {"Lu-177": 0.01, "Y-90": 0.1}}),
            "kidneys: Y-90 is missing",
        ),
        (changed(previous_MBq={"Lu-177": 3700}), "previous_MBq: Y-90 is missing"),
        (changed(previous_MBq={"Lu-177": 3700, "I-131": 1}), "found I-131; arm B gives Lu-177, Y-90"),
        (changed(no_increase="yes"), "no_increase: found 'yes'; expected true or false"),
        (changed(no_increase=["rain"]), "found 'rain'; expected words of marrow_not_evaluable"),
        (changed(toxicity_action="pause"), "expected one of none, hold, half, stop"),
        (changed(protocol="duonan"), "unknown protocol 'duonan'; did you mean duonen"),
        (changed(protocol="absent.toml"), "absent.toml: cannot be read"),
        (changed(given_sd_Gy={"kidneys": "x"}), "expected a number"),
        (changed(bed=3), "bed: found 3; expected a table"),
    ],
)
def test_a_bad_entry_is_refused_with_its_reason(table: dict[str, Any], message: str) -> None:
    with pytest.raises(LutetiaError, match=message.replace("(", r"\(")):
        parse_decision(table)


def test_the_json_answer_holds_the_contract_keys(tmp_path: Path) -> None:
    import typer

    file = tmp_path / "decision.toml"
    file.write_text(TEXT, encoding="utf-8")
    app = typer.Typer()
    app.command()(command)
    answer = json.loads(CliRunner().invoke(app, [str(file), "--json"]).stdout)
    assert {"state", "activities_MBq", "category", "bound_by", "limits", "reasons"} <= set(answer)
    assert answer["activities_MBq"] == {"Lu-177": 3700.0, "Y-90": 2250.0}
    assert answer["category"] == {"Lu-177": "fixed", "Y-90": "reduced"}
    assert answer["limits"][0]["binding"] is True
    text = CliRunner().invoke(app, [str(file)]).stdout
    assert "2250 MBq" in text
    assert "Why not more" in text


def test_standard_deviations_give_probabilities_and_a_cautious_risk(tmp_path: Path) -> None:
    sd = {"kidneys": {"Lu-177": 0.42 * 0.13, "Y-90": 1.6 * 0.13}}
    median = parse_decision(changed(predicted_sd_Gy_per_GBq=sd, given_sd_Gy={"kidneys": 7.47 * 0.13})).decide()
    assert median.limits[0].end_of_course is not None
    assert 0.3 < median.limits[0].end_of_course.probability_over <= 0.5
    protocol = (Path(__file__).parents[2] / "src/lutetia/protocol/versions/duonen.toml").read_text(encoding="utf-8")
    (tmp_path / "p.toml").write_text(protocol.replace("risk = 0.5", "risk = 0.05"), encoding="utf-8")
    table = changed(protocol="p.toml", predicted_sd_Gy_per_GBq=sd, given_sd_Gy={"kidneys": 7.47 * 0.13})
    cautious = parse_decision(table, folder=tmp_path).decide()
    assert cautious.state == "INFEASIBLE" or cautious.activities_MBq["Y-90"] < median.activities_MBq["Y-90"]  # type: ignore[index]
    assert cautious.limits[0].end_of_course.probability_over <= 0.05 or cautious.over_limit  # type: ignore[union-attr]


def test_a_region_named_not_evaluable_forbids_an_increase_and_asks_for_two_people() -> None:
    table = changed(arm="D", given_Gy={"kidneys": 1.0}, not_evaluable=["marrow"], previous_MBq={"Lu-177": 7400})
    table["predicted_Gy_per_GBq"] = {"kidneys": {"Lu-177": 0.3}}
    decision = parse_decision(table).decide()
    assert decision.activities_MBq == {"Lu-177": 7400.0}
    assert decision.bound_by == "no increase"
    assert decision.limits[1].given_Gy is None


def test_a_first_cycle_needs_no_numbers() -> None:
    decision = parse_decision({"protocol": "duonen", "arm": "C", "cycle": 1}).decide()
    assert decision.activities_MBq == {"Lu-177": 3700.0, "Y-90": 3700.0}
    assert decision.bound_by == "base"


def test_a_file_that_is_not_toml_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LutetiaError, match="cannot be read"):
        read_decision(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1", encoding="utf-8")
    with pytest.raises(LutetiaError, match="not a TOML text"):
        read_decision(tmp_path / "bad.toml")

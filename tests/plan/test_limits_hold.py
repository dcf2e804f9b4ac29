"""Limits hold where doses are carried, entered or unknown: no path lets an activity rise on what was not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutetia.core.draws import stream
from lutetia.phantom.example import write_table_example
from lutetia.plan.run import run_plan

HEAD = """schema = "lutetia.case/1"
timezone = "Europe/Warsaw"
[subject]
id = "LIM-1"
sex = "female"
weight_kg = 68.0
{subject}
[protocol]
{protocol}
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table_example(tmp_path_factory.mktemp("limits") / "case")


def case(folder: Path, cycles: str, *, subject: str = "", protocol: str = 'name = "duonen"\narm = "B"') -> Path:
    file = folder / "limits.toml"
    file.write_text(HEAD.format(subject=subject, protocol=protocol) + cycles, encoding="utf-8")
    return file


def cycle(number: int, *lines: str, lu: float = 3700.0, y: float | None = 3700.0) -> str:
    month = number * 2 - 1
    given = f'"Lu-177" = {lu}' + (f', "Y-90" = {y}' if y is not None else "")
    return "\n".join(
        ["[[cycles]]", f"number = {number}", f"administered_at = 2026-{month:02d}-12T09:30:00+01:00",
         f"administered_MBq = {{ {given} }}", *lines, ""]
    )  # fmt: skip


def measured(number: int, *parts: str) -> list[str]:
    masses = '{ "left kidney" = 142.1, "right kidney" = 131.4, liver = 1414.5, spleen = 153.5, "tumour 1" = 15.8 }'
    tables = {
        "regions": f'regions = {{ file = "cycle{number}/regions.csv", masses_g = {masses} }}',
        "blood": f'blood = {{ file = "cycle{number}/blood.csv" }}',
        "whole_body": f'whole_body = {{ file = "cycle{number}/whole_body.csv" }}',
    }
    return [tables[part] for part in parts or tables]


def limit(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in result["limits"] if row["id"] == name)


def test_kidneys_that_were_never_imaged_do_not_let_the_activity_rise(tables: Path) -> None:
    file = case(
        tables, cycle(1, *measured(1, "blood", "whole_body"), lu=7400.0, y=None), protocol='name = "duonen"\narm = "D"'
    )
    prescription = run_plan(file).result["prescription"]
    assert prescription["activities_MBq"]["Lu-177"] <= 7400.0
    assert not prescription["signable"]
    assert any("not measured in the last cycle" in text for text in prescription["conditions"])


def test_kidneys_carried_from_an_earlier_cycle_do_not_let_the_activity_rise(tables: Path) -> None:
    file = case(tables, cycle(1, *measured(1)) + cycle(2, *measured(2, "blood", "whole_body"), y=1000.0))
    prescription = run_plan(file).result["prescription"]
    assert prescription["activities_MBq"]["Y-90"] <= 1850.0
    assert any("not measured in the last cycle" in text for text in prescription["conditions"])


def entered(folder: Path, *rows: str) -> str:
    text = "region,nuclide,absorbed_dose_Gy,absorbed_dose_sd_Gy,bed_Gy,method\n" + "\n".join(rows) + "\n"
    (folder / "doses.csv").write_text(text, encoding="utf-8")
    return 'doses = { file = "doses.csv" }'


def test_kidneys_entered_singly_count_into_the_limit_of_the_pair(tables: Path) -> None:
    rows = entered(
        tables, "left kidney,total,12,1,14,X", "right kidney,total,12,1,14,X", "red marrow,total,0.3,,,blood"
    )
    result = run_plan(case(tables, cycle(1, *measured(1)) + cycle(2, rows))).result
    first = next(r for r in result["cycles"][0]["regions"] if r["region"] == "kidneys")["absorbed_dose_Gy"]
    assert limit(result, "kidneys")["given_Gy"] == pytest.approx(first + 12.0, rel=1e-4)


def test_a_solitary_kidney_entered_by_its_side_counts_into_the_limit(tables: Path) -> None:
    marrow = ("red marrow,Lu-177,0.1,,,blood", "red marrow,Y-90,0.2,,,blood")
    rows = entered(tables, "left kidney,Lu-177,4,0.4,,X", "left kidney,Y-90,8,0.8,,X", *marrow)
    file = case(tables, cycle(1, rows), subject="kidneys_present = 1")
    assert limit(run_plan(file).result, "kidneys")["given_Gy"] == pytest.approx(12.0)


def test_bed_is_never_zero_where_only_absorbed_dose_is_known(tables: Path) -> None:
    rows = entered(tables, "kidneys,Lu-177,1,0.1,,X", "kidneys,Y-90,2,0.2,,X", "red marrow,total,0.3,,,blood")
    protocol = 'name = "bodei-2008"\narm = "{}"'
    from lutetia.protocol.profile import read_protocol

    arms = {name: set(arm.nuclides) for name, arm in read_protocol("bodei-2008").arms.items()}
    tandem = next((name for name, nuclides in arms.items() if nuclides == {"Lu-177", "Y-90"}), None)
    assert tandem is not None
    result = run_plan(case(tables, cycle(1, rows), protocol=protocol.format(tandem))).result
    row = next(li for li in result["limits"] if li["metric"] == "bed")
    assert row["given_Gy"] == pytest.approx(3.0, rel=1e-6)
    assert any("lower bound" in text for text in result["prescription"]["conditions"])


def test_prior_dose_without_bed_counts_as_its_absorbed_dose_before_the_first_cycle(tables: Path) -> None:
    subject = '[[subject.prior_therapy]]\nregion = "kidneys"\nabsorbed_dose_Gy = 29.0'
    from lutetia.protocol.profile import read_protocol

    arm = next(iter(read_protocol("bodei-2008").arms))
    result = run_plan(case(tables, "", subject=subject, protocol=f'name = "bodei-2008"\narm = "{arm}"')).result
    assert result["prescription"]["state"] == "STOP"


def test_marrow_without_the_remainder_in_any_cycle_does_not_let_the_activity_rise(tables: Path) -> None:
    cycles = cycle(1, *measured(1, "regions", "blood")) + cycle(2, *measured(2), y=1900.0)
    prescription = run_plan(case(tables, cycles)).result["prescription"]
    assert prescription["activities_MBq"]["Y-90"] <= 1900.0
    assert any("marrow dose is incomplete" in text for text in prescription["conditions"])


def test_both_kidneys_of_one_person_share_their_systematic_errors(tables: Path) -> None:
    result = run_plan(case(tables, cycle(1, *measured(1))), draws=1000).result
    sd = {r["region"]: r["absorbed_dose_sd_Gy"] / r["absorbed_dose_Gy"] for r in result["cycles"][0]["regions"]}
    single = 0.5 * (sd["left kidney"] + sd["right kidney"])
    # Independent kidneys would give 0.71 of the single ones.
    assert sd["kidneys"] > 0.85 * single


def test_prior_dose_of_the_kidneys_counts_for_each_kidney(tables: Path) -> None:
    subject = '[[subject.prior_therapy]]\nregion = "kidneys"\nabsorbed_dose_Gy = 10.0\nbed_Gy = 12.0'
    with_prior = run_plan(case(tables, cycle(1, *measured(1)), subject=subject)).result
    without = run_plan(case(tables, cycle(1, *measured(1)))).result
    for region in ("left kidney", "right kidney", "kidneys"):
        doses = [
            next(c for c in r["cumulative"] if c["region"] == region)["absorbed_dose_Gy"] for r in (with_prior, without)
        ]
        assert doses[0] - doses[1] == pytest.approx(10.0, abs=1e-3), region


def test_a_limit_with_other_radiobiology_than_is_computed_is_refused(tables: Path) -> None:
    from lutetia.errors import ProtocolError

    text = (Path(__file__).parents[2] / "src/lutetia/protocol/versions/bodei-2008.toml").read_text(encoding="utf-8")
    assert "alpha_beta_Gy = 2.6" in text
    (tables / "other.toml").write_text(text.replace("alpha_beta_Gy = 2.6", "alpha_beta_Gy = 10.0"), encoding="utf-8")
    from lutetia.protocol.profile import read_protocol

    arm = next(iter(read_protocol("bodei-2008").arms))
    with pytest.raises(ProtocolError, match="α/β 10 Gy"):
        run_plan(case(tables, "", protocol=f'file = "other.toml"\narm = "{arm}"'))


def test_whole_body_dose_does_not_depend_on_when_the_other_nuclide_was_given(tables: Path) -> None:
    def dose(at: str) -> float:
        lines = cycle(1, *measured(1)).replace("administered_at = 2026-01-12T09:30:00+01:00", f"administered_at = {at}")
        rows = run_plan(case(tables, lines), draws=100).result["cycles"][0]["regions"]
        return float(next(r for r in rows if r["region"] == "whole body")["nuclides"]["Lu-177"]["absorbed_dose_Gy"])

    same = dose("2026-01-12T09:30:00+01:00")
    later = dose('{ "Lu-177" = 2026-01-12T09:30:00+01:00, "Y-90" = 2026-01-13T09:30:00+01:00 }')
    assert later == pytest.approx(same, rel=1e-6)


def test_streams_are_those_of_the_kidneys_for_either_side() -> None:
    from lutetia.core.regions import shared_name

    draws = [stream(1, shared_name(region), "kinetic model").random(4) for region in ("left kidney", "right kidney")]
    assert np.array_equal(draws[0], draws[1])

"""Times to events and the events of a stopping rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.support.small_trial import Row, given, labs, rows, subject, trial

from lutetia.errors import InputError
from lutetia.safety.baseline import derive_baseline
from lutetia.safety.events import derive_durations, monitor_events
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.grading import grade_labs
from lutetia.safety.reading import TrialData
from lutetia.safety.renal import derive_egfr
from lutetia.safety.study import Monitor
from lutetia.safety.visits import place_labs


def parts(data: TrialData) -> dict[str, Any]:
    infusions = derive_infusions(data)
    placed = place_labs(data, infusions)
    start = derive_baseline(data, placed)
    graded, rate = grade_labs(data, placed, start), derive_egfr(data, placed, start)
    return {"infusions": infusions, "labs": placed, "grades": graded, "egfr": rate}


def three(path: Path, *, disposition: str = "", extra: list[Row] | None = None) -> TrialData:
    """S1 falls to platelets 60 on day 20, S2 stays at 200 until day 60, S3 has one early value."""
    tables = {
        "subjects": [subject("S1"), subject("S2"), subject("S3", "B")],
        "administrations": [row for s in ("S1", "S2", "S3") for row in given(s, 1, "2026-01-12", Lu_177=7400.0)],
        "labs": [
            *labs("S1", "platelets", {"2026-01-05": 250, "2026-02-01": 60, "2026-02-10": 40}, unit="10^9/L", lln="150"),
            *labs("S2", "platelets", {"2026-01-05": 250, "2026-03-13": 200}, unit="10^9/L", lln="150"),
            *labs("S3", "platelets", {"2026-01-05": 250, "2026-01-20": 200}, unit="10^9/L", lln="150"),
            *(extra or []),
        ],
        "disposition": rows("subject_id event on\n" + disposition) if disposition else [],
    }
    return trial(path, tables, cut="2026-06-30")


def durations(data: TrialData, endpoint: str) -> pd.DataFrame:
    found = parts(data)
    table = derive_durations(data, found["infusions"], found["labs"], grades=found["grades"], egfr=found["egfr"])
    return table[table["endpoint"] == endpoint].set_index("subject_id")


def test_the_first_value_of_the_grade_is_the_event_and_others_are_followed_to_their_last_value(tmp_path: Path) -> None:
    found = durations(three(tmp_path), "platelets ≥ G2")
    assert found[["day", "status"]].to_numpy().tolist() == [[20.0, 1], [60.0, 0], [8.0, 0]]
    assert found.loc["S1", ["table", "row"]].tolist() == ["labs", 3]


def test_death_before_the_event_competes_and_death_is_an_event_of_its_own(tmp_path: Path) -> None:
    data = three(tmp_path, disposition="S2 died 2026-04-01\nS3 last_contact 2026-02-01\nS1 progressed 2026-03-01")
    assert durations(data, "platelets ≥ G2").loc["S2", ["day", "status"]].tolist() == [79.0, 2]
    death = durations(data, "death")
    assert death[["day", "status"]].to_numpy().tolist() == [[169.0, 0], [79.0, 1], [20.0, 0]]
    assert durations(data, "progression or death").loc["S1", ["day", "status"]].tolist() == [48.0, 1]


def test_of_progression_and_death_the_first_from_the_infusion_on_counts_in_any_order_of_rows(tmp_path: Path) -> None:
    events = "S1 died 2026-04-12\nS1 progressed 2026-02-11\nS2 progressed 2026-01-02\nS2 died 2026-02-01"
    found = durations(three(tmp_path, disposition=events), "progression or death")
    assert found.loc["S1", ["day", "status"]].tolist() == [30.0, 1]
    assert found.loc["S2", ["day", "status"]].tolist() == [20.0, 1]


def test_an_endpoint_without_values_of_its_analyte_has_no_row(tmp_path: Path) -> None:
    assert len(durations(three(tmp_path), "creatinine ≥ G2")) == 0


def monitored(data: TrialData, event: str, days: int = 56) -> pd.DataFrame:
    rule = Monitor("rule", event, days, 0.1, 0.95, 2.0, ())
    found = parts(data)
    return monitor_events(
        rule, found["infusions"], found["labs"], grades=found["grades"], egfr=found["egfr"]
    ).set_index("subject_id")  # fmt: skip


def test_who_has_the_event_or_was_followed_is_evaluable(tmp_path: Path) -> None:
    found = monitored(three(tmp_path), "grade 2 or more of haemoglobin, platelets")
    assert found["event"].to_dict() == {"S1": True, "S2": False, "S3": False}
    assert found["evaluable"].to_dict() == {"S1": True, "S2": True, "S3": False}
    assert found["order"].to_dict() == {"S1": 1, "S2": 2, "S3": 0}
    assert found.loc["S1", "rows"] == (3, 4)


def test_an_event_after_the_window_does_not_count(tmp_path: Path) -> None:
    found = monitored(three(tmp_path), "grade 3 or more of platelets", days=28)
    assert not found["event"].any()  # the 40 came on day 29
    assert monitored(three(tmp_path / "b"), "grade 3 or more of platelets", days=29)["event"]["S1"]


def test_a_confirmed_fall_of_the_rate_can_be_an_event(tmp_path: Path) -> None:
    values = {"2026-01-05": 80, "2026-02-01": 160, "2026-03-10": 160}
    data = three(tmp_path, extra=labs("S1", "creatinine", values, unit="umol/L", uln="104"))
    assert monitored(data, "eGFR fall of 40 % confirmed; grade 4 or more of platelets")["event"].to_dict() == {
        "S1": True, "S2": False, "S3": False,
    }  # fmt: skip


@pytest.mark.parametrize("event", ["any death", "grade 3 or more of unobtainium", "eGFR fall of 33 %"])
def test_a_rule_whose_words_cannot_be_read_is_refused(tmp_path: Path, event: str) -> None:
    with pytest.raises(InputError, match=r"study\.toml: monitors: rule"):
        monitored(three(tmp_path), event)

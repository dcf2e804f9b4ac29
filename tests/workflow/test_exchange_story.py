"""The CSV folder of a trial in the middle of its work is a trial again: doses, open prescriptions, states, sites."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import COORDINATOR, MANAGER, SUBJECT, Story, make_story

from lutetia.dataset.tables import TABLES
from lutetia.trial import SYSTEM, Actor, Change, Create, Grant
from lutetia.trial.exchange import create_from_dataset, export_dataset
from lutetia.workflow.prescription import read_standing
from lutetia.workflow.screening import Enrol, enrol

DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
LIVES = {
    "DUO-101": (["randomised 2026-01-01", "lost 2026-01-05", "last_contact 2026-01-08"], "FOLLOW_UP"),
    "DUO-102": (["randomised 2026-01-01", "lost 2026-01-05", "last_contact 2026-01-08", "completed 2026-01-09"],
                "COMPLETED"),
    "DUO-103": (["randomised 2026-01-01", "last_contact 2026-01-03", "lost 2026-01-05"], "LOST"),
    "DUO-104": (["randomised 2026-01-01", "died 2026-01-05", "last_contact 2026-01-05"], "DEAD"),
    "DUO-105": (["eligible 2026-01-01", "randomised 2026-01-01"], "RANDOMISED"),
}  # fmt: skip


@pytest.fixture
def story(tmp_path: Path) -> Story:
    made = make_story(tmp_path / "first")
    rows = []
    for subject, (events, _) in LIVES.items():
        rows.append(
            Create("subjects", {"subject_id": subject, "site": "01", "arm": "A", "sex": "male", "age_years": 50})
        )
        for event, on in (text.split() for text in events):
            rows.append(Create("disposition", {"subject_id": subject, "event": event, "on": on}))
    made.trial.commit(Change("prepare", rows), SYSTEM)
    made.whole_cycle(DAY)
    made.at(DAY + timedelta(weeks=8) - timedelta(hours=20))
    made.assessed((DAY + timedelta(weeks=8)).date().isoformat())
    made.propose(2)
    return made


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A record; what stands beside its columns as lists and objects, the rest as text."""
    beside = {
        k: v if isinstance(v, dict | list) else str(v) for k, v in (row["further"] or {}).items() if v is not None
    }
    return {**row, "further": beside}


def test_a_trial_in_the_middle_of_its_work_comes_back_from_its_tables(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "csv"
    export_dataset(story.trial, MANAGER, folder)
    manager = Actor("dana", "Dana", (Grant("data_manager"), Grant("unmasked_statistician")))
    with create_from_dataset(tmp_path / "second", folder, clock=story.clock, demonstration=True) as again:
        for table in ("doses", "prescriptions", "forecasts", "labs"):
            with again.read() as reader:
                found, expected = ([shown(r) for r in rows] for rows in (reader.records(table), story.rows(table)))
            for one, other in zip(found, expected, strict=True):
                columns = (*TABLES[table].names, "further")
                assert {k: one[k] for k in columns if other[k] != one[k]} == {}, table
        assert read_standing(again, manager, SUBJECT, 2) == ("the doses changed",), "results are not in the tables"
        with again.read() as reader:
            states = {r["subject_id"]: r["state"] for r in reader.records("subjects")}
        assert {s: states[s] for s in LIVES} == {s: state for s, (_, state) in LIVES.items()}
        enrol(again, COORDINATOR, Enrol(site="01", sex="female", age_years=60.0))
    story.trial.close()

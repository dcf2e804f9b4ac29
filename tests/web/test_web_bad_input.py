"""What goes wrong outside of the form: a full disk, a newer database, forged parts of a form, impossible values."""

from __future__ import annotations

import html
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from tests.web.browsing import PASSWORD, START, Browser, PlainAuthenticator, TestClient, fill, person

from lutetia.cli.serve import serve
from lutetia.errors import SchemaVersionError
from lutetia.trial import ManualClock, Study, Trial, audit, sessions
from lutetia.web.app import create_app
from lutetia.web.settings import Settings


@pytest.fixture
def own_trial(tmp_path: Path) -> Iterator[Trial]:
    """A filled trial of this test alone."""
    study = Study("DUONEN", "DUONEN trial", "duonen", "1.0", {"timezone": "Europe/Warsaw"})
    with Trial.create(
        tmp_path / "own", study=study, demonstration=True, clock=ManualClock(START), authenticator=PlainAuthenticator()
    ) as made:
        fill(made)
        yield made


def browser_of(trial: Trial, user: str) -> Browser:
    app = create_app(trial, settings=Settings(sign_in_tries=1000))
    browser = Browser(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
    browser.sign_in(user)
    return browser


def api(trial: Trial, user: str) -> tuple[TestClient, dict[str, str]]:
    app = create_app(trial, settings=Settings(sign_in_tries=1000))
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    return client, {"Authorization": f"Bearer {sessions.sign_in(trial, user, PASSWORD).token}"}


def counted(trial: Trial) -> dict[str, int]:
    with trial.read() as reader:
        return {name: reader.count(name) for name in ("subjects", "labs", "sites", "queries")}


def test_a_full_disk_is_said_nothing_is_half_saved_and_work_goes_on_with_space(own_trial: Trial) -> None:
    client, headers = api(own_trial, person("coordinator"))
    values = [{"analyte": "platelets", "value": "200", "unit": "10^9/L"}]
    sample: dict[str, Any] = {"taken_at": "2026-03-01T09:00:00+01:00", "values": values, "visit": "x" * 100}
    limits = {"pages": 0}

    @event.listens_for(own_trial.database.engine, "begin")
    def limited(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {limits['pages'] or 1_000_000}")

    before = counted(own_trial)
    limits["pages"] = 1  # the smallest that SQLite takes is the present size
    full = None
    for number in range(400):
        full = client.post("/api/subjects/DUO-01-001/labs", json={**sample, "sample_id": f"S{number}"}, headers=headers)
        if full.status_code != 200:
            break
    assert full is not None
    assert full.status_code == 503
    assert "nothing was stored; free space on the disk" in full.json()["detail"]
    stored = counted(own_trial)
    assert stored["labs"] == before["labs"] + number
    assert client.get("/api/subjects", headers=headers).status_code == 200, "reading goes on"
    limits["pages"] = 0
    again = client.post("/api/subjects/DUO-01-001/labs", json={**sample, "sample_id": f"S{number}"}, headers=headers)
    assert again.status_code == 200
    with own_trial.read() as reader:
        audit.verify(reader)
        audit.verify_data(reader)


def test_a_page_on_a_full_disk_keeps_what_was_typed(own_trial: Trial) -> None:
    browser = browser_of(own_trial, person("administrator"))
    browser.get("/sites")

    @event.listens_for(own_trial.database.engine, "begin")
    def limited(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    typed = {"site": "07", "name": "Zgierz " + "x" * 9000, "country": "PL", "timezone": "Europe/Warsaw",
             "opened_on": "2026-03-01"}  # fmt: skip
    for _ in range(40):
        answer = browser.post("/sites", typed)
        if answer.status_code != 200:
            break
        typed["site"] = f"{int(typed['site']) + 1:02d}"
    page = html.unescape(answer.text)
    assert answer.status_code in (422, 503)
    assert "free space on the disk" in page
    with own_trial.read() as reader:
        assert reader.find("sites", {"site": typed["site"]}) is None
        audit.verify(reader)


def test_a_database_newer_than_the_program_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    Trial.create(folder, study=Study("S", "S")).close()
    with sqlite3.connect(folder / "trial.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    content = (folder / "trial.sqlite").read_bytes()
    with pytest.raises(SchemaVersionError, match=r"newer than this program.*install the newer Lutetia"):
        serve(folder, port=0)
    assert (folder / "trial.sqlite").read_bytes() == content


@pytest.mark.requirement(22)
@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("subjects", ("site", "sex", "state", "arm")),
        ("users", ("password_hash",)),
        ("sessions", ("token_hash",)),
    ],
)
def test_a_stale_form_that_names_somebody_elses_record_shows_nothing_of_it(
    table: str, columns: tuple[str, ...], own_trial: Trial
) -> None:
    """Which record a form carries is what the browser sent; its saved values are shown to those who may see them."""
    coordinator = browser_of(own_trial, person("coordinator"))
    with own_trial.read() as reader:
        rows = reader.records(table)
        query = reader.records("queries", site="01")[0]
    victims = [row for row in rows if row.get("site", "02") == "02"]
    coordinator.get("/queries/1")
    for row in victims[:3]:
        forged = {"record_table": table, "record_id": str(row["record_id"]), "version": "99", "text": "58",
                  **dict.fromkeys(columns, "?")}  # fmt: skip
        answer = coordinator.post(f"/queries/{query['query_id']}/answer", forged)
        assert answer.status_code == 409
        shown = html.unescape(answer.text)
        secrets = [str(row[name]) for name in columns if row[name] and len(str(row[name])) > 3]
        assert not [text for text in secrets if text in shown]
        assert "DUO-02-001" not in shown


IMPOSSIBLE = {
    "future": ({"taken_at": "2031-01-01T09:00:00+01:00"}, {}, "future"),
    "unit": ({}, {"unit": "furlong"}, "unit"),
    "unknown analyte": ({}, {"analyte": "luck"}, "analyte"),
    "limits": ({}, {"lln": "400", "uln": "150"}, "not below"),
    "no number": ({}, {"value": "many"}, "many"),
    "not a number": ({}, {"value": "NaN"}, ""),
    "no date": ({"taken_at": "yesterday"}, {}, "yesterday"),
    "nothing": ({"values": []}, {}, "found none"),
}


@pytest.mark.requirement(31)
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_laboratory_value_is_refused_by_the_api_with_its_reason(name: str, trial: Trial) -> None:
    client, headers = api(trial, person("coordinator"))
    head, value, words = IMPOSSIBLE[name]
    values = [{"analyte": "platelets", "value": "200", "unit": "10^9/L", **value}]
    before = counted(trial)
    sample = {"taken_at": "2026-03-01T09:00:00+01:00", "sample_id": name, "values": values, **head}
    answer = client.post("/api/subjects/DUO-01-001/labs", json=sample, headers=headers)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert counted(trial) == before


@pytest.mark.requirement(4)
def test_the_api_changes_a_stored_value_with_a_reason_only_and_takes_it_twice_as_once(trial: Trial) -> None:
    client, headers = api(trial, person("coordinator"))
    sample: dict[str, Any] = {"taken_at": "2026-03-01T09:00:00+01:00", "sample_id": "R1",
                              "values": [{"analyte": "platelets", "value": "200", "unit": "10^9/L"}]}  # fmt: skip
    path = "/api/subjects/DUO-01-001/labs"
    assert client.post(path, json=sample, headers=headers).json()["stored"] == {"new": 1}
    assert client.post(path, json=sample, headers=headers).json()["stored"] == {"same": 1}
    changed = {**sample, "values": [{"analyte": "platelets", "value": "20", "unit": "10^9/L"}]}
    refused = client.post(path, json=changed, headers=headers)
    assert refused.status_code == 422
    assert "reason" in refused.json()["detail"]
    fine = client.post(path, json={**changed, "reason": "misread"}, headers=headers)
    assert fine.json()["stored"] == {"changed": 1}
    values = [row["value"] for row in client.get(path, headers=headers).json() if row["sample_id"] == "R1"]
    assert values == [20.0]


def test_a_subject_of_another_site_is_refused_by_every_api_route(trial: Trial) -> None:
    client, headers = api(trial, person("coordinator"))
    base = "/api/subjects/DUO-02-001"
    for path in (base, f"{base}/labs", f"{base}/adverse-events", f"{base}/cycles"):
        assert client.get(path, headers=headers).status_code == 403, path
    sample = {"taken_at": "2026-03-01T09:00:00+01:00", "values": [{"analyte": "platelets", "value": "200"}]}
    assert client.post(f"{base}/labs", json=sample, headers=headers).status_code == 403
    assert client.post(f"{base}/randomisation", json={}, headers=headers).status_code == 403
    content = "subject_id,analyte,taken_at,value,unit\nDUO-02-001,platelets,2026-03-01T09:00+01:00,200,10^9/L\n"
    rows = client.post("/api/laboratory/preview", json={"content": content}, headers=headers).json()
    assert [(row["status"], "another site" in row["reason"]) for row in rows] == [("refused", True)]

"""The CSV folder of the exchange format: into a trial through the gateway, and out again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutetia.dataset.folder import read_dataset, write_dataset
from lutetia.errors import AccessDeniedError, DuplicateRecordError, InputError
from lutetia.trial import SYSTEM, Actor, Grant, Trial, audit
from lutetia.trial.exchange import create_from_dataset, export_dataset, import_dataset
from lutetia.trial.schema import SCHEMA

MANAGER = Actor("dora", "Dora", (Grant("data_manager"),))
STUDY = b'schema = "lutetia.study/1"\ntitle = "Small"\nsimulated = true\n[protocol]\nname = "duonen"\nversion = "1"\n'
SUBJECT = {"subject_id": "S1", "site": "03", "arm": "B", "age_years": "69", "height_cm": "181.5", "note": "kept"}
TABLES = {
    "subjects": [SUBJECT],
    "disposition": [{"subject_id": "S1", "event": "randomised", "on": "2026-01-06", "reason": ""}],
    "administrations": [{"subject_id": "S1", "cycle": "1", "nuclide": "Lu-177", "administered_MBq": "3654.38",
                         "started_at": "2026-01-16T08:30:00+00:00", "batch": "b1"}],
    "doses": [{"subject_id": "S1", "cycle": "", "scope": "cumulative", "region": "kidneys", "nuclide": "total",
               "method": "own mass", "absorbed_dose_Gy": "3.191e-39"}],
    "labs": [{"subject_id": "S1", "sample_id": "1", "analyte": "alt", "taken_at": "2026-01-01", "value": "1.10"}],
    "adverse_events": [{"subject_id": "S1", "ae_id": "1", "seq": "1", "started_on": "2026-05", "serious": "no"}],
}  # fmt: skip


@pytest.fixture
def database() -> None:
    """SQLite alone: the gateway's own tests run on both."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small dataset with a partial date, an empty key part, an unknown column and a reported decimal."""
    write_dataset(tmp_path / "source", TABLES, files={"study.toml": STUDY}, snapshot={"id": "x"})
    return tmp_path / "source"


@pytest.mark.requirement(36)
def test_a_dataset_goes_in_through_the_gateway_and_comes_out_byte_for_byte(source: Path, tmp_path: Path) -> None:
    with create_from_dataset(tmp_path / "t", source) as trial:
        export_dataset(trial, MANAGER, tmp_path / "out")
        with trial.read() as reader:
            audit.verify_data(reader)
            subject = reader.record("subjects", {"subject_id": "S1"})
            assert (subject["state"], subject["further"]) == ("ON_TREATMENT", {"note": "kept"})
            assert [row["site"] for row in reader.records("sites")] == ["03"]
            assert reader.records("study")[0]["title"] == "Small"
        head = trial.head().head
    for path in source.iterdir():
        if path.name != "snapshot.json":
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    found = read_dataset(tmp_path / "out")
    assert found.snapshot["audit_head"] == head
    assert found.snapshot_sha256 == read_dataset(source).snapshot_sha256


def test_text_like_a_formula_is_escaped_in_the_tables_and_itself_in_the_trial(tmp_path: Path) -> None:
    texts = {"=HYPERLINK(1)": "-1.5", "note": "@sum"}
    tables = TABLES | {"subjects": [SUBJECT | texts]}
    write_dataset(tmp_path / "source", tables, files={"study.toml": STUDY}, snapshot={"id": "x"})
    with create_from_dataset(tmp_path / "t", tmp_path / "source") as trial:
        with trial.read() as reader:
            assert reader.record("subjects", {"subject_id": "S1"})["further"] == texts
        export_dataset(trial, MANAGER, tmp_path / "out")
    table = (tmp_path / "out" / "subjects.csv").read_bytes()
    assert table == (tmp_path / "source" / "subjects.csv").read_bytes()
    assert b"'=HYPERLINK(1),note\r\n" in table
    assert table.endswith(b",-1.5,'@sum\r\n")


def test_a_simulated_trial_comes_out_as_it_went_in(tmp_path: Path) -> None:
    from lutetia.protocol.profile import read_protocol
    from lutetia.simulate.export import simulate_trial
    from lutetia.simulate.trial_folder import write_trial

    virtual = simulate_trial(read_protocol("duonen"), subjects=6, seed=5)
    write_trial(virtual, tmp_path / "source")
    with create_from_dataset(tmp_path / "t", tmp_path / "source") as trial:
        assert trial.demonstration
        export_dataset(trial, MANAGER, tmp_path / "out")
    given, found = read_dataset(tmp_path / "source"), read_dataset(tmp_path / "out")
    for name, rows in given.tables.items():
        assert [numbers(row) for row in found.tables[name]] == [numbers(row) for row in rows], name
    assert len(found.tables["labs"]) > 100


def numbers(row: dict[str, str]) -> dict[str, str | float]:
    """A row with weights as numbers: `90.0` and `90` kg are one weight."""
    return {name: float(text) if name == "weight_kg" and text else text for name, text in row.items()}


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("subjects", "age_years", "old", r"subjects.csv, row 1: .*'old'"),
        ("adverse_events", "started_on", "May", r"adverse_events.started_on: found 'May'; expected a date"),
        ("administrations", "started_at", "2026-01-16 08:30", "expected a time with offset"),
        ("administrations", "cycle", "1.5", r"administrations.csv, row 1: .*1.5"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_nothing_is_stored(
    trial: Trial, tmp_path: Path, table: str, column: str, value: str, message: str
) -> None:
    tables = {name: [dict(row) for row in rows] for name, rows in TABLES.items()}
    tables[table][0][column] = value
    write_dataset(tmp_path / "bad", tables, files={"study.toml": STUDY}, snapshot={"id": "x"})
    before = trial.head().head
    with pytest.raises(InputError, match=message):
        import_dataset(trial, SYSTEM, read_dataset(tmp_path / "bad"))
    assert trial.head().head == before


def test_rows_that_are_there_already_are_refused_by_key(trial: Trial, source: Path) -> None:
    import_dataset(trial, SYSTEM, read_dataset(source))
    with pytest.raises(DuplicateRecordError, match="subjects S1"):
        import_dataset(trial, SYSTEM, read_dataset(source))


@pytest.mark.requirement(10)
def test_a_masked_export_tells_no_arm_nuclide_activity_dose_or_batch(source: Path, tmp_path: Path) -> None:
    with create_from_dataset(tmp_path / "t", source) as trial:
        masked = Actor("sam", "Sam", (Grant("masked_statistician"),))
        export_dataset(trial, masked, tmp_path / "out")
        with pytest.raises(AccessDeniedError):
            export_dataset(trial, Actor("a", "A", (Grant("administrator"),)), tmp_path / "no")
    found = read_dataset(tmp_path / "out")
    assert found.snapshot["masked"] is True
    assert found.tables["subjects"][0]["arm"] == ""
    assert found.tables["labs"][0]["value"] == "1.10"
    for name in ("administrations", "doses", "prescriptions", "forecasts", "truth"):
        assert found.tables[name] == ()
    text = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert not any(word in text for word in ("Lu-177,", "3654.38", ",b1", ",B,"))


def test_every_table_of_the_exchange_has_a_place_in_the_database() -> None:
    from lutetia.dataset.tables import TABLES as CONTRACT

    for name, columns in CONTRACT.items():
        assert SCHEMA[name].keys == columns.keys
        assert set(columns.names) <= set(SCHEMA[name].names)

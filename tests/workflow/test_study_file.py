"""A study file is checked whole before a trial is made of it, and again when it is amended."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.enrolment import actor, make_list, make_trial

from lutetia.errors import AccessDeniedError, InputError, StaleRecordError
from lutetia.protocol.profile import parse_protocol
from lutetia.trial import SYSTEM, Change, Study, Trial, Update
from lutetia.trial.sessions import idle_minutes
from lutetia.workflow.course_records import study_of, window_of
from lutetia.workflow.study_file import (
    protocol_bytes,
    read_study_file,
    sound_settings,
    start_notes,
    template,
)
from lutetia.workflow.study_setup import (
    CHECKLIST,
    AmendProtocol,
    AmendSettings,
    StudyPlan,
    amend_settings,
    amend_study,
    checklist_of,
    create_study,
    study_protocol,
    study_record,
)
from lutetia.workflow.study_text import toml_text

AD = actor("administrator")
SMALL: dict[str, Any] = {
    "schema": "lutetia.study/1", "title": "Small", "planned_n": 20, "timezone": "Europe/Warsaw",
    "protocol": {"name": "duonen"},
}  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "study.toml"
    path.write_text(toml_text({**SMALL, **changes}), encoding="utf-8")
    return path


def completed() -> str:
    text = template().replace('id = "" ', 'id = "DUO-1" ').replace('title = "" ', 'title = "A trial" ')
    return text.replace("planned_n = 0 ", "planned_n = 92 ")


def test_the_template_names_what_it_needs_and_makes_a_trial_once_completed(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(template(), encoding="utf-8")
    with pytest.raises(InputError, match=r"3 problems\n  id: .*\n  title: .*\n  planned_n: "):
        read_study_file(path)
    path.write_text(completed(), encoding="utf-8")
    checked = read_study_file(path)
    assert checked.warnings == ()
    with Trial.create(tmp_path / "t", study=checked.study("folder")) as trial, trial.read() as reader:
        study = study_record(reader)
        assert (study["study_id"], study["title"], study["protocol_name"]) == ("DUO-1", "A trial", "duonen")
        assert checklist_of(study["settings"]) == CHECKLIST
        assert set(study["settings"]["arms"]) == set(study_protocol(trial, reader).arms)
        assert tomllib.loads(trial.files.get(study["files"]["study.toml"]).decode()) == study["settings"]


def test_what_the_protocol_gives_is_filled_in_and_a_complete_file_is_kept_as_it_was_written(tmp_path: Path) -> None:
    first = read_study_file(written(tmp_path, id="A"))
    assert first.settings["cycles"] == 4
    assert first.study("folder").study_id == "A"
    text = "# a word of mine\n" + toml_text(first.settings)
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    (tmp_path / "protocol.toml").write_bytes(protocol_bytes("duonen"))
    assert read_study_file(tmp_path / "study.toml").files["study.toml"] == text.encode()


def test_a_protocol_of_ones_own_lies_beside_the_file_and_is_stored(tmp_path: Path) -> None:
    own = protocol_bytes("duonen").replace(b'version = "2026.1"', b'version = "mine"')
    (tmp_path / "mine.toml").write_bytes(own)
    checked = read_study_file(written(tmp_path, protocol={"file": "mine.toml"}))
    with Trial.create(tmp_path / "t", study=checked.study("X")) as trial, trial.read() as reader:
        assert study_protocol(trial, reader).version == "mine"
        assert study_record(reader)["study_id"] == "X"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "x"}, "schema: found 'x'; expected"),
        ({"timezone": "Paris"}, "timezone: found 'Paris'; expected an IANA time zone"),
        ({"idle_minutes": "abc"}, "idle_minutes: found 'abc'; expected a valid number"),
        ({"idle_minutes": 0}, "idle_minutes: found 0; expected greater than 0"),
        ({"planned_n": True}, "planned_n: found True; expected a valid integer"),
        ({"cycle_window_days": 7.5}, "cycle_window_days: found 7.5; expected a valid integer"),
        ({"ctcae": "4.03"}, "ctcae: found '4.03'; expected one of 5.0"),
        ({"label_MBq": {"Lu177x": 1}}, "label_MBq"),
        ({"idle_minute": 5}, "idle_minute: unknown key; known here: schema, id, title"),
        ({"visits": [{"name": "w", "window_days": [2, 1]}]}, "visits 1: window_days: found .*first ≤ last"),
        ({"visits": [{"nam": "w", "window_days": [1, 2]}]}, "visits 1: nam: unknown key; known here: name, window"),
        ({"checklist": [{"item": "a", "text": "A", "required": "maybe"}]}, "checklist 1: required"),
        ({"checklist": [{"item": "a", "text": "A"}, {"item": "a", "text": "B"}]}, "checklist: 'a' is named twice"),
        ({"monitors": [{"id": "m", "event": "anything bad", "p0": 0.1, "tau": 0.9}]}, "expected clauses such as"),
        ({"protocol": {"file": "duonen.toml"}}, "found no duonen.toml beside it; put the protocol file there"),
        ({"protocol": {"file": "../duonen.toml"}}, "expected a .toml file beside"),
        ({"protocol": {"name": "duonnen"}}, "expected a packaged protocol"),
        ({"protocol": {"name": "duonen", "sha256": "0" * 64}}, "sha256: found .*the protocol file says"),
        ({"protocol": {"name": "duonen", "version": "7"}}, "version: found '7'; the protocol file says '2026.1'"),
        ({"arms": {"A": {}, "Z": {}}}, "arms: found A, Z; protocol duonen 2026.1 has A, B, C, D"),
        ({"cycles": 5}, "cycles: found 5; protocol duonen 2026.1 has 4; leave `cycles` out"),
    ],
)
def test_a_faulty_file_is_refused_with_the_place(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_study_file(written(tmp_path, **changes))


def test_a_file_that_names_a_packaged_protocol_by_its_hash_needs_it_not_beside(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(protocol_bytes("duonen")).hexdigest()
    named = {"file": "duonen.toml", "name": "duonen", "sha256": sha256}
    assert read_study_file(written(tmp_path, protocol=named)).protocol.sha256 == sha256


def test_what_is_allowed_but_unwise_is_said(tmp_path: Path) -> None:
    bare = {k: v for k, v in SMALL.items() if k != "timezone"}
    (tmp_path / "study.toml").write_text(toml_text(bare), encoding="utf-8")
    found = " ".join(read_study_file(tmp_path / "study.toml").warnings)
    for words in ("timezone", "no physician can confirm eligibility", "[[visits]]", "[[monitors]]"):
        assert words in found


def test_no_file_and_no_toml_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_study_file(tmp_path / "none.toml")
    (tmp_path / "study.toml").write_text("x = ")
    with pytest.raises(InputError, match="cannot be read as TOML"):
        read_study_file(tmp_path / "study.toml")


def test_settings_are_amended_whole_with_the_earlier_file_kept(tmp_path: Path) -> None:
    plan = StudyPlan(study_id="DUO", title="A trial", planned_n=92)
    with create_study(tmp_path / "t", plan) as trial:
        with trial.read() as reader:
            before = study_record(reader)
        table = before["settings"] | {"planned_n": 100, "idle_minutes": 20}
        amend_settings(trial, AD, AmendSettings(toml_text(table).encode(), "amendment 2", before["record_version"]))
        with trial.read() as reader:
            after = study_record(reader)
            assert (after["settings"]["planned_n"], idle_minutes(reader)) == (100, 20)
            assert study_protocol(trial, reader).name == "duonen"
        assert trial.files.has(before["files"]["study.toml"])
        for changed, words in (
            (table, "nothing was changed"),
            (table | {"id": "OTHER"}, "this trial is 'DUO'"),
            (table | {"idle_minutes": "abc"}, "idle_minutes"),
            (table | {"cycles": 9}, "cycles: found 9"),
            (table | {"seed": 9}, "seed: found 9; this trial began with None"),
        ):
            with pytest.raises(InputError, match=words):
                amend_study(trial, AD, AmendProtocol(toml_text(changed).encode(), "x"))
        more = toml_text(table | {"planned_n": 110}).encode()
        with pytest.raises(StaleRecordError):
            amend_settings(trial, AD, AmendSettings(more, "x", before["record_version"]))
        with pytest.raises(AccessDeniedError):
            amend_settings(trial, actor("physician"), AmendSettings(more, "x"))


ODD: dict[str, Any] = {
    "timezone": "Paris", "idle_minutes": "abc", "cycle_window_days": "x", "label_MBq": 5, "visits": [{"nam": 1}],
    "checklist": "all", "draws": "many", "ctcae": "9", "idle_minuts": 3,
}  # fmt: skip


def test_an_existing_trial_with_odd_settings_opens_with_their_defaults_and_says_so(tmp_path: Path) -> None:
    study = Study("DUO", "A trial", "duonen", "2026.1", {**SMALL, **ODD})
    with Trial.create(tmp_path / "t", study=study) as trial, trial.read() as reader:
        assert idle_minutes(reader) == 15
        settings = study_of(reader)["settings"]
        assert window_of({"planned_on": "2026-01-10"}, settings) == ("2026-01-03", "2026-01-17")
        assert checklist_of(settings) == ()
        notes = "\n".join(start_notes(reader.records("study")[0]["settings"]))
        for name in ODD:
            assert f"settings of the study: {name}" in notes.replace("visits 1", "visits")
        assert "15.0 holds instead" in notes
        assert "idle_minuts: is no setting and does nothing" in notes
    assert sound_settings(None) == {}
    assert start_notes(SMALL) == ()


def test_a_list_is_refused_in_words_where_the_settings_lack_the_arms(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        with trial.read() as reader:
            row = reader.records("study")[0]
        odd = row["settings"] | {"arms": 3}
        trial.commit(Change("x", [Update("study", {"study_id": row["study_id"]}, {"settings": odd})]), SYSTEM, "test")
        with pytest.raises(InputError, match="arms: found nothing sound"):
            make_list(trial)


def test_the_plan_of_a_study_is_checked_as_a_file_is(tmp_path: Path) -> None:
    plan = StudyPlan(study_id="DUO", title="A trial", planned_n=92)
    with pytest.raises(InputError, match="cycle_window_days: found -1"):
        create_study(tmp_path / "t", replace(plan, cycle_window_days=-1))
    assert parse_protocol(protocol_bytes("duonen")).name == "duonen"

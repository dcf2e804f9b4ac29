from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_list, make_trial, randomised

from lutetia.errors import AccessDeniedError, InputError, StaleRecordError, StorageError, UnknownNameError
from lutetia.protocol.profile import packaged_protocols, read_protocol
from lutetia.safety.study import read_study
from lutetia.trial import Study, Trial
from lutetia.workflow.study_setup import (
    CHECKLIST,
    MONITORS,
    AmendProtocol,
    ChecklistItem,
    Monitor,
    StudyPlan,
    Visit,
    amend_protocol,
    checklist_of,
    create_study,
    study_protocol,
    study_record,
    study_settings,
)
from lutetia.workflow.study_text import toml_text

PLAN = StudyPlan(study_id="DUO", title="A trial", planned_n=92)
AD = actor("administrator")


def amended(trial: Trial, old: str, new: str) -> bytes:
    with trial.read() as reader:
        content = trial.files.get(study_record(reader)["files"]["protocol.toml"])
    return content.replace(b'version = "2026.1"', b'version = "2026.2"').replace(old.encode(), new.encode())


@pytest.mark.parametrize("name", packaged_protocols())
def test_settings_of_every_packaged_protocol_are_a_study_toml_that_the_report_reads(name: str) -> None:
    settings = study_settings(read_protocol(name), replace(PLAN, protocol=name))
    assert tomllib.loads(toml_text(settings)) == settings
    study = read_study(tomllib.loads(toml_text(settings)))
    protocol = read_protocol(name)
    assert (study.planned_n, study.cycles, study.protocol_sha256) == (92, protocol.cycles, protocol.sha256)
    assert set(study.arms) == set(protocol.arms)
    assert [m.id for m in study.monitors] == [m.id for m in MONITORS]


def test_text_of_settings_reads_back_whatever_the_words_are() -> None:
    table = {
        "text": 'a "quoted" \\ back\nslash ł \x7f', "n": 3, "x": 1e-7, "yes": True, "list": [1, 2.5], "none": [],
        "table": {"Lu-177": 1.0, "with space": "x", "deep": {"a": 1}}, "rows": [{"a": 1, "b": {"c": 2}}, {"a": 2}],
    }  # fmt: skip
    assert tomllib.loads(toml_text(table)) == table
    with pytest.raises(InputError, match="expected text"):
        toml_text({"x": object()})


def test_a_trial_keeps_its_protocol_and_settings(tmp_path: Path) -> None:
    with create_study(tmp_path / "t", PLAN) as trial, trial.read() as reader:
        study = study_record(reader)
        assert study_protocol(trial, reader) == read_protocol("duonen")
        assert checklist_of(study["settings"]) == CHECKLIST
        assert study["demonstration"] == "no"
        text = trial.files.get(study["files"]["study.toml"])
        assert tomllib.loads(text.decode()) == study["settings"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"planned_n": 0}, InputError, "planned_n: found 0; expected greater than or equal to 1"),
        ({"title": " "}, InputError, "title: found ' '; expected a text"),
        ({"study_id": "a/b"}, InputError, "id: found 'a/b'; expected a name"),
        ({"timezone": "Europe/Warschau"}, InputError, "IANA"),
        ({"protocol": "duonnen"}, UnknownNameError, "duonen"),
        ({"visits": (Visit("w", 9, 2),)}, InputError, "first ≤ last"),
        ({"visits": (Visit("w", 1, 2), Visit("w", 3, 4))}, InputError, "named twice"),
        ({"checklist": (ChecklistItem("a", "A", "maybe"),)}, InputError, "expected 'yes' or 'no'"),
        ({"monitors": (Monitor("m", "event", 56, 1.2, 0.95, 2.0),)}, InputError, "p0: found 1.2; expected less than 1"),
    ],
)
def test_a_plan_that_contradicts_itself_makes_no_trial(
    tmp_path: Path, change: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        create_study(tmp_path / "t", replace(PLAN, **change))  # type: ignore[arg-type]
    assert not (tmp_path / "t").exists()


def test_a_trial_is_made_in_an_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StorageError, match="not an empty folder"):
        create_study(tmp_path, PLAN)


def test_an_amendment_is_a_new_version_and_the_old_file_stays(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        with trial.read() as reader:
            before = study_record(reader)
        content = amended(trial, "limit_Gy = 23.0", "limit_Gy = 25.0")
        amend_protocol(trial, AD, AmendProtocol(content, "amendment 1"))
        with trial.read() as reader:
            after = study_record(reader)
            assert study_protocol(trial, reader).limits[0].limit_Gy == 25.0
        assert (after["protocol_version"], after["settings"]["limits"][0]["limit_Gy"]) == ("2026.2", 25.0)
        assert after["settings"]["planned_n"] == before["settings"]["planned_n"]
        assert trial.files.has(before["files"]["protocol.toml"])
        with pytest.raises(StaleRecordError):
            amend_protocol(trial, AD, AmendProtocol(content.replace(b"2026.2", b"2026.3"), "again", version=1))


def test_an_amendment_needs_a_new_version_the_arms_in_use_and_the_right(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        make_list(trial)
        arm = randomised(trial).arm
        with trial.read() as reader:
            same = trial.files.get(study_record(reader)["files"]["protocol.toml"])
        with pytest.raises(InputError, match="is the one in force"):
            amend_protocol(trial, AD, AmendProtocol(same, "x"))
        with pytest.raises(InputError, match="new version"):
            amend_protocol(trial, AD, AmendProtocol(same.replace(b"23.0", b"24.0"), "x"))
        lost = amended(trial, f"[arms.{arm}]", "[arms.Z]").replace(f"arms.{arm}.".encode(), b"arms.Z.")
        with pytest.raises(InputError, match=f"lacks arm {arm}"):
            amend_protocol(trial, AD, AmendProtocol(lost, "x"))
        with pytest.raises(AccessDeniedError):
            amend_protocol(trial, actor("physician"), AmendProtocol(amended(trial, "23.0", "24.0"), "x"))


def test_a_study_without_its_protocol_file_takes_the_packaged_one_of_the_same_hash_or_none(tmp_path: Path) -> None:
    settings = study_settings(read_protocol("duonen"), PLAN)
    for folder, sha256 in (("known", settings["protocol"]["sha256"]), ("other", "0" * 64)):
        table = settings | {"protocol": settings["protocol"] | {"sha256": sha256}}
        study = Study("DUO", "A trial", "duonen", "2026.1", table, {"study.toml": toml_text(table).encode()})
        with Trial.create(tmp_path / folder, study=study) as trial, trial.read() as reader:
            if folder == "known":
                assert study_protocol(trial, reader) == read_protocol("duonen")
            else:
                with pytest.raises(InputError, match="no packaged protocol has its hash"):
                    study_protocol(trial, reader)

"""The interim analysis of a snapshot by a worker: who asks for it, who reads what, and what the trail says of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.enrolment import study_lock
from tests.workflow.treated_trial import (
    BOARD,
    COORDINATOR,
    MANAGER,
    OFFICER,
    PHYSICIAN,
    STATISTICIAN,
    UNMASKED,
    Story,
    make_story,
)

from lutetia.errors import AccessDeniedError, MissingRecordError, TransitionError
from lutetia.trial.records import SYSTEM, Change, Update
from lutetia.trial.schema import AUDIT
from lutetia.workflow.downloads import dataset_archive, snapshot_archive, trial_archive
from lutetia.workflow.interim import (
    MEANING,
    OPEN,
    RequestInterim,
    SignInterim,
    interim_files,
    read_interim,
    request_interim,
    sign_interim,
)
from lutetia.workflow.interim_files import SHEET, interim_archive, signature_sheet
from lutetia.workflow.interim_view import Analysed, analysed_snapshots, list_snapshots
from lutetia.workflow.job_kinds import JOB_KINDS
from lutetia.workflow.jobs import run_next
from lutetia.workflow.locks import Unlock, lock, unlock
from lutetia.workflow.snapshot import TakenSnapshot, TakeSnapshot, take_snapshot


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, TakenSnapshot]]:
    story = make_story(tmp_path_factory.mktemp("interim"), draws=60)
    story.whole_cycle(datetime(2026, 1, 12, 8, 30, tzinfo=UTC))
    taken = take_snapshot(story.trial, MANAGER, TakeSnapshot("2026-01-20", "interim 1"))
    command = RequestInterim(taken.snapshot_id, resamples=20)
    for actor in (MANAGER, PHYSICIAN, BOARD, STATISTICIAN):
        with pytest.raises(AccessDeniedError):
            request_interim(story.trial, actor, command)
    with pytest.raises(MissingRecordError, match="take one first"):
        request_interim(story.trial, UNMASKED, RequestInterim("none"))
    request_interim(story.trial, UNMASKED, command)
    with pytest.raises(TransitionError, match="already"):
        request_interim(story.trial, UNMASKED, command)
    waits = shown(story)
    assert waits.under_way
    assert waits.progress is not None
    assert not waits.progress.unattended
    story.clock.advance(seconds=11)
    late = shown(story).progress
    assert late is not None
    assert late.unattended, "nobody took the job"
    work(story)
    yield story, taken
    story.trial.close()


def work(story: Story) -> None:
    job = run_next(story.trial, "test", JOB_KINDS)
    assert job is not None
    assert job["state"] == "DONE", job["error"]


def shown(story: Story, actor=UNMASKED) -> Analysed:  # type: ignore[no-untyped-def]
    with story.trial.read() as reader:
        return analysed_snapshots(reader, actor)[0]


@pytest.mark.requirement(39)
def test_the_analysis_carries_snapshot_software_and_the_snapshots_audit_head(
    analysed: tuple[Story, TakenSnapshot],
) -> None:
    story, taken = analysed
    record = json.loads(read_interim(story.trial, UNMASKED, taken.snapshot_id, "interim.json"))
    assert record["snapshot_sha256"] == taken.sha256
    assert record["audit_head"] == taken.audit_head
    for row in story.rows("reports"):
        assert row["software"].startswith("lutetia ")
        assert row["audit_head"] == taken.audit_head
    for name in ("open.html", "closed.html"):
        page = read_interim(story.trial, UNMASKED, taken.snapshot_id, name)
        assert taken.sha256.encode()[:12] in page
        assert taken.audit_head.encode()[:16] in page.partition(b"<main")[2]


def test_open_reports_are_for_many_and_closed_ones_for_few(analysed: tuple[Story, TakenSnapshot]) -> None:
    story, taken = analysed
    for actor in (BOARD, UNMASKED):
        assert {"closed.html", "closed.pdf", "interim.json", *OPEN} <= set(
            interim_files(story.trial, actor, taken.snapshot_id)
        )
    for actor in (MANAGER, OFFICER, STATISTICIAN):
        assert interim_files(story.trial, actor, taken.snapshot_id) == OPEN
        assert shown(story, actor).versions[0].closed_files == ()
        with pytest.raises(AccessDeniedError):
            read_interim(story.trial, actor, taken.snapshot_id, "closed.html")
        with pytest.raises(AccessDeniedError):
            interim_archive(story.trial, actor, taken.snapshot_id, version=1, closed=True)
        assert read_interim(story.trial, actor, taken.snapshot_id, "open.pdf").startswith(b"%PDF")
    assert interim_files(story.trial, PHYSICIAN, taken.snapshot_id) == ()
    with pytest.raises(MissingRecordError, match="ask for its analysis"):
        read_interim(story.trial, BOARD, taken.snapshot_id, "closed.docx")


@pytest.mark.requirement(6)
def test_every_reading_of_a_closed_report_is_in_the_trail(analysed: tuple[Story, TakenSnapshot]) -> None:
    story, taken = analysed

    def readings() -> list[str]:
        with story.trial.read() as reader:
            rows = reader.rows(select(AUDIT.c.actor).where(AUDIT.c.action == "read_closed_report"))
        return [r["actor"] for r in rows]

    before = len(readings())
    read_interim(story.trial, BOARD, taken.snapshot_id, "closed.html")
    assert readings()[before:] == ["bert"]
    interim_archive(story.trial, BOARD, taken.snapshot_id, version=1, closed=True)
    assert readings()[before:] == ["bert", "bert"]
    read_interim(story.trial, BOARD, taken.snapshot_id, "open.html")
    assert len(readings()) == before + 2


@pytest.mark.requirement(34)
def test_a_later_run_of_an_old_snapshot_is_a_new_version_with_identical_bytes(
    analysed: tuple[Story, TakenSnapshot],
) -> None:
    story, taken = analysed
    story.clock.advance(days=3)
    story.labs(platelets="61", sample="later")
    request_interim(story.trial, UNMASKED, RequestInterim(taken.snapshot_id, resamples=20))
    work(story)
    found = shown(story)
    assert [v.number for v in found.versions] == [2, 1]
    assert [v.newest for v in found.versions] == [True, False]
    by_version: dict[int, dict[str, str]] = {}
    for row in story.rows("reports"):
        by_version.setdefault(row["further"]["version"], {})[row["kind"]] = row["sha256"]
    assert len(by_version[1]) > 8
    assert by_version[1] == by_version[2]


@pytest.mark.requirement(12)
def test_the_signature_is_printed_with_name_time_and_meaning_and_only_the_unmasked_statistician_signs(
    analysed: tuple[Story, TakenSnapshot],
) -> None:
    story, taken = analysed
    command = SignInterim(taken.snapshot_id, 1, story.sign(UNMASKED))
    with pytest.raises(MissingRecordError, match="not signed"):
        signature_sheet(story.trial, BOARD, taken.snapshot_id, version=1, closed=True)
    for actor in (MANAGER, BOARD, STATISTICIAN):
        with pytest.raises(AccessDeniedError):
            sign_interim(story.trial, actor, command)
    with pytest.raises(MissingRecordError, match="version 9"):
        sign_interim(story.trial, UNMASKED, SignInterim(taken.snapshot_id, 9, story.sign(UNMASKED)))
    sign_interim(story.trial, UNMASKED, command)
    with pytest.raises(TransitionError, match="signed already"):
        sign_interim(story.trial, UNMASKED, command)
    first = next(v for v in shown(story).versions if v.number == 1)
    assert first.signed
    assert first.signature.startswith(f"{MEANING}: Ulla (unmasked statistician), 2026-")
    archive = interim_archive(story.trial, BOARD, taken.snapshot_id, version=1, closed=True)
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert {SHEET, "closed.pdf", "interim.json", "adam/ADSL.csv"} <= set(names)
    assert not set(OPEN) & set(names)
    open_names = zipfile.ZipFile(
        io.BytesIO(interim_archive(story.trial, MANAGER, taken.snapshot_id, version=1, closed=False))
    ).namelist()
    assert open_names == [*OPEN, SHEET]
    sheet = signature_sheet(story.trial, BOARD, taken.snapshot_id, version=1, closed=True)
    assert sheet == signature_sheet(story.trial, BOARD, taken.snapshot_id, version=1, closed=True)


@pytest.mark.requirement(14)
def test_a_changed_report_row_voids_the_signature_visibly(analysed: tuple[Story, TakenSnapshot]) -> None:
    story, taken = analysed
    sign_interim(story.trial, UNMASKED, SignInterim(taken.snapshot_id, 2, story.sign(UNMASKED)))
    row = max(story.rows("reports", kind="closed.pdf"), key=lambda r: int(r["report_id"]))
    story.trial.commit(Change("alter", [Update("reports", row["record_id"], {"sha256": "0" * 64})]), SYSTEM, "test")
    second = next(v for v in shown(story).versions if v.number == 2)
    assert not second.signed
    assert "VOID" in second.signature
    back = Change("alter", [Update("reports", row["record_id"], {"sha256": row["sha256"]})])
    story.trial.commit(back, SYSTEM, "test")


@pytest.mark.requirement(10)
def test_snapshots_and_data_leave_masked_for_the_masked_statistician_and_not_at_all_for_others(
    analysed: tuple[Story, TakenSnapshot], tmp_path: Path
) -> None:
    story, taken = analysed
    whole = snapshot_archive(story.trial, MANAGER, taken.snapshot_id)
    hidden = snapshot_archive(story.trial, STATISTICIAN, taken.snapshot_id)
    assert (whole.name, hidden.name) == (f"{taken.snapshot_id}.zip", f"{taken.snapshot_id}-masked.zip")
    assert whole == snapshot_archive(story.trial, UNMASKED, taken.snapshot_id)
    for download in (hidden, dataset_archive(story.trial, STATISTICIAN)):
        with zipfile.ZipFile(io.BytesIO(download.content)) as archive:
            assert len(archive.read("administrations.csv").splitlines()) == 1
            assert json.loads(archive.read("snapshot.json"))["masked"] is True
    with zipfile.ZipFile(io.BytesIO(dataset_archive(story.trial, MANAGER).content)) as archive:
        assert len(archive.read("administrations.csv").splitlines()) > 1
    for actor in (BOARD, PHYSICIAN, COORDINATOR):
        with pytest.raises(AccessDeniedError):
            snapshot_archive(story.trial, actor, taken.snapshot_id)
        with pytest.raises(AccessDeniedError):
            dataset_archive(story.trial, actor)
    with pytest.raises(AccessDeniedError, match="masked"):
        trial_archive(story.trial, STATISTICIAN, tmp_path)
    assert zipfile.is_zipfile(trial_archive(story.trial, MANAGER, tmp_path))
    with story.trial.read() as reader:
        assert list_snapshots(reader, MANAGER)[0]["shown_sha256"] == taken.sha256
        assert list_snapshots(reader, STATISTICIAN)[0]["shown_sha256"] == taken.masked_sha256
        with pytest.raises(AccessDeniedError):
            list_snapshots(reader, COORDINATOR)


def test_a_study_that_demands_a_lock_has_no_analysis_of_an_open_state(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=60)
    with story.trial.read() as reader:
        study = reader.records("study")[0]
    settings = study["settings"] | {"interim_needs_lock": True}
    story.trial.commit(Change("set", [Update("study", study["record_id"], {"settings": settings})]), SYSTEM)
    free = take_snapshot(story.trial, MANAGER, TakeSnapshot("2026-01-05", "open"))
    story.clock.advance(minutes=1)
    held = lock(story.trial, MANAGER, study_lock(story.trial, MANAGER)).result
    story.clock.advance(minutes=1)
    locked = take_snapshot(story.trial, MANAGER, TakeSnapshot("2026-01-05", "locked"))
    story.clock.moment += timedelta(minutes=1)
    unlock(story.trial, MANAGER, Unlock(int(held), "analysis taken"))
    story.clock.advance(minutes=1)
    again = take_snapshot(story.trial, MANAGER, TakeSnapshot("2026-01-05", "open again"))
    for taken in (free, again):
        with pytest.raises(TransitionError, match="lock the study and take a new snapshot"):
            request_interim(story.trial, UNMASKED, RequestInterim(taken.snapshot_id))
    assert request_interim(story.trial, UNMASKED, RequestInterim(locked.snapshot_id)) == 1
    story.trial.close()

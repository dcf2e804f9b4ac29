"""The interim analysis of a snapshot by a worker: who asks for it, who reads what, and what the trail says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from tests.workflow.treated_trial import BOARD, MANAGER, OFFICER, PHYSICIAN, STATISTICIAN, UNMASKED, Story, make_story

from lutetia.errors import AccessDeniedError, MissingRecordError, TransitionError
from lutetia.trial.schema import AUDIT
from lutetia.workflow.interim import OPEN, RequestInterim, interim_files, read_interim, request_interim
from lutetia.workflow.job_kinds import JOB_KINDS
from lutetia.workflow.jobs import run_next
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
    job = run_next(story.trial, "test", JOB_KINDS)
    assert job is not None
    assert job["state"] == "DONE", job["error"]
    yield story, taken
    story.trial.close()


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
    assert taken.sha256.encode()[:12] in read_interim(story.trial, UNMASKED, taken.snapshot_id, "open.html")


def test_open_reports_are_for_many_and_closed_ones_for_few(analysed: tuple[Story, TakenSnapshot]) -> None:
    story, taken = analysed
    for actor in (BOARD, UNMASKED):
        assert {"closed.html", "closed.pdf", "interim.json", *OPEN} <= set(
            interim_files(story.trial, actor, taken.snapshot_id)
        )
    for actor in (MANAGER, OFFICER, STATISTICIAN):
        assert interim_files(story.trial, actor, taken.snapshot_id) == OPEN
        with pytest.raises(AccessDeniedError):
            read_interim(story.trial, actor, taken.snapshot_id, "closed.html")
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
    read_interim(story.trial, BOARD, taken.snapshot_id, "open.html")
    assert len(readings()) == before + 1

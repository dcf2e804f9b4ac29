"""Imported cases: checked against the trial, computed by workers, stored with provenance; what fails leaves nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.plan.case_files import case_data, command, table_cycle, write_case
from tests.workflow.treated_trial import (
    COORDINATOR,
    ELSEWHERE,
    PHYSICIST,
    STATISTICIAN,
    SUBJECT,
    UNMASKED,
    Story,
    make_story,
)

from lutetia.errors import (
    AccessDeniedError,
    CaseError,
    IdentityError,
    InputError,
    LutetiaError,
    TransitionError,
)
from lutetia.trial.records import SYSTEM, Change, Update
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import given_cycles
from lutetia.workflow.cycles import AssessCycle, PlanCycle, assess_cycle, plan_cycle
from lutetia.workflow.dosimetry import (
    KIND,
    ImportCase,
    MissingDosimetry,
    compute_doses,
    import_case,
    read_report,
    record_missing_dosimetry,
)
from lutetia.workflow.job_kinds import JOB_KINDS
from lutetia.workflow.jobs import MAX_ATTEMPTS, SILENT_S, Outcome, claim_job, job_edit, repeat_job, run_next

DAY, NEXT = datetime(2026, 1, 12, 8, 30, tzinfo=UTC), datetime(2026, 3, 9, 8, 30, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A given first cycle, eight days later."""
    made = make_story(tmp_path)
    made.whole_cycle(DAY, doses=False)
    yield made
    made.trial.close()


def imported(story: Story, folder: Path, **more: Any) -> None:
    import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, folder, **more))


def test_the_doses_are_those_of_the_plan_command(story: Story) -> None:
    folder = story.case(1)
    imported(story, folder)
    assert story.work()["state"] == "DONE"
    planned = command("plan", folder, "--json", "--draws", "120").json
    for region in planned["cycles"][0]["regions"]:
        method = region["method"] if region["region"] == "red marrow" else "own mass"
        rows = {r["nuclide"]: r for r in story.rows("doses", scope="cycle", region=region["region"], method=method)}
        assert rows["total"]["absorbed_dose_Gy"] == pytest.approx(region["absorbed_dose_Gy"], rel=1e-5)
        assert rows["total"]["absorbed_dose_sd_Gy"] == pytest.approx(region["absorbed_dose_sd_Gy"], rel=1e-5)
        assert rows["Y-90"]["basis"] == "predicted"
        assert rows["Lu-177"]["basis"] == "measured"


@pytest.mark.requirement(38)
def test_the_same_inputs_give_the_same_bytes_again(story: Story) -> None:
    folder = story.case(1)
    imported(story, folder)
    first = story.work()["result"]
    imported(story, folder, reason="repeated as a check")
    second = story.work()["result"]
    assert second["result.json"] == first["result.json"]
    assert second["draws.npz"] == first["draws.npz"]
    assert [r["state"] for r in story.rows("results")] == ["SUPERSEDED", "CURRENT"]
    kept = story.row("results", revision=2)["summary"]["case_files"]
    assert {name: story.trial.files.has(digest) for name, digest in kept.items()} == dict.fromkeys(kept, True)


def test_reports_are_stored_or_made_from_the_stored_result(tmp_path: Path) -> None:
    stored, made = (make_story(tmp_path / str(reports), reports=reports) for reports in (True, False))
    pages = []
    for story in (stored, made):
        story.whole_cycle(DAY)
        assert (story.row("results")["report_sha256"] is not None) is (story is stored)
        pages.append(read_report(story.trial, PHYSICIST, SUBJECT, 1))
        assert read_report(story.trial, PHYSICIST, SUBJECT, 1, name="report.pdf").startswith(b"%PDF")
        with pytest.raises(AccessDeniedError):
            read_report(story.trial, STATISTICIAN, SUBJECT, 1)
        with pytest.raises(InputError, match=r"has no result\.xml"):
            read_report(story.trial, PHYSICIST, SUBJECT, 1, name="result.xml")
        story.trial.close()
    assert pages[0] == pages[1]


REFUSALS: dict[str, tuple[Callable[[Story], Path], type[LutetiaError], str]] = {
    "another subject": (lambda s: s.case(1, subject={"id": "X-1", "sex": "female"}), IdentityError, "found subject"),
    "another sex": (lambda s: s.case(1, subject={"id": SUBJECT, "sex": "male"}), IdentityError, "sex or arm differ"),
    "another arm": (lambda s: s.case(1, protocol={"name": "duonen", "arm": "C"}), IdentityError, "sex or arm differ"),
    "another activity": (
        lambda s: s.case(1, administered_MBq={"Lu-177": 3500.0, "Y-90": 3700.0}),
        CaseError,
        "recorded as given are",
    ),
    "another nuclide": (lambda s: s.case(1, administered_MBq={"Lu-177": 3700.0}), CaseError, "recorded as given: "),
    "another time of day": (
        lambda s: s.case(1, administered_at="2026-01-12T14:00:00+01:00"),
        CaseError,
        "times of day have to agree",
    ),
    "no measurement": (
        lambda s: s.case(1, regions=None, blood=None, whole_body=None),
        CaseError,
        "holds no measurement",
    ),
    "no case": (lambda s: s.folder, CaseError, "no case.toml"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_case_that_is_not_of_this_cycle_is_refused_and_nothing_is_queued(story: Story, name: str) -> None:
    make, error, words = REFUSALS[name]
    folder = make(story)
    before = story.trial.head().head
    with pytest.raises(error, match=words):
        imported(story, folder)
    assert story.trial.head().head == before
    assert story.rows("jobs") == []


def test_images_shifted_by_whole_days_are_the_same_infusion(story: Story) -> None:
    imported(story, story.case(1, administered_at="2025-11-03T11:30:00+01:00"))
    assert story.work()["state"] == "DONE"


@pytest.mark.parametrize("day", ["2026-01-12", "2025-11-03"])
def test_measurements_that_cannot_have_been_made_yet_are_refused_whatever_the_dates(story: Story, day: str) -> None:
    with story.trial.read() as reader:
        start = given_cycles(reader, SUBJECT)[0].start
    folder = story.case(1, administered_at=f"{day}T11:30:00+01:00")
    story.at(start + timedelta(hours=30))
    with pytest.raises(CaseError, match=r"\.csv row \d+: time_h: found \d+ h .* in the future: it is 30\.0 h now"):
        imported(story, folder)
    assert story.rows("jobs") == []


def test_files_outside_of_the_case_are_refused(story: Story) -> None:
    folder = story.case(1)
    (story.folder / "blood.csv").write_text("time_h,activity_MBq_per_mL\n1,1\n", encoding="utf-8")
    text = (folder / "case.toml").read_text(encoding="utf-8")
    name = text.split('"blood" = { "file" = "')[1].split('"')[0] if '"blood" = { "file"' in text else ""
    (folder / "case.toml").write_text(text.replace(name, "../blood.csv"), encoding="utf-8")
    with pytest.raises(CaseError, match="outside of the case folder"):
        imported(story, folder)


def test_who_may_not_propose_may_not_import(story: Story) -> None:
    folder = story.case(1)
    for actor in (COORDINATOR, ELSEWHERE):
        with pytest.raises(AccessDeniedError):
            import_case(story.trial, actor, ImportCase(SUBJECT, 1, folder))


def test_a_cycle_that_was_not_given_has_no_doses(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    plan_cycle(made.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    with pytest.raises(TransitionError, match="is not given yet"):
        import_case(made.trial, PHYSICIST, ImportCase(SUBJECT, 1, _any_case(made)))
    made.trial.close()


def _any_case(story: Story) -> Path:
    data = case_data(table_cycle(1), subject={"id": SUBJECT, "sex": "female"})
    return write_case(story.folder / "any", data)


FAILURES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a missing time point": (lambda f: _cut_blood(f), "found 1 sample; expected at least 2"),
    "a fit that fails": (lambda f: _no_decay(f), "left then"),
    "a region without mass": (lambda f: _no_mass(f), "has no mass"),
}


def _table_of(folder: Path, header: str) -> Path:
    return next(p for p in folder.glob("*.csv") if p.read_text(encoding="utf-8").startswith(header))


def _cut_blood(folder: Path) -> None:
    path = _table_of(folder, "time_h,activity_MBq_per_mL")
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:2]) + "\n", encoding="utf-8")


def _no_decay(folder: Path) -> None:
    path = _table_of(folder, "region,")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *(f"{row.split(',')[0]},{row.split(',')[1]},3000,10" for row in lines[1:])]),
                    encoding="utf-8")  # fmt: skip


def _no_mass(folder: Path) -> None:
    path = folder / "case.toml"
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition('"masses_g" = {')
    path.write_text(head + '"masses_g" = {' + rest[rest.index("}") :], encoding="utf-8")


@pytest.mark.requirement(41)
@pytest.mark.parametrize("name", FAILURES)
def test_inputs_that_cannot_be_computed_fail_the_job_with_the_reason(story: Story, name: str) -> None:
    spoil, words = FAILURES[name]
    folder = story.case(1)
    spoil(folder)
    imported(story, folder)
    job = story.work()
    assert job["state"] == "FAILED"
    assert words in job["error"]
    assert story.rows("doses") == story.rows("results") == []
    repeat_job(story.trial, PHYSICIST, int(job["job_id"]))
    assert story.work()["state"] == "FAILED"
    assert story.cycle()["state"] == "GIVEN"


@pytest.mark.requirement(41)
def test_no_proposal_is_made_while_a_given_cycle_has_no_doses(story: Story) -> None:
    story.at(NEXT - timedelta(hours=20))
    story.assessed("2026-03-09")
    with pytest.raises(InputError, match="cycle 1 was given and has no doses yet"):
        story.propose(2, acknowledged=())


def test_a_dose_that_is_missing_for_a_reason_is_carried_never_zero(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    made.whole_cycle(DAY)
    made.whole_cycle(NEXT, doses=False)
    record_missing_dosimetry(made.trial, PHYSICIST, MissingDosimetry(SUBJECT, 2, "camera broken"))
    assert made.cycle(2)["state"] == "DOSE_MISSING"
    rows = made.rows("doses", cycle=2)
    assert {(r["basis"], r["absorbed_dose_Gy"], r["missing_reason"]) for r in rows} == {
        ("missing", None, "camera broken")
    }
    made.at(datetime(2026, 5, 3, 12, 0, tzinfo=UTC))
    made.assessed("2026-05-04")
    version = made.propose(3).version
    first = made.row("doses", cycle=1, region="kidneys", scope="cumulative")["absorbed_dose_Gy"]
    limits = json.loads(made.trial.files.get(made.rows("prescriptions", cycle=3, version=version)[0]["result_sha256"]))
    given = next(li for li in limits["limits"] if li["id"] == "kidneys")["given_Gy"]
    assert given > 1.5 * first
    with pytest.raises(TransitionError, match="DOSE_MISSING"):
        import_case(made.trial, PHYSICIST, ImportCase(SUBJECT, 2, made.case(2)))
    made.trial.close()


def test_new_doses_of_a_cycle_make_later_prescriptions_void(story: Story) -> None:
    story.doses(1)
    story.at(NEXT - timedelta(hours=20))
    story.assessed("2026-03-09")
    version = story.propose(2).version
    story.release(2, version)
    with pytest.raises(InputError, match="say why"):
        imported(story, story.case(1))
    story.doses(1, reason="kidney mass corrected", name="again")
    assert {r["state"] for r in story.rows("prescriptions", cycle=2)} == {"VOID"}
    assert story.cycle(2)["state"] == "ASSESSED"
    assert story.propose(2).version == version + 1


def test_new_doses_of_a_cycle_are_in_the_sums_of_the_later_ones(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    made.whole_cycle(DAY)
    made.whole_cycle(NEXT)

    def kidneys(scope: str, cycle: int) -> float:
        row = made.row("doses", region="kidneys", nuclide="total", scope=scope, cycle=cycle)
        return float(row["absorbed_dose_Gy"])

    first, before = kidneys("cycle", 1), kidneys("cumulative", 2)
    heavier = table_cycle(1)["regions"]
    heavier["masses_g"] = {name: 1.2 * mass for name, mass in heavier["masses_g"].items()}
    assert made.doses(1, reason="masses corrected", name="again", regions=heavier)["state"] == "DONE"
    assert kidneys("cycle", 1) == pytest.approx(first / 1.2, rel=0.02)
    assert kidneys("cumulative", 2) == pytest.approx(kidneys("cycle", 1) + kidneys("cycle", 2))
    assert kidneys("cumulative", 2) < before
    made.trial.close()


def test_cycles_are_dosed_in_order(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    made.whole_cycle(DAY)
    made.whole_cycle(NEXT, doses=False)
    reopened = Update("cycles", {"subject_id": SUBJECT, "cycle": 1}, {"state": "GIVEN"})
    made.trial.commit(Change("prepare", [reopened]), SYSTEM)
    with pytest.raises(InputError, match="cycle 1 before it has no doses yet"):
        import_case(made.trial, PHYSICIST, ImportCase(SUBJECT, 2, made.case(2)))
    made.trial.close()


def test_doses_of_an_administration_that_was_corrected_meanwhile_are_not_stored(
    story: Story,
) -> None:
    imported(story, story.case(1))

    def corrected(trial: Trial, job: dict[str, Any]) -> Outcome:
        outcome = compute_doses(trial, job)
        change = Update("administrations", {"subject_id": SUBJECT, "cycle": 1, "nuclide": "Y-90"},
                        {"administered_MBq": 3500.0})  # fmt: skip
        trial.commit(Change("correct", [change]), SYSTEM, "typing error")
        return outcome

    job = run_next(story.trial, "test", {KIND: corrected})
    assert job is not None
    assert job["state"] == "FAILED"
    assert "changed while this one was computed" in job["error"]
    assert story.rows("doses") == []


def test_a_case_is_computed_once_at_a_time(story: Story) -> None:
    folder = story.case(1)
    imported(story, folder)
    with pytest.raises(TransitionError, match="wait for its end"):
        imported(story, folder)


def _queue(story: Story, count: int) -> None:
    for _ in range(count):
        story.trial.commit(lambda reader: Change("queue", [job_edit(reader, SYSTEM, "count", {})]), SYSTEM)


def _nothing(trial: Trial, job: dict[str, Any]) -> Outcome:
    return Outcome(lambda reader: [], {"did": job["job_id"]})


def test_parallel_workers_never_take_the_same_job(tmp_path: Path, database: str | None) -> None:
    story = make_story(tmp_path, url=database)
    _queue(story, 12)
    taken: list[int] = []

    def work(name: str) -> None:
        while (job := claim_job(story.trial, name, {"count": _nothing})) is not None:
            taken.append(int(job["job_id"]))

    threads = [threading.Thread(target=work, args=(f"worker {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 13))
    story.trial.close()


def test_a_job_whose_worker_went_silent_is_done_by_another_and_the_late_result_is_dropped(story: Story) -> None:
    _queue(story, 1)

    def slow(trial: Trial, job: dict[str, Any]) -> Outcome:
        story.clock.advance(seconds=SILENT_S + 1)
        assert run_next(trial, "second", {"count": _nothing}) is not None
        return Outcome(lambda reader: [], {"did": "late"})

    job = run_next(story.trial, "first", {"count": slow})
    assert job is not None
    assert (job["state"], job["worker"], job["result"]) == ("DONE", "second", {"did": 1})


def test_a_job_that_kills_every_worker_is_given_up(story: Story) -> None:
    _queue(story, 1)
    for attempt in range(MAX_ATTEMPTS):
        job = claim_job(story.trial, f"worker {attempt}", {"count": _nothing})
        assert job is not None
        assert claim_job(story.trial, "other", {"count": _nothing}) is None
        story.clock.advance(seconds=SILENT_S + 1)
    assert claim_job(story.trial, "last", {"count": _nothing}) is None
    assert story.row("jobs")["state"] == "FAILED"
    for actor in (COORDINATOR, PHYSICIST):
        with pytest.raises(AccessDeniedError):
            repeat_job(story.trial, actor, 1)
    repeat_job(story.trial, UNMASKED, 1)
    assert run_next(story.trial, "again", {"count": _nothing})["state"] == "DONE"  # type: ignore[index]


CRASH = """
import os, signal, sys
from pathlib import Path
from lutetia.trial.store import Trial
from lutetia.workflow.jobs import run_next
trial = Trial.open(Path(sys.argv[1]))
run_next(trial, "victim", {"dosimetry": lambda trial, job: os.kill(os.getpid(), signal.SIGKILL)})
"""


def test_a_killed_worker_process_loses_nothing(story: Story) -> None:
    imported(story, story.case(1))
    done = subprocess.run([sys.executable, "-c", CRASH, story.trial.folder], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert story.row("jobs")["state"] == "RUNNING"
    story.at(datetime.now(UTC) + timedelta(seconds=SILENT_S + 60))
    assert story.work()["state"] == "DONE"
    assert story.row("jobs")["attempts"] == 2
    assert story.cycle()["state"] == "DOSED"


def test_the_worker_command_does_the_waiting_jobs(story: Story) -> None:
    imported(story, story.case(1))
    run = command("worker", story.trial.folder, "--once")
    assert (run.code, run.out) == (0, "job 1 (dosimetry): DONE\n")
    assert story.cycle()["state"] == "DOSED"
    assert set(JOB_KINDS) >= {KIND}
    assert JOB_KINDS[KIND] is compute_doses


def test_a_second_assessment_follows_the_first_cycle(story: Story) -> None:
    story.doses(1)
    story.at(NEXT - timedelta(hours=20))
    plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-03-09"))
    story.labs(creatinine="110")
    found = assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, 2))
    assert (found.state, found.action) == ("HELD", "hold")
    assert "creatinine" in " ".join(found.reasons)


def test_a_waiting_worker_takes_new_jobs_and_ends_when_told_to(story: Story) -> None:
    command_line = [sys.executable, "-c", "import sys; from lutetia.cli import main; main()", "worker"]
    worker = subprocess.Popen(
        [*command_line, str(story.trial.folder), "--poll-s", "0.1"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert worker.stdout is not None
        assert "waiting for jobs" in worker.stdout.readline()
        imported(story, story.case(1))
        assert worker.stdout.readline() == "job 1 (dosimetry): DONE\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
        worker.communicate()
    assert story.cycle()["state"] == "DOSED"

"""Background jobs: what waits, runs, is done or failed, and why; failed ones can be repeated."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext, RecordNumber
from lutetia.workflow.interim_view import job_progress
from lutetia.workflow.jobs import repeat_job

_TONES = {"QUEUED": "info", "RUNNING": "info", "DONE": "ok", "FAILED": "danger"}


def show(page: Page) -> Response:
    """Jobs at the person's sites, newest first."""
    rows = sorted(queries.records(page.reader, page.actor, "jobs"), key=lambda r: -int(r["job_id"]))
    shown, part = page.paged(rows)
    sites = {s["subject_id"]: s["site"] for s in queries.subjects(page.reader, page.actor)}
    jobs = [_job(page, row, sites) for row in shown]
    return page.render(
        "jobs/list.html", jobs=jobs, part=part, masked=page.masked, people=queries.people(page.reader),
        folder=page.trial.folder.name, unattended=next((job for job in jobs if job["unattended"]), None),
    )  # fmt: skip


def repeat(page: Page, job_id: RecordNumber) -> Response:
    """Queue a failed job again; the use case asks for the right that its kind needs."""
    repeat_job(page.trial, page.actor, job_id)
    return page.redirect("/jobs", notice="jobs.repeated")


def _job(page: PageContext, row: Record, sites: dict[str, str]) -> dict[str, Any]:
    going = row["state"] in ("QUEUED", "RUNNING")
    progress = job_progress(page.reader, row) if going else None
    subject, payload = row["subject_id"], row["payload"] or {}
    right = ("run_closed_report", None) if subject is None else ("propose", sites.get(subject))
    return row | {
        "tone": _TONES.get(row["state"], ""),
        "step": progress.step if progress else "",
        "unattended": progress is not None and progress.unattended,
        "answered_at": progress.answered_at if progress else None,
        "snapshot_id": payload.get("snapshot_id", ""),
        "took": _took(page, row),
        "repeats": row["state"] == "FAILED" and page.may(*right),
        "error_shown": row["error"] if subject is not None or page.may("run_closed_report") else None,
    }


def _took(page: PageContext, row: Record) -> str:
    if not row["started_at"] or not row["finished_at"]:
        return ""
    since, until = (datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at"))
    seconds = (until - since).total_seconds()
    if seconds < 120:
        return page.t("jobs.seconds", count=f"{seconds:.0f}")
    return page.t("jobs.minutes", count=f"{seconds / 60:.0f}")

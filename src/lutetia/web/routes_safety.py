"""Routes of the safety dashboard, snapshots, interim analyses, exports and jobs; the columns as in `routes`."""

from __future__ import annotations

from lutetia.web.pages import exports, interim, jobs, safety, snapshots
from lutetia.web.routing import SIGNED_IN, Route

VERSION = "/interim/{snapshot_id}/{version}"

SAFETY_ROUTES: tuple[Route, ...] = (
    Route("GET", "/safety", safety.show, "open_report"),
    Route("GET", "/safety/progress", safety.progress, "open_report", by_itself=True),
    Route("GET", "/snapshots", snapshots.show, "open_report"),
    Route("POST", "/snapshots", snapshots.take, "lock"),
    Route("GET", "/snapshots/{snapshot_id}/archive", snapshots.download, "export"),
    Route("GET", "/interim", interim.show, "open_report"),
    Route("POST", "/interim", interim.run, "run_closed_report"),
    Route("GET", "/interim/{snapshot_id}/progress", interim.progress, "open_report", by_itself=True),
    Route("GET", f"{VERSION}/sign", interim.sign_form, "run_closed_report"),
    Route("POST", f"{VERSION}/sign", interim.sign, "run_closed_report"),
    Route("GET", f"{VERSION}/open/{{name}}", interim.open_file, "open_report"),
    Route("GET", f"{VERSION}/closed/{{name:path}}", interim.closed_file, "read_closed_report"),
    Route("GET", "/exports", exports.show, "export"),
    Route("POST", "/exports/data", exports.data, "export"),
    Route("POST", "/exports/trial", exports.trial, "export"),
    Route("GET", "/jobs", jobs.show, "see_subject"),
    # A job of a subject needs another right than an analysis; the use case asks for it.
    Route("POST", "/jobs/{job_id}/repeat", jobs.repeat, SIGNED_IN),
)

"""Every page of the map of the site, opened: a trial in progress with something of every kind, and who opens what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tests.web.browsing import Browser, TestClient

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.report.figures.slice_stack import make_stack, pack_stack
from lutetia.simulate.database import demonstrate, demonstration_start
from lutetia.trial import SYSTEM, Actor, Change, Create, Grant, ManualClock, Reader, Trial, Update, access
from lutetia.trial.access import SITE_ROLES
from lutetia.trial.accounts import notice
from lutetia.web.app import create_app
from lutetia.web.demonstration import PASSWORD, PEOPLE, make_demonstration, printed_accounts
from lutetia.web.routes import ROUTES
from lutetia.web.routing import Route
from lutetia.web.settings import Settings
from lutetia.workflow.snapshot import TakeSnapshot, take_snapshot

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SUBJECTS = 12
#: GET routes that are no page of their own, and why.
NO_PAGE: dict[str, str] = {
    "/health": "an answer for machines",
    "/static/{path:path}": "files of the pages",
    "/subjects/{subject_id}/cycles/{cycle}/what-if": "a fragment of the cycle's page",
    "/subjects/{subject_id}/cycles/{cycle}/job": "a fragment of the cycle's page",
    "/subjects/{subject_id}/cycles/{cycle}/prescription.pdf": "a file",
    "/subjects/{subject_id}/cycles/{cycle}/files/{name}": "a file",
    "/subjects/{subject_id}/cycles/{cycle}/thumbnails/{sha256}.png": "a picture",
    "/subjects/{subject_id}/cycles/{cycle}/slices/{sha256}/{view}/{level}.png": "a picture",
    "/images/quarantine/discard": "asks about an object in quarantine; test_web_cycles_dosimetry.py opens it",
    "/randomisation-list/revealed.json": "a file",
    "/safety/progress": "a fragment of the dashboard",
    "/snapshots/{snapshot_id}/archive": "a file",
    "/interim/{snapshot_id}/progress": "a fragment of the page of analyses",
    "/interim/{snapshot_id}/{version}/open/{name}": "a file",
    "/interim/{snapshot_id}/{version}/closed/{name:path}": "a file",
    "/documents/{document_id}/file": "a file",
    "/audit/field/{table}/{record}/{column}": "a fragment beside a field",
}
#: Values in addresses → the table and column in which a subject has them, or the trial has them.
_OF_SUBJECT = {"cycle": ("cycles", "cycle"), "ae_id": ("adverse_events", "ae_id"),
               "deviation_id": ("deviations", "deviation_id"), "record": ("labs", "record_id")}  # fmt: skip
_OF_TRIAL = {"site": ("sites", "site"), "query_id": ("queries", "query_id"), "user_id": ("users", "user_id"),
             "lock_id": ("locks", "lock_id"), "batch": ("product_batches", "batch"),
             "snapshot_id": ("reports", "snapshot_id")}  # fmt: skip
#: States through which the one proposal of the trial goes, with that of its cycle: each opens other pages.
_STEPS = (("PROPOSED", "ASSESSED"), ("OVERRIDE_PENDING", "ASSESSED"), ("RELEASED", "PRESCRIBED"), ("VOID", "ASSESSED"))
_FIXED = {"version": "1", "table": "labs"}
_QUERY = {"/subjects/{subject_id}/records/{table}/{record}/missing": "?field=value"}


@dataclass(frozen=True, slots=True)
class Opened:
    """A page that a person may open: the line of the map, the account, the whole address, and the proposal's step."""

    route: Route
    user: str
    address: str
    step: tuple[str, str]


@contextmanager
def trial_in_progress(folder: Path) -> Iterator[Trial]:
    """A demonstration with virtual subjects at every step of a course, and with whatever they do not bring along."""
    clock = ManualClock(demonstration_start(NOW, SUBJECTS))
    with make_demonstration(folder, clock=clock) as trial:
        demonstrate(trial, subjects=SUBJECTS, now=NOW)
        clock.moment = NOW
        take_snapshot(trial, Actor("data-manager", "D", (Grant("data_manager"),)), TakeSnapshot("2026-03-01", "one"))
        with trial.read() as reader:
            subject = reader.records("subjects", state="ON_TREATMENT")[0]
            snapshot = reader.records("snapshots")[0]["snapshot_id"]
        trial.commit(Change("fill", list(_further(trial, subject, snapshot))), SYSTEM)
        yield trial


def _further(trial: Trial, subject: dict[str, Any], snapshot: str) -> Iterator[Create]:
    key, at = {"subject_id": subject["subject_id"]}, "2026-02-20T08:00:00+00:00"
    yield Create("adverse_events", {**key, "ae_id": "9001", "seq": 1, "started_on": "2026-02-19", "ongoing": "yes",
                                    "term": "Sepsis", "grade": 4, "serious": "yes"})  # fmt: skip
    yield Create("serious_events", {**key, "ae_id": "9001", "aware_at": at, "due_at": "2026-02-21T08:00:00+00:00"})
    yield Create("deviations", {**key, "deviation_id": "901", "on": "2026-02-19", "kind": "other", "severity": "minor",
                                "description": "visit a day late"})  # fmt: skip
    yield Create("queries", {"query_id": 901, **key, "site": subject["site"], "table_name": "subjects", "state": "OPEN",
                             "record_key": subject["subject_id"], "field": "age_years", "opened_by": "system",
                             "opened_at": at})  # fmt: skip
    yield Create("query_messages", {"query_id": 901, "seq": 1, "kind": "open", "text": "58 or 85?",
                                    "user_id": "system", "sent_at": at})  # fmt: skip
    yield Create("locks", {"lock_id": 901, "level": "subject", "subject_id": "none", "state": "locked",
                           "locked_by": "data-manager", "locked_at": at})  # fmt: skip
    for number, name in enumerate(("open.html", "open.pdf", "closed.html"), start=1):
        yield Create("reports", {"report_id": number, "snapshot_id": snapshot, "kind": name, "sha256": "c" * 64,
                                 "software": "lutetia", "created_by": "unmasked-statistician", "created_at": at,
                                 "audit_head": "a" * 64, "further": {"version": 1, "resamples": 20}})  # fmt: skip
    yield Create("jobs", {"job_id": 901, "kind": "dosimetry", "state": "FAILED", **key, "cycle": 1, "payload": {},
                          "created_by": "physicist", "created_at": at, "started_at": at, "finished_at": at,
                          "attempts": 3, "error": "the worker ended 3 times"})  # fmt: skip
    yield Create("attachments", {"attachment_id": "A901", **key, "cycle": 1, "kind": "slice_stack", "name": "SPECT",
                                 "sha256": trial.files.put(_stack()), "state": "kept"})  # fmt: skip
    with trial.read() as reader:
        for role in ("monitor", "administrator"):
            found = notice(reader, kind="test", text=f"a notice to every {role}", role=role)
            yield Create("notices", found.values | {"notice_id": 901 + len(role)})


def _stack() -> bytes:
    grid = axis_aligned_grid((4, 6, 6), (5.0, 4.0, 4.0))
    values = np.zeros(grid.shape, dtype=np.float32)
    values[2, 3, 3] = 2.5
    return pack_stack(make_stack(Volume(values, grid, "MBq_per_mL"), None, [RegionMask("spleen", values > 1, grid)]))


@contextmanager
def people_at(trial: Trial) -> Iterator[dict[str, Browser]]:
    """A signed-in browser for everybody of the demonstration, on one application."""
    app = create_app(trial, settings=Settings(sign_in_tries=10_000), demonstration=printed_accounts(trial))
    found = {}
    for user, *_ in PEOPLE:
        found[user] = Browser(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
        found[user].sign_in(user, PASSWORD)
    yield found
    for browser in found.values():
        browser.client.close()
    if hasattr(app.state, "safety"):
        app.state.safety.close()


def page_routes() -> list[Route]:
    """The lines of the map that are pages; whatever else answers GET is named in `NO_PAGE`."""
    found = [route for route in ROUTES if route.method == "GET" and not route.is_api]
    unknown = set(NO_PAGE) - {route.path for route in found}
    assert not unknown, f"NO_PAGE names what does not exist: {unknown}"
    return [route for route in found if route.path not in NO_PAGE]


def open_every_page(trial: Trial, people: dict[str, Browser]) -> Iterator[Opened]:
    """Each page with the first person and thing with whom it opens; what opens with none fails the test.

    Between the pages the proposal of the trial goes on, so that what is asked of a page is asked before the next one.
    """
    left = page_routes()
    for step in _STEPS:
        _bring(trial, step)
        for route in list(left):
            if (found := _open(trial, people, route, step)) is not None:
                left.remove(route)
                yield found
    assert not left, f"pages that nobody could open, and no reason in NO_PAGE: {[route.path for route in left]}"


def open_again(trial: Trial, opened: Sequence[Opened]) -> Iterator[Opened]:
    """The same pages once more, each at the step of the proposal at which it opens."""
    for step in _STEPS:
        _bring(trial, step)
        yield from (page for page in opened if page.step == step)


def _bring(trial: Trial, step: tuple[str, str]) -> None:
    """Bring the last proposal of the trial, and its cycle, into a state."""
    state, cycle = step
    with trial.read() as reader:
        last = max(reader.records("prescriptions"), key=lambda row: row["proposed_at"] or "")
        key = {name: last[name] for name in ("subject_id", "cycle")}
        rows = reader.records("prescriptions", **key, version=last["version"])
    edits = [Update("prescriptions", int(row["record_id"]), {"state": state}) for row in rows]
    trial.commit(Change("fill", [*edits, Update("cycles", key, {"state": cycle})]), SYSTEM)


def _open(trial: Trial, people: dict[str, Browser], route: Route, step: tuple[str, str]) -> Opened | None:
    with trial.read() as reader:
        addresses = [(a, s) for a, s in _addresses(reader, route)]
    for address, site in addresses:
        for user in _allowed(route, site):
            if people[user].client.get(address, follow_redirects=False).status_code == 200:
                return Opened(route, user, address, step)
    return None


def _allowed(route: Route, site: str | None) -> list[str]:
    if route.action not in access.RIGHTS:
        return ["coordinator"]
    found = []
    for user, _, role, own in PEOPLE:
        actor = Actor(user, user, (Grant(role, own if role in SITE_ROLES else None),), second_factor=True)
        if access.may(actor, route.action, site):
            found.append(user)
    return found


def _addresses(reader: Reader, route: Route) -> Iterator[tuple[str, str | None]]:
    """Addresses of a route with things that exist, each with the site of its subject."""
    names = re.findall(r"{(\w+)", route.path)
    subjects = reader.records("subjects") if "subject_id" in names else [None]
    for subject in subjects:
        known: dict[str, list[str]] = {name: [text] for name, text in _FIXED.items()}
        if subject is not None:
            known["subject_id"] = [subject["subject_id"]]
        for name in names:
            table, column = (_OF_SUBJECT if name in _OF_SUBJECT else _OF_TRIAL).get(name, ("", ""))
            if table:
                where = {"subject_id": subject["subject_id"]} if subject is not None and name in _OF_SUBJECT else {}
                known[name] = [str(row[column]) for row in reader.records(table, **where)][:6]
        for values in product(*(known[name] for name in names)):
            filled = dict(zip(names, values, strict=True))
            path = re.sub(r"{(\w+)(:\w+)?}", lambda m, filled=filled: filled[m[1]], route.path)  # type: ignore[misc]
            yield path + _QUERY.get(route.path, ""), None if subject is None else subject["site"]

"""The trial at a glance: what waits for the person, what is due, open queries, limits that come near, accrual."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from lutetia.report import palette
from lutetia.report.figures.canvas import Canvas
from lutetia.report.numbers import number, probability
from lutetia.trial import access, queries
from lutetia.trial.queries_notices import notices
from lutetia.trial.reader import Record
from lutetia.trial.states import SUBJECT_RANDOMISED
from lutetia.web import reading
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.adverse_events import unreported
from lutetia.workflow.interim_view import analysed_snapshots
from lutetia.workflow.tasks import Task, tasks, unreviewed

_AHEAD_DAYS = 7
_LINES = 12
_TASKS = 5
_NOTICES = 5
#: Forecasts are watched from this probability of exceeding a limit (assumption: display only, no rule uses it).
WATCHED = 0.2
#: Kinds of work whose date is the last one; of the others it says since when they wait.
_DUE = frozenset({"report", "causality", "expectedness", "administer", "assess", "propose"})
_EVENT, _CYCLE = "/subjects/{subject}/adverse-events/{item}", "/subjects/{subject}/cycles/{item}"
#: Kind of work (`lutetia.workflow.tasks.KINDS`) → the page on which it is done; what is decided over a proposal or a
#: cycle's assessment, on the cycle's page, with its curves, doses and what-if in sight.
PLACES: dict[str, str] = {
    "report": f"{_EVENT}/report", "causality": f"{_EVENT}/causality", "expectedness": f"{_EVENT}/expectedness",
    "approve": _CYCLE, "release": _CYCLE, "propose": _CYCLE, "assess": _CYCLE,
    "administer": f"{_CYCLE}/administration", "dosimetry": f"{_CYCLE}/dosimetry",
    "randomise": "/subjects/{subject}/randomisation", "sign_eligibility": "/subjects/{subject}/screening/sign",
    "screening": "/subjects/{subject}/screening", "answer": "/queries/{item}", "close": "/queries/{item}",
    "review_deviation": "/subjects/{subject}/deviations/{item}/review", "verify": "/subjects/{subject}/records",
    "unlock": "/users/{item}", "make_list": "/randomisation-list", "analyse": "/interim", "sign_analysis": "/interim",
    "read_report": "/interim",
}  # fmt: skip


def show(page: Page) -> Response:
    """State of the trial as the person's roles may see it."""
    study = queries.study(page.reader)
    sees = page.may("see_subject")
    values: dict[str, Any] = {"figures": [], "accrual": (), "arms": (), "due": (), "more_due": False, "watch": (),
                              "unreported": ()}  # fmt: skip
    if sees:
        values |= _subjects(page, study) | _due_visits(page) | {"watch": _watch(page)}
        values["unreported"] = unreported(page)
    unseen = notices(page.reader, page.actor, unseen=True)
    return page.render(
        "overview/show.html", study=study, sees=sees, notices=unseen[:_NOTICES], more_notices=len(unseen) > _NOTICES,
        todo=_todo(page), unreviewed=unreviewed(page.reader, page.actor), ahead=_AHEAD_DAYS,
        watched=probability(WATCHED), locked_rights=waiting_rights(page), session=page.session,
        roles_held=bool(page.actor.grants), reports=_reports(page),
        keeps=page.may("manage_users"), accounts=_accounts(page), **values,
    )  # fmt: skip


def waiting_rights(page: PageContext) -> list[str]:
    """In words, what one-time codes would let the person do."""
    return [page.t(f"needs_codes.{action}") for action in access.waiting_for_code(page.actor)]


def _reports(page: PageContext) -> list[dict[str, Any]]:
    """Signed analyses for those who do not see subjects: the newest closed report that is signed, and the open ones."""
    if page.may("see_subject") or not page.may("open_report"):
        return []
    found = [
        {"purpose": row.snapshot["purpose"], "cut_on": row.snapshot["cut_on"], "signed": version.signature,
         "base": f"/interim/{quote(row.snapshot['snapshot_id'], safe='')}/{version.number}",
         "closed": bool(version.closed_files)}
        for row in analysed_snapshots(page.reader, page.actor, zone=page.zone.key)
        for version in row.versions if version.signed
    ]  # fmt: skip
    return [row | {"closed": row["closed"] and number == 0} for number, row in enumerate(found[:_LINES])]


def _accounts(page: PageContext) -> dict[str, list[dict[str, Any]]]:
    """Who is signed in, and whose account lacks something: for whoever keeps the accounts."""
    if not page.may("manage_users"):
        return {}
    granted = {row["user_id"] for row in page.reader.records("grants", ended_at=None)}
    users = [row for row in page.reader.records("users") if row["state"] == "active"]
    signed_in = Counter(row["user_id"] for row in page.reader.records("sessions", ended_at=None))
    return {
        "signed_in": [row | {"count": signed_in[row["user_id"]]} for row in users if signed_in[row["user_id"]]],
        "no_role": [row for row in users if row["user_id"] not in granted],
        "first_password": [row for row in users if row["must_change"] == "yes"],
    }


def _todo(page: PageContext) -> list[dict[str, Any]]:
    """Open work of the person by kind, each piece with the way to its form."""
    today = page.today()
    found = tasks(page.reader, page.actor, today=today, limit=_TASKS + 1)
    several = len(page.sites("see_subject") or ("all", "sites")) > 1
    return [
        {"kind": kind, "more": len(rows) > _TASKS,
         "rows": [_task(page, task, today=today, several=several) for task in rows[:_TASKS]]}
        for kind, rows in found.items()
    ]  # fmt: skip


def _task(page: PageContext, task: Task, *, today: str, several: bool) -> dict[str, Any]:
    href = PLACES[task.kind].format(subject=quote(task.subject_id or "", safe=""), item=quote(task.item, safe=""))
    about = page.t.known(f"overview.about.{task.kind}", otherwise="{item}").replace("{item}", task.item)
    named = ", ".join(filter(None, (task.subject_id, about))) or page.t("overview.open_form")
    now = page.trial.clock.now().isoformat()
    late = task.on is not None and task.kind in _DUE and task.on < (today if len(task.on) == 10 else now)
    return {"href": href, "words": named, "on": page.local(task.on) if task.on else "", "late": late,
            "site": task.site if several else None}  # fmt: skip


def _due_visits(page: PageContext) -> dict[str, Any]:
    today = date.fromisoformat(page.today())
    until = (today + timedelta(days=_AHEAD_DAYS)).isoformat()
    rows = reading.due_visits(page.reader, page.actor, until=until, limit=_LINES + 1)
    return {"due": [_due(page, row, today) for row in rows[:_LINES]], "more_due": len(rows) > _LINES}


def _watch(page: PageContext) -> list[dict[str, Any]]:
    rows = reading.limits_watch(page.reader, page.actor, above=WATCHED, limit=_LINES)
    return [
        {**row, "dose": number(row["absorbed_dose_Gy"]), "p": probability(row["p_over_limit"]),
         "high": row["p_over_limit"] >= 0.5} for row in rows
    ]  # fmt: skip


def _subjects(page: PageContext, study: Record) -> dict[str, Any]:
    """Key figures and accrual by site; by arm only for those who read the closed report."""
    rows = queries.accrual(page.reader, page.actor)
    by_site: dict[str, Counter[str]] = {}
    for row in rows:
        by_site.setdefault(row["site"], Counter())[_group(row["state"])] += row["n"]
    total = sum(by_site.values(), Counter())
    counts = reading.query_counts(page.reader, page.actor)
    planned = None if page.masked else (study["settings"] or {}).get("planned_n")
    names = {s["site"]: s["name"] for s in queries.records(page.reader, page.actor, "sites")}
    most = max((c["randomised"] for c in by_site.values()), default=0)
    accrual = [
        {"site": site, "name": names.get(site, ""), **c, "randomised": c["randomised"], "screening": c["screening"],
         "failed": c["failed"], "bar": accrual_bar(c["randomised"], most)} for site, c in sorted(by_site.items())
    ]  # fmt: skip
    whole = page.sites("see_subject") is None
    detail = page.t("overview.of_planned", planned=planned) if planned and whole else ""
    figures = [
        {"label": page.t("overview.randomised"), "value": total["randomised"], "detail": detail},
        {"label": page.t("overview.screening"), "value": total["screening"]},
        {"label": page.t("overview.failed"), "value": total["failed"]},
        {"label": page.t("overview.open_queries"), "value": counts.get("OPEN", 0), "href": "/queries",
         "detail": page.t("overview.answered", count=counts.get("ANSWERED", 0))},
    ]  # fmt: skip
    arms: Counter[str] = Counter()
    if page.may("read_closed_report") and not page.masked:
        for row in queries.accrual(page.reader, page.actor, by_arm=True):
            arms[row["arm"] or ""] += row["n"] if row["arm"] else 0
    return {"figures": figures, "accrual": accrual, "arms": sorted((a, n) for a, n in arms.items() if a)}


def _group(state: str) -> str:
    if state in SUBJECT_RANDOMISED:
        return "randomised"
    return "failed" if state == "SCREEN_FAILED" else "screening"


def _due(page: PageContext, row: Record, today: date) -> dict[str, Any]:
    """A visit with the way to what is to be entered at it."""
    last = row["window_to_on"] or row["due_on"]
    days = (date.fromisoformat(row["due_on"]) - today).days
    base, infusion = f"/subjects/{row['subject_id']}", row["visit"] == f"cycle {row['cycle']}"
    if infusion:
        href = f"{base}/cycles/{row['cycle']}"
    elif page.may("enter_data", row["site"]):
        href = f"{base}/laboratory/entry?{urlencode({'visit': row['visit']})}"
    else:
        href = base
    return {**row, "late": date.fromisoformat(last) < today, "days": days, "href": href}


def accrual_bar(count: int, most: int) -> bytes:
    """A bar in proportion to the site with most subjects."""
    canvas = Canvas(200, 7)
    canvas.rect((0, 0), (200.0 * count / most if most else 0.0, 7), fill=palette.ACCENT, rx=4)
    return canvas.svg()

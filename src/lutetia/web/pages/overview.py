"""The trial at a glance: accrual, what is due, open queries, signatures that wait, limits that come near."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from lutetia.report import palette
from lutetia.report.figures.canvas import Canvas
from lutetia.report.numbers import number, probability
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.trial.states import SUBJECT_RANDOMISED
from lutetia.web import reading
from lutetia.web.context import Page, PageContext

_AHEAD_DAYS = 7
_LINES = 12
#: Forecasts are watched from this probability of exceeding a limit (assumption: display only, no rule uses it).
WATCHED = 0.2


def show(page: Page) -> Response:
    """State of the trial as the person's roles may see it."""
    study = queries.study(page.reader)
    sees = page.may("see_subject")
    values: dict[str, Any] = {"figures": [], "accrual": (), "arms": (), "due": (), "waiting": (), "watch": ()}
    if sees:
        values |= _subjects(page, study)
        today = date.fromisoformat(page.today())
        until = (today + timedelta(days=_AHEAD_DAYS)).isoformat()
        due = reading.due_visits(page.reader, page.actor, until=until, limit=_LINES + 1)
        values["due"] = [_due(row, today) for row in due[:_LINES]]
        values["more_due"] = len(due) > _LINES
        values["waiting"] = reading.waiting_prescriptions(page.reader, page.actor, limit=_LINES)
        watch = reading.limits_watch(page.reader, page.actor, above=WATCHED, limit=_LINES)
        values["watch"] = [
            {**row, "dose": number(row["absorbed_dose_Gy"]), "p": probability(row["p_over_limit"]),
             "high": row["p_over_limit"] >= 0.5} for row in watch
        ]  # fmt: skip
    notices = queries.notices(page.reader, page.actor)[-5:]
    return page.render(
        "overview/show.html", study=study, sees=sees, notices=notices, ahead=_AHEAD_DAYS,
        watched=probability(WATCHED), **values,
    )  # fmt: skip


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


def _due(row: Record, today: date) -> dict[str, Any]:
    last = row["window_to_on"] or row["due_on"]
    days = (date.fromisoformat(row["due_on"]) - today).days
    return {**row, "late": date.fromisoformat(last) < today, "days": days}


def accrual_bar(count: int, most: int) -> bytes:
    """A bar in proportion to the site with most subjects."""
    canvas = Canvas(200, 7)
    canvas.rect((0, 0), (200.0 * count / most if most else 0.0, 7), fill=palette.ACCENT, rx=4)
    return canvas.svg()

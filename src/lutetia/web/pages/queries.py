"""Data queries: the list, one thread, and its next step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.responses import Response

from lutetia.trial import Actor, Receipt, Trial, queries
from lutetia.web import reading_subjects
from lutetia.web.context import Page, PageContext, RecordNumber
from lutetia.web.forms import Form
from lutetia.web.pages.audit import field_words, table_words
from lutetia.workflow import queries_form

STATES = (queries_form.OPEN, queries_form.ANSWERED, queries_form.CLOSED)
Step = Callable[[Trial, Actor, queries_form.QueryStep], Receipt]


@dataclass(frozen=True, slots=True)
class StepForm:
    """What an answer or remark sends."""

    text: str
    version: int


def show(page: Page) -> Response:
    """Queries at the person's sites, open ones first."""
    wanted = {name: page.argument(name) for name in ("state", "site", "subject_id")}
    rows = queries.records(page.reader, page.actor, "queries", **{k: v for k, v in wanted.items() if v and v != "all"})
    if not wanted["state"]:
        rows = [row for row in rows if row["state"] != queries_form.CLOSED]
    rows.sort(key=lambda row: (STATES.index(row["state"]), row["opened_at"]))
    shown, part = page.paged(rows)
    first = {} if page.masked else reading_subjects.first_messages(page.reader, [row["query_id"] for row in shown])
    sites = [(s["site"], f"{s['site']} {s['name']}") for s in queries.records(page.reader, page.actor, "sites")]
    form = Form(page.t, "queries", page.zone, {name: [text] for name, text in wanted.items()})
    return page.render(
        "queries/list.html", rows=[_row(page, row, first.get(row["query_id"], "")) for row in shown], part=part,
        form=form, sites=sites, states=STATES,
    )  # fmt: skip


def thread(page: Page, query_id: RecordNumber) -> Response:
    """One query with its messages."""
    return _thread(page, query_id, Form(page.t, "queries", page.zone))


def answer(page: Page, query_id: RecordNumber) -> Response:
    """Answer at the site."""
    return _take(page, query_id, queries_form.answer_query, notice="queries.answered")


def close(page: Page, query_id: RecordNumber) -> Response:
    """Close what is settled."""
    return _take(page, query_id, queries_form.close_query, notice="queries.closed")


def reopen(page: Page, query_id: RecordNumber) -> Response:
    """Ask again."""
    return _take(page, query_id, queries_form.reopen_query, notice="queries.reopened")


def _take(page: PageContext, query_id: int, step: Step, *, notice: str) -> Response:
    form = page.form("queries")
    sent = form.read(StepForm)
    if sent is not None:
        command = queries_form.QueryStep(query_id, sent.text, sent.version)
        if form.attempt(step, page.trial, page.actor, command) is not None:
            return page.redirect(f"/queries/{query_id}", notice=notice)
    return _thread(page, query_id, form, status=422)


def _thread(page: PageContext, query_id: int, form: Form, *, status: int = 200) -> Response:
    query, messages = queries.query_thread(page.reader, page.actor, query_id)
    people = queries.people(page.reader)
    site = query["site"]
    said = [{"who": people.get(m["user_id"], m["user_id"]), "at": page.local(m["sent_at"]), "text": m["text"],
             "kind": m["kind"]} for m in sorted(messages, key=lambda m: int(m["seq"]))]  # fmt: skip
    return page.render(
        "queries/thread.html", status=status, query=query, row=_row(page, query, ""), messages=said, form=form,
        may_answer=query["state"] == queries_form.OPEN and page.may("answer_query", site),
        may_close=query["state"] != queries_form.CLOSED and page.may("manage_queries", site),
        may_reopen=query["state"] != queries_form.OPEN and page.may("manage_queries", site),
    )  # fmt: skip


def _row(page: PageContext, row: dict[str, Any], text: str) -> dict[str, Any]:
    opened = datetime.fromisoformat(row["opened_at"])
    ended = datetime.fromisoformat(row["closed_at"] or page.reader.now)
    return {
        "number": row["query_id"], "subject_id": row["subject_id"] or "", "site": row["site"] or "", "text": text,
        "what": table_words(page, row["table_name"]), "field": field_words(page, row["field"] or ""),
        "key": row["record_key"] or "", "state": row["state"], "opened": page.local(row["opened_at"]),
        "days": (ended - opened).days,
    }  # fmt: skip

"""The trial, its sites, accrual and data queries as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from lutetia.trial import queries
from lutetia.web.context import Page


class TrialOut(BaseModel):
    """What the trial is."""

    study_id: str
    title: str
    protocol_name: str
    protocol_version: str
    demonstration: bool


class SiteOut(BaseModel):
    """A site."""

    site: str
    name: str
    country: str | None
    timezone: str | None
    state: str


class AccrualOut(BaseModel):
    """Number of subjects in a state at a site."""

    site: str
    state: str
    subjects: int


class QueryOut(BaseModel):
    """A data query; instants are UTC."""

    query_id: int
    subject_id: str | None
    site: str | None
    table: str
    record_key: str | None
    field: str | None
    state: str
    opened_at: str


def trial(page: Page) -> TrialOut:
    """Title, protocol, and whether it is a demonstration."""
    found = queries.study(page.reader)
    return TrialOut(
        study_id=found["study_id"], title=found["title"] or "", protocol_name=found["protocol_name"] or "",
        protocol_version=found["protocol_version"] or "", demonstration=page.trial.demonstration,
    )  # fmt: skip


def sites(page: Page) -> list[SiteOut]:
    """All sites."""
    return [SiteOut.model_validate(row) for row in queries.records(page.reader, page.actor, "sites")]


def accrual(page: Page) -> list[AccrualOut]:
    """Subjects by site and state, at the person's sites."""
    rows = queries.accrual(page.reader, page.actor)
    return [AccrualOut(site=row["site"], state=row["state"] or "", subjects=row["n"]) for row in rows]


def data_queries(page: Page, state: Literal["OPEN", "ANSWERED", "CLOSED"] | None = None) -> list[QueryOut]:
    """Data queries at the person's sites."""
    wanted = {} if state is None else {"state": state}
    rows = queries.records(page.reader, page.actor, "queries", **wanted)
    return [QueryOut(**{name: row[name] for name in QueryOut.model_fields if name != "table"}, table=row["table_name"])
            for row in rows]  # fmt: skip

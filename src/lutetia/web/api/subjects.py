"""Subjects as JSON: who is in the trial, allocation, laboratory values and adverse events; masked where need be."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from lutetia.trial import queries
from lutetia.web.api.models import Given
from lutetia.web.context import Page
from lutetia.workflow import laboratory, screening
from lutetia.workflow.laboratory_reading import graded_values
from lutetia.workflow.randomisation import RandomisationReceipt, Randomise
from lutetia.workflow.randomisation import randomise as allocate

_LINE = Field(default="", max_length=200)


class SubjectOut(BaseModel):
    """A subject; `arm` is null before allocation and for masked persons."""

    subject_id: str
    site: str
    state: str
    state_on: str | None
    arm: str | None
    sex: str | None
    age_years: float | None
    randomised_on: str | None
    protocol_version: str | None
    record_version: int


class EnrolIn(Given):
    """A screened subject; without `subject_id` the next number of the site is taken."""

    site: str = Field(min_length=1, max_length=20)
    sex: str = Field(max_length=20)
    age_years: float = Field(allow_inf_nan=False)
    height_cm: float | None = Field(default=None, allow_inf_nan=False)
    weight_kg: float | None = Field(default=None, allow_inf_nan=False)
    subject_id: str | None = Field(default=None, max_length=40)
    screened_on: str | None = Field(default=None, max_length=10)


class LabOut(BaseModel):
    """A value in the trial's unit, with its CTCAE grade (null where a limit or baseline is lacking).

    With `qualifier` `<` or `>`, `value` is the limit that was reported.
    """

    analyte: str
    sample_id: str
    taken_at: str
    qualifier: str
    value: float
    unit: str
    lln: float | None
    uln: float | None
    grade: int | None


class LabIn(Given):
    """One value as the laboratory printed it; `value` may be ``<0.3``."""

    analyte: str = Field(max_length=100)
    value: str = _LINE
    unit: str = _LINE
    lln: str = _LINE
    uln: str = _LINE
    missing_reason: str = _LINE


class SampleIn(Given):
    """One sample of a subject; `taken_at` is ISO with offset, or local time of the site."""

    taken_at: str = Field(max_length=40)
    sample_id: str = _LINE
    visit: str = _LINE
    reason: str | None = Field(default=None, max_length=2000)
    values: list[LabIn] = Field(max_length=200)


class SampleOut(BaseModel):
    """What was stored, by status, and how many queries the checks at entry opened."""

    stored: dict[str, int]
    queries: int
    audit_sequence: int
    audit_head: str


class CsvIn(Given):
    """A CSV table of laboratory values (columns of the exchange format)."""

    content: str = Field(max_length=5_000_000)


class RowOut(BaseModel):
    """What an import would do with one row, and why."""

    row: int
    status: str
    reason: str
    subject_id: str
    analyte: str
    grade: int | None


class EventOut(BaseModel):
    """A line of an adverse event: its term and grade from `started_on` on."""

    ae_id: str
    seq: int
    term: str | None
    grade: int | None
    started_on: str | None
    ended_on: str | None
    serious: str | None
    related: str | None
    outcome: str | None


class RandomiseIn(Given):
    """Levels of the factors besides the site; `version` is the `record_version` that was seen."""

    levels: dict[str, str] = Field(default={}, max_length=20)
    version: int | None = Field(default=None, ge=1, le=10**9)


class ReceiptOut(BaseModel):
    """The receipt of an allocation; `arm` is null for masked persons."""

    subject_id: str
    arm: str | None
    stratum: str
    slot: int
    at: str
    commitment: str
    receipt: str
    audit_sequence: int
    audit_head: str


def subjects(page: Page, site: str | None = None, state: str | None = None) -> list[SubjectOut]:
    """Subjects at the person's sites."""
    rows = queries.subjects(page.reader, page.actor, site=site, state=state)
    return [_subject(page, row) for row in rows]


def subject(page: Page, subject_id: str) -> SubjectOut:
    """One subject."""
    return _subject(page, queries.subject(page.reader, page.actor, subject_id))


def enrol(page: Page, given: EnrolIn) -> SubjectOut:
    """Register a screened subject."""
    receipt = screening.enrol(page.trial, page.actor, screening.Enrol(**given.model_dump(exclude_none=True)))
    return subject(page, str(receipt.result))


def labs(page: Page, subject_id: str) -> list[LabOut]:
    """Laboratory values by analyte and time, missing ones left out."""
    queries.subject(page.reader, page.actor, subject_id)
    names = [name for name in LabOut.model_fields if name != "taken_at"]
    return [
        LabOut(taken_at=value.taken_at.isoformat(), **{name: getattr(value, name) for name in names})
        for values in graded_values(page.reader, subject_id).values()
        for value in values
    ]


def enter_labs(page: Page, subject_id: str, given: SampleIn) -> SampleOut:
    """Store one sample; all of it or nothing."""
    entries = [laboratory.LabEntry(**value.model_dump()) for value in given.values]
    command = laboratory.EnterLabs(
        subject_id, given.taken_at, entries, given.sample_id, given.visit, (given.reason or "").strip() or None
    )
    found = laboratory.enter_labs(page.trial, page.actor, command)
    statuses = {row.status: found.preview.count(row.status) for row in found.preview.rows}
    return SampleOut(
        stored=statuses, queries=found.queries, audit_sequence=found.receipt.sequence, audit_head=found.receipt.head
    )


def preview_labs(page: Page, given: CsvIn) -> list[RowOut]:
    """Dry run of an import: what would happen to each row; nothing is stored."""
    command = laboratory.ImportLabs(given.content.encode(), "api.csv")
    rows = laboratory.preview_labs(page.trial, page.actor, command).rows
    return [RowOut(row=row.number, **{n: getattr(row, n) for n in RowOut.model_fields if n != "row"}) for row in rows]


def adverse_events(page: Page, subject_id: str) -> list[EventOut]:
    """Adverse events of a subject."""
    rows = queries.of_subject(page.reader, page.actor, "adverse_events", subject_id)
    return [EventOut(**{name: row[name] for name in EventOut.model_fields}) for row in rows]


def randomise(page: Page, subject_id: str, given: RandomiseIn) -> ReceiptOut:
    """Allocate an arm to a subject whose consent and eligibility are signed."""
    found: RandomisationReceipt = allocate(page.trial, page.actor, Randomise(subject_id, given.levels, given.version))
    same = ("subject_id", "stratum", "slot", "at", "commitment", "receipt", "arm")
    return ReceiptOut(
        **{name: getattr(found, name) for name in same}, audit_sequence=found.sequence, audit_head=found.head
    )


def _subject(page: Page, row: dict[str, Any]) -> SubjectOut:
    values = {name: row[name] for name in SubjectOut.model_fields}
    return SubjectOut(**(values | ({"arm": None} if page.masked else {})))

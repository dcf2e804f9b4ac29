"""Cycles of a subject as JSON: states, the prescription with its limits, doses; what-if for other activities."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from lutetia.errors import InputError
from lutetia.trial import queries
from lutetia.web.api.models import Given
from lutetia.web.context import Page
from lutetia.web.pages.cycles import MOST_MBQ
from lutetia.web.pages.cycles_records import CycleNumber, Shown, read_cycle, shown_proposal
from lutetia.workflow.proposal import WhatIf, what_if


class CycleOut(BaseModel):
    """A cycle and its state; `reason` is empty for masked persons."""

    subject_id: str
    cycle: int
    state: str
    state_on: str | None
    planned_on: str | None


class ActivityOut(BaseModel):
    """Activity of a nuclide, in MBq."""

    nuclide: str
    base_MBq: float
    proposed_MBq: float | None
    prescribed_MBq: float | None


class LimitOut(BaseModel):
    """A limit with predicted doses (Gy), 95 % intervals and probabilities; null where not evaluable."""

    id: str
    region: str
    metric: str
    kind: str
    limit_Gy: float
    given_Gy: float | None
    predicted_after_cycle_Gy: float | None
    predicted_after_cycle_interval_Gy: tuple[float, float] | None
    predicted_end_of_course_Gy: float | None
    predicted_end_of_course_interval_Gy: tuple[float, float] | None
    probability_over_after_cycle: float | None
    probability_over_end_of_course: float | None


class PrescriptionOut(BaseModel):
    """The standing prescription, or (`version` null) the proposal as of now; `problem` says why there is none."""

    version: int | None = None
    state: str | None = None
    problem: str | None = None
    bound_by: str | None = None
    activities: list[ActivityOut] = []
    limits: list[LimitOut] = []
    conditions: list[str] = []
    reasons: list[str] = []
    stale: list[str] = []
    protocol_version: str | None = None
    inputs_sha256: str | None = None


class DoseOut(BaseModel):
    """One absorbed dose; null where it is missing, never 0."""

    scope: str
    region: str
    nuclide: str
    method: str
    basis: str | None
    absorbed_dose_Gy: float | None
    absorbed_dose_sd_Gy: float | None
    bed_Gy: float | None
    result_sha256: str | None
    missing_reason: str | None


class WhatIfIn(Given):
    """Activities to try, in MBq, one for every nuclide of the arm; `version` names a stored proposal."""

    activities_MBq: dict[Literal["Lu-177", "Y-90"], Annotated[float, Field(ge=0, le=MOST_MBQ)]]
    version: int | None = Field(default=None, ge=1, le=10_000)


def cycles(page: Page, subject_id: str) -> list[CycleOut]:
    """Cycles of a subject."""
    rows = queries.of_subject(page.reader, page.actor, "cycles", subject_id)
    return [CycleOut(**{name: row[name] for name in CycleOut.model_fields}) for row in rows]


def prescription(page: Page, subject_id: str, cycle: CycleNumber) -> PrescriptionOut:
    """The prescription of a cycle with its limits."""
    page.refuse_masked()
    shown = shown_proposal(page, read_cycle(page, subject_id, cycle))
    if not isinstance(shown, Shown):
        return PrescriptionOut(problem=shown)
    decision = shown.prescription
    computed: dict[str, Any] = decision["activities_MBq"] or {}
    return PrescriptionOut(
        version=shown.version, state=shown.rows[0]["state"] if shown.rows else None, bound_by=decision["bound_by"],
        activities=[
            ActivityOut(nuclide=name, base_MBq=base, proposed_MBq=computed.get(name),
                        prescribed_MBq=shown.activities.get(name)) for name, base in decision["base_MBq"].items()
        ],
        limits=[_limit(limit) for limit in shown.limits], conditions=list(shown.conditions),
        reasons=list(decision["reasons"]), stale=list(shown.stale),
        protocol_version=shown.record["protocol"]["version"], inputs_sha256=shown.inputs,
    )  # fmt: skip


def doses(page: Page, subject_id: str, cycle: CycleNumber) -> list[DoseOut]:
    """Doses of a cycle, by region, nuclide and method."""
    page.refuse_masked()
    return [DoseOut(**{name: row[name] for name in DoseOut.model_fields})
            for row in read_cycle(page, subject_id, cycle).doses]  # fmt: skip


def try_activities(page: Page, subject_id: str, cycle: CycleNumber, asked: WhatIfIn) -> list[LimitOut]:
    """What other activities would mean for every limit; nothing is stored."""
    page.refuse_masked()
    read_cycle(page, subject_id, cycle)
    if not asked.activities_MBq:
        raise InputError("activities_MBq: found none; expected one for every nuclide of the arm")
    question = WhatIf(subject_id, cycle, {str(n): a for n, a in asked.activities_MBq.items()}, asked.version)
    return [_limit(limit) for limit in what_if(page.trial, page.actor, question)]


def _limit(limit: Any) -> LimitOut:
    return LimitOut(**{name: limit[name] for name in LimitOut.model_fields})

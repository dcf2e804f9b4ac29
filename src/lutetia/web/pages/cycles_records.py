"""One cycle's records as the pages need them: the cycle, its prescriptions by version, what was given, its doses.

Here: reading, and the proposal that is shown. Not here: words and pictures (`cycles_view`), pages (`cycles`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path

from lutetia.errors import LutetiaError, MissingRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.trial.signatures import printed, signatures_of
from lutetia.web.context import PageContext
from lutetia.workflow.course_records import facts_hash
from lutetia.workflow.prescription import void_reasons
from lutetia.workflow.proposal import WhatIf, preview_proposal, what_if

#: Number of a cycle in an address; others than these cannot be.
CycleNumber = Annotated[int, Path(ge=1, le=999)]
#: States of a version that is neither rejected nor void.
STANDING = ("PROPOSED", "OVERRIDE_PENDING", "RELEASED", "ADMINISTERED")
#: States of a version that still may be given.
OPEN = ("PROPOSED", "OVERRIDE_PENDING", "RELEASED")


@dataclass(frozen=True, slots=True)
class CycleRecords:
    """Everything that the trial holds of a cycle; `versions` are rows a nuclide, the newest version first."""

    subject: Record
    cycle: Record
    versions: tuple[tuple[Record, ...], ...]
    given: tuple[Record, ...]
    results: tuple[Record, ...]
    doses: tuple[Record, ...]
    assessments: tuple[Record, ...]

    @property
    def number(self) -> int:
        """Number of the cycle."""
        return int(self.cycle["cycle"])

    @property
    def path(self) -> str:
        """Address of the cycle's page."""
        return f"/subjects/{self.cycle['subject_id']}/cycles/{self.number}"

    @property
    def standing(self) -> tuple[Record, ...]:
        """Rows of the newest version if it is neither rejected nor void, else none."""
        newest = self.versions[0] if self.versions else ()
        return newest if newest and newest[0]["state"] in STANDING else ()

    @property
    def result(self) -> Record | None:
        """The dosimetry result that holds now."""
        return next((r for r in reversed(self.results) if r["state"] == "CURRENT"), None)


@dataclass(frozen=True, slots=True)
class Shown:
    """The proposal that a page shows: stored in a version, or computed now (`version` None).

    `rows` are the version's prescriptions, `limits` belong to the prescribed activities, `stale` says why the version
    does not stand any more, `inputs` is the hash of what it rests on.
    """

    record: Mapping[str, Any]
    rows: tuple[Record, ...]
    limits: tuple[Mapping[str, Any], ...]
    inputs: str
    version: int | None = None
    stale: tuple[str, ...] = ()

    @property
    def prescription(self) -> Mapping[str, Any]:
        """The controller's decision as plain values."""
        found: Mapping[str, Any] = self.record["prescription"]
        return found

    @property
    def activities(self) -> dict[str, float]:
        """Prescribed activity by nuclide, in MBq; empty where nothing is proposed."""
        if self.rows:
            return {r["nuclide"]: float(r["prescribed_MBq"]) for r in self.rows}
        return dict(self.prescription["activities_MBq"] or {})

    @property
    def over(self) -> tuple[str, ...]:
        """Limits above which the version is, so that it needs two physicians."""
        return tuple((self.rows[0]["further"] or {}).get("over") or ()) if self.rows else ()

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions that whoever signs has to acknowledge."""
        if self.rows:
            return tuple((self.rows[0]["further"] or {}).get("conditions") or ())
        return tuple(c for c in self.prescription["conditions"] if "two-person override" not in c)


def read_cycle(page: PageContext, subject_id: str, cycle: int) -> CycleRecords:
    """The records of a cycle as the person may see them.

    Raises
    ------
    MissingRecordError
        If the subject or cycle does not exist at the person's sites.
    """
    subject = queries.subject(page.reader, page.actor, subject_id)

    def rows(table: str) -> list[Record]:
        return queries.records(page.reader, page.actor, table, subject_id=subject_id, cycle=cycle)

    found = rows("cycles")
    if not found:
        raise MissingRecordError(f"subject {subject_id}, cycle {cycle}: found none; plan it on the subject's page")
    by_version: dict[int, list[Record]] = {}
    for row in rows("prescriptions"):
        by_version.setdefault(int(row["version"]), []).append(row)
    return CycleRecords(
        subject, found[0], tuple(tuple(by_version[v]) for v in sorted(by_version, reverse=True)),
        tuple(rows("administrations")), tuple(sorted(rows("results"), key=lambda r: int(r["revision"]))),
        tuple(rows("doses")), tuple(rows("assessments")),
    )  # fmt: skip


def stored_json(page: PageContext, sha256: str) -> dict[str, Any]:
    """A stored result or proposal."""
    found: dict[str, Any] = json.loads(page.trial.files.get(sha256))
    return found


def shown_proposal(page: PageContext, found: CycleRecords) -> Shown | str | None:
    """The standing version, else the proposal as it would be now, else why there is none; None where none is due."""
    if rows := found.standing:
        return shown_version(page, found, rows)
    if found.cycle["state"] != "ASSESSED":
        return None
    try:
        computed = preview_proposal(page.trial, page.actor, found.cycle["subject_id"], found.number)
    except LutetiaError as error:
        return str(error)
    record = dict(computed.record)
    return Shown(record, (), tuple(record["limits"]), facts_hash(computed.facts))


def shown_version(page: PageContext, found: CycleRecords, rows: tuple[Record, ...]) -> Shown | None:
    """A stored version, with the limits of the activities that it prescribes; None where its file is not kept."""
    if not rows[0]["result_sha256"] or not page.trial.files.has(rows[0]["result_sha256"]):
        return None
    record, version = stored_json(page, rows[0]["result_sha256"]), int(rows[0]["version"])
    chosen = {r["nuclide"]: float(r["prescribed_MBq"]) for r in rows}
    limits = record["limits"]
    if chosen != record["prescription"]["activities_MBq"]:
        question = WhatIf(found.cycle["subject_id"], found.number, chosen, version)
        limits = what_if(page.trial, page.actor, question)
    return Shown(record, rows, tuple(limits), rows[0]["inputs_sha256"] or "", version, stale_reasons(page, rows))


def stale_reasons(page: PageContext, rows: Sequence[Record]) -> tuple[str, ...]:
    """Why an open version does not stand any more; it becomes void at the next step with it."""
    if rows[0]["state"] not in OPEN:
        return ()
    return void_reasons(page.trial, page.reader, rows, as_of=datetime.fromisoformat(page.reader.now))


def printed_signatures(page: PageContext, rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Signatures over prescriptions as they are shown and printed: name, role, local time, meaning, void or not."""
    zone = page.zone.key
    found: dict[int, dict[str, Any]] = {}
    for row in rows[:1]:
        for signature in signatures_of(page.reader, "prescriptions", int(row["record_id"])):
            found[signature["signature_id"]] = {
                "text": printed(signature, zone=zone), "status": signature["status"],
                "digest": signature["digest"], "head": signature["audit_head"],
            }  # fmt: skip
    return [found[number] for number in sorted(found)]

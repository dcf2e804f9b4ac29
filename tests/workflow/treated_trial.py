"""A demonstration trial with one randomised subject, and the steps of a cycle as the people of a site make them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.plan.case_files import case_data, table_cycle, write_case

from lutetia.protocol.profile import read_protocol
from lutetia.trial.clock import ManualClock
from lutetia.trial.records import SYSTEM, Actor, Change, Create, Grant, Receipt
from lutetia.trial.signatures import Confirmed, confirm_demonstration
from lutetia.trial.store import Study, Trial
from lutetia.workflow.administration import Administered, NuclideGiven, RecordAdministration, record_administration
from lutetia.workflow.batches import ReceiveBatch, receive_batch
from lutetia.workflow.cycles import AssessCycle, PlanCycle, assess_cycle, plan_cycle
from lutetia.workflow.dosimetry import KIND, ImportCase, compute_doses, import_case
from lutetia.workflow.jobs import run_next
from lutetia.workflow.laboratory import EnterLabs, LabEntry, LabsStored, enter_labs
from lutetia.workflow.prescription import (
    DecideOnPrescription,
    ProposeCycle,
    Proposed,
    propose_cycle,
    release_prescription,
)
from lutetia.workflow.proposal import preview_proposal
from lutetia.workflow.study_setup import PROTOCOL_FILE, STUDY_FILE, StudyPlan, study_settings
from lutetia.workflow.study_text import toml_text

SITE, SUBJECT = "01", "DUO-001"
START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
NORMAL = {
    "haemoglobin": ("128", "g/L", "120", "160"),
    "platelets": ("240", "10^9/L", "150", "400"),
    "neutrophils": ("4.1", "10^9/L", "1.8", "7.5"),
    "leukocytes": ("6.4", "10^9/L", "4.0", "10.0"),
    "lymphocytes": ("1.6", "10^9/L", "1.0", "4.0"),
    "creatinine": ("70", "umol/L", "45", "90"),
    "bilirubin": ("9", "umol/L", "3", "21"),
    "albumin": ("42", "g/L", "35", "50"),
}


def person(user_id: str, role: str, site: str | None = SITE) -> Actor:
    return Actor(user_id, user_id.title(), (Grant(role, site),))


COORDINATOR = person("cora", "coordinator")
PHYSICIST = person("phil", "physicist")
PHYSICIAN = person("ines", "physician")
SECOND = person("paul", "physician")
ELSEWHERE = person("otto", "physicist", "02")
STATISTICIAN = person("stan", "masked_statistician", None)
UNMASKED = person("ulla", "unmasked_statistician", None)
BOARD = person("bert", "board", None)
MANAGER = person("dana", "data_manager", None)
OFFICER = person("sofia", "safety_officer", None)


@dataclass
class Story:
    """A trial with its clock and the folder for cases."""

    trial: Trial
    clock: ManualClock
    folder: Path

    def at(self, moment: datetime) -> None:
        self.clock.moment = moment

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        with self.trial.read() as reader:
            return reader.records(table, **where)

    def row(self, table: str, **where: Any) -> dict[str, Any]:
        (found,) = self.rows(table, **where)
        return found

    def cycle(self, number: int = 1) -> dict[str, Any]:
        return self.row("cycles", subject_id=SUBJECT, cycle=number)

    def sign(self, actor: Actor) -> Confirmed:
        return confirm_demonstration(self.trial, actor, role=next(iter(actor.roles)))

    def labs(self, *, actor: Actor = COORDINATOR, sample: str = "", **changed: str) -> LabsStored:
        """One sample taken an hour ago; `changed` values by analyte."""
        taken = (self.clock.now() - timedelta(hours=1)).isoformat()
        entries = [LabEntry(n, changed.get(n, v), u, lo, hi) for n, (v, u, lo, hi) in NORMAL.items()]
        return enter_labs(self.trial, actor, EnterLabs(SUBJECT, taken, entries, sample_id=sample))

    def assessed(self, planned_on: str) -> int:
        """A cycle planned, with laboratory values, assessed."""
        number = plan_cycle(self.trial, COORDINATOR, PlanCycle(SUBJECT, planned_on))
        self.labs()
        assess_cycle(self.trial, COORDINATOR, AssessCycle(SUBJECT, number))
        return number

    def conditions(self, number: int) -> tuple[str, ...]:
        computed = preview_proposal(self.trial, PHYSICIST, SUBJECT, number).proposal.prescription["conditions"]
        return tuple(c for c in computed if "override" not in c)

    def propose(self, number: int, **more: Any) -> Proposed:
        more.setdefault("acknowledged", self.conditions(number))
        return propose_cycle(self.trial, PHYSICIST, ProposeCycle(SUBJECT, number, self.sign(PHYSICIST), **more))

    def decide(self, number: int, version: int, actor: Actor = PHYSICIAN, **more: Any) -> DecideOnPrescription:
        rows = self.rows("prescriptions", subject_id=SUBJECT, cycle=number, version=version)
        more.setdefault("acknowledged", tuple(rows[0]["further"]["conditions"]))
        return DecideOnPrescription(SUBJECT, number, version, self.sign(actor), **more)

    def release(self, number: int, version: int, actor: Actor = PHYSICIAN) -> Receipt:
        return release_prescription(self.trial, actor, self.decide(number, version, actor))

    def batches(self, suffix: str = "a") -> None:
        for nuclide in ("Lu-177", "Y-90"):
            at, later = self.clock.now(), self.clock.now() + timedelta(days=3)
            batch = ReceiveBatch(f"{nuclide}-{suffix}", nuclide, "DOTA-TATE", SITE, "Maker", 9000.0, at.isoformat(),
                                 later.isoformat(), at.date().isoformat())  # fmt: skip
            receive_batch(self.trial, PHYSICIST, batch)

    def part(
        self, nuclide: str, activity_MBq: float, *, suffix: str = "a", start: datetime | None = None
    ) -> NuclideGiven:
        """A nuclide measured at the start of infusion, so that the activity given is exactly this one."""
        zero = start or self.clock.now() - timedelta(hours=2)
        times = [zero, zero + timedelta(hours=1), zero, zero + timedelta(minutes=30)]
        measured, residual, started, ended = (t.isoformat() for t in times)
        return NuclideGiven(nuclide, f"{nuclide}-{suffix}", activity_MBq, measured, 0.0, residual, started, ended)

    def give(self, number: int, version: int, *, suffix: str = "a", factor: float = 1.0, **more: Any) -> Administered:
        """Administer what is prescribed, two hours ago."""
        rows = self.rows("prescriptions", subject_id=SUBJECT, cycle=number, version=version)
        parts = [self.part(r["nuclide"], factor * r["prescribed_MBq"], suffix=suffix) for r in rows]
        return record_administration(
            self.trial, PHYSICIST, RecordAdministration(SUBJECT, number, version, parts, **more)
        )

    def case(self, number: int, *, ordinal: int | None = None, name: str = "case", **more: Any) -> Path:
        """A case folder for a given cycle, as the physicist would make it."""
        place = ordinal or number
        given = [r for r in self.rows("administrations", subject_id=SUBJECT, cycle=number) if r["administered_MBq"]]
        amounts = {r["nuclide"]: r["administered_MBq"] for r in given}
        cycles = [{"number": n, "administered_at": f"2026-01-0{n}T09:30:00+01:00", "administered_MBq": amounts}
                  for n in range(1, place)]  # fmt: skip
        own = table_cycle(1, given=amounts, administered_at=min(r["started_at"] for r in given))
        own["number"] = place
        whole = {"subject": {"id": SUBJECT, "sex": "female", "age_years": 58.0, "weight_kg": 68.0}}
        whole |= {key: more.pop(key) for key in ("subject", "protocol") if key in more}
        changed = {key: value for key, value in (own | more).items() if value is not None}
        data = case_data(*cycles, changed, **whole)
        return write_case(self.folder / f"{name}-{number}", data)

    def doses(self, number: int, *, reason: str = "", **more: Any) -> dict[str, Any]:
        """Import a case and let a worker compute it; the job's record."""
        import_case(self.trial, PHYSICIST, ImportCase(SUBJECT, number, self.case(number, **more), reason))
        return self.work()

    def work(self) -> dict[str, Any]:
        job = run_next(self.trial, "test", {KIND: compute_doses})
        assert job is not None
        return job

    def whole_cycle(self, planned: datetime, *, doses: bool = True, **more: Any) -> int:
        """From planning to doses."""
        self.at(planned - timedelta(hours=20))
        number = self.assessed(planned.date().isoformat())
        version = self.propose(number).version
        self.release(number, version)
        self.batches(str(number))
        self.at(planned + timedelta(hours=4))
        self.give(number, version, suffix=str(number))
        self.at(planned + timedelta(days=8))
        if doses:
            job = self.doses(number, **more)
            assert job["state"] == "DONE", job["error"]
        return number


def released_story(folder: Path, planned: datetime) -> Story:
    """A first cycle assessed, proposed and released twenty hours before its infusion, with its batches."""
    made = make_story(folder)
    made.at(planned - timedelta(hours=20))
    made.assessed(planned.date().isoformat())
    made.propose(1)
    made.release(1, 1)
    made.batches()
    return made


def make_story(
    folder: Path, *, arm: str = "B", draws: int = 120, reports: bool = False, url: str | None = None
) -> Story:
    """A trial with two sites and one randomised subject; few draws and no stored reports, to be quick."""
    clock = ManualClock(START)
    protocol = read_protocol("duonen")
    plan = StudyPlan(study_id="DUO", title="Test", planned_n=10)
    content = (Path(__file__).parents[2] / "src/lutetia/protocol/versions/duonen.toml").read_bytes()
    settings = study_settings(protocol, plan) | {"draws": draws, "reports": reports}
    study = Study(
        "DUO",
        "Test",
        protocol.name,
        protocol.version,
        settings,
        {PROTOCOL_FILE: content, STUDY_FILE: toml_text(settings).encode()},
    )
    trial = Trial.create(folder / "data", study=study, url=url, demonstration=True, clock=clock)
    place = {"country": "PL", "timezone": "Europe/Warsaw", "state": "OPEN"}
    sites = [Create("sites", {"site": s, "name": f"Site {s}", **place}) for s in (SITE, "02")]
    subject = {"subject_id": SUBJECT, "site": SITE, "arm": arm, "sex": "female", "age_years": 58, "height_cm": 165,
               "weight_kg": 68, "randomised_on": "2026-01-02", "state": "RANDOMISED"}  # fmt: skip
    trial.commit(Change("prepare", [*sites, Create("subjects", subject)]), SYSTEM)
    return Story(trial, clock, folder)

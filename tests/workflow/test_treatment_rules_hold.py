"""Whatever people try in whatever order: states stay consistent, refusals store nothing, the trail verifies."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import COORDINATOR, PHYSICIAN, PHYSICIST, SECOND, SUBJECT, Story, make_story

from lutetia.errors import LockedRecordError, LutetiaError, StorageError, TransitionError
from lutetia.trial import audit
from lutetia.trial.files import FileStore
from lutetia.trial.records import SYSTEM, Change, Create
from lutetia.trial.states import CYCLE_BEFORE_GIVEN, PRESCRIPTION_OPEN, next_states
from lutetia.workflow.cycles import (
    AssessCycle,
    EndCycle,
    PlanCycle,
    assess_cycle,
    cancel_cycle,
    close_cycle,
    hold_cycle,
    lift_hold,
    plan_cycle,
    withhold_cycle,
)
from lutetia.workflow.dosimetry import ImportCase, MissingDosimetry, import_case, record_missing_dosimetry
from lutetia.workflow.follow_up import EndTreatment, Leave, end_treatment, leave
from lutetia.workflow.prescription import (
    LowerPrescription,
    VoidPrescription,
    approve_override,
    lower_prescription,
    reject_prescription,
    release_prescription,
    request_override,
    void_prescription,
)
from lutetia.workflow.vitals import RecordVitals, record_vitals

STEPS = 160
Action = Callable[[Story, random.Random], Any]


def newest(story: Story) -> tuple[int, int]:
    """Last cycle and its last version; 1 and 1 where there is none."""
    cycles = story.rows("cycles")
    number = max((int(c["cycle"]) for c in cycles), default=1)
    return number, max((int(r["version"]) for r in story.rows("prescriptions", cycle=number)), default=1)


def decided(story: Story, action: Any, actor: Any, **more: Any) -> Any:
    number, version = newest(story)
    if not story.rows("prescriptions", cycle=number, version=version):
        return None
    return action(story.trial, actor, story.decide(number, version, actor, **more))


def lowered(story: Story, chance: random.Random) -> Any:
    number, version = newest(story)
    rows = story.rows("prescriptions", cycle=number, version=version)
    less = {r["nuclide"]: chance.choice([0.8, 1.0, 1.1]) * r["prescribed_MBq"] for r in rows}
    command = LowerPrescription(SUBJECT, number, version, less, "frail", story.sign(PHYSICIAN))
    return lower_prescription(story.trial, PHYSICIAN, command) if rows else None


def prepared(story: Story) -> Any:
    """Today's laboratory values, then an assessment."""
    story.labs(sample=f"P{story.clock.now().timestamp():.0f}")
    return assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, newest(story)[0]))


def missing(story: Story) -> Any:
    return record_missing_dosimetry(story.trial, PHYSICIST, MissingDosimetry(SUBJECT, newest(story)[0], "broken"))


def given(story: Story, chance: random.Random) -> Any:
    number, version = newest(story)
    suffix = f"{number}-{chance.random()}"
    story.batches(suffix)
    story.clock.advance(hours=5)
    return story.give(number, version, suffix=suffix) if story.rows("prescriptions", cycle=number) else None


ACTIONS: dict[str, tuple[int, Action]] = {
    "plan": (3, lambda s, c: plan_cycle(s.trial, COORDINATOR, PlanCycle(SUBJECT, _soon(s, c), "a bed is free"))),
    "labs": (3, lambda s, c: s.labs(sample=f"S{c.random()}", platelets=c.choice(["240", "240", "240", "60"]))),
    "weigh": (1, lambda s, c: record_vitals(s.trial, COORDINATOR, RecordVitals(SUBJECT, _today(s), c.uniform(60, 70)))),
    "prepare": (8, lambda s, c: prepared(s)),
    "assess": (5, lambda s, c: assess_cycle(s.trial, COORDINATOR, AssessCycle(SUBJECT, newest(s)[0]))),
    "hold": (1, lambda s, c: hold_cycle(s.trial, PHYSICIAN, EndCycle(SUBJECT, newest(s)[0], "fever"))),
    "lift": (2, lambda s, c: lift_hold(s.trial, PHYSICIAN, EndCycle(SUBJECT, newest(s)[0], "well again"))),
    "withhold": (1, lambda s, c: withhold_cycle(s.trial, PHYSICIAN, EndCycle(SUBJECT, newest(s)[0], "fever"))),
    "cancel": (1, lambda s, c: cancel_cycle(s.trial, PHYSICIAN, EndCycle(SUBJECT, newest(s)[0], "error"))),
    "propose": (5, lambda s, c: s.propose(newest(s)[0])),
    "propose more": (1, lambda s, c: s.propose(newest(s)[0], chosen_MBq={"Lu-177": 3700.0, "Y-90": 4500.0}, note="x")),
    "release": (5, lambda s, c: decided(s, release_prescription, PHYSICIAN)),
    "release own": (1, lambda s, c: decided(s, release_prescription, PHYSICIST)),
    "reject": (1, lambda s, c: decided(s, reject_prescription, PHYSICIAN, reason="no")),
    "request": (2, lambda s, c: decided(s, request_override, PHYSICIAN, reason="benefit")),
    "approve": (2, lambda s, c: decided(s, approve_override, c.choice([PHYSICIAN, SECOND]), reason="agreed")),
    "lower": (1, lowered),
    "void": (1, lambda s, c: void_prescription(s.trial, PHYSICIST, VoidPrescription(SUBJECT, *newest(s), "mistake"))),
    "give": (5, given),
    "no doses": (3, lambda s, c: missing(s)),
    "close": (1, lambda s, c: close_cycle(s.trial, COORDINATOR, EndCycle(SUBJECT, newest(s)[0]))),
    "wait": (2, lambda s, c: s.clock.advance(days=c.choice([1, 5, 30]))),
}  # fmt: skip


def _today(story: Story) -> str:
    return story.clock.now().date().isoformat()


def _soon(story: Story, chance: random.Random) -> str:
    return (story.clock.now() + timedelta(days=chance.choice([0, 1, 3]))).date().isoformat()


def check_consistent(story: Story) -> None:
    """What has to hold between cycles and prescriptions at any time."""
    cycles = {int(c["cycle"]): c["state"] for c in story.rows("cycles")}
    assert sum(state in CYCLE_BEFORE_GIVEN for state in cycles.values()) <= 1
    versions: dict[tuple[int, int], set[str]] = {}
    for row in story.rows("prescriptions"):
        versions.setdefault((int(row["cycle"]), int(row["version"])), set()).add(row["state"])
    assert all(len(found) == 1 for found in versions.values()), "nuclides of one version in different states"
    for number, state in cycles.items():
        found = [next(iter(v)) for (cycle, _), v in versions.items() if cycle == number]
        assert sum(s in PRESCRIPTION_OPEN for s in found) <= 1
        assert ("RELEASED" in found) == (state == "PRESCRIBED"), (number, state, found)
        assert ("ADMINISTERED" in found) == (state in ("GIVEN", "DOSED", "DOSE_MISSING", "CLOSED"))
        if state in ("HELD", "WITHHELD", "CANCELLED", "PLANNED"):
            assert not set(found) & set(PRESCRIPTION_OPEN)
    for row in story.rows("prescriptions"):
        if row["state"] in ("RELEASED", "ADMINISTERED"):
            assert row["signed_by"] not in (None, row["proposed_by"])
            assert len((row["override_by"] or "a, b").split(", ")) == 2


@pytest.mark.requirement(16)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_order_of_actions_breaks_a_rule(tmp_path: Path, seed: int) -> None:
    story, chance = make_story(tmp_path, draws=30), random.Random(seed)
    names = [name for name, (weight, _) in ACTIONS.items() for _ in range(weight)]
    done: set[str] = set()
    for _ in range(STEPS):
        name = chance.choice(names)
        before = story.trial.head().head
        story.clock.advance(minutes=5)
        try:
            ACTIONS[name][1](story, chance)
            done.add(name)
        except LutetiaError as error:
            told_void = isinstance(error, TransitionError) and "is void now" in str(error)
            assert told_void or name in ("give", "prepare") or story.trial.head().head == before
        check_consistent(story)
    assert {"plan", "labs", "assess", "propose", "release", "give"} <= done
    with story.trial.read() as reader:
        audit.verify(reader)
    story.trial.close()


def test_every_state_of_a_cycle_refuses_what_its_machine_does_not_name(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=30)
    story.at(story.clock.now() + timedelta(days=6))
    number = story.assessed(_today(story))
    story.release(number, story.propose(number).version)
    assert set(next_states("cycle", "PRESCRIBED")) == {"ASSESSED", "GIVEN", "WITHHELD", "CANCELLED"}
    for action in (
        lambda: assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, number)),
        lambda: hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, number, "x")),
        lambda: close_cycle(story.trial, COORDINATOR, EndCycle(SUBJECT, number)),
        lambda: record_missing_dosimetry(story.trial, PHYSICIST, MissingDosimetry(SUBJECT, number, "x")),
        lambda: story.propose(number, acknowledged=()),
    ):
        before = story.trial.head().head
        with pytest.raises(TransitionError):
            action()
        assert story.trial.head().head == before
    story.trial.close()


@pytest.mark.parametrize("step", ["propose", "import", "compute"])
def test_a_full_disk_stores_nothing_and_the_step_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    story = make_story(tmp_path, draws=30)
    story.at(story.clock.now() + timedelta(days=6))
    number = story.assessed(_today(story))

    def full(store: FileStore, content: bytes) -> str:
        raise StorageError("file store: No space left on device; nothing was stored; free space on the disk")

    def fails(action: Callable[[], Any]) -> None:
        before = story.trial.head().head
        with monkeypatch.context() as patch:
            patch.setattr(FileStore, "put", full)
            with pytest.raises(StorageError, match="No space left"):
                action()
        assert story.trial.head().head == before

    if step == "propose":
        fails(lambda: story.propose(number))
    version = story.propose(number).version
    story.release(number, version)
    if step != "propose":
        story.batches()
        story.clock.advance(hours=4)
        story.give(number, version)
        folder = story.case(number)
        story.clock.advance(hours=240)  # every measurement is made
        if step == "import":
            fails(lambda: import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, number, folder)))
        import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, number, folder))
        if step == "compute":
            with monkeypatch.context() as patch:
                patch.setattr(FileStore, "put", full)
                assert "No space left" in story.work()["error"]
            assert story.rows("doses") == []
            import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, number, folder))
        assert story.work()["state"] == "DONE"
    story.trial.close()


def test_a_locked_subject_takes_no_entry(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=30)
    lock = {"lock_id": 1, "level": "subject", "subject_id": SUBJECT, "state": "locked", "locked_by": "dm",
            "locked_at": story.clock.now().isoformat()}  # fmt: skip
    story.trial.commit(Change("lock", [Create("locks", lock)]), SYSTEM)
    before = story.trial.head().head
    for action in (
        lambda: story.labs(),
        lambda: plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-06")),
        lambda: record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-04", 68.0)),
        lambda: leave(story.trial, COORDINATOR, Leave(SUBJECT, "lost", "2026-01-04", "x")),
        lambda: end_treatment(story.trial, PHYSICIAN, EndTreatment(SUBJECT, "2026-01-04", "x")),
    ):
        with pytest.raises(LockedRecordError, match="unlock it with a reason"):
            action()
    assert story.trial.head().head == before
    story.trial.close()

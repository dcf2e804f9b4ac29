"""What was given: activity at the start of infusion, deviations, batches, a missing nuclide, what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.workflow.treated_trial import COORDINATOR, PHYSICIAN, PHYSICIST, SUBJECT, Story, make_story, released_story

from lutetia.errors import (
    AccessDeniedError,
    DuplicateRecordError,
    InputError,
    MissingRecordError,
    TransitionError,
)
from lutetia.trial.schema import AUDIT, BODIES
from lutetia.workflow.administration import (
    Administered,
    CorrectAdministration,
    NuclideGiven,
    RecordAdministration,
    correct_administration,
    record_administration,
)
from lutetia.workflow.batches import MoveBatch, ReceiveBatch, batch_account, close_batch, move_batch, receive_batch
from lutetia.workflow.cycles import EndCycle, close_cycle
from lutetia.workflow.dosimetry import read_report
from lutetia.workflow.verification import bias_of, predicted_and_measured

DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
LU_HALF_LIFE_H = 159.528  # ICRP 107


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A released first cycle and its batches, two hours after the infusion began."""
    made = released_story(tmp_path, DAY)
    made.at(DAY + timedelta(hours=3))
    yield made
    made.trial.close()


def give(story: Story, *parts: NuclideGiven, **more: Any) -> Administered:
    return record_administration(story.trial, PHYSICIST, RecordAdministration(SUBJECT, 1, 1, parts, **more))


def both(story: Story, lutetium_MBq: float = 3700.0, yttrium_MBq: float = 3700.0) -> list[NuclideGiven]:
    return [story.part("Lu-177", lutetium_MBq), story.part("Y-90", yttrium_MBq)]


def test_the_activity_given_is_that_at_the_start_less_what_was_left(story: Story) -> None:
    early = story.part("Lu-177", 4000.0)
    start = datetime.fromisoformat(early.started_at)
    early = replace(early, measured_at=(start - timedelta(hours=5)).isoformat(), residual_MBq=50.0)
    early = replace(early, residual_at=(start + timedelta(hours=1)).isoformat())
    found = give(story, early, story.part("Y-90", 3700.0)).administered_MBq["Lu-177"]
    before, after = (math.exp(-math.log(2) * h / LU_HALF_LIFE_H) for h in (5.0, -1.0))
    assert found == pytest.approx(4000.0 * before - 50.0 * after, abs=0.01)


def test_an_administration_moves_cycle_prescription_and_subject_on(story: Story) -> None:
    give(story, *both(story))
    assert story.cycle()["state"] == "GIVEN"
    assert {r["state"] for r in story.rows("prescriptions")} == {"ADMINISTERED"}
    assert story.row("subjects", subject_id=SUBJECT)["state"] == "ON_TREATMENT"
    assert story.row("visits", visit="cycle 1")["state"] == "DONE"
    assert story.rows("deviations") == []


@pytest.mark.requirement(42)
@pytest.mark.parametrize(("factor", "flagged"), [(1.1, False), (1.101, True), (0.9, False), (0.899, True)])
def test_more_than_ten_percent_from_the_prescription_is_a_deviation(story: Story, factor: float, flagged: bool) -> None:
    if flagged:
        with pytest.raises(InputError, match="explain why"):
            give(story, *both(story, 3700.0 * factor))
    found = give(story, *both(story, 3700.0 * factor), explanation="syringe not emptied" if flagged else "")
    kinds = [d["kind"] for d in story.rows("deviations")]
    assert kinds == (["activity"] if flagged else [])
    assert len(found.deviations) == len(kinds)
    assert all("syringe not emptied" in text for text in found.deviations)


@pytest.mark.requirement(42)
@pytest.mark.parametrize(("activity_MBq", "flagged"), [(9240.0, False), (9260.0, True)])
def test_more_than_25_percent_above_the_label_is_non_standardised(
    story: Story, activity_MBq: float, flagged: bool
) -> None:
    give(story, *both(story, activity_MBq), explanation="as ordered")
    assert ("non_standardised" in {d["kind"] for d in story.rows("deviations")}) is flagged


def test_a_missing_nuclide_is_a_given_cycle_with_a_deviation(story: Story) -> None:
    give(story, story.part("Lu-177", 3700.0), not_given={"Y-90": "not delivered"})
    assert story.cycle()["state"] == "GIVEN"
    deviation = story.row("deviations")
    assert (deviation["kind"], deviation["severity"]) == ("missing_nuclide", "major")
    missing = story.row("missing_reasons")
    assert (missing["reason"], missing["note"]) == ("not done", "not delivered")


BAD: dict[str, tuple[Callable[[NuclideGiven], NuclideGiven], str]] = {
    "future": (lambda p: replace(p, ended_at="2026-02-01T10:00:00+01:00"), "in the future"),
    "ended before it began": (lambda p: replace(p, ended_at="2026-01-12T01:00:00+01:00"), "before started_at"),
    "no offset": (lambda p: replace(p, started_at="2026-01-12T09:30:00"), "time with offset"),
    "date only": (lambda p: replace(p, started_at="2026-01-12"), "without time of day"),
    "kBq for MBq": (lambda p: replace(p, measured_MBq=3_700_000.0), "check the unit"),
    "GBq for MBq": (lambda p: replace(p, measured_MBq=3.7), "found 3.7 MBq .*3700 MBq are prescribed.*check the unit"),
    "measured after it began": (lambda p: replace(p, measured_at="2026-01-12T11:45:00+01:00"), "before measured_at"),
    "a word": (lambda p: replace(p, measured_MBq="much"), "expected a number"),
    "decimal comma": (lambda p: replace(p, measured_MBq="3700,5"), "decimal point"),
    "negative": (lambda p: replace(p, residual_MBq=-1.0), "expected 0 to"),
    "not a number": (lambda p: replace(p, measured_MBq=float("nan")), "finite number"),
    "more left than there was": (lambda p: replace(p, residual_MBq=5000.0), "less after than before"),
    "measured days before": (lambda p: replace(p, measured_at="2026-01-09T09:30:00+01:00"), "check both times"),
    "another nuclide's batch": (lambda p: replace(p, batch="Y-90-a"), "is of Y-90"),
}


@pytest.mark.requirement(31)
@pytest.mark.parametrize("name", BAD)
def test_a_wrong_entry_is_refused_and_nothing_is_stored(story: Story, name: str) -> None:
    change, words = BAD[name]
    before = story.trial.head().head
    with pytest.raises(InputError, match=words):
        give(story, change(story.part("Lu-177", 3700.0)), story.part("Y-90", 3700.0))
    assert story.trial.head().head == before
    assert story.cycle()["state"] == "PRESCRIBED"


@pytest.mark.parametrize(
    ("parts", "more", "words"),
    [
        (("Lu-177",), {}, "expected each of"),
        (("Lu-177", "Lu-177"), {}, "expected each of"),
        (("Lu-177", "Y-90"), {"not_given": {"Y-90": "x"}}, "expected each of"),
        ((), {"not_given": {"Lu-177": "x", "Y-90": "x"}}, "withhold the cycle instead"),
        (("Lu-177",), {"not_given": {"Y-90": " "}}, "why Y-90 was not given"),
    ],
)
def test_every_prescribed_nuclide_is_given_or_explained_once(
    story: Story, parts: tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        give(story, *(story.part(n, 3700.0) for n in parts), **more)


def test_an_unknown_batch_is_refused(story: Story) -> None:
    with pytest.raises(MissingRecordError, match="record its receipt first"):
        give(story, replace(story.part("Lu-177", 3700.0), batch="X"), story.part("Y-90", 3700.0))


def test_a_batch_that_came_after_the_infusion_or_is_closed_was_not_used(story: Story) -> None:
    late = ReceiveBatch("late", "Lu-177", "DOTA-TATE", "01", "Maker", 9000.0, "2026-01-12T08:00:00+01:00",
                        "2026-01-15T08:00:00+01:00", "2026-01-13")  # fmt: skip
    story.at(DAY + timedelta(days=1))
    receive_batch(story.trial, PHYSICIST, late)
    start = DAY + timedelta(hours=1)
    parts = [story.part(n, 3700.0, start=start) for n in ("Lu-177", "Y-90")]
    with pytest.raises(InputError, match="batch late was received on 2026-01-13"):
        give(story, replace(parts[0], batch="late"), parts[1])
    move_batch(story.trial, PHYSICIST, MoveBatch("Lu-177-a", "returned", 8000.0, start.isoformat(), "not needed"))
    close_batch(story.trial, PHYSICIST, "Lu-177-a")
    with pytest.raises(InputError, match="batch Lu-177-a: found it closed"):
        give(story, *parts)


def test_an_expired_batch_is_a_critical_deviation(story: Story) -> None:
    story.at(DAY + timedelta(days=4))
    with pytest.raises(InputError, match=r"batch Lu-177-a expired at .*explain why"):
        give(story, *both(story))
    give(story, *both(story), explanation="released again by the radiopharmacist")
    severities = {("expired" in d["description"]): d["severity"] for d in story.rows("deviations")}
    assert severities[True] == "critical"


def test_under_a_prescription_that_does_not_stand_nothing_is_recorded_unless_the_giving_is_explained(
    story: Story,
) -> None:
    story.at(DAY + timedelta(days=8))
    before = story.trial.head().head
    with pytest.raises(TransitionError, match=r"does not stand any more.*record it with the explanation why"):
        give(story, *both(story))
    assert story.trial.head().head == before


def test_what_was_given_all_the_same_is_recorded_as_a_critical_deviation(story: Story) -> None:
    story.at(DAY + timedelta(days=8))
    found = give(story, *both(story), given_despite="given in an emergency")
    assert story.cycle()["state"] == "GIVEN"
    assert any("given in an emergency" in d for d in found.deviations)
    assert "critical" in {d["severity"] for d in story.rows("deviations")}


def test_values_of_samples_after_the_infusion_do_not_make_its_prescription_void(story: Story) -> None:
    story.labs(sample="after", platelets="200")
    give(story, *both(story))
    assert story.cycle()["state"] == "GIVEN"


def test_nothing_is_given_without_a_release(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    made.at(DAY - timedelta(hours=20))
    made.assessed("2026-01-12")
    made.propose(1)
    made.batches()
    made.at(DAY + timedelta(hours=3))
    with pytest.raises(TransitionError, match="from PROPOSED to ADMINISTERED"):
        give(made, *both(made))
    made.trial.close()


def test_the_same_administration_is_not_stored_twice(story: Story) -> None:
    give(story, *both(story))
    with pytest.raises(TransitionError, match="ADMINISTERED"):
        give(story, *both(story))


def test_a_coordinator_does_not_record_administrations(story: Story) -> None:
    with pytest.raises(AccessDeniedError, match="record_administration"):
        record_administration(story.trial, COORDINATOR, RecordAdministration(SUBJECT, 1, 1, both(story)))


def test_a_correction_needs_a_reason_and_keeps_the_old_value_in_the_trail(story: Story) -> None:
    give(story, *both(story))
    wrong = CorrectAdministration(SUBJECT, 1, story.part("Lu-177", 3600.0), " ")
    with pytest.raises(InputError, match="reason: is missing"):
        correct_administration(story.trial, PHYSICIST, wrong)
    correct_administration(story.trial, PHYSICIST, replace(wrong, reason="typing error"))
    assert story.row("administrations", nuclide="Lu-177")["administered_MBq"] == 3600.0
    with story.trial.read() as reader:
        rows = reader.rows(select(BODIES.c.body).join(AUDIT, AUDIT.c.sequence == BODIES.c.sequence).where(
            AUDIT.c.action == "correct_administration"))  # fmt: skip
    body = json.loads(rows[0]["body"])
    assert body["changes"]["administered_MBq"] == [3700.0, 3600.0]
    assert body["reason"] == "typing error"


def test_batches_are_accounted_for(story: Story) -> None:
    give(story, *both(story))
    account = batch_account(story.trial, PHYSICIST, "Lu-177-a")
    received_at = datetime.fromisoformat(story.row("product_batches", batch="Lu-177-a")["calibrated_at"])
    start = datetime.fromisoformat(story.row("administrations", nuclide="Lu-177")["started_at"])
    hours = (start - received_at).total_seconds() / 3600
    assert account.used_MBq == pytest.approx(3700.0 * math.exp(math.log(2) * hours / LU_HALF_LIFE_H), rel=1e-4)
    with pytest.raises(InputError, match="not accounted for"):
        close_batch(story.trial, PHYSICIST, "Lu-177-a")
    rest = account.rest_MBq
    now = story.clock.now()
    gone = math.exp(-math.log(2) * (now - received_at).total_seconds() / 3600 / LU_HALF_LIFE_H)
    too_much = MoveBatch("Lu-177-a", "discarded", 1.2 * rest * gone, now.isoformat(), "waste")
    with pytest.raises(InputError, match="are left"):
        move_batch(story.trial, PHYSICIST, too_much)
    move_batch(story.trial, PHYSICIST, replace(too_much, activity_MBq=rest * gone))
    close_batch(story.trial, PHYSICIST, "Lu-177-a")
    assert story.row("product_batches", batch="Lu-177-a")["state"] == "CLOSED"


def test_a_batch_is_received_once_by_whoever_may(story: Story) -> None:
    row = story.row("product_batches", batch="Lu-177-a")
    again = ReceiveBatch("Lu-177-a", "Lu-177", "x", "01", "y", 9000.0, row["calibrated_at"], row["expires_at"],
                         row["received_on"])  # fmt: skip
    with pytest.raises(DuplicateRecordError):
        receive_batch(story.trial, PHYSICIST, again)
    with pytest.raises(AccessDeniedError):
        receive_batch(story.trial, PHYSICIAN, replace(again, batch="new"))
    with pytest.raises(InputError, match="before calibrated_at"):
        receive_batch(story.trial, PHYSICIST, replace(again, batch="new", expires_at="2026-01-01T00:00:00+00:00"))


@pytest.mark.requirement(43)
def test_predictions_stay_beside_later_measurements_and_their_bias_is_reported(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    made.whole_cycle(DAY)
    made.whole_cycle(datetime(2026, 3, 9, 8, 30, tzinfo=UTC))
    pairs = predicted_and_measured(made.trial, PHYSICIST, SUBJECT)
    assert {(p.cycle, p.region) for p in pairs} == {(c, r) for c in (1, 2) for r in ("kidneys", "red marrow")}
    for pair in pairs:
        assert pair.measured_Gy is not None
        assert pair.difference_Gy == pytest.approx(pair.measured_Gy - pair.predicted_Gy)
        forecast = made.row("forecasts", cycle=pair.cycle, region=pair.region, horizon="next")
        assert pair.predicted_Gy == forecast["absorbed_dose_Gy"]
    second = next(p for p in pairs if p.cycle == 2 and p.region == "kidneys")
    # Both cycles have the same noise-free kinetics, so the prediction from cycle 1 holds in cycle 2.
    assert second.difference_percent == pytest.approx(0.0, abs=0.5)
    kidneys = next(b for b in bias_of(pairs) if b.region == "kidneys")
    differences = [p.difference_percent for p in pairs if p.region == "kidneys"]
    assert kidneys.pairs == 2
    assert kidneys.mean_percent == pytest.approx(sum(d for d in differences if d is not None) / 2)
    made.trial.close()


@pytest.mark.requirement(42)
def test_more_than_a_batch_held_needs_an_explanation_and_is_a_deviation(story: Story) -> None:
    small = ReceiveBatch("Lu-177-s", "Lu-177", "TATE", "01", "Maker", 1000.0, (DAY - timedelta(hours=2)).isoformat(),
                         (DAY + timedelta(days=2)).isoformat(), "2026-01-12")  # fmt: skip
    receive_batch(story.trial, PHYSICIST, small)
    parts = [story.part("Lu-177", 3700.0, suffix="s"), story.part("Y-90", 3700.0)]
    with pytest.raises(InputError, match=r"which held 98\d MBq then"):
        give(story, *parts)
    give(story, *parts, explanation="receipt entered wrongly")
    assert [d["severity"] for d in story.rows("deviations")] == ["major"]


def test_nuclides_given_weeks_apart_are_not_one_cycle(story: Story) -> None:
    story.at(DAY + timedelta(days=5))
    parts = (story.part(n, 3700.0, start=DAY + timedelta(days=d)) for n, d in (("Lu-177", 0.2), ("Y-90", 4.5)))
    with pytest.raises(InputError, match="4 days apart; expected one cycle"):
        give(story, *parts)


def correct(story: Story, part: NuclideGiven, reason: str = "typing error") -> None:
    correct_administration(story.trial, PHYSICIST, CorrectAdministration(SUBJECT, 1, part, reason))


@pytest.mark.requirement(41)
def test_a_correction_passes_the_checks_of_the_recording(story: Story) -> None:
    give(story, *both(story))
    early = story.part("Lu-177", 3700.0, start=DAY - timedelta(days=30))
    with pytest.raises(InputError, match="batch Lu-177-a was received on"):
        correct(story, early)
    story.at(DAY + timedelta(days=5))
    far = story.part("Lu-177", 3700.0, start=DAY + timedelta(days=4, hours=1))
    with pytest.raises(InputError, match="4 days apart; expected one cycle"):
        correct(story, far)
    correct(story, story.part("Lu-177", 3700.0, start=DAY + timedelta(days=2, hours=20)))
    assert "expired" in story.row("deviations")["description"]
    correct(story, story.part("Lu-177", 3700.0, start=DAY - timedelta(hours=19, minutes=59)))
    texts = [d["description"] for d in story.rows("deviations")]
    assert "was corrected and makes no deviation any more" in texts[0]
    assert "began before the prescription was released" not in " ".join(texts)
    assert story.row("visits", visit="cycle 1")["done_on"] == "2026-01-11"


def test_the_deviation_of_a_wrong_entry_is_marked_and_never_doubled(story: Story) -> None:
    give(story, *both(story, 3000.0), explanation="as ordered")
    assert [d["severity"] for d in story.rows("deviations")] == ["minor"]
    correct(story, story.part("Lu-177", 3001.0))
    first, second = story.rows("deviations")
    assert "makes no deviation any more: typing error" in first["description"]
    assert second["description"] == "Lu-177: 3001 MBq given, 3700 MBq prescribed (-19 %); typing error"
    correct(story, story.part("Lu-177", 3001.2))
    assert len(story.rows("deviations")) == 2
    correct(story, story.part("Lu-177", 3700.0), "the protocol of the dose calibrator says so")
    assert all("no deviation any more" in d["description"] for d in story.rows("deviations"))


def test_a_nuclide_that_was_given_after_all_is_not_missing_any_more(story: Story) -> None:
    give(story, story.part("Lu-177", 3700.0), not_given={"Y-90": "not delivered"})
    correct(story, story.part("Y-90", 3700.0), "the record of the ward was found")
    assert story.rows("missing_reasons") == []
    assert "no deviation any more" in story.row("deviations")["description"]
    assert story.row("administrations", nuclide="Y-90")["administered_MBq"] == 3700.0


@pytest.mark.requirement(31)
@pytest.mark.requirement(41)
@pytest.mark.parametrize("closed", [False, True])
def test_doses_of_a_corrected_activity_are_withdrawn_and_computed_again(tmp_path: Path, closed: bool) -> None:
    story = make_story(tmp_path)
    story.whole_cycle(DAY)
    before = story.row("doses", region="kidneys", nuclide="Lu-177", scope="cycle")["absorbed_dose_Gy"]
    if closed:
        close_cycle(story.trial, PHYSICIST, EndCycle(SUBJECT, 1))
    part = story.part("Lu-177", 3600.0, suffix="1", start=DAY + timedelta(hours=2))
    correct(story, part)
    assert story.cycle()["state"] == "GIVEN"
    assert [r["state"] for r in story.rows("results")] == ["OUTDATED"]
    assert {(r["basis"], r["absorbed_dose_Gy"]) for r in story.rows("doses")} == {("missing", None)}
    correct(story, replace(part, measured_MBq=3610.0), "again, before the worker came")
    assert [j["state"] for j in story.rows("jobs")] == ["DONE", "QUEUED"]
    with pytest.raises(TransitionError, match="from GIVEN a cycle can go to DOSED"):
        close_cycle(story.trial, PHYSICIST, EndCycle(SUBJECT, 1))
    story.at(DAY + timedelta(weeks=8) - timedelta(hours=20))
    story.assessed((DAY + timedelta(weeks=8)).date().isoformat())
    with pytest.raises(InputError, match="cycle 1 was given and has no doses yet"):
        story.propose(2)
    assert story.work()["state"] == "DONE"
    assert [r["state"] for r in story.rows("results")] == ["OUTDATED", "CURRENT"]
    after = story.row("doses", region="kidneys", nuclide="Lu-177", scope="cycle")
    assert (after["basis"], after["missing_reason"]) == ("measured", None)
    assert story.cycle()["state"] == "DOSED"
    assert after["absorbed_dose_Gy"] == pytest.approx(before, rel=1e-6), "the dose follows from what was measured"
    assert story.propose(2).version == 1
    story.trial.close()


def test_after_a_moved_start_a_case_has_to_be_imported_again(tmp_path: Path) -> None:
    story = make_story(tmp_path)
    story.whole_cycle(DAY)
    for nuclide in ("Lu-177", "Y-90"):
        part = story.part(nuclide, 3700.0, suffix="1", start=DAY + timedelta(hours=1))
        correct(story, part, "the clock of the ward")
    assert [j["state"] for j in story.rows("jobs")] == ["DONE"]
    assert {r["basis"] for r in story.rows("doses")} == {"missing"}
    assert story.doses(1)["state"] == "DONE"
    assert story.row("doses", region="kidneys", nuclide="total", scope="cycle")["basis"] == "measured"
    story.trial.close()


def test_cycles_keep_their_order(tmp_path: Path) -> None:
    story = make_story(tmp_path)
    story.whole_cycle(DAY)
    story.whole_cycle(DAY + timedelta(weeks=8))
    part = story.part("Lu-177", 3700.0, suffix="1", start=DAY + timedelta(weeks=9))
    with pytest.raises(InputError, match=r"but cycle 2 began|days apart"):
        correct(story, part)
    rows = {r["nuclide"]: r["administered_MBq"] for r in story.rows("administrations", cycle=2)}
    second = story.part("Lu-177", rows["Lu-177"], suffix="2", start=DAY + timedelta(hours=1))
    with pytest.raises(InputError, match=r"but cycle 1 began|was received on|days apart"):
        correct_administration(story.trial, PHYSICIST, CorrectAdministration(SUBJECT, 2, second, "x"))
    first = story.part("Lu-177", 3650.0, suffix="1", start=DAY + timedelta(hours=2))
    correct(story, first)
    with pytest.raises(InputError, match="the doses of cycle 1 changed after"):
        read_report(story.trial, PHYSICIST, SUBJECT, 2, name="result.json")
    story.trial.close()

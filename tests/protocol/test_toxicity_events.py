"""Adverse events in the toxicity rules: the window of each, the worse of event and laboratory value, and spellings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from lutetia.clinical.ctcae import criteria
from lutetia.clinical.labs import LabValue
from lutetia.protocol.event_terms import event_kinds
from lutetia.protocol.findings import ToxicityEvent
from lutetia.protocol.toxicity import Assessment, assess

FIRST, SECOND = datetime(2026, 1, 12, 10, 30, tzinfo=UTC), datetime(2026, 3, 9, 10, 30, tzinfo=UTC)
THIRD = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)


def days(start: str, end: str | None, *, kind: str = "vomiting", grade: int = 3, episode: str = "") -> ToxicityEvent:
    """An event of which only days are known."""
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    over = None if end is None else datetime.fromisoformat(end).replace(tzinfo=UTC)
    until = first + timedelta(hours=24) - timedelta(microseconds=1)
    return ToxicityEvent(kind, grade, first, over, started_until=until, episode=episode)


def found(as_of: str, *events: ToxicityEvent, cycles: int = 2, labs: tuple[LabValue, ...] = ()) -> Assessment:
    moment = datetime.fromisoformat(as_of).replace(hour=9, tzinfo=UTC)
    return assess(labs, [FIRST, SECOND, THIRD][:cycles], as_of=moment, events=events)


@pytest.mark.parametrize("end", ["2026-01-12", "2026-01-13", "2026-01-31"])
def test_a_reaction_of_the_day_of_the_infusion_belongs_to_that_infusion(end: str) -> None:
    assert found("2026-03-08", days("2026-01-12", end), cycles=1).action == "half"
    anaphylaxis = days("2026-01-12", end, kind="hypersensitivity", grade=4)
    assert found("2026-03-08", anaphylaxis, cycles=1).action == "stop"


@pytest.mark.parametrize("end", ["2026-03-09", "2026-03-10", "2026-03-11"])
def test_an_episode_from_the_day_of_the_second_infusion_counts_once(end: str) -> None:
    event = days("2026-03-09", end)
    assessed = found("2026-05-03", event)
    assert assessed.action == "half"
    assert assessed.states["other"].episodes == 1
    assert found("2026-06-28", event, cycles=3).states["other"].stage == "FULL"


def test_an_episode_that_ended_on_the_day_of_an_infusion_was_over_before_it() -> None:
    event = days("2026-03-01", "2026-03-09")
    assert found("2026-03-09", event, cycles=1).action == "half"
    assert found("2026-05-03", event).states["other"].stage == "FULL"


def test_an_episode_over_an_infusion_is_answered_once_after_it() -> None:
    event = days("2026-03-05", "2026-03-11")
    assert found("2026-03-09", event, cycles=1).action == "hold"
    assert found("2026-03-10", event).action == "hold"
    assert found("2026-05-03", event).action == "half"
    assert found("2026-06-28", event, cycles=3).action == "none"


def test_an_episode_that_goes_on_holds_whenever_it_began() -> None:
    assert found("2026-06-28", days("2026-01-20", None), cycles=3).action == "hold"
    lasting = found("2026-05-03", days("2026-01-20", None))
    assert (lasting.action, lasting.states["other"].episodes) == ("hold", 1)


def test_grades_of_one_event_are_one_episode_and_a_return_is_another() -> None:
    worse = [days("2026-03-01", "2026-03-05", episode="001"),
             days("2026-03-05", "2026-03-20", grade=4, episode="001")]  # fmt: skip
    assert found("2026-05-03", *worse).states["other"].stage == "HALF"
    assert found("2026-05-03", *worse).states["other"].cause == "vomiting, grade 4"
    better = [days("2026-02-01", "2026-02-10", episode="001"),
              days("2026-02-10", "2026-03-20", grade=2, episode="001"),
              days("2026-03-20", "2026-04-01", episode="001")]  # fmt: skip
    assert found("2026-05-03", *better).action == "stop"


def test_a_known_time_of_day_decides_on_which_side_of_the_infusion_an_event_lies() -> None:
    morning = ToxicityEvent("vomiting", 3, SECOND - timedelta(hours=3), SECOND - timedelta(hours=1))
    assert found("2026-03-09", morning, cycles=1).action == "hold"  # at 9:00; it ends at 9:30
    assert assess((), [FIRST], as_of=SECOND, events=[morning]).action == "half"
    assert found("2026-05-03", morning).states["other"].stage == "FULL"
    evening = ToxicityEvent("vomiting", 3, SECOND + timedelta(hours=3), SECOND + timedelta(hours=4))
    assert found("2026-05-03", evening).action == "half"


def test_an_event_before_the_first_infusion_holds_only_while_it_lasts() -> None:
    as_of = FIRST - timedelta(hours=1)
    for event, expected in (
        (days("2026-01-05", None), "hold"),
        (days("2026-01-05", "2026-01-08"), "none"),
        (days("2026-01-05", None, grade=2), "none"),
        (days("2026-01-05", "2026-01-05", grade=5), "stop"),
    ):
        assert assess((), [], as_of=as_of, events=[event]).action == expected
    assert found("2026-03-08", days("2026-01-05", "2026-01-12"), cycles=1).action == "none"


def platelets(value: str, day: str) -> LabValue:
    at = datetime.fromisoformat(day).replace(hour=8, tzinfo=UTC)
    return LabValue("platelets", Decimal(value), "10^9/L", at, Decimal(150), Decimal(400))


@pytest.mark.parametrize(
    ("value", "end", "expected"),
    [
        ("220", None, "hold"),
        ("220", "2026-02-20", "half"),
        ("60", "2026-02-20", "hold"),
        ("60", None, "hold"),
    ],
)
def test_a_class_follows_the_worse_of_event_and_laboratory_value(value: str, end: str | None, expected: str) -> None:
    event = days("2026-02-10", end, kind="platelets", grade=4)
    assessed = found("2026-03-08", event, cycles=1, labs=(platelets(value, "2026-03-05"),))
    assert assessed.action == expected
    assert assessed.states["platelets"].episodes == 1
    assert assessed.states["other"].stage == "NONE"


@pytest.mark.parametrize(("grade", "kind", "acts"), [(2, "haemoglobin", True), (1, "haemoglobin", False),
                                                     (2, "creatinine", True), (2, "lymphocytes", False),
                                                     (2, "vomiting", False)])  # fmt: skip
def test_an_event_of_blood_or_kidneys_forbids_an_increase(grade: int, kind: str, acts: bool) -> None:
    event = days("2026-03-20", "2026-04-01", kind=kind, grade=grade)
    assert found("2026-05-03", event).no_increase == (("toxicity_grade_2",) if acts else ())
    earlier = days("2026-01-20", "2026-02-01", kind=kind, grade=grade)
    assert found("2026-05-03", earlier).no_increase == ()


SPELLINGS = {
    "haemoglobin": "Anaemia; ANEMIA; Anaemia macrocytic; Haemoglobin decreased; hemolytic anemia; Pancytopenia",
    "platelets": "Platelet count decreased; Thrombocytopenia; thrombocytopaenia; Platelets decreased; Pancytopenia",
    "neutrophils": "Neutrophil count decreased; Neutropenia; neutropaenia; Agranulocytosis; Febrile neutropenia",
    "lymphocytes": "Lymphocyte count decreased; Lymphopenia; lymphocytopenia; Lymphopaenia",
    "leukocytes": "White blood cell decreased; Leukopenia; leucopenia; Leucopaenia; White blood cell count decreased",
    "creatinine": "Creatinine increased; Blood creatinine increased",
    "bilirubin": "Blood bilirubin increased; Hyperbilirubinaemia; hyperbilirubinemia",
    "hypersensitivity": "Hypersensitivity; Drug hypersensitivity; Anaphylaxis; Anaphylactic reaction; "
    "Anaphylactoid reaction; Allergic reaction; Infusion related reaction; Infusion-related  reaction",
}


@pytest.mark.parametrize(("kind", "term"), [(k, t) for k, terms in SPELLINGS.items() for t in terms.split("; ")])
def test_a_term_is_known_in_its_spellings(kind: str, term: str) -> None:
    assert kind in event_kinds(term)


def test_no_other_term_is_taken_for_one_of_them() -> None:
    for term in (
        "Nausea",
        "Leukaemia",
        "Hyponatraemia",
        "Infusion site pain",
        "Lymphocyte count increased",
        "Ischaemia",
    ):
        assert len(event_kinds(term)) == 1
        assert event_kinds(term)[0] not in SPELLINGS
    assert event_kinds("Anaemia and thrombocytopenia") == ("haemoglobin", "platelets")


def test_every_laboratory_criterion_of_a_class_is_known_by_its_own_term() -> None:
    graded = {
        c.analyte: c.term for c in criteria() if c.analyte in SPELLINGS and c.term != "Lymphocyte count increased"
    }
    assert {analyte: event_kinds(term) for analyte, term in graded.items()} == {a: (a,) for a in graded}

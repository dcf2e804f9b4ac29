"""The toxicity rules: every transition, and whole histories of laboratory values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from lutetia.clinical.labs import LabValue
from lutetia.errors import InputError, ProtocolError
from lutetia.protocol.findings import Patient, ToxicityEvent, read_toxicity_rules
from lutetia.protocol.toxicity import STAGES, TRANSITIONS, ClassState, administered, advance, assess

FIRST = datetime(2026, 1, 12, 9, tzinfo=UTC)
SECOND = FIRST + timedelta(weeks=8)
PATIENT = Patient("female", 58.0, 68.0)
NORMAL = {
    "haemoglobin": ("130", "120", "160"),
    "platelets": ("220", "150", "400"),
    "neutrophils": ("4.0", "1.8", "7.5"),
    "creatinine": ("70", "50", "90"),
    "bilirubin": ("10", "2", "21"),
}


def lab(analyte: str, value: str, day: float, *, lln: str | None = None, uln: str | None = None) -> LabValue:
    """A value `day` days after the first administration."""
    normal = NORMAL.get(analyte, (value, None, None))
    low, high = lln or normal[1], uln or normal[2]
    return LabValue(
        analyte,
        Decimal(value),
        "",
        FIRST + timedelta(days=day),
        None if low is None else Decimal(low),
        None if high is None else Decimal(high),
    )


def panel(day: float, **changes: str) -> list[LabValue]:
    """All required analytes, normal but for the changes."""
    return [lab(name, changes.get(name, value[0]), day) for name, value in NORMAL.items()]


# stage, half activity already given, observation → stage after; written out independently of the code
EXPECTED = {
    ("NONE", False, "clear"): "NONE",
    ("NONE", False, "resolved"): "HALF",
    ("NONE", False, "open"): "HELD",
    ("HELD", False, "clear"): "HALF",
    ("HELD", False, "resolved"): "HALF",
    ("HELD", False, "open"): "HELD",
    ("HALF", False, "clear"): "HALF",
    ("HALF", False, "resolved"): "HALF",
    ("HALF", False, "open"): "HELD",
    ("HALF", True, "clear"): "FULL",
    ("HALF", True, "resolved"): "STOPPED",
    ("HALF", True, "open"): "STOPPED",
    ("FULL", True, "clear"): "FULL",
    ("FULL", True, "resolved"): "STOPPED",
    ("FULL", True, "open"): "STOPPED",
}


@pytest.mark.parametrize(("before", "after"), EXPECTED.items(), ids=lambda v: "-".join(map(str, v)) if v else "")
def test_each_transition_of_a_class(before: tuple[str, bool, str], after: str) -> None:
    stage, given, observation = before
    assert advance(ClassState(stage, given, 1), observation).stage == after  # type: ignore[arg-type]


def test_the_table_covers_every_state_that_can_be_reached() -> None:
    reached, front = {ClassState()}, [ClassState()]
    while front:
        state = front.pop()
        following = [
            advance(state, o, overdue=late) for o, late in product(("clear", "resolved", "open"), (False, True))
        ]  # type: ignore[arg-type]
        for new in [*following, administered(state)]:
            plain = ClassState(new.stage, new.half_given)
            if plain not in reached:
                reached.add(plain)
                front.append(plain)
    assert {s.stage for s in reached} == set(STAGES)
    assert set(TRANSITIONS) == set(EXPECTED)


def test_a_stopped_class_stays_stopped_and_delay_stops_an_open_one() -> None:
    assert advance(ClassState("STOPPED"), "clear").stage == "STOPPED"
    assert advance(ClassState("HELD", False, 1), "open", overdue=True).stage == "STOPPED"
    assert advance(ClassState("NONE"), "clear", overdue=True).stage == "NONE"
    assert administered(ClassState("HELD", False, 1)) == ClassState("HALF", True, 1)


def action(values: list[LabValue], day: float, cycles: int = 1, **more: object) -> str:
    starts = [FIRST, SECOND, SECOND + timedelta(weeks=8), SECOND + timedelta(weeks=16)][:cycles]
    as_of = FIRST + timedelta(days=day)
    return assess(values, starts, as_of=as_of, patient=PATIENT, **more).action  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("analyte", "value", "expected"),
    [
        ("platelets", "75", "none"),
        ("platelets", "74.9", "hold"),
        ("haemoglobin", "80", "none"),
        ("haemoglobin", "79.9", "hold"),
        ("neutrophils", "1.0", "none"),
        ("neutrophils", "0.99", "hold"),
        ("lymphocytes", "0.1", "none"),
        ("creatinine", "97.9", "none"),
        ("creatinine", "98", "hold"),  # 40 % above 70
        ("bilirubin", "63", "none"),
        ("bilirubin", "63.1", "hold"),  # 3 × 21
    ],
)
def test_a_value_holds_from_its_cut_on(analyte: str, value: str, expected: str) -> None:
    values = [*panel(-3), *panel(20), lab(analyte, value, 50)]
    assert action(values, 52) == expected


def test_creatinine_clearance_below_forty_holds_without_a_change() -> None:
    frail = Patient("female", 85.0, 45.0)
    values = [*panel(-3, creatinine="80"), lab("creatinine", "80", 50)]
    found = assess(values, [FIRST], as_of=FIRST + timedelta(days=52), patient=frail)
    assert found.action == "hold"
    assert "creatinine clearance 32 mL/min" in found.reasons[0]
    blind = assess(values, [FIRST], as_of=FIRST + timedelta(days=52))
    assert blind.action == "none"
    assert "creatinine clearance needs sex, age and weight: check it by hand" in blind.conditions


def test_low_albumin_holds_only_with_a_high_inr() -> None:
    low = [*panel(-3), lab("albumin", "29", 40)]
    assert action(low, 45) == "none"
    assert action([*low, lab("inr", "1.6", 41)], 45) == "hold"
    assert action([*low, lab("inr", "1.5", 41)], 45) == "none"


def test_a_nadir_that_recovered_halves_the_next_cycle_then_it_is_full_again() -> None:
    values = [*panel(-3), lab("platelets", "60", 28), lab("platelets", "90", 50)]
    assert action(values, 52) == "half"
    later = [*values, lab("platelets", "130", 80), lab("platelets", "140", 105)]
    assert action(later, 110, cycles=2) == "none"


def test_recurrence_after_the_half_cycle_stops() -> None:
    values = [*panel(-3), lab("platelets", "60", 28), lab("platelets", "90", 50), lab("platelets", "70", 80)]
    found = assess(values, [FIRST, SECOND], as_of=FIRST + timedelta(days=110), patient=PATIENT)
    assert found.action == "stop"
    assert found.states["platelets"].episodes == 2
    assert "Toxicity, platelets again" in found.reasons[0]


def test_recurrence_after_full_activity_stops() -> None:
    values = [
        *panel(-3),
        lab("platelets", "60", 28),
        lab("platelets", "90", 50),
        lab("platelets", "130", 80),
        lab("platelets", "70", 140),
    ]
    assert action(values, 165, cycles=3) == "stop"


def test_a_toxicity_that_delays_more_than_sixteen_weeks_stops() -> None:
    values = [*panel(-3), lab("platelets", "60", 28), lab("platelets", "70", 112)]
    assert action(values, 112) == "hold"
    assert action(values, 113) == "stop"


def test_two_classes_are_counted_apart_and_the_worst_acts() -> None:
    values = [*panel(-3), lab("platelets", "60", 28), lab("platelets", "90", 50), lab("haemoglobin", "75", 51)]
    found = assess(values, [FIRST], as_of=FIRST + timedelta(days=52), patient=PATIENT)
    assert found.action == "hold"
    assert found.states["platelets"].stage == "HALF"
    assert found.states["anaemia"].stage == "HELD"


@pytest.mark.parametrize(
    ("kind", "grade", "ended", "expected"),
    [
        ("hypersensitivity", 2, None, "none"),
        ("hypersensitivity", 3, 10, "stop"),
        ("nausea", 3, None, "hold"),
        ("nausea", 3, 20, "half"),
        ("nausea", 2, None, "none"),
    ],
)
def test_events_that_are_not_laboratory_values(kind: str, grade: int, ended: int | None, expected: str) -> None:
    end = None if ended is None else FIRST + timedelta(days=ended)
    event = ToxicityEvent(kind, grade, FIRST + timedelta(days=5), end)
    assert action(panel(-3), 52, events=[event]) == expected


def test_before_the_first_cycle_only_what_is_abnormal_now_holds() -> None:
    as_of = FIRST - timedelta(days=1)
    assert assess(panel(-3), [], as_of=as_of, patient=PATIENT).action == "none"
    assert assess(panel(-3, platelets="60"), [], as_of=as_of, patient=PATIENT).action == "hold"
    recovered = [*panel(-10, platelets="60"), *panel(-3)]
    assert assess(recovered, [], as_of=as_of, patient=PATIENT).action == "none"


@pytest.mark.parametrize(
    ("analyte", "value", "acts"),
    [
        ("haemoglobin", "99", True),
        ("haemoglobin", "100", False),
        ("platelets", "74", True),
        ("creatinine", "140", True),
        ("lymphocytes", "0.6", False),
    ],
)
def test_grade_two_blood_or_kidney_values_forbid_an_increase(analyte: str, value: str, acts: bool) -> None:
    values = [*panel(-3), lab(analyte, value, 30), *panel(50)]
    found = assess(values, [FIRST], as_of=FIRST + timedelta(days=52), patient=PATIENT)
    assert found.no_increase == (("toxicity_grade_2",) if acts else ())
    assert any(analyte in reason for reason in found.reasons) == acts


def test_old_or_missing_values_are_open_conditions() -> None:
    as_of = FIRST + timedelta(days=52)
    assert assess([], [FIRST], as_of=as_of).conditions == ("laboratory values: none given",)
    assert assess([*panel(-3), *panel(38)], [FIRST], as_of=as_of, patient=PATIENT).conditions == ()
    stale = assess([*panel(-3), *panel(37)], [FIRST], as_of=as_of, patient=PATIENT).conditions
    assert "laboratory values not older than 14 days: haemoglobin (2026-02-18)" in stale[0]
    partial = [*panel(-3), *(v for v in panel(50) if v.analyte != "platelets")]
    assert "platelets (2026-01-09)" in assess(partial, [FIRST], as_of=as_of, patient=PATIENT).conditions[0]


def test_values_after_the_decision_are_not_used() -> None:
    values = [*panel(-3), *panel(50), lab("platelets", "20", 60)]
    assert action(values, 52) == "none"


def test_a_long_pause_without_toxicity_asks_for_confirmation() -> None:
    values = [*panel(-3), *panel(120)]
    found = assess(values, [FIRST], as_of=FIRST + timedelta(days=121), patient=PATIENT)
    assert found.action == "none"
    assert "the last administration is more than 16 weeks ago: confirm to go on" in found.conditions


def test_a_missing_baseline_is_said() -> None:
    found = assess(panel(50), [FIRST], as_of=FIRST + timedelta(days=52), patient=PATIENT)
    assert any("no creatinine within 28 days" in c for c in found.conditions)


def test_times_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="without offset"):
        assess([], [datetime(2026, 1, 1)], as_of=FIRST)
    with pytest.raises(InputError, match="in order"):
        assess([], [SECOND, FIRST], as_of=SECOND)
    with pytest.raises(InputError, match="not after the decision"):
        assess([], [SECOND], as_of=FIRST)


def test_the_rules_say_that_the_label_must_be_checked_and_bad_files_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rules = read_toxicity_rules()
    assert rules.check_the_label
    assert rules.assumptions
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "x"\nholdd = 1\n', encoding="utf-8")
    with pytest.raises(ProtocolError, match="unknown key 'holdd'"):
        read_toxicity_rules(bad)
    short = tmp_path / "short.toml"
    short.write_text('name = "x"\n', encoding="utf-8")
    with pytest.raises(ProtocolError, match=r"the table \[renal\] is missing"):
        read_toxicity_rules(short)

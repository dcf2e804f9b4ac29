"""Hold, half and stop of every class at, just below and just above each threshold; the table is written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from lutetia.clinical.labs import LabValue
from lutetia.protocol.event_terms import event_kinds
from lutetia.protocol.findings import Patient, ToxicityEvent
from lutetia.protocol.toxicity import assess

FIRST = datetime(2026, 1, 12, 9, tzinfo=UTC)
SECOND = FIRST + timedelta(weeks=8)
# Woman of 58 years and 68 kg, Cockcroft–Gault: (140 − 58) · 68 · 0.85 · 88.42 / 72 = 5820.5; divided by µmol/L: mL/min,
# so that 40 mL/min is 145.5 µmol/L.
WOMAN = Patient("female", 58.0, 68.0)
LIMITS = {
    "haemoglobin": ("120", "160"), "platelets": ("150", "400"), "neutrophils": ("1.8", "7.5"),
    "lymphocytes": ("1.0", "4.0"), "creatinine": ("50", "90"), "bilirubin": ("2", "21"), "albumin": ("35", "50"),
    "inr": (None, "1.2"),
}  # fmt: skip
NORMAL = {"haemoglobin": "130", "platelets": "220", "neutrophils": "4.0", "creatinine": "70", "bilirubin": "10"}


@dataclass(frozen=True)
class Rule:
    """Values of one class: the last ones that are no toxicity, and the first ones that are."""

    name: str
    safe: dict[str, str]
    toxic: dict[str, str]
    before: dict[str, str] | None = None


RULES = [
    Rule("platelets below 75", {"platelets": "75"}, {"platelets": "74.9"}),
    Rule("platelets of grade 4", {"platelets": "75.1"}, {"platelets": "24.9"}),
    Rule("haemoglobin below 80", {"haemoglobin": "80"}, {"haemoglobin": "79.9"}),
    Rule("neutrophils below 1.0", {"neutrophils": "1.0"}, {"neutrophils": "0.99"}),
    Rule("creatinine 40 % above 70", {"creatinine": "97.9"}, {"creatinine": "98"}),
    Rule("creatinine more than that", {"creatinine": "97.9"}, {"creatinine": "98.1"}),
    Rule("clearance below 40", {"creatinine": "145.5"}, {"creatinine": "145.6"}, before={"creatinine": "110"}),
    Rule("bilirubin above 3 × 21", {"bilirubin": "63"}, {"bilirubin": "63.1"}),
    Rule("albumin below 30, INR 1.51", {"albumin": "30", "inr": "1.51"}, {"albumin": "29.9", "inr": "1.51"}),
    Rule("albumin 29.9, INR above 1.5", {"albumin": "29.9", "inr": "1.5"}, {"albumin": "29.9", "inr": "1.51"}),
]


def sample(day: float, **changed: str) -> list[LabValue]:
    """A normal sample but for the changes, `day` days after the first infusion."""
    return [
        LabValue(name, Decimal(value), "", FIRST + timedelta(days=day),
                 *(None if limit is None else Decimal(limit) for limit in LIMITS[name]))
        for name, value in (NORMAL | changed).items()
    ]  # fmt: skip


def action(values: list[LabValue], day: float, *, cycles: int = 1, events: tuple[ToxicityEvent, ...] = ()) -> str:
    starts = [FIRST, SECOND, SECOND + timedelta(weeks=8)][:cycles]
    return assess(values, starts, as_of=FIRST + timedelta(days=day), patient=WOMAN, events=events).action


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_a_laboratory_value_holds_halves_and_stops_from_its_threshold_on(rule: Rule) -> None:
    before = sample(-3, **(rule.before or {}))
    assert action([*before, *sample(50, **rule.safe)], 52) == "none"
    assert action([*before, *sample(50, **rule.toxic)], 52) == "hold"
    recovered = [*before, *sample(30, **rule.toxic), *sample(50, **rule.safe)]
    assert action(recovered, 52) == "half"
    assert action([*recovered, *sample(51, **rule.toxic)], 52) == "hold"
    assert action([*recovered, *sample(100, **rule.safe)], 110, cycles=2) == "none"
    assert action([*recovered, *sample(80, **rule.toxic), *sample(100, **rule.safe)], 110, cycles=2) == "stop"
    full = [*recovered, *sample(100, **rule.safe)]
    assert action([*full, *sample(150, **rule.toxic)], 160, cycles=3) == "stop"


@pytest.mark.parametrize("value", ["0.1", "0.49", "0.79"])
def test_lymphocytes_alone_change_nothing(value: str) -> None:
    assert action([*sample(-3), *sample(50, lymphocytes=value)], 52) == "none"


def test_sixteen_weeks_are_the_longest_delay_of_an_open_toxicity() -> None:
    values = [*sample(-3), *sample(110, platelets="74")]
    assert (action(values, 112), action(values, 112.001)) == ("hold", "stop")


# term, then what grades 1 to 5 do while the event lasts
EVENTS = {
    "Nausea": "none none hold hold stop",
    "Platelet count decreased": "none hold hold hold stop",
    "Thrombocytopaenia": "none hold hold hold stop",
    "Anaemia": "none none hold hold stop",
    "Anemia": "none none hold hold stop",
    "Neutropenia": "none none hold hold stop",
    "Febrile neutropenia": "none none hold hold stop",
    "Leucopenia": "none none hold hold stop",
    "White blood cell decreased": "none none hold hold stop",
    "Lymphocyte count decreased": "none none none none stop",
    "Lymphopenia": "none none none none stop",
    "Creatinine increased": "none hold hold hold stop",
    "Blood bilirubin increased": "none none hold hold stop",
    "Alanine aminotransferase increased": "none none hold hold stop",
    "Hypersensitivity reaction": "none none stop stop stop",
    "Anaphylactic shock": "none none stop stop stop",
    "Infusion related reaction": "none none stop stop stop",
    "Infusion-related reaction": "none none stop stop stop",
}


@pytest.mark.parametrize("term", EVENTS)
def test_a_related_event_acts_from_its_grade_on(term: str) -> None:
    values = [*sample(-3), *sample(50)]
    for grade, expected in enumerate(EVENTS[term].split(), start=1):
        lasting = tuple(ToxicityEvent(kind, grade, FIRST + timedelta(days=5)) for kind in event_kinds(term))
        assert action(values, 52, events=lasting) == expected, grade
        over = tuple(ToxicityEvent(e.kind, grade, e.started_at, FIRST + timedelta(days=30)) for e in lasting)
        assert action(values, 52, events=over) == {"hold": "half"}.get(expected, expected), grade

"""Courses of many subjects written straight into a demonstration trial: for load, counted queries and leak searches.

The values are invented and odd on purpose: whoever finds one of `CANARIES` on a page has found an arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lutetia.trial import SYSTEM, Change, Create, Trial

FIRST = date(2025, 1, 7)
ANALYTES = {
    "haemoglobin": ("127", "g/L", "120", "160"), "platelets": ("211", "10^9/L", "150", "400"),
    "neutrophils": ("3.9", "10^9/L", "1.8", "7.5"), "leukocytes": ("6.1", "10^9/L", "4.0", "10.0"),
    "lymphocytes": ("1.4", "10^9/L", "1.0", "4.0"), "creatinine": ("71", "umol/L", "45", "90"),
    "bilirubin": ("8", "umol/L", "3", "21"), "albumin": ("41", "g/L", "35", "50"),
    "alt": ("22", "U/L", "5", "35"), "ast": ("24", "U/L", "5", "35"),
}  # fmt: skip
#: Texts that only values from which the arm follows contain.
CANARIES = ("6173.9", "6174", "6.17", "6.174", "3291.7", "3292", "3.29", "3.292", "13.5791", "13.6", "14.2863", "14.3",
            "21.0937", "21.1", "KANAR", "Y-90", "Lu-177", "177Lu", "90Y")  # fmt: skip
_ARMS = {"A": ("Lu-177",), "B": ("Lu-177", "Y-90"), "C": ("Y-90",), "D": ("Lu-177", "Y-90")}
_MBQ = {"Lu-177": 6173.9, "Y-90": 3291.7}
_BATCH = 4000


def add_courses(
    trial: Trial, *, subjects: int, samples: int, sites: tuple[str, ...], cycles: int = 4, first: int = 1001
) -> list[str]:
    """Write randomised subjects with cycles, doses, samples of ten analytes each, visits and queries; their numbers."""
    names = [f"DUO-{sites[n % len(sites)]}-{first + n:04d}" for n in range(subjects)]
    with trial.read() as reader:
        first_query = reader.next_number("queries", "query_id")
    waiting: list[Create] = []
    for number, name in enumerate(names):
        arm, site = sorted(_ARMS)[number % 4], sites[number % len(sites)]
        screened = FIRST + timedelta(days=number % 300)
        waiting += _subject(name, site, arm, screened, cycles=cycles)
        waiting += _labs(name, screened, samples=samples)
        waiting += _query(first_query + number, name, site)
        if len(waiting) > _BATCH:
            trial.commit(Change("import", waiting), SYSTEM)
            waiting = []
    if waiting:
        trial.commit(Change("import", waiting), SYSTEM)
    return names


def _subject(name: str, site: str, arm: str, screened: date, *, cycles: int) -> Iterator[Create]:
    row = {"subject_id": name, "site": site, "arm": arm, "sex": "female", "age_years": 58, "height_cm": 165,
           "weight_kg": 68, "randomised_on": (screened + timedelta(days=7)).isoformat(), "state": "ON_TREATMENT",
           "protocol_version": "1.0"}  # fmt: skip
    yield Create("subjects", row)
    for cycle in range(1, cycles + 1):
        day = screened + timedelta(days=14 + 56 * (cycle - 1))
        state = "DOSED" if cycle < cycles else "PRESCRIBED"
        yield Create("cycles", {"subject_id": name, "cycle": cycle, "planned_on": day.isoformat(), "state": state,
                                "state_on": day.isoformat(), "reason": "KANAR-HELD"})  # fmt: skip
        yield Create("visits", {"subject_id": name, "visit": f"C{cycle}D1", "cycle": cycle, "due_on": day.isoformat(),
                                "window_from_on": day.isoformat(), "state": "PLANNED",
                                "window_to_on": (day + timedelta(days=3)).isoformat()})  # fmt: skip
        yield from _treatment(name, arm, cycle, day, given=state == "DOSED")
    yield Create("deviations", {"subject_id": name, "deviation_id": "001", "on": screened.isoformat(),
                                "kind": "activity", "severity": "minor", "description": "KANAR-DEVIATION"})  # fmt: skip
    yield Create("adverse_events", {"subject_id": name, "ae_id": "1", "seq": 1, "started_on": screened.isoformat(),
                                    "ongoing": "yes", "term": "Nausea", "grade": 1, "serious": "no", "related": "yes",
                                    "related_to": "KANAR-DRUG", "action": "KANAR-ACTION"})  # fmt: skip


def _treatment(name: str, arm: str, cycle: int, day: date, *, given: bool) -> Iterator[Create]:
    start = datetime(day.year, day.month, day.day, 8, 30, tzinfo=UTC)
    key = {"subject_id": name, "cycle": cycle}
    for nuclide in _ARMS[arm]:
        amount = _MBQ[nuclide]
        rx = {"version": 1, "nuclide": nuclide, "state": "ADMINISTERED" if given else "PROPOSED", "base_MBq": amount,
              "proposed_MBq": amount, "category": "KANAR-CATEGORY", "reason": "KANAR-REASON"}  # fmt: skip
        yield Create("prescriptions", {**key, **rx})
        if given:
            given_at = {"started_at": start.isoformat(), "ended_at": (start + timedelta(minutes=30)).isoformat()}
            amounts = {"planned_MBq": amount, "prescribed_MBq": amount, "administered_MBq": amount}
            yield Create("administrations", {**key, "nuclide": nuclide, **given_at, **amounts, "batch": "KANAR-BATCH"})
    if not given:
        for region in ("kidneys", "red marrow"):
            yield Create("forecasts", {**key, "version": 1, "region": region, "horizon": "course",
                                       "absorbed_dose_Gy": 21.0937, "p_over_limit": 0.31})  # fmt: skip
        return
    for region in ("kidneys", "red marrow", "liver", "spleen"):
        for nuclide in (*_ARMS[arm], "total"):
            for scope, dose in (("cycle", 13.5791), ("cumulative", 14.2863)):
                yield Create("doses", {**key, "scope": scope, "region": region, "nuclide": nuclide, "method": "organ",
                                       "basis": "measured", "absorbed_dose_Gy": dose,
                                       "absorbed_dose_sd_Gy": 1.0})  # fmt: skip


def _labs(name: str, screened: date, *, samples: int) -> Iterator[Create]:
    for sample in range(samples):
        taken = datetime(screened.year, screened.month, screened.day, 7, 15, tzinfo=UTC) + timedelta(days=7 * sample)
        for analyte, (value, unit, low, high) in ANALYTES.items():
            yield Create("labs", {"subject_id": name, "sample_id": f"{sample + 1}", "analyte": analyte, "value": value,
                                  "taken_at": taken.isoformat(), "unit": unit, "lln": low, "uln": high})  # fmt: skip


def _query(number: int, name: str, site: str) -> Iterator[Create]:
    at = "2026-01-02T08:00:00+00:00"
    values: dict[str, Any] = {"query_id": number, "subject_id": name, "site": site, "table_name": "subjects",
                              "record_key": name, "field": "age_years", "state": "OPEN", "opened_by": "system",
                              "opened_at": at, "source": "entry check"}  # fmt: skip
    yield Create("queries", values)
    yield Create("query_messages", {"query_id": number, "seq": 1, "kind": "open", "text": "58 or 85? KANAR-QUERY",
                                    "user_id": "system", "sent_at": at})  # fmt: skip

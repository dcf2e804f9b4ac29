"""Headers of scans against the case: contradictions that would make every dose wrong, as first-line warnings.

The case counts, because headers are filled in by hand at the scanner; a person must look at each contradiction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from lutetia.core.chain import Doubt
from lutetia.core.clock import hours_between
from lutetia.imaging.header_facts import HeaderFacts
from lutetia.plan.case import Case, Cycle, start_times

MOST_ACTIVITY_DIFFERENCE = 0.10  # assumption: residual and decay to the start of infusion explain less
MOST_START_DIFFERENCE_H = 0.5  # assumption: entry to the minute, at start or end of the infusion, explains less


def header_doubts(case: Case, cycle: Cycle, headers: Mapping[int, HeaderFacts], nuclide: str) -> tuple[Doubt, ...]:
    """Contradictions between the headers of a cycle's scans and the case, each once with the scans that have it.

    Parameters
    ----------
    headers
        By number of the scan.
    nuclide
        The measured one, which the headers are about.
    """
    start = start_times(case, cycle).get(nuclide)
    given = cycle.administered_MBq.get(nuclide)
    scans: dict[Doubt, list[int]] = {}
    for number, facts in headers.items():
        found = (
            _sex(facts, case.subject.sex),
            _activity(facts, given, nuclide) if given is not None else None,
            _start(facts, start, nuclide) if start is not None else None,
        )
        for doubt in found:
            if doubt is not None:
                scans.setdefault(doubt, []).append(number)
    return tuple(replace(d, where=f"cycle {cycle.number}, {_named(numbers)}") for d, numbers in scans.items())


def _sex(facts: HeaderFacts, sex: str) -> Doubt | None:
    if facts.sex in (None, sex):
        return None
    text = (
        f"the DICOM header says {facts.sex}, the case {sex}; check that the scan is this subject's, and the sex in "
        "the case"
    )
    return Doubt("header-sex-differs", text, severity="first-line")


def _activity(facts: HeaderFacts, given_MBq: float, nuclide: str) -> Doubt | None:
    found = facts.administered_MBq
    if found is None or abs(found / given_MBq - 1.0) <= MOST_ACTIVITY_DIFFERENCE:
        return None
    text = (
        f"the DICOM header says that {found:,.0f} MBq of {nuclide} were given, the case {given_MBq:,.0f} MBq; "
        "check administered_MBq"
    )
    return Doubt("header-activity-differs", text, severity="first-line")


def _start(facts: HeaderFacts, start: datetime, nuclide: str) -> Doubt | None:
    found = facts.administered_at
    if found is None or abs(hours_between(start, found)) <= MOST_START_DIFFERENCE_H:
        return None
    text = (
        f"the DICOM header says that {nuclide} was given at {found.astimezone(start.tzinfo):%Y-%m-%d %H:%M %z}, "
        f"the case {start:%Y-%m-%d %H:%M %z}; check administered_at and the time zone"
    )
    return Doubt("header-start-differs", text, severity="first-line")


def _named(numbers: list[int]) -> str:
    return f"scan {numbers[0]}" if len(numbers) == 1 else f"scans {', '.join(map(str, numbers))}"

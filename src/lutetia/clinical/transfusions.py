"""Which haemoglobin value led to a red-cell transfusion: CTCAE makes that anaemia grade 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RED_CELLS = "transfusion_red"  # word of the exchange format
TRANSFUSED_ANALYTE, TRANSFUSED_GRADE = "haemoglobin", 3
TRANSFUSION_DAYS = 7  # assumption: an older value was not the reason


def indicating_value(
    days: Sequence[Any], on_treatment: Sequence[bool], given_on: Any, *, first_day: Any | None
) -> int | None:
    """Place of the last haemoglobin value of the day of a transfusion or of the 7 days before it; None without one.

    Parameters
    ----------
    days, on_treatment
        Calendar day of each value in time order, and whether it was taken after treatment began.
    given_on
        Day of the transfusion.
    first_day
        Day of the first infusion, None before it; a transfusion from then on goes with a value taken under treatment.
    """
    during = first_day is not None and given_on >= first_day
    near = [
        place
        for place, (day, treated) in enumerate(zip(days, on_treatment, strict=True))
        if 0 <= (given_on - day).days <= TRANSFUSION_DAYS and (treated or not during)
    ]
    return near[-1] if near else None

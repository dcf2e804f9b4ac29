"""Screens for drug-induced liver injury: pairs of a transaminase and a bilirubin value by multiples, in decimals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

WITHIN_DAYS = 14


@dataclass(frozen=True, slots=True)
class Multiple:
    """One value as value and reference (ULN or baseline), both in one unit; `key` names it for the caller."""

    day: date
    value: Decimal
    reference: Decimal
    key: int

    def reaches(self, multiple: Decimal) -> bool:
        """Whether value ≥ multiple × reference, in decimals."""
        return self.value >= multiple * self.reference


def raised_together(
    transaminases: Sequence[Multiple],
    bilirubin: Sequence[Multiple],
    *,
    transaminase: Decimal = Decimal(3),
    bilirubin_multiple: Decimal = Decimal(2),
    within_days: int = WITHIN_DAYS,
) -> tuple[tuple[Multiple, Multiple], ...]:
    """Pairs of a transaminase at or above 3 × and a bilirubin at or above 2 × its reference, 0 to 14 days after it.

    With ULN as the reference these are the candidates of Hy's law; with the baseline its version for subjects whose
    liver values are raised before treatment (liver metastases).

    Parameters
    ----------
    transaminases, bilirubin
        Values of one subject with their references.
    transaminase, bilirubin_multiple, within_days
        The cuts.

    Returns
    -------
    All pairs by day; none where nothing is reached.

    References
    ----------
    US Food and Drug Administration, Guidance for Industry: Drug-Induced Liver Injury: Premarketing Clinical Evaluation,
    July 2009 (multiples 3 and 2). The 14 days are an assumption.
    """
    found = [
        (t, b)
        for t in transaminases
        if t.reaches(transaminase)
        for b in bilirubin
        if b.reaches(bilirubin_multiple) and 0 <= (b.day - t.day).days <= within_days
    ]
    return tuple(sorted(found, key=lambda pair: (pair[0].day, pair[1].day, pair[0].key, pair[1].key)))

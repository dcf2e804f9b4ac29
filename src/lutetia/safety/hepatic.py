"""Liver screens: Hy's law and its fold-over-baseline version with ALP, and the peaks for the eDISH plot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from lutetia.clinical.liver import Multiple, raised_together
from lutetia.safety.frames import DAY, typed

ALT_MULTIPLE, BILIRUBIN_MULTIPLE = 3.0, 2.0
PEAKS = {
    "subject_id": "object", "arm": "object", "alt_x_uln": "float64", "ast_x_uln": "float64",
    "transaminase_x_uln": "float64", "bilirubin_x_uln": "float64", "alp_x_uln": "float64", "alt_x_baseline": "float64",
    "bilirubin_x_baseline": "float64", "quadrant": "object", "rows": "object",
}  # fmt: skip
CANDIDATES = {
    "subject_id": "object", "arm": "object", "screen": "object", "transaminase": "object",
    "transaminase_day": DAY, "transaminase_multiple": "float64", "transaminase_row": "int64",
    "bilirubin_day": DAY, "bilirubin_multiple": "float64", "bilirubin_row": "int64", "alp_x_uln": "float64",
    "alp_row": "float64", "adjudication": "object",
}  # fmt: skip


def liver_peaks(changes: pd.DataFrame) -> pd.DataFrame:
    """Highest multiple of ULN and of baseline of each treated subject after the first infusion, for the eDISH plot.

    `quadrant`: normal, cholestasis (bilirubin ≥ 2 × ULN), Temple's corollary (transaminase ≥ 3 × ULN), Hy's law range
    (both, at any time); empty where either is missing. Columns of `PEAKS`.
    """
    after = changes[changes["on_treatment"] & changes["analyte"].isin(("alt", "ast", "bilirubin", "alp"))]
    after = after.assign(
        x_uln=after["value"] / after["uln"], x_baseline=after["value"] / after["baseline"].where(lambda b: b > 0)
    )
    rows = []
    for subject, own in after.groupby("subject_id", sort=True):
        by_uln, by_baseline = own.groupby("analyte")["x_uln"].max(), own.groupby("analyte")["x_baseline"].max()
        peaks = [by_uln.get("alt", np.nan), by_uln.get("ast", np.nan)]
        transaminase = np.nan if np.isnan(peaks).all() else float(np.nanmax(peaks))
        bilirubin = by_uln.get("bilirubin", np.nan)
        rows.append(
            {
                "subject_id": subject, "arm": own["arm"].iloc[0], "alt_x_uln": peaks[0], "ast_x_uln": peaks[1],
                "transaminase_x_uln": transaminase, "bilirubin_x_uln": bilirubin,
                "alp_x_uln": by_uln.get("alp", np.nan), "alt_x_baseline": by_baseline.get("alt", np.nan),
                "bilirubin_x_baseline": by_baseline.get("bilirubin", np.nan),
                "quadrant": _quadrant(transaminase, bilirubin), "rows": tuple(own["row"]),
            }
        )  # fmt: skip
    return typed(PEAKS, rows)


def liver_candidates(changes: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Subjects whom a liver screen finds, one row for each pair of a transaminase and a bilirubin value.

    `screen` is ``hy`` (ALT or AST ≥ 3 × ULN, bilirubin ≥ 2 × ULN within 14 days after) or ``fold`` (ALT ≥ 3 × and
    bilirubin ≥ 2 × the subject's own baseline). ALP is that of the nearest day. `adjudication` is for the reader.
    """
    after = changes[changes["on_treatment"]]
    starts = {(b.subject_id, b.analyte): b.exact for b in baseline.itertuples() if b.exact > 0}
    names = dict(zip(after["row"], after["analyte"], strict=True))
    rows = []
    for subject, own in after[after["analyte"].isin(("alt", "ast", "bilirubin", "alp"))].groupby("subject_id"):
        by = dict(iter(own.groupby("analyte")))
        alp = by.get("alp", own.iloc[:0])
        for screen, pairs in _screens(str(subject), by, starts).items():
            for enzyme, bilirubin in pairs:
                rows.append(
                    {
                        "subject_id": subject, "arm": own["arm"].iloc[0], "screen": screen,
                        "transaminase": names[enzyme.key], "transaminase_day": enzyme.day,
                        "transaminase_multiple": float(enzyme.value / enzyme.reference),
                        "transaminase_row": enzyme.key, "bilirubin_day": bilirubin.day,
                        "bilirubin_multiple": float(bilirubin.value / bilirubin.reference),
                        "bilirubin_row": bilirubin.key, "adjudication": "",
                    }
                    | _alp(alp, enzyme)
                )  # fmt: skip
    return typed(CANDIDATES, rows)


def _screens(
    subject: str, by: dict[Any, pd.DataFrame], starts: dict[tuple[str, str], Decimal]
) -> dict[str, tuple[tuple[Multiple, Multiple], ...]]:
    uln = {name: _multiples(part, None) for name, part in by.items()}
    fold = {
        name: _multiples(part, starts.get((subject, name))) if (subject, name) in starts else []
        for name, part in by.items()
    }
    return {
        "hy": raised_together([*uln.get("alt", []), *uln.get("ast", [])], uln.get("bilirubin", [])),
        "fold": raised_together(fold.get("alt", []), fold.get("bilirubin", [])),
    }


def _multiples(part: pd.DataFrame, reference: Decimal | None) -> list[Multiple]:
    """Values with their own ULN, or with one reference."""
    columns = (part["taken_day"].dt.date, part["exact"], part["exact_uln"], part["row"])
    found = []
    for day, value, uln, row in zip(*columns, strict=True):
        by = uln if reference is None else reference
        if by is not None and by > 0:
            found.append(Multiple(day, value, by, int(row)))
    return found


def _alp(alp: pd.DataFrame, enzyme: Multiple) -> dict[str, Any]:
    if alp.empty:
        return {"alp_x_uln": None, "alp_row": None}
    away = (alp["taken_day"] - pd.Timestamp(enzyme.day)).abs()
    nearest = alp.loc[away.idxmin()]
    return {"alp_x_uln": nearest["value"] / nearest["uln"], "alp_row": float(nearest["row"])}


def _quadrant(transaminase: float, bilirubin: float) -> str:
    if np.isnan(transaminase) or np.isnan(bilirubin):
        return ""
    high, yellow = transaminase >= ALT_MULTIPLE, bilirubin >= BILIRUBIN_MULTIPLE
    if high and yellow:
        return "Hy's law range"
    return "Temple's corollary" if high else "cholestasis" if yellow else "normal"

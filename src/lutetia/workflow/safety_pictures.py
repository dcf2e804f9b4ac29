"""Pictures of the safety dashboard: the report's panels, pooled ones drawn by the same panels, and who is in them.

In a pooled picture a mean stands on at least five subjects, whose number is rounded down to fives. Single subjects are
marks; `Spot` tells which mark is whom, for pages that show them to people who see every subject.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from lutetia.report.document import Panel
from lutetia.report.figures.edish import edish_panel
from lutetia.report.figures.frame import Labels
from lutetia.report.figures.scatter import Cloud, scatter_panel
from lutetia.report.figures.trajectories import Trajectory, trajectory_panel
from lutetia.report.numbers import fixed, number
from lutetia.report.palette import PAPER
from lutetia.safety.context import Context
from lutetia.safety.dose_effect import associations
from lutetia.safety.figure_catalogue import FIGURES
from lutetia.safety.figures_laboratory import occasions
from lutetia.safety.suppression import SMALLEST_SHOWN
from lutetia.safety.tables.building import label_of

POOLED = "all"
_MARK = re.compile(
    rf'<(?:circle cx="([-\d.]+)" cy="([-\d.]+)" r="[\d.]+"'
    rf'|rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"'
    rf'|path d="([^"]+)Z") fill="#[0-9a-f]+" stroke="{PAPER}" stroke-width="0.6"/>'
)
_PLACE = re.compile(r"[ML]([-\d.]+) ([-\d.]+)")
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


@dataclass(frozen=True, slots=True)
class Spot:
    """A mark of a picture that stands for one subject: its centre in the picture's own pixels, and in words."""

    subject_id: str
    x: float
    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A panel, what it says in words, its size, and the subjects in it."""

    image: bytes
    alt: str
    width: float
    height: float
    spots: tuple[Spot, ...] = ()


def report_pictures(context: Context, name: str) -> tuple[Picture, ...]:
    """Panels of a figure of the report."""
    return tuple(_picture(panel) for panel in FIGURES[name](context).panels)


def _picture(panel: Panel) -> Picture:
    found = _SIZE.search(panel.image[:400].decode())
    width, height = (float(found[1]), float(found[2])) if found else (1.0, 1.0)
    return Picture(panel.image, panel.alt, width, height)


def pooled_trajectory(context: Context, analyte: str) -> Picture:
    """Geometric mean of all arms at each place with at least five subjects; their numbers rounded down to fives."""
    own, ticks = occasions(context, analyte)
    rows = [_mean(own.loc[own["place"] == place, "log_ratio"].to_numpy()) for place, _ in ticks]
    kept = [(tick, row) for tick, row in zip(ticks, rows, strict=True) if row[3] >= SMALLEST_SHOWN]
    shown = [tick for tick, _ in kept]
    middle, low, high, count = (tuple(row[n] for _, row in kept) for n in range(4))
    fives = tuple(
        SMALLEST_SHOWN * (int(n) // SMALLEST_SHOWN) for n in count
    )  # a difference of two would be a small cell
    line = Trajectory(POOLED, tuple(p for p, _ in shown), middle, low, high, fives, 0)
    labels = Labels(label_of(analyte), y="change from baseline, % (geometric mean, 95 % CI)")
    alt = f"{label_of(analyte)}: change from baseline before every cycle, at every nadir and at the end, all subjects"
    return _picture(Panel(trajectory_panel(labels, [line] if kept else [], shown), alt))


def _mean(values: Any) -> tuple[float, float, float, int]:
    """Mean of log ratios with its t interval as percent change; the same rule as the report's trajectories."""
    n = len(values)
    if n < SMALLEST_SHOWN:
        return math.nan, math.nan, math.nan, n
    mean, half = float(values.mean()), float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(n)
    low, middle, high = (100.0 * math.expm1(v) for v in (mean - half, mean, mean + half))
    return middle, low, high, n


def pooled_associations(context: Context) -> tuple[Picture, ...]:
    """Points of all subjects in one colour, without a line: a slope across arms would mix the arms' differences in."""
    pictures = []
    for analyte, found in associations(context).items():
        pairs = _complete_pairs(found.pairs)
        labels = Labels(label_of(analyte), x="marrow dose of the first cycle (Gy)", y="% change at its nadir")
        image = scatter_panel(labels, _one_cloud(pairs, "dose_Gy", "percent_change"))
        alt = f"{label_of(analyte)}: change at the nadir against marrow dose of {len(pairs)} subjects"
        pictures.append(_picture(Panel(image, alt)))
    return tuple(pictures)


def pooled_edish(context: Context) -> tuple[Picture, ...]:
    """Peaks of all subjects in one colour."""
    pictures = []
    for title, x, y, enzyme, unit in _EDISH:
        own = _peaks(context, x, y)
        labels = Labels(title, x=f"highest {enzyme} (× {unit})", y=f"highest bilirubin (× {unit})")
        image = edish_panel(labels, _one_cloud(own, x, y))
        pictures.append(_picture(Panel(image, f"{title}: {len(own)} subjects")))
    return tuple(pictures)


_EDISH = (
    ("Against the upper limit of normal", "transaminase_x_uln", "bilirubin_x_uln", "ALT or AST",
     "upper limit of normal"),
    ("Against the subject's own baseline", "alt_x_baseline", "bilirubin_x_baseline", "ALT", "baseline"),
)  # fmt: skip


def _one_cloud(own: pd.DataFrame, x: str, y: str) -> list[Cloud]:
    return [Cloud("all", tuple(own[x]), tuple(own[y]), 0)] if len(own) else []


def _complete_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[pairs["dose_Gy"].notna() & pairs["percent_change"].notna()].sort_values("subject_id")


def _peaks(context: Context, x: str, y: str) -> pd.DataFrame:
    own = context.peaks[context.peaks["subject_id"].isin(context.sets.saf)]
    return own[(own[x] > 0) & (own[y] > 0)].sort_values("subject_id")


def association_spots(context: Context, arms: Sequence[str] | None) -> list[list[tuple[str, str]]]:
    """Subject and words of every mark in drawing order, for each panel."""
    found = []
    for each in associations(context).values():
        pairs = _in_order(_complete_pairs(each.pairs), arms)
        words = (
            f"{r.subject_id}: {number(float(r.dose_Gy))} Gy, {fixed(float(r.percent_change), 0)} %"
            for r in pairs.itertuples()
        )
        found.append(list(zip(pairs["subject_id"], words, strict=True)))
    return found


def edish_spots(context: Context, arms: Sequence[str] | None) -> list[list[tuple[str, str]]]:
    """Subject and words of every mark in drawing order, for each panel."""
    found = []
    for _, x, y, enzyme, unit in _EDISH:
        own = _in_order(_peaks(context, x, y), arms)
        of = "ULN" if unit.startswith("upper") else unit
        words = (
            f"{s}: {enzyme} {number(a, most=1)} × {of}, bilirubin {number(b, most=1)} × {of}"
            for s, a, b in zip(own["subject_id"], own[x], own[y], strict=True)
        )
        found.append(list(zip(own["subject_id"], words, strict=True)))
    return found


def _in_order(own: pd.DataFrame, arms: Sequence[str] | None) -> pd.DataFrame:
    if arms is None:
        return own
    return pd.concat([own[own["arm"] == arm] for arm in arms]) if len(own) else own


def with_spots(pictures: Sequence[Picture], subjects: Sequence[list[tuple[str, str]]]) -> tuple[Picture, ...]:
    """Pictures with a spot for each mark; a picture whose marks are not told stays without."""
    if len(pictures) != len(subjects):
        return tuple(pictures)
    return tuple(_spotted(p, named) for p, named in zip(pictures, subjects, strict=True))


def _spotted(picture: Picture, named: list[tuple[str, str]]) -> Picture:
    centres = [_centre(m) for m in _MARK.finditer(picture.image.decode())]
    if len(centres) < len(named):
        return picture
    spots = tuple(Spot(str(s), x, y, words) for (s, words), (x, y) in zip(named, centres, strict=False))
    return Picture(picture.image, picture.alt, picture.width, picture.height, spots)


def _centre(found: re.Match[str]) -> tuple[float, float]:
    if found[1] is not None:
        return float(found[1]), float(found[2])
    if found[3] is not None:
        x, y, width, height = (float(found[n]) for n in (3, 4, 5, 6))
        return x + width / 2.0, y + height / 2.0
    points = [(float(a), float(b)) for a, b in _PLACE.findall(found[7])]
    across, down = [x for x, _ in points], [y for _, y in points]
    return (min(across) + max(across)) / 2.0, (min(down) + max(down)) / 2.0

"""The two views of the safety dashboard out of a derived trial: by arm as the closed report, pooled as the open one.

Panels by arm are the report's own. Pooled ones are drawn by the same panels with one group. In the pooled view counts
of 1 to 4, and counts that leave 1 to 4, are not shown, a mean stands on at least five subjects, and single subjects
appear only where the page shows them to people who see every subject anyway.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from lutetia.report.document import Panel
from lutetia.report.figures.edish import edish_panel
from lutetia.report.figures.frame import Labels
from lutetia.report.figures.scatter import Cloud, scatter_panel
from lutetia.report.figures.trajectories import Trajectory, trajectory_panel
from lutetia.report.numbers import fixed, number, percent, probability
from lutetia.report.palette import PAPER
from lutetia.safety.context import Context
from lutetia.safety.dose_effect import associations
from lutetia.safety.figure_catalogue import FIGURES
from lutetia.safety.figures_laboratory import occasions
from lutetia.safety.monitoring import monitored
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.suppression import SMALLEST_SHOWN
from lutetia.safety.tables.building import lab_analytes, label_of
from lutetia.safety.tables.t08_shift import graded_terms
from lutetia.safety.tables.t09_worst_grade import graded

HIDDEN = "s"
#: Cumulative doses are watched from this share of a limit (assumption: display only, no rule uses it).
WATCHED_SHARE = 0.75
WATCHED_ROWS = 15
POOLED = "all subjects"
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


@dataclass(frozen=True, slots=True)
class Count:
    """How many subjects of how many, printed; `level` 0 to 3 is for shading."""

    words: str
    share: str
    level: int


@dataclass(frozen=True, slots=True)
class GradeRow:
    """A CTCAE term with one pair of counts (grade 2 or worse, grade 3 or worse) for each column."""

    term: str
    analyte: str
    cells: tuple[tuple[Count, Count], ...]


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A subject near or over a cumulative limit; `arm` is empty in the pooled view."""

    subject_id: str
    arm: str
    limit: str
    dose: str
    share: str
    cycles: int
    over: bool
    incomplete: bool


@dataclass(frozen=True, slots=True)
class StopRow:
    """Where an arm stands against a stopping rule."""

    rule: str
    event: str
    arm: str
    events: str
    stop_at: str
    posterior: str
    crossed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LiverRow:
    """A subject whom a liver screen found, with the pair of values."""

    subject_id: str
    arm: str
    screen: str
    transaminase: str
    bilirubin: str
    alp: str
    day: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A key figure: key of its words, value, detail."""

    key: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """All that a dashboard shows to one kind of reader."""

    facts: tuple[Fact, ...]
    trajectories: tuple[Picture, ...]
    associations: tuple[Picture, ...]
    edish: tuple[Picture, ...]
    doses: tuple[Picture, ...]
    stopping: tuple[Picture, ...]
    columns: tuple[tuple[str, int], ...]
    grades: tuple[GradeRow, ...]
    over: tuple[tuple[str, tuple[str, ...]], ...]
    watch: tuple[WatchRow, ...]
    more_watched: int
    stops: tuple[StopRow, ...]
    liver: tuple[LiverRow, ...]


@dataclass(frozen=True, slots=True)
class Views:
    """The dashboard by arm and pooled, and what the report would list as not used."""

    closed: View
    open: View
    ctcae: str
    resamples: int
    rows_listed: int
    quiet_terms: tuple[str, ...]


def make_views(context: Context, say: Callable[[str], None] = lambda step: None) -> Views:
    """Both views of a derived trial.

    Parameters
    ----------
    say
        Called with the step under way.
    """
    say("drawing the panels by arm")
    closed = _closed(context)
    say("drawing the pooled panels")
    pooled = _open(context)
    data = context.data
    listed = sum(count.listed for count in data.accounting.counts)
    return Views(closed, pooled, data.study.ctcae, context.resamples, listed, _quiet_terms(context))


def _closed(context: Context) -> View:
    columns = tuple((arm, len(context.sets.of("SAF", arm))) for arm in context.arms)
    watch, more = _watch(context, arms=True)
    return View(
        facts=_facts(context, pooled=False),
        trajectories=_pictures(context, "F6"),
        associations=_with_spots(_pictures(context, "F7"), _association_spots(context, context.arms)),
        edish=_with_spots(_pictures(context, "F9"), _edish_spots(context, context.arms)),
        doses=_pictures(context, "F4"),
        stopping=_pictures(context, "F13"),
        columns=(*columns, ("all", len(context.sets.saf))),
        grades=_grades(context, [*context.arms, None], hide=False),
        over=_over(context, [*context.arms, None], hide=False),
        watch=watch,
        more_watched=more,
        stops=_stops(context),
        liver=_liver(context, arms=True),
    )


def _open(context: Context) -> View:
    watch, more = _watch(context, arms=False)
    untreated = len(context.sets.itt) - len(context.sets.saf)
    told = 0 < untreated < SMALLEST_SHOWN  # who was not treated could be counted from denominators
    grades = _grades(context, [None], hide=True)
    return View(
        facts=_facts(context, pooled=True),
        trajectories=tuple(_pooled_trajectory(context, a) for a in lab_analytes(context, HAEMATOLOGY)),
        associations=_with_spots(_pooled_associations(context), _association_spots(context, None)),
        edish=_with_spots(_pooled_edish(context), _edish_spots(context, None)),
        doses=(),
        stopping=(),
        columns=(("all", 0 if told else len(context.sets.saf)),),
        grades=tuple(_without_denominators(g) for g in grades) if told else grades,
        over=tuple(
            (name, tuple(c.partition("/")[0] for c in cells)) for name, cells in _over(context, [None], hide=True)
        ),
        watch=watch,
        more_watched=more,
        stops=(),
        liver=_liver(context, arms=False),
    )


def _pictures(context: Context, name: str) -> tuple[Picture, ...]:
    return tuple(_picture(panel) for panel in FIGURES[name](context).panels)


def _picture(panel: Panel) -> Picture:
    found = _SIZE.search(panel.image[:400].decode())
    width, height = (float(found[1]), float(found[2])) if found else (1.0, 1.0)
    return Picture(panel.image, panel.alt, width, height)


def _facts(context: Context, *, pooled: bool) -> tuple[Fact, ...]:
    sets, events = context.sets, context.data["disposition"]
    died = events[(events["event"] == "died") & events["subject_id"].isin(sets.itt)]["subject_id"].nunique()
    cycles = len(context.infusions[context.infusions["subject_id"].isin(sets.saf)])
    show = _suppressed if pooled else (lambda count, of: str(count))
    by_arm = "" if pooled else ", ".join(f"{arm} {len(sets.of('SAF', arm))}" for arm in context.arms)
    return (
        Fact("randomised", show(len(sets.itt), len(context.data["subjects"]))),
        Fact("treated", show(len(sets.saf), len(sets.itt)), by_arm),
        Fact("cycles", str(cycles) if cycles == 0 or len(sets.saf) >= SMALLEST_SHOWN or not pooled else HIDDEN),
        Fact("deaths", show(died, len(sets.itt))),
    )


def _suppressed(count: int, of: int) -> str:
    small = 0 < count < SMALLEST_SHOWN or 0 < of - count < SMALLEST_SHOWN
    return HIDDEN if small else str(count)


def _pooled_trajectory(context: Context, analyte: str) -> Picture:
    """Geometric mean of all arms at each place with at least five subjects."""
    own, ticks = occasions(context, analyte)
    rows = [_mean(own.loc[own["place"] == place, "log_ratio"].to_numpy()) for place, _ in ticks]
    kept = [(tick, row) for tick, row in zip(ticks, rows, strict=True) if row[3] >= SMALLEST_SHOWN]
    shown = [tick for tick, _ in kept]
    middle, low, high, count = (tuple(row[n] for _, row in kept) for n in range(4))
    line = Trajectory(POOLED, tuple(p for p, _ in shown), middle, low, high, tuple(int(n) for n in count), 0)
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


def _pooled_associations(context: Context) -> tuple[Picture, ...]:
    """Points of all subjects in one colour, without a line: a slope across arms would mix the arms' differences in."""
    pictures = []
    for analyte, found in associations(context).items():
        pairs = _complete_pairs(found.pairs)
        labels = Labels(label_of(analyte), x="marrow dose of the first cycle (Gy)", y="% change at its nadir")
        image = scatter_panel(labels, _one_cloud(pairs, "dose_Gy", "percent_change"))
        alt = f"{label_of(analyte)}: change at the nadir against marrow dose of {len(pairs)} subjects"
        pictures.append(_picture(Panel(image, alt)))
    return tuple(pictures)


def _pooled_edish(context: Context) -> tuple[Picture, ...]:
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


def _association_spots(context: Context, arms: Sequence[str] | None) -> list[list[tuple[str, str]]]:
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


def _edish_spots(context: Context, arms: Sequence[str] | None) -> list[list[tuple[str, str]]]:
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


def _with_spots(pictures: Sequence[Picture], subjects: Sequence[list[tuple[str, str]]]) -> tuple[Picture, ...]:
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


def _grades(context: Context, arms: Sequence[str | None], *, hide: bool) -> tuple[GradeRow, ...]:
    """Terms of which some subject has grade 2 or worse."""
    rows = []
    for analyte, term in graded_terms(context):
        own = graded(context, term)
        if not (own["worst_emergent"] >= 2).any():
            continue
        cells = tuple(_pair(own if arm is None else own[own["arm"] == arm], hide=hide) for arm in arms)
        rows.append(GradeRow(term, label_of(analyte), cells))
    return tuple(rows)


def _quiet_terms(context: Context) -> tuple[str, ...]:
    """Graded terms without any grade 2 or worse."""
    terms = (term for _, term in graded_terms(context))
    return tuple(term for term in terms if not (graded(context, term)["worst_emergent"] >= 2).any())


def _pair(own: pd.DataFrame, *, hide: bool) -> tuple[Count, Count]:
    n = len(own)
    two, three = (int((own["worst_emergent"] >= least).sum()) for least in (2, 3))
    if not hide:
        return _count(two, n), _count(three, n)
    first, second = _hidden(two, n), _hidden(three, n)
    between = 0 < two - three < SMALLEST_SHOWN  # how many have exactly grade 2 could be computed
    return (_count(two, n) if not first else _SECRET), (_count(three, n) if not (second or between) else _SECRET)


def _without_denominators(row: GradeRow) -> GradeRow:
    cells = tuple((_bare(two), _bare(three)) for two, three in row.cells)
    return GradeRow(row.term, row.analyte, cells)


def _bare(count: Count) -> Count:
    return Count(count.words.partition("/")[0], "", count.level)


def _hidden(count: int, n: int) -> bool:
    return 0 < n < SMALLEST_SHOWN or 0 < count < SMALLEST_SHOWN or 0 < n - count < SMALLEST_SHOWN


_SECRET = Count(HIDDEN, "", 0)


def _count(count: int, n: int) -> Count:
    if n == 0:
        return Count("–", "", 0)
    share = count / n
    return Count(f"{count}/{n}", percent(share), 0 if count == 0 else 1 if share < 0.1 else 2 if share < 0.3 else 3)


def _over(
    context: Context, arms: Sequence[str | None], *, hide: bool
) -> tuple[tuple[str, tuple[str, ...]], ...]:  # fmt: skip
    """Subjects over each limit among those whose sum is known, by column."""
    rows = []
    for limit in context.data.study.limits:
        own = context.limits[
            (context.limits["limit"] == limit.id) & context.limits["subject_id"].isin(context.sets.saf)
        ]
        own = own[own["over"].notna()]
        cells = []
        for arm in arms:
            among = own if arm is None else own[own["arm"] == arm]
            count, n = int(among["over"].astype(bool).sum()), len(among)
            cells.append(HIDDEN if hide and _hidden(count, n) else _count(count, n).words)
        rows.append((limit_words(limit), tuple(cells)))
    return tuple(rows)


def limit_words(limit: Any) -> str:
    """A limit as people say it."""
    what = " BED" if limit.metric == "bed" else ""
    return f"{limit.region}{what}, {number(limit.limit_Gy, most=1).removesuffix('.0')} Gy"


def _watch(context: Context, *, arms: bool) -> tuple[tuple[WatchRow, ...], int]:
    own = context.limits[context.limits["subject_id"].isin(context.sets.saf)]
    dose = own["total_Gy"].where(own["total_Gy"].notna(), own["sensitivity_Gy"] + own["prior_Gy"])
    own = own.assign(shown=dose, share=dose / own["limit_Gy"])
    own = own[own["share"] >= WATCHED_SHARE].sort_values(["share", "subject_id"], ascending=[False, True])
    limits = {limit.id: limit_words(limit) for limit in context.data.study.limits}
    rows = tuple(
        WatchRow(r.subject_id, r.arm if arms else "", limits[r.limit], number(float(r.shown)), percent(float(r.share)),
                 int(r.cycles_given), float(r.share) > 1.0, not r.complete)
        for r in own.head(WATCHED_ROWS).itertuples()
    )  # fmt: skip
    return rows, max(len(own) - WATCHED_ROWS, 0)


def _stops(context: Context) -> tuple[StopRow, ...]:
    rows = []
    for found in monitored(context):
        monitor = found.monitor
        event = f"{monitor.event}, within {monitor.within_days} days"
        if found.rule is None:
            rows.append(StopRow(monitor.id, event, "", "", "", "", False, found.reason))
            continue
        for arm, s in found.status.items():
            stop = "–" if s.stop_at is None else str(s.stop_at)
            words = f"{s.events}/{s.n}"
            rows.append(StopRow(monitor.id, event, arm, words, stop, probability(s.posterior), s.crossed, ""))
    return tuple(rows)


def _liver(context: Context, *, arms: bool) -> tuple[LiverRow, ...]:
    """The first pair of each subject and screen."""
    own = context.candidates[context.candidates["subject_id"].isin(context.sets.saf)]
    own = own.sort_values(["screen", "subject_id", "transaminase_day"]).drop_duplicates(["screen", "subject_id"])
    return tuple(
        LiverRow(r.subject_id, r.arm if arms else "", r.screen,
                 f"{str(r.transaminase).upper()} {number(float(r.transaminase_multiple), most=1)} ×",
                 f"{number(float(r.bilirubin_multiple), most=1)} ×",
                 "–" if pd.isna(r.alp_x_uln) else f"{number(float(r.alp_x_uln), most=1)} ×",
                 r.transaminase_day.date().isoformat())
        for r in own.itertuples()
    )  # fmt: skip

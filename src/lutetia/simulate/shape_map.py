"""Where the published directions of DUONEN hold: a declared grid of what was not published, mapped and not tuned.

Full grid: base activity of 90Y in the tandem arms, ratio 90Y/177Lu of the kidney dose per activity, true drift from
cycle to cycle (which the controller does not know). Around the packaged profile also the minimum factor and the risk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from lutetia.core.numbers import six_digits
from lutetia.errors import ProtocolError
from lutetia.protocol.records import Arm
from lutetia.report import palette
from lutetia.report.document import Block, Column, Document, Figure, Heading, Panel, Paragraph, Table, rich
from lutetia.report.figures.canvas import Canvas
from lutetia.simulate.chunks import map_chunks
from lutetia.simulate.population import REGIONS
from lutetia.simulate.study import StudySpec, published_statements, run_study
from lutetia.simulate.study_report import INTENDED_USE
from lutetia.simulate.trials import draw_block

BASES_MBq = (1850.0, 2800.0, 3700.0)
RATIOS = (3.4, 3.9, 4.8)
DRIFTS = (1.00, 1.04, 1.08)
MINIMUM_FACTORS = (0.25, 0.5)
RISKS = (0.05, 0.5)
PUBLISHED_KIDNEY_Gy = 29.1
HOLDS = 0.5
_Y90 = "Y-90"


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One set of assumptions; the packaged profile is `DEFAULT`."""

    base_MBq: float = 3700.0
    ratio: float = 3.9
    drift: float = 1.0
    minimum_factor: float = 0.5
    risk: float = 0.5


DEFAULT = GridPoint()


def grid_points() -> tuple[GridPoint, ...]:
    """The packaged profile first, then the full grid, then single changes of minimum factor and risk."""
    full = [GridPoint(b, r, d) for b, r, d in product(BASES_MBq, RATIOS, DRIFTS)]
    single = [replace(DEFAULT, minimum_factor=m) for m in MINIMUM_FACTORS] + [replace(DEFAULT, risk=r) for r in RISKS]
    return tuple(dict.fromkeys([DEFAULT, *full, *single]))


def spec_at(spec: StudySpec, point: GridPoint) -> StudySpec:
    """The study with the assumptions of one point.

    Raises
    ------
    ProtocolError
        If the protocol is not the packaged DUONEN profile.
    """
    protocol = spec.protocol
    if protocol.name != "duonen" or not {"A", "B", "C", "D"} <= set(protocol.arms):
        raise ProtocolError(f"map: found protocol {protocol.name}; the map is about the published arms of duonen")
    arms = {name: _arm_at(arm, point) for name, arm in protocol.arms.items()}
    limits = tuple(replace(limit, risk=point.risk) for limit in protocol.limits)
    drift = dict(spec.population.drift_per_cycle) | {"kidneys": point.drift, "red marrow": point.drift}
    population = replace(
        spec.population, drift_per_cycle=drift, nuclide_factor={_Y90: point.ratio / _kidney_ratio(spec)}
    )
    changed = replace(protocol, arms=arms, limits=limits)
    return replace(spec, protocol=changed, population=population, calibrated_blocks=0)


def run_map(
    spec: StudySpec,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """For every point, the share of trials in which each published statement holds, and the median of arm C.

    Parameters
    ----------
    spec
        Of `study_spec`; every point uses its seed, so that points differ by their assumptions only.
    workers, scheduler
        As in `map_chunks`.
    progress
        Called with points done and points in all.
    """
    points = grid_points()
    tasks = [spec_at(spec, point) for point in points]
    rows: dict[int, dict[str, Any]] = {}
    for index, row in map_chunks(_run_point, tasks, workers=workers, scheduler=scheduler):
        rows[index] = _point_record(points[index]) | row
        if progress is not None:
            progress(len(rows), len(points))
    return [rows[i] for i in range(len(points))]


def map_record(spec: StudySpec, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The map as a record for JSON (schemas/study-map.schema.json)."""
    return {"schema": "lutetia.study-map/1", **spec.record, "points": list(rows)}


def map_rows(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Column titles and text of the table: the assumptions, arm C's kidney median, and which statements hold."""
    titles = ["90Y base GBq", "ratio", "drift", "min", "risk", "C kidney Gy", "to 29.1", "statements that hold"]
    table = []
    for row in rows:
        shares = row["statements"].values()
        failing = [str(i) for i, share in enumerate(shares, start=1) if not (share or 0.0) > HOLDS]
        holds = "all" if not failing else "not " + ", ".join(failing)
        table.append(
            [
                f"{row['base_MBq'] / 1000:.2f}",
                f"{row['ratio']:.1f}",
                f"{row['drift']:.2f}",
                f"{row['minimum_factor']:.2f}",
                f"{row['risk']:.2f}",
                f"{row['arm_C_kidneys_median_Gy']:.1f}",
                f"{row['arm_C_kidneys_median_Gy'] - PUBLISHED_KIDNEY_Gy:+.1f}",
                holds,
            ]
        )
    return titles, table


def statement_key(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The numbered statements of the table."""
    return [f"{i}  {name}" for i, name in enumerate(rows[0]["statements"], start=1)]


def map_document(spec: StudySpec, rows: Sequence[dict[str, Any]]) -> Document:
    """The map as a document: figure, table, and how to read it."""
    titles, table = map_rows(rows)
    columns = tuple(Column(rich(t), align="left" if t == titles[-1] else "right") for t in titles)
    words = (
        f"{spec.trials} trials of {spec.subjects} subjects at every point, seed {spec.seed}, level {spec.level}. The "
        "first row is the packaged profile, named before the map was run. Nothing was tuned: points at which "
        "statements fail are shown like the others. A statement holds where it is true in more than half of the "
        "trials. The drift is one of the truth; the controller expects none."
    )
    panels = tuple(_panel(rows, drift) for drift in DRIFTS)
    caption = (
        "Statements that hold in more than half of the trials, and below it the median kidney dose of arm C in Gy."
    )
    blocks: tuple[Block, ...] = (
        Paragraph(rich(words)),
        Figure(panels, rich(caption), columns=3),
        Heading(rich("Every point")),
        Table(
            columns,
            tuple(tuple(rich(c) for c in line) for line in table),
            notes=tuple(rich(words) for words in statement_key(rows)),
        ),
    )
    return Document(
        title=rich("Where the published directions hold"),
        subtitle=rich(f"Protocol {spec.protocol.name}, virtual trials"),
        header=(f"Protocol {spec.protocol.name} {spec.protocol.version}", f"level {spec.level}"),
        intended_use=INTENDED_USE,
        blocks=blocks,
    )


def _run_point(spec: StudySpec) -> dict[str, Any]:
    outcomes = run_study(spec)
    arm = list(spec.protocol.arms).index("C")
    medians = outcomes["kidneys true median Gy"][:, arm]
    statements = {s["statement"]: s["share_of_trials"] for s in published_statements(spec, outcomes)}
    return {"arm_C_kidneys_median_Gy": six_digits(float(np.nanmean(medians))), "statements": statements}


def _point_record(point: GridPoint) -> dict[str, Any]:
    return {name: getattr(point, name) for name in ("base_MBq", "ratio", "drift", "minimum_factor", "risk")}


def _arm_at(arm: Arm, point: GridPoint) -> Arm:
    """The arm with another base of 90Y and another minimum; caps keep their factor."""
    if arm.variable is None or arm.minimum_MBq is None:
        return arm
    base = {n: point.base_MBq if n == _Y90 else value for n, value in arm.base_MBq.items()}
    scale = base[arm.variable] / arm.base_MBq[arm.variable]
    caps = None if arm.cap_MBq is None else tuple(scale * cap for cap in arm.cap_MBq)
    return replace(arm, base_MBq=base, minimum_MBq=point.minimum_factor * base[arm.variable], cap_MBq=caps)


def _kidney_ratio(spec: StudySpec) -> float:
    """Ratio of the typical subject before any factor."""
    plain = replace(spec.population, nuclide_factor={})
    block = draw_block(spec.protocol, plain, spec.measurement, trials=1, per_trial=4, seed=0)
    kidneys = block.population[REGIONS.index("kidneys")]
    return float(kidneys[block.nuclides.index(_Y90)] / kidneys[block.nuclides.index("Lu-177")])


def _panel(rows: Sequence[dict[str, Any]], drift: float) -> Panel:
    """Cells of base and ratio at one drift, shaded by the number of statements that hold."""
    canvas = Canvas(220.0, 212.0)
    canvas.text((4, 12), f"Drift {drift:.2f}", size=10.5, fill=palette.INK, strong=True)
    for i, base in enumerate(BASES_MBq):
        canvas.text((76 + 52 * i, 202), f"{base / 1000:.2f}", anchor="middle")
        for j, ratio in enumerate(RATIOS):
            row = next(
                r
                for r in rows
                if (r["base_MBq"], r["ratio"], r["drift"]) == (base, ratio, drift)
                and (r["minimum_factor"], r["risk"]) == (DEFAULT.minimum_factor, DEFAULT.risk)
            )
            holds = sum((share or 0.0) > HOLDS for share in row["statements"].values())
            top = 134 - 50 * j
            fill = palette.mix(palette.ACCENT, 0.08 + 0.6 * (holds / len(row["statements"])) ** 3)
            canvas.rect((51 + 52 * i, top), (50, 48), fill=fill)
            ink = palette.PAPER if holds == len(row["statements"]) else palette.INK
            words = f"{holds} of {len(row['statements'])}"
            canvas.text((76 + 52 * i, top + 20), words, anchor="middle", fill=ink, strong=True)
            canvas.text((76 + 52 * i, top + 36), f"{row['arm_C_kidneys_median_Gy']:.1f}", anchor="middle", fill=ink)
            if i == 0:
                canvas.text((46, top + 27), f"{ratio:.1f}", anchor="end")
    canvas.text((4, 27), "ratio ↑, 90Y base (GBq) →", size=9)
    return Panel(canvas.svg(), f"Statements that hold at drift {drift:.2f}")

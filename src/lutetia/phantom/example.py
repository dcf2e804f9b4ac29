"""The packaged example cases: a woman in arm B of `duonen` whose true doses are known.

Two finished tandem cycles, four SPECT/CT each; the second was given what the first one's dosimetry proposes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from lutetia.core.draws import lognormal_factors, stream
from lutetia.imaging.writing.common import new_folder
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.camera import Camera
from lutetia.phantom.case import (
    ADMINISTERED_AT,
    BLOOD_TIMES_H,
    WHOLE_BODY_TIMES_H,
    ZONE,
    CaseOptions,
    curve_csv,
    cycle_lines,
    subject_lines,
    write_course,
)
from lutetia.phantom.shapes import Motion
from lutetia.phantom.subject import Subject, reference_woman, second_cycle_of

CENTRE = (0.0, 30.0, 40.0)
EXAMPLE_MOTIONS = (
    Motion((2.0, -1.5, 3.0), (0.5, 0.0, 1.0), CENTRE),
    Motion(centre_mm=CENTRE),
    Motion((-4.0, 2.0, -5.0), (-1.0, 0.5, 2.0), CENTRE),
    Motion((4.0, 1.0, 6.5), (1.5, -1.0, -2.5), CENTRE),
)
SECOND_CYCLE_MOTIONS = (
    Motion((-3.0, -4.0, 6.0), (1.0, -0.5, -1.5), CENTRE),
    Motion((3.0, -3.0, -4.0), (-0.5, 0.5, 1.0), CENTRE),
    Motion((-1.0, 1.5, 2.5), (0.5, 1.5, -0.5), CENTRE),
    Motion((-5.0, -2.0, 1.0), (0.0, -1.0, 2.0), CENTRE),
)
BETWEEN_CYCLES = timedelta(weeks=8)
# What `lutetia plan` proposes for cycle 2 from cycle 1 of seed 1, within a step of 50 MBq (a test repeats it).
SECOND_CYCLE_MBQ = (("Lu-177", 3700.0), ("Y-90", 2200.0))
ORGANS = ("left kidney", "right kidney", "liver", "spleen")
DRAWN = (*ORGANS, "tumour 1", "tumour 2", "tumour 3", "vertebra L2", "vertebra L3", "vertebra L4")
# days from the first administration, and name of the visit
VISITS = ((-4, "baseline"), (28, "week 4"), (52, "pre-cycle 2"), (84, "week 12"), (107, "pre-cycle 3"))
# analyte, unit, lower and upper limit of normal, and a value for each visit
LABS: tuple[tuple[str, str, float | None, float | None, tuple[float, ...]], ...] = (
    ("haemoglobin", "g/L", 120, 160, (128, 121, 124, 118, 122)),
    ("platelets", "10^9/L", 150, 400, (241, 168, 189, 154, 172)),
    ("leukocytes", "10^9/L", 4.0, 10.0, (6.1, 4.3, 4.8, 4.0, 4.4)),
    ("neutrophils", "10^9/L", 1.8, 7.5, (3.8, 2.7, 3.0, 2.5, 2.8)),
    ("lymphocytes", "10^9/L", 1.0, 4.0, (1.6, 0.9, 1.1, 0.8, 1.0)),
    ("creatinine", "umol/L", 45, 84, (66, 68, 67, 69, 68)),
    ("alt", "U/L", None, 35, (24, 27, 25, 28, 26)),
    ("ast", "U/L", None, 35, (26, 28, 27, 29, 27)),
    ("alp", "U/L", 35, 105, (88, 92, 90, 93, 91)),
    ("ggt", "U/L", None, 40, (36, 38, 37, 39, 38)),
    ("bilirubin", "umol/L", None, 21, (9, 10, 9, 10, 9)),
    ("albumin", "g/L", 35, 52, (42, 41, 42, 41, 41)),
    ("inr", "1", None, 1.2, (1.0, 1.0, 1.0, 1.0, 1.0)),
)


def example_options(seed: int = 1) -> CaseOptions:
    """How the packaged example is measured: counts with a calibration, 1 % bremsstrahlung of 90Y, small movements."""
    camera = Camera(y90_cps_per_MBq=0.1, calibration_error=1.01)
    return CaseOptions(seed=seed, camera=camera, motions=EXAMPLE_MOTIONS, regions=DRAWN)


def example_course(seed: int = 1) -> list[tuple[EllipsoidAnatomy, CaseOptions]]:
    """Body and measurement of both cycles: outlines of the first as RTSTRUCT, of the second as SEG."""
    first, subject = example_options(seed), reference_woman()
    second = replace(
        first,
        number=2,
        administered_at=ADMINISTERED_AT + BETWEEN_CYCLES,
        administered_MBq=SECOND_CYCLE_MBQ,
        motions=SECOND_CYCLE_MOTIONS,
        segmentation="SEG",
    )
    return [(EllipsoidAnatomy(subject), first), (EllipsoidAnatomy(second_cycle_of(subject)), second)]


def write_example(path: Path, *, seed: int = 1) -> Path:
    """Write the packaged example: two finished tandem cycles with four SPECT/CT each, about 62 MB.

    Parameters
    ----------
    path
        Folder to make; it must not exist, or be empty.
    seed
        Noise of scans and samples; the same seed gives the same bytes.

    Raises
    ------
    OutputError
        If the folder has content or cannot be written.
    """
    return write_course(example_course(seed), path, labs=labs_csv())


def write_table_example(path: Path, *, seed: int = 1) -> Path:
    """Write an example made of tables only: two finished tandem cycles eight weeks apart, the second with less 90Y."""
    subject = reference_woman()
    given = ({"Lu-177": 3700.0, "Y-90": 3700.0}, dict(SECOND_CYCLE_MBQ))
    starts = (ADMINISTERED_AT, ADMINISTERED_AT + BETWEEN_CYCLES)
    lines = ['schema = "lutetia.case/1"', f'timezone = "{ZONE}"', "", *subject_lines(subject, labs=True)]
    lines += ["", "[protocol]", 'name = "duonen"', 'arm = "B"', "", "[calibration]", "sd_percent = 4"]
    with new_folder(path) as beside:
        for number, (start, activity) in enumerate(zip(starts, given, strict=True), start=1):
            folder = beside / f"cycle{number}"
            folder.mkdir()
            _write_cycle_tables(subject, folder, activity["Lu-177"], seed=10 * seed + number)
            lines += ["", *cycle_lines(number, start, activity), *_table_lines(subject, number)]
        (beside / "labs.csv").write_text(labs_csv(), encoding="utf-8", newline="\n")
        (beside / "case.toml").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


TABLE_REGIONS = ("left kidney", "right kidney", "liver", "spleen", "tumour 1")


def _write_cycle_tables(subject: Subject, folder: Path, administered_MBq: float, *, seed: int) -> None:
    rows = ["region,time_h,activity_MBq,sd_MBq"]
    for region in TABLE_REGIONS:
        times = np.array([4.0, 24.0, 96.0, 168.0])
        exact = subject.organ(region).biology.activity_MBq(times, "Lu-177", administered_MBq)
        measured = exact * lognormal_factors(stream(seed, "phantom", region), 0.04, len(times))
        rows += [f"{region},{t:g},{a:.6g},{0.04 * a:.3g}" for t, a in zip(times, measured, strict=True)]
    texts = {
        "regions.csv": "\n".join(rows) + "\n",
        "blood.csv": curve_csv(
            subject.blood_per_mL, BLOOD_TIMES_H, administered_MBq, column="activity_MBq_per_mL", cv=0.03, seed=seed
        ),
        "whole_body.csv": curve_csv(
            subject.whole_body(), WHOLE_BODY_TIMES_H, administered_MBq, column="activity_MBq", cv=0.03, seed=seed
        ),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _table_lines(subject: Subject, number: int) -> list[str]:
    masses = ", ".join(f'"{r}" = {subject.mass_g(r):.1f}' for r in TABLE_REGIONS)
    lines = ["", "[cycles.regions]", f'file = "cycle{number}/regions.csv"', f"masses_g = {{ {masses} }}"]
    lines += ["", "[cycles.blood]", f'file = "cycle{number}/blood.csv"']
    return [*lines, "", "[cycles.whole_body]", f'file = "cycle{number}/whole_body.csv"']


def labs_csv() -> str:
    """Laboratory values at baseline, at the nadir after each cycle and before cycles 2 and 3, as text of a CSV file."""
    rows = ["subject_id,sample_id,analyte,taken_at,visit,qualifier,value,unit,lln,uln,missing_reason"]
    for sample, (day, visit) in enumerate(VISITS):
        taken = (ADMINISTERED_AT + timedelta(days=day)).replace(hour=8, minute=0).isoformat()
        for analyte, unit, lln, uln, values in LABS:
            low, high = ("" if v is None else f"{v:g}" for v in (lln, uln))
            rows.append(f"VIRTUAL-001,S{sample + 1},{analyte},{taken},{visit},,{values[sample]:g},{unit},{low},{high},")
    return "\n".join(rows) + "\n"

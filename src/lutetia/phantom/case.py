"""A complete case folder from a virtual body, cycle by cycle: scans, regions, blood and whole body, and the truth.

What can be made wrong on purpose is an option: resolution that the case states, shifted outlines, noise, calibration.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydicom.uid import UID

from lutetia.core.draws import lognormal_factors, stream
from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.numbers import six_digits
from lutetia.core.volume import Volume
from lutetia.imaging.writing.common import PatientPosition, Study, WrittenSeries, new_folder
from lutetia.imaging.writing.ct import write_ct_series
from lutetia.imaging.writing.nm import write_nm
from lutetia.imaging.writing.pt import DecayCorrection, write_pt_series
from lutetia.imaging.writing.radiopharmaceutical import Radiopharmaceutical
from lutetia.nuclear.nuclides import nuclide
from lutetia.phantom.anatomy import Anatomy
from lutetia.phantom.biology import Biology
from lutetia.phantom.camera import Camera, acquire_counts
from lutetia.phantom.shapes import STILL, Motion, Vector
from lutetia.phantom.spheres import measure_spheres, recovery_csv
from lutetia.phantom.subject import Subject
from lutetia.phantom.truth import TrueDose

ZONE = "Europe/Warsaw"
ADMINISTERED_AT = datetime(2026, 1, 12, 9, 30, tzinfo=ZoneInfo(ZONE))
BLOOD_TIMES_H = (0.25, 0.75, 1.5, 3.0, 6.0, 24.0, 48.0, 96.0, 168.0)
WHOLE_BODY_TIMES_H = (0.5, 4.0, 24.0, 48.0, 96.0, 168.0)


def spect_grid() -> Grid:
    """128 × 128 × 96 voxels of 4.8 mm."""
    return axis_aligned_grid((96, 128, 128), (4.8, 4.8, 4.8), origin_mm=(-304.8, -304.8, -205.0))


def ct_grid() -> Grid:
    """160 × 120 × 113 voxels of 2.4 × 2.4 × 3 mm: trunk from the lower lungs to the pelvis."""
    return axis_aligned_grid((113, 120, 160), (3.0, 2.4, 2.4), origin_mm=(-190.8, -142.8, -148.0))


def in_position(grid: Grid, position: PatientPosition) -> Grid:
    """The same voxels as a scanner orders them for a subject in that position: axes that run backwards are flipped."""
    affine = grid.affine.copy()
    for axis in {"HFS": (), "FFS": (0, 2), "HFP": (1, 2), "FFP": (0, 1)}[position]:
        affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
        affine[:3, axis] *= -1.0
    return Grid(grid.shape, affine)


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """How a case is measured, and what is wrong with it.

    `camera` is what truly happens; `stated_fwhm_mm` is what `case.toml` says (and what the recovery phantom has).
    `motions` places the subject in each scan; `outline_shift_mm` shifts the drawn regions against the CT;
    `curve_cv` is the noise of blood and whole-body samples. Times are those of mid-acquisition. `number` is the cycle
    that is measured, given at `administered_at`; noise differs between cycles of one seed, the identity does not.
    """

    seed: int = 1
    number: int = 1
    administered_at: datetime = ADMINISTERED_AT
    times_h: tuple[float, ...] = (4.0, 24.0, 96.0, 168.0)
    duration_s: float = 1800.0
    camera: Camera = field(default_factory=Camera)
    stated_fwhm_mm: float = 10.0
    calibration_sd_percent: float = 4.0
    motions: tuple[Motion, ...] = ()
    outline_shift_mm: Vector = (0.0, 0.0, 0.0)
    drawn_on: int = 2
    regions: tuple[str, ...] | None = None
    image: Literal["NM", "PT", "NIfTI"] = "NM"
    decay_correction: DecayCorrection = "NONE"
    segmentation: Literal["RTSTRUCT", "SEG", "label map"] = "RTSTRUCT"
    position: PatientPosition = "HFS"
    with_ct: bool = True
    curve_cv: float = 0.03
    arm: str = "B"
    administered_MBq: tuple[tuple[str, float], ...] = (("Lu-177", 3700.0), ("Y-90", 3700.0))
    grid: Grid = field(default_factory=spect_grid)
    ct_grid: Grid = field(default_factory=ct_grid)

    def motion(self, scan: int) -> Motion:
        """Position of the subject in scan 1, 2, …"""
        return self.motions[scan - 1] if scan <= len(self.motions) else STILL


def write_image_case(anatomy: Anatomy, path: Path, options: CaseOptions, *, labs: str | None = None) -> Path:
    """Write a case folder with one imaged cycle and its `truth.json`; the folder appears only when complete.

    Raises
    ------
    OutputError
        If the folder has content or cannot be written.
    """
    return write_course([(anatomy, options)], path, labs=labs)


def write_course(cycles: Sequence[tuple[Anatomy, CaseOptions]], path: Path, *, labs: str | None = None) -> Path:
    """Write a case folder with imaged cycles of one subject and `truth.json`; the folder appears only when complete.

    Parameters
    ----------
    cycles
        The body and how it is measured, cycle by cycle; seed, arm, camera and what is stated of it are those of the
        first cycle for the whole course.

    Raises
    ------
    OutputError
        If the folder has content or cannot be written.
    """
    subject, first = cycles[0][0].subject, cycles[0][1]
    with new_folder(path) as beside:
        drawn = [_write_cycle(anatomy, beside / f"cycle{options.number}", options) for anatomy, options in cycles]
        stated = replace(first.camera, fwhm_mm=first.stated_fwhm_mm, calibration_error=1.0)
        _write(beside / "recovery.csv", recovery_csv(measure_spheres(stated, seed=first.seed)))
        if labs is not None:
            _write(beside / "labs.csv", labs)
        every = [options for _, options in cycles]
        _write(beside / "case.toml", case_toml(subject, every, regions=drawn, labs=labs is not None))
        _write(beside / "truth.json", json.dumps(truth(cycles), ensure_ascii=False, indent=1) + "\n")
    return path


def _write_cycle(anatomy: Anatomy, folder: Path, options: CaseOptions) -> tuple[str, ...]:
    """Write scans, outlines and tables of one cycle; returns the drawn regions in their order."""
    written = [_write_scan(anatomy, folder, scan, options=options) for scan in range(1, len(options.times_h) + 1)]
    drawn = _write_regions(anatomy, folder, written[options.drawn_on - 1], options=options)
    _write_tables(anatomy.subject, folder, options)
    return drawn


def scan_in_course(scan: int, options: CaseOptions) -> int:
    """Number of a scan that no other cycle of the course has, for its noise: 1, 2, … and 11, 12, … in cycle 2."""
    return scan + 10 * (options.number - 1)


def scan_counts(anatomy: Anatomy, scan: int, options: CaseOptions) -> Volume:
    """Reconstructed counts of scan 1, 2, …, with 90Y bremsstrahlung where 90Y was given."""
    time_h, given = options.times_h[scan - 1], dict(options.administered_MBq)
    decay = nuclide("Y-90").decay_constant_per_h - nuclide("Lu-177").decay_constant_per_h
    ratio = given.get("Y-90", 0.0) / given["Lu-177"] * float(np.exp(-decay * time_h))
    grid = in_position(options.grid, options.position)
    return acquire_counts(
        anatomy.activity(grid, options.motion(scan), time_h=time_h, administered_MBq=given["Lu-177"]),
        options.camera,
        stream(options.seed, "phantom", "spect noise", scan_in_course(scan, options)),
        duration_s=options.duration_s,
        y90_per_lu177=ratio,
    )


def _write_scan(anatomy: Anatomy, cycle: Path, scan: int, *, options: CaseOptions) -> WrittenSeries:
    """Write SPECT and CT of one visit; returns the series on which regions are drawn."""
    started, subject = scan_start(scan, options), anatomy.subject
    serial = scan_in_course(scan, options)
    study = Study(
        f"{subject.name} {options.seed} {serial} {options.image} {options.position}",
        f"VIRTUAL-{options.seed:04d}",
        subject.sex,
        started - timedelta(minutes=10),
        position=options.position,
        weight_kg=subject.weight_kg,
        height_cm=subject.height_cm,
    )
    given = Radiopharmaceutical("Lu-177", dict(options.administered_MBq)["Lu-177"], options.administered_at)
    timing: dict[str, Any] = {"given": given, "acquired_at": started, "duration_s": options.duration_s}
    spect = _write_spect(
        scan_counts(anatomy, scan, options), cycle / spect_name(scan, options), study, options=options, timing=timing
    )
    if not options.with_ct:
        return spect
    grid = in_position(options.ct_grid, options.position)
    ct = anatomy.ct(grid, options.motion(scan), seed=100 * options.seed + serial)
    path = cycle / ct_name(scan, options)
    if options.image == "NIfTI":
        return _as_nifti(ct, path, study)
    return write_ct_series(ct, path, study, acquired_at=started - timedelta(minutes=5))


def _write_spect(
    counts: Volume, path: Path, study: Study, *, options: CaseOptions, timing: dict[str, Any]
) -> WrittenSeries:
    if options.image == "NM":
        return write_nm(counts, path, study, **timing)
    quantified = _quantified(counts, options)
    if options.image == "NIfTI":
        return _as_nifti(quantified, path, study)
    return write_pt_series(quantified, path, study, **timing, decay_correction=options.decay_correction)


def _as_nifti(volume: Volume, path: Path, study: Study) -> WrittenSeries:
    from lutetia.imaging.writing.nifti import write_nifti

    return WrittenSeries(study, UID(""), UID(""), (), (write_nifti(volume, path),), volume.grid)


def _quantified(counts: Volume, options: CaseOptions) -> Volume:
    """MBq/mL as the scanner would compute them with its own calibration factor."""
    factor = 1.0 / (options.camera.cps_per_MBq * options.duration_s * counts.grid.voxel_mL)
    return Volume(counts.values * np.float32(factor), counts.grid, "MBq_per_mL")


def scan_start(scan: int, options: CaseOptions) -> datetime:
    """Start of the acquisition, so that its middle is at the scan's time after administration."""
    middle = options.administered_at + timedelta(hours=options.times_h[scan - 1])
    return middle - timedelta(seconds=options.duration_s / 2)


def spect_name(scan: int, options: CaseOptions) -> str:
    """File (NM) or folder (PT) of a scan within its cycle's folder."""
    return f"spect_{options.times_h[scan - 1]:03.0f}h" + {"NM": ".dcm", "PT": "", "NIfTI": ".nii.gz"}[options.image]


def ct_name(scan: int, options: CaseOptions) -> str:
    """Folder of the CT of a scan within its cycle's folder."""
    return f"ct_{options.times_h[scan - 1]:03.0f}h" + (".nii.gz" if options.image == "NIfTI" else "")


def _write_regions(anatomy: Anatomy, cycle: Path, drawn_on: WrittenSeries, *, options: CaseOptions) -> tuple[str, ...]:
    """Write the outlines; returns the regions in their order."""
    motion = options.motion(options.drawn_on)
    x, y, z = (a + b for a, b in zip(motion.shift_mm, options.outline_shift_mm, strict=True))
    masks = anatomy.masks(drawn_on.grid, replace(motion, shift_mm=(x, y, z)))
    chosen = [m for m in masks if options.regions is None or m.region in options.regions]
    drawn_at = scan_start(options.drawn_on, options) + timedelta(hours=3)
    if options.segmentation == "SEG":
        from lutetia.imaging.writing.seg import write_seg

        write_seg(chosen, cycle / "seg.dcm", drawn_on, drawn_at=drawn_at)
    elif options.segmentation == "label map":
        from lutetia.imaging.writing.nifti import write_label_map

        write_label_map(chosen, cycle / "labels.nii.gz")
    else:
        from lutetia.imaging.writing.rtstruct import write_rtstruct

        write_rtstruct(chosen, cycle / "rtstruct.dcm", drawn_on, drawn_at=drawn_at)
    return tuple(m.region for m in chosen)


def _write_tables(subject: Subject, cycle: Path, options: CaseOptions) -> None:
    given = dict(options.administered_MBq)["Lu-177"]
    for name, biology, times, column in (
        ("blood", subject.blood_per_mL, BLOOD_TIMES_H, "activity_MBq_per_mL"),
        ("whole_body", subject.whole_body(), WHOLE_BODY_TIMES_H, "activity_MBq"),
    ):
        text = curve_csv(
            biology, times, given, column=column, cv=options.curve_cv, seed=options.seed, cycle=options.number
        )
        _write(cycle / f"{name}.csv", text)


def curve_csv(
    biology: Biology,
    times_h: tuple[float, ...],
    administered_MBq: float,
    *,
    column: str,
    cv: float,
    seed: int,
    cycle: int = 1,
) -> str:
    """A measured 177Lu curve with its standard deviations, as text of a CSV file."""
    exact = biology.activity_MBq(times_h, "Lu-177", administered_MBq)
    noise = stream(seed, "phantom", column, *([cycle] if cycle > 1 else []))
    measured = exact * lognormal_factors(noise, cv, len(times_h))
    sd = column.replace("activity", "sd")
    rows = [f"{t:g},{a:.6g},{max(cv, 0.005) * a:.3g}" for t, a in zip(times_h, measured, strict=True)]
    return "\n".join([f"time_h,{column},{sd}", *rows]) + "\n"


def truth(cycles: Sequence[tuple[Anatomy, CaseOptions]]) -> dict[str, Any]:
    """Everything that is true about the case, as written into `truth.json`."""
    subject, first = cycles[0][0].subject, cycles[0][1]
    records = [_cycle_truth(anatomy, options) for anatomy, options in cycles]
    return {
        "schema": "lutetia.truth/1",
        "subject": subject.name,
        "model": "image-space SPECT model (Gaussian resolution, correlated noise), not a projector",
        "cycles": records,
        "cumulative": _cumulative_truth(records),
        "resolution_fwhm_mm": first.camera.fwhm_mm,
        "calibration_error": first.camera.calibration_error,
    }


def _cycle_truth(anatomy: Anatomy, options: CaseOptions) -> dict[str, Any]:
    given = dict(options.administered_MBq)
    doses = {name: anatomy.doses(name, MBq) for name, MBq in given.items()}
    regions = [
        {
            "region": d.region,
            "mass_g": six_digits(d.mass_g),
            "nuclides": {name: _dose_entry(doses[name][row]) for name in given},
            "absorbed_dose_Gy": six_digits(sum(doses[name][row].absorbed_dose_Gy for name in given)),
        }
        for row, d in enumerate(doses["Lu-177"])
    ]
    motions = [options.motion(scan) for scan in range(1, len(options.times_h) + 1)]
    return {
        "number": options.number,
        "administered_MBq": given,
        "regions": regions,
        "motion": [{"shift_mm": m.shift_mm, "rotation_deg": m.rotation_deg, "centre_mm": m.centre_mm} for m in motions],
    }


def _cumulative_truth(cycles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sum over the cycles, by region."""
    total: dict[str, float] = {}
    for row in (row for cycle in cycles for row in cycle["regions"]):
        total[row["region"]] = total.get(row["region"], 0.0) + row["absorbed_dose_Gy"]
    return [{"region": region, "absorbed_dose_Gy": six_digits(dose)} for region, dose in total.items()]


def _dose_entry(dose: TrueDose) -> dict[str, float]:
    return {
        "time_integrated_activity_MBq_h": six_digits(dose.time_integrated_activity_MBq_h),
        "absorbed_dose_Gy": six_digits(dose.absorbed_dose_Gy),
        "self_dose_Gy": six_digits(dose.self_Gy),
        "cross_dose_Gy": six_digits(dose.cross_Gy),
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def case_toml(
    subject: Subject, cycles: Sequence[CaseOptions], *, regions: Sequence[tuple[str, ...]], labs: bool
) -> str:
    """Text of `case.toml` for imaged cycles; `regions` are the drawn ones of each cycle."""
    lines = ['schema = "lutetia.case/1"', f'timezone = "{ZONE}"', "", *subject_lines(subject, labs=labs)]
    lines += ["", "[protocol]", 'name = "duonen"', f'arm = "{cycles[0].arm}"', "", *_calibration_lines(cycles[0])]
    for options, drawn in zip(cycles, regions, strict=True):
        lines += _imaged_cycle_lines(options, drawn)
    return "\n".join(lines) + "\n"


def _imaged_cycle_lines(options: CaseOptions, regions: tuple[str, ...]) -> list[str]:
    folder = f"cycle{options.number}"
    lines = ["", *cycle_lines(options.number, options.administered_at, dict(options.administered_MBq))]
    for scan in range(1, len(options.times_h) + 1):
        lines += ["", "[[cycles.scans]]", f'spect = "{folder}/{spect_name(scan, options)}"']
        lines += [f'ct = "{folder}/{ct_name(scan, options)}"'] if options.with_ct else []
        if options.image == "NIfTI":
            lines += [f"time_h = {options.times_h[scan - 1]:g}", 'decay_corrected_to = "none"', 'unit = "MBq_per_mL"']
    drawn = {"SEG": "seg.dcm", "RTSTRUCT": "rtstruct.dcm", "label map": "labels.nii.gz"}[options.segmentation]
    lines += ["", "[[cycles.segmentation]]", f'file = "{folder}/{drawn}"', f"scan = {options.drawn_on}"]
    if options.segmentation == "label map":
        lines += ["labels = { " + ", ".join(f'{n} = "{name}"' for n, name in enumerate(regions, start=1)) + " }"]
    lines += ["", "[cycles.blood]", f'file = "{folder}/blood.csv"']
    return [*lines, "", "[cycles.whole_body]", f'file = "{folder}/whole_body.csv"']


def subject_lines(subject: Subject, *, labs: bool) -> list[str]:
    """The `[subject]` table."""
    lines = ["[subject]", 'id = "VIRTUAL-001"', f'sex = "{subject.sex}"', f"age_years = {subject.age_years:g}"]
    lines += [f"height_cm = {subject.height_cm:g}", f"weight_kg = {subject.weight_kg:g}"]
    lines += [f"hematocrit = {subject.hematocrit:g}", "kidneys_present = 2"]
    return lines + (['labs = "labs.csv"'] if labs else [])


def cycle_lines(number: int, administered_at: datetime, administered_MBq: dict[str, float]) -> list[str]:
    """The head of a `[[cycles]]` table."""
    lines = ["[[cycles]]", f"number = {number}", f"administered_at = {administered_at.isoformat()}"]
    return [*lines, "[cycles.administered_MBq]", *(f'"{n}" = {a:.1f}' for n, a in administered_MBq.items())]


def _calibration_lines(options: CaseOptions) -> list[str]:
    lines = ["[calibration]"]
    if options.image == "NM":
        lines += [f"cps_per_MBq = {options.camera.cps_per_MBq:g}"]
        lines += [f"y90_cps_per_MBq = {options.camera.y90_cps_per_MBq:g}"] if options.camera.y90_cps_per_MBq else []
    lines += [f"sd_percent = {options.calibration_sd_percent:g}", "date = 2025-12-01"]
    lines += [f"resolution_fwhm_mm = {options.stated_fwhm_mm:g}", 'recovery_csv = "recovery.csv"']
    return [*lines, "recovery_applied = false"]

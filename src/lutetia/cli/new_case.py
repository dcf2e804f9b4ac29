"""`lutetia new-case`: a DICOM export sorted into a case without names, with what is missing as comments."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lutetia.core.clock import time_zone
from lutetia.core.regions import canonical_region
from lutetia.errors import OutputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lutetia.imaging.sorting import Export, ScanGroup, Series

CYCLE_GAP_DAYS = 14  # assumption: scans of one cycle are closer together than this, cycles further apart


def new_case(
    dicom_folder: Annotated[Path, typer.Argument(help="DICOM export of one subject, any depth of subfolders.")],
    out: Annotated[Path, typer.Option(help="Folder of the case to make; it must not exist, or be empty.")],
    subject: Annotated[str, typer.Option(help="Pseudonym of the subject.")] = "SUBJECT-001",
    timezone: Annotated[str, typer.Option(help="IANA zone of DICOM times, such as Europe/Warsaw.")] = "",
) -> None:
    """Sort a DICOM export into a case: copies without names, and a case.toml to complete.

    Example: lutetia new-case export/ --out DUO-014 --subject DUO-014 --timezone Europe/Warsaw
    """
    from lutetia.imaging.sorting import sort_folder

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: found a file or a folder with content; expected a new or empty folder; name another")
    export = sort_folder(dicom_folder, zone=time_zone(timezone) if timezone else None)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        text = fill_case(export, beside, subject=subject, timezone=timezone)
        (beside / "case.toml").write_text(text, encoding="utf-8")
        if out.exists():
            out.rmdir()
        beside.chmod(0o755)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for doubt in export.doubts:
        print(f"note: {doubt.message}")
    print(f"Wrote {out / 'case.toml'} with {len(export.scans)} scans; complete the lines that begin with # NEEDED")


def fill_case(export: Export, folder: Path, *, subject: str, timezone: str) -> str:
    """Copy the series of a sorted export into a case folder, without identifiers, and give the text of case.toml."""
    salt = secrets.token_hex(16)
    zone = time_zone(timezone) if timezone else UTC
    text = _head(export, subject, timezone, counts=_any_counts(export))
    for number, members in enumerate(split_cycles(export.scans), start=1):
        text += _cycle_head(number, members, export.scans[members[0]].spect.acquired, zone)
        for place, index in enumerate(members, start=1):
            text += _scan_head(export.scans[index], zone) + _copy_scan(
                export.scans[index], folder, number, place, subject, salt
            )
        text += _copy_segmentations(export, members, folder, number, subject, salt)
    return text


def split_cycles(scans: Sequence[ScanGroup]) -> list[list[int]]:
    """Indices of scans by cycle: a gap over `CYCLE_GAP_DAYS` begins a new one."""
    cycles: list[list[int]] = []
    previous: datetime | None = None
    for index, scan in enumerate(scans):
        start = scan.spect.acquired
        if previous is None or start is None or (start - previous).days >= CYCLE_GAP_DAYS:
            cycles.append([])
        cycles[-1].append(index)
        previous = start
    return cycles


def _any_counts(export: Export) -> bool:
    """Whether any image of the export is in counts and needs the camera's sensitivity."""
    from lutetia.imaging.dicom_files import read_dataset
    from lutetia.imaging.spect import in_counts

    first = (read_dataset(scan.spect.files[0], where="DICOM export") for scan in export.scans)
    return any(in_counts(dataset, where="DICOM export") for dataset in first)


def _head(export: Export, subject: str, timezone: str, *, counts: bool) -> str:
    """Everything above the cycles; `counts` says that images need the camera's sensitivity."""
    sensitivity = (
        "# NEEDED cps_per_MBq = 9.4         # sensitivity of the camera: images are in counts"
        if counts
        else "# cps_per_MBq = 9.4                # needed for images in counts; these are not"
    )
    zone = f'timezone = "{timezone}"\n' if timezone else '# NEEDED timezone = "Europe/Warsaw"   # of DICOM times\n'
    sex = {"F": 'sex = "female"\n', "M": 'sex = "male"\n'}.get(export.sex, '# NEEDED sex = "female"\n')
    return f"""schema = "lutetia.case/1"
{zone}
[subject]
id = "{_plain(subject)}"
{sex}# age_years = 58
# height_cm = 165.0
# weight_kg = 68.0
# hematocrit = 0.38
# kidneys_present = 2
# risk_factors = ["hypertension"]
# labs = "labs.csv"

[protocol]
name = "duonen"
# NEEDED arm = "B"

[calibration]
# NEEDED one of the next three
# resolution_fwhm_mm = 10.0
# recovery_csv = "recovery.csv"    # volume_mL,rc,sd of a sphere phantom
# recovery_applied = true
{sensitivity}
# sd_percent = 4.0
# y90_cps_per_MBq = 0.5            # if 90Y was given too: its counts in the 177Lu window; needs cps_per_MBq
"""


def _cycle_head(number: int, members: Sequence[int], first: datetime | None, zone: tzinfo) -> str:
    """Start of the table of a cycle; its infusion was on the day of its first scan or before.

    The time is no time until it is completed, so that none is taken by mistake.
    """
    local = None if first is None else first.astimezone(zone)
    day = "YYYY-MM-DDThh:mm:00+01:00" if local is None else f"{local:%Y-%m-%d}Thh:mm:00{local.isoformat()[-6:]}"
    return f"""
[[cycles]]                         # {len(members)} scans
number = {number}
# NEEDED administered_at = {day}   # start of infusion: complete hh:mm, correct the day
[cycles.administered_MBq]          # residual subtracted
# NEEDED "Lu-177" = 7400.0
# "Y-90" = 3700.0                  # if it was given too; the scans measure 177Lu, 90Y is predicted
"""


def _scan_head(scan: ScanGroup, zone: tzinfo) -> str:
    """Start of the table of a scan, with its acquisition time in the zone of the case."""
    acquired = scan.spect.acquired
    comment = "" if acquired is None else f"                   # acquired {acquired.astimezone(zone):%Y-%m-%d %H:%M %Z}"
    return f"[[cycles.scans]]{comment}\n"


def _copy_scan(scan: ScanGroup, folder: Path, cycle: int, place: int, subject: str, salt: str) -> str:
    name = f"cycle{cycle}/spect_{place}"
    _copy(scan.spect, folder / name, subject, salt)
    text = f'spect = "{name}"\n'
    if scan.ct is None:
        return text + '# ct = "…"                       # none found for this scan\n'
    _copy(scan.ct, folder / f"cycle{cycle}/ct_{place}", subject, salt)
    return text + f'ct = "cycle{cycle}/ct_{place}"\n'


def _copy_segmentations(
    export: Export, members: Sequence[int], folder: Path, cycle: int, subject: str, salt: str
) -> str:
    text = ""
    known = [(s, n) for s, n in export.segmentations if n in members or (n is None and cycle == 1)]
    for order, (series, index) in enumerate(known, start=1):
        name = f"cycle{cycle}/{series.modality.lower()}_{order}"
        _copy(series, folder / name, subject, salt)
        text += f'[[cycles.segmentation]]\nfile = "{name}/0001.dcm"\n'
        text += (
            "# NEEDED scan = 1                  # not said in the file\n"
            if index is None
            else f"scan = {members.index(index) + 1}\n"
        )
        text += _labels(folder / name / "0001.dcm", series)
    if not known:
        text += '# NEEDED [[cycles.segmentation]]   # RTSTRUCT, SEG or NIfTI label map\n# file = "…"\n# scan = 1\n'
    return text


def _labels(path: Path, series: Series) -> str:
    """Names that are no known region, as a line to complete."""
    from lutetia.imaging.dicom_files import read_dataset
    from lutetia.imaging.rtstruct import rtstruct_names
    from lutetia.imaging.seg import seg_names

    dataset = read_dataset(path, where=path.name)
    names = rtstruct_names(dataset) if series.modality == "RTSTRUCT" else seg_names(dataset)
    known = {number: region for number, name in names.items() if (region := _region(name)) is not None}
    if len(known) == len(names):
        return ""
    other = ", ".join(f"{n} {_plain(name)!r}" for n, name in names.items() if n not in known)
    pairs = ", ".join(f'{n} = "{region}"' for n, region in known.items())
    return (
        f"labels = {{ {pairs} }}   # not used, as no known region: {other}\n"
        if known
        else (f'# NEEDED labels = {{ 1 = "left kidney" }}   # names in the file: {other}\n')
    )


def _region(name: str) -> str | None:
    try:
        return canonical_region(name)
    except UnknownNameError:
        return None


def _copy(series: Series, folder: Path, subject: str, salt: str) -> None:
    from lutetia.imaging.dicom_files import quiet, read_dataset
    from lutetia.imaging.hygiene import deidentify

    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(series.files, start=1):
        dataset = read_dataset(path, where="DICOM export")
        with quiet():
            deidentify(dataset, subject, salt=salt).save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _plain(text: str) -> str:
    """Text that cannot break a TOML string or comment."""
    return "".join(c if c.isprintable() and c not in '"\\' else "_" for c in text)

"""Dosimetry of a given cycle: upload of a case, received images, doses that will not come, the job, the reports.

An uploaded case waits in the trial's folder, one a person and cycle, until it is imported or replaced. What was
recognised lies beside it, so that only the upload and the import unpack it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import time
import zipfile
import zlib
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.responses import Response

from lutetia.errors import AccessDeniedError, InputError, LutetiaError, MissingRecordError
from lutetia.report.numbers import given_number, nuclide_text, with_unit
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.files import shown
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles_records import CycleNumber, read_cycle
from lutetia.web.reading_images import received_series
from lutetia.workflow.case_preview import preview_case
from lutetia.workflow.dicom_intake import SiteIdentities
from lutetia.workflow.dosimetry import (
    KIND,
    ImportCase,
    MissingDosimetry,
    import_case,
    read_report,
    record_missing_dosimetry,
)
from lutetia.workflow.downloads import Download
from lutetia.workflow.jobs import repeat_job
from lutetia.workflow.received_case import TABLES, ImportReceived, import_received, times_taken

_LARGEST = 4 * 1024**3
_MOST_FILES = 10_000
_KEPT_DAYS = 7
_REPORTS = {"report.html": "text/html; charset=utf-8", "report.pdf": "application/pdf",
            "result.json": "application/json"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReasonForm:
    """Why doses are computed again, or will not come."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationForm:
    """What images do not say."""

    cps_per_MBq: float | None = None
    sd_percent: float | None = None
    calibrated_on: date | None = None
    dead_time_us: float | None = None
    resolution_fwhm_mm: float | None = None
    y90_cps_per_MBq: float | None = None
    recovery_applied: bool = False
    hematocrit: float | None = None
    reason: str = ""
    series: tuple[str, ...] = ()


def show(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Upload of a case, and what was recognised of one that waits."""
    page.refuse_masked()
    return _case_page(page, subject_id, cycle, _empty(page))


def upload(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Keep an uploaded case until it is imported, and show what was recognised."""
    page.refuse_masked()
    read_cycle(page, subject_id, cycle)
    form, place = page.form(view.FAMILY), _waiting(page, subject_id, cycle)
    try:
        content = _packed(page)
    except InputError as error:
        form.errors["case"] = str(error)
        return _case_page(page, subject_id, cycle, form, status=422)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    _forget_old(place.parent)
    place.write_bytes(content)
    looked = _recognised(page, ImportCase(subject_id, cycle, place, form.value("reason") or "…"))
    _looked(place).write_text(json.dumps(looked), encoding="utf-8")
    return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}/dosimetry")


def take_case(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Import the case that waits: keep its files and queue its dosimetry."""
    page.refuse_masked()
    form, place = page.form(view.FAMILY), _waiting(page, subject_id, cycle)
    sent = form.read(ReasonForm) or ReasonForm()
    if not place.exists():
        raise MissingRecordError(f"cycle {cycle}: found no uploaded case that waits; upload it again")
    with tempfile.TemporaryDirectory(prefix="lutetia-case-") as folder:
        root = unpacked(place.read_bytes(), Path(folder))
        command = ImportCase(subject_id, cycle, root, sent.reason)
        done = _attempt(form, lambda: import_case(page.trial, page.actor, command))
    if done:
        _forget(place)
        return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}", notice="cycles.done.import")
    return _case_page(page, subject_id, cycle, form, status=422)


def discard(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Forget the uploaded case that waits."""
    _forget(_waiting(page, subject_id, cycle))
    return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}/dosimetry")


def _case_page(page: PageContext, subject_id: str, cycle: int, form: Form, *, status: int = 200) -> Response:
    note = _looked(_waiting(page, subject_id, cycle))
    looked = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {"found": None, "problem": ""}
    return _page(page, subject_id, cycle, form, "case", status=status, waits=note.exists(), **looked)


def _recognised(page: PageContext, waiting: ImportCase) -> dict[str, Any]:
    """What the waiting case holds, or why it cannot be imported."""
    try:
        with tempfile.TemporaryDirectory(prefix="lutetia-case-") as folder:
            root = unpacked(waiting.folder.read_bytes(), Path(folder))
            found = preview_case(
                page.trial, page.actor, ImportCase(waiting.subject_id, waiting.cycle, root, waiting.reason)
            )
    except LutetiaError as error:
        return {"found": None, "problem": str(error)}
    given = ", ".join(f"{nuclide_text(n)} {given_number(a)} MBq" for n, a in found.administered_MBq)
    return {"found": {"case": asdict(found), "given": given, "size": _size(found.bytes)}, "problem": ""}


def _looked(place: Path) -> Path:
    """Where it stands what was recognised of a waiting case."""
    return place.with_suffix(".json")


def _forget(place: Path) -> None:
    place.unlink(missing_ok=True)
    _looked(place).unlink(missing_ok=True)


def _size(count: int) -> str:
    return with_unit(count / 1e6, "MB") if count >= 1_000_000 else with_unit(count / 1e3, "kB")


def _packed(page: PageContext) -> bytes:
    """The uploaded zip, or a zip made of the uploaded files of a folder.

    Raises
    ------
    InputError
        If nothing was chosen, or a single file is no zip.
    """
    files = [f for f in (page.sent.getlist("case") if page.sent is not None else []) if isinstance(f, UploadFile)]
    files = [f for f in files if f.filename]
    if not files:
        raise InputError(page.t("cycles.case_missing"))
    for file in files:
        file.file.seek(0)
    if len(files) == 1 and (content := files[0].file.read())[:4] == b"PK\x03\x04":
        return content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            file.file.seek(0)
            archive.writestr(_safe(file.filename or ""), file.file.read())
    return buffer.getvalue()


def unpacked(content: bytes, folder: Path) -> Path:
    """Unpack a zip below a folder and return the folder with its case.toml; no member can leave the folder.

    Raises
    ------
    InputError
        If it is no zip, unpacks to too much, names a place outside, or holds not exactly one case.toml.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if sum(m.file_size for m in members) > _LARGEST:
                raise InputError(f"case: unpacks to more than {_LARGEST // 1024**3} GiB; leave out what is not needed")
            if len(members) > _MOST_FILES:
                raise InputError(f"case: found {len(members)} files; expected at most {_MOST_FILES} of one cycle")
            for member in members:
                target = folder / _safe(member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise InputError(f"case: found a file that cannot be unpacked ({error}); expected a zip file") from error
    cases = sorted(folder.rglob("case.toml"), key=lambda p: len(p.parts))
    if not cases or (len(cases) > 1 and len(cases[0].parts) == len(cases[1].parts)):
        raise InputError(f"case: found {len(cases)} files named case.toml; expected one, beside the images and tables")
    return cases[0].parent


def _safe(name: str) -> str:
    """A relative path without steps upwards; raises `InputError` for another one."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        raise InputError(f"case: found the path {name!r}; expected one inside of the case folder")
    return path.as_posix()


def _forget_old(folder: Path) -> None:
    """Uploads that nobody imported go after some days."""
    for left in folder.iterdir():
        if time.time() - left.stat().st_mtime > _KEPT_DAYS * 86_400:
            left.unlink(missing_ok=True)


def _waiting(page: PageContext, subject_id: str, cycle: int) -> Path:
    name = hashlib.sha256(f"{page.actor.user_id}\n{subject_id}\n{cycle}".encode()).hexdigest()
    return page.trial.folder / "incoming" / f"{name}.zip"


def show_images(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Received images of the cycle, with the form of what images do not say."""
    page.refuse_masked()
    return _images_page(page, subject_id, cycle, _empty(page))


def take_images(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Make a case of the received images and queue its dosimetry."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(CalibrationForm)) is not None:
        command = ImportReceived(
            subject_id, cycle, _calibration(sent), _table(page, "recovery"),
            {name: content for name in TABLES if (content := _table(page, name)) is not None},
            hematocrit=sent.hematocrit, reason=sent.reason, series=sent.series,
        )  # fmt: skip
        identities = SiteIdentities(page.trial)
        if _attempt(form, lambda: import_received(page.trial, identities, page.actor, command)):
            return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}", notice="cycles.done.import")
    return _images_page(page, subject_id, cycle, form, status=422)


def _calibration(sent: CalibrationForm) -> dict[str, float | str | bool | date]:
    named = {"cps_per_MBq": sent.cps_per_MBq, "sd_percent": sent.sd_percent, "date": sent.calibrated_on,
             "dead_time_us": sent.dead_time_us, "resolution_fwhm_mm": sent.resolution_fwhm_mm,
             "y90_cps_per_MBq": sent.y90_cps_per_MBq}  # fmt: skip
    found: dict[str, float | str | bool | date] = {k: v for k, v in named.items() if v is not None}
    return found | ({"recovery_applied": True} if sent.recovery_applied else {})


def _table(page: PageContext, name: str) -> bytes | None:
    found = page.upload(f"table_{name}")
    return found[1] if found is not None else None


def _images_page(page: PageContext, subject_id: str, cycle: int, form: Form, *, status: int = 200) -> Response:
    series = received_series(page.reader, page.actor, subject_id=subject_id, cycle=cycle)
    times = times_taken(page.reader, SiteIdentities(page.trial), subject_id, cycle=cycle, series=series)
    every = [row["series_uid"] for row in series]
    return _page(page, subject_id, cycle, form, "images", status=status, times=times,
                 ticked=every if status == 200 else form.values.get("series", ()),
                 series=sorted(series, key=lambda r: _sooner(r)))  # fmt: skip


def _sooner(row: Record) -> tuple[bool, float, str]:
    """Order by the time taken; series without a time come last."""
    at = row["taken_at"]
    return at is None, datetime.fromisoformat(at).timestamp() if at else 0.0, str(row["series_uid"])


def show_missing(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The form that says why no doses will come."""
    page.refuse_masked()
    return _page(page, subject_id, cycle, _empty(page), "missing")


def take_missing(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Record that no doses will come, and why."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(ReasonForm)) is not None:
        command = MissingDosimetry(subject_id, cycle, sent.reason)
        if form.attempt(record_missing_dosimetry, page.trial, page.actor, command) is not None:
            return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}", notice="cycles.done.missing")
    return _page(page, subject_id, cycle, form, "missing", status=422)


def _page(
    page: PageContext, subject_id: str, cycle: int, form: Form, tab: str, *, status: int = 200, **values: Any
) -> Response:
    found = read_cycle(page, subject_id, cycle)
    again = found.cycle["state"] == "DOSED"
    return page.render("cycles/dosimetry.html", status=status, form=form, tab=tab, again=again,
                       **view.head(page, found), **values)  # fmt: skip


def _empty(page: PageContext) -> Form:
    return page.saved_form(view.FAMILY, {})


def _attempt(form: Form, verb: Any) -> bool:
    """Run an import; every refusal of ours is a message on the form."""
    try:
        verb()
    except AccessDeniedError:
        raise
    except LutetiaError as error:
        form.errors[""] = str(error)
        return False
    return True


def job(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The state of the cycle's last job as a fragment that asks again; the page is loaded anew when it has ended.

    Who opens the address itself gets the cycle.
    """
    page.refuse_masked()
    found = read_cycle(page, subject_id, cycle)
    if "hx-request" not in page.request.headers:
        return page.redirect(found.path)
    jobs = queries.records(page.reader, page.actor, "jobs", subject_id=subject_id, cycle=cycle, kind=KIND)
    if not jobs:
        raise MissingRecordError(f"cycle {cycle}: found no job; import its case first")
    response = page.render("cycles/job_fragment.html", job=jobs[-1], path=found.path, subject=found.subject)
    if jobs[-1]["state"] in ("DONE", "FAILED"):
        response.headers["HX-Refresh"] = "true"
    return response


def repeat(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Queue the failed job again."""
    page.refuse_masked()
    jobs = queries.records(page.reader, page.actor, "jobs", subject_id=subject_id, cycle=cycle, kind=KIND)
    if not jobs:
        raise MissingRecordError(f"cycle {cycle}: found no job; import its case first")
    page.close()
    repeat_job(page.trial, page.actor, int(jobs[-1]["job_id"]))
    return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}", notice="cycles.done.repeat")


def report(page: Page, subject_id: str, cycle: CycleNumber, name: str) -> Response:
    """A report of the cycle's current result, opened or (`?save=yes`) saved: HTML, PDF or the result as JSON."""
    page.refuse_masked()
    if name not in _REPORTS:
        raise MissingRecordError(f"cycle {cycle}: found no file {name}; expected one of {', '.join(_REPORTS)}")
    content = read_report(page.trial, page.actor, subject_id, cycle, name=name)
    file = Download(f"{subject_id}-cycle-{cycle}-{name}", content)
    return shown(file, _REPORTS[name], save=page.argument("save") == "yes")

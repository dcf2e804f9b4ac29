"""Write the three files of a plan so that a failure leaves nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from lutetia.errors import OutputError
from lutetia.plan.report import plan_document
from lutetia.plan.run import Planned
from lutetia.report.html import render_html
from lutetia.report.pdf import render_pdf

NAMES = ("result.json", "report.html", "report.pdf")


def write_outputs(planned: Planned, folder: Path) -> Path:
    """Write `result.json`, `report.html` and `report.pdf` into a folder, all or none; returns the folder.

    The files are rendered and written beside the folder first and then renamed into it.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    check_folder(folder)
    contents = output_contents(planned)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".lutetia-", dir=folder.parent))
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from error
    try:
        for name, content in contents.items():
            (beside / name).write_bytes(content)
        _exchange(beside, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); free space or choose --out") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def output_contents(planned: Planned) -> dict[str, bytes]:
    """The bytes of the three files by name."""
    document = plan_document(planned.result, slices=planned.slices)
    return {
        "result.json": result_content(planned),
        "report.html": render_html(document).encode(),
        "report.pdf": render_pdf(document),
    }


def result_content(planned: Planned) -> bytes:
    """The bytes of `result.json`."""
    return json.dumps(planned.result, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"


def _exchange(beside: Path, folder: Path) -> None:
    """Move the new files into the folder; if one cannot be moved, everything is again as it was."""
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    begun = []
    try:
        for name in NAMES:
            begun.append(name)
            if (folder / name).exists():
                os.replace(folder / name, beside / f"{name}.old")
            os.replace(beside / name, folder / name)
    except OSError:
        for name in begun:
            _restore(beside / f"{name}.old", folder / name)
        if made:
            folder.rmdir()
        raise


def _restore(old: Path, place: Path) -> None:
    if old.exists():
        os.replace(old, place)
    elif old.with_suffix("").exists():
        return  # neither moved away nor replaced
    else:
        place.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Refuse a folder that the results cannot go into, before anything is computed or replaced.

    Raises
    ------
    OutputError
        If a file is in the place of the folder, or a folder in the place of one of the files.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: found a file; expected a folder, or nothing yet; choose another one with --out")
    for name in NAMES:
        if (folder / name).is_dir():
            raise OutputError(f"{folder / name}: found a folder in the place of a result; remove it, or choose --out")
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written; choose another folder with --out")

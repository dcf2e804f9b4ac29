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


def write_outputs(planned: Planned, folder: Path) -> Path:
    """Write `result.json`, `report.html` and `report.pdf` into a folder, all or none; returns the folder.

    The files are rendered and written beside the folder first and then renamed into it.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    document = plan_document(planned.result, slices=planned.slices)
    contents = {
        "result.json": json.dumps(planned.result, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n",
        "report.html": render_html(document).encode(),
        "report.pdf": render_pdf(document),
    }
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
        folder.mkdir(exist_ok=True)
        for name in contents:
            os.replace(beside / name, folder / name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); free space or choose --out") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder

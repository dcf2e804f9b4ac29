"""What may be taken out of the trial: the data as they are now, or the whole trial."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from lutetia.web.context import Page
from lutetia.web.files import attachment
from lutetia.workflow.downloads import dataset_archive, trial_archive


def show(page: Page) -> Response:
    """The exports that the person's rights allow."""
    return page.render("exports/show.html", masked=page.masked)


def data(page: Page) -> Response:
    """The CSV folder of now, as a ZIP."""
    return attachment(dataset_archive(page.trial, page.actor), "application/zip")


def trial(page: Page) -> Response:
    """The whole trial; the file is made beside, sent and removed."""
    folder = Path(tempfile.mkdtemp(prefix="lutetia-export-"))
    try:
        path = trial_archive(page.trial, page.actor, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    removed = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    headers = {"Cache-Control": "no-store"}
    return FileResponse(path, filename=path.name, media_type="application/zip", headers=headers, background=removed)

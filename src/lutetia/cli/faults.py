"""The fault log: where our own errors leave their trace, without any value that could identify a person."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from lutetia import __version__
from lutetia.core.faults import positions


def log_file() -> Path:
    """The user's fault log: `LUTETIA_LOG`, or the platform's folder for application state."""
    if named := os.environ.get("LUTETIA_LOG"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "lutetia" / "lutetia.log"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "lutetia" / "lutetia.log"


def record_fault(error: BaseException) -> str:
    """Append the type and the code positions of an error to the log; returns a reference to quote.

    The error's text is left out: it may quote a file's contents, and files may hold names.
    """
    reference = uuid4().hex[:8]
    kind = type(error).__name__
    entry = f"{datetime.now(UTC).isoformat()} {reference} lutetia {__version__} {kind}\n{positions(error)}\n"
    path = log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(entry)
    except OSError:
        return f"reference {reference} (the log {path} could not be written)"
    return f"reference {reference} in {path}"

"""The `lutetia` command on the clock of a story: `STORY_CLOCK=FILE python at_moment.py serve --data DATA --demo`.

A course takes months; all processes of a story, those that the server starts too, read the time from one file.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from lutetia.cli import main
from lutetia.trial.clock import SystemClock

CLOCK = "STORY_CLOCK"


def moment_in(file: Path) -> datetime:
    """The instant that a file holds."""
    return datetime.fromisoformat(file.read_text(encoding="utf-8")).astimezone(UTC)


def write_moment(file: Path, moment: datetime) -> None:
    """Move the clock of everybody who reads this file."""
    beside = file.with_suffix(".part")
    beside.write_text(moment.isoformat(), encoding="utf-8")
    beside.replace(file)


if CLOCK in os.environ:  # on import, since a server process imports this module instead of running it
    SystemClock.now = lambda self: moment_in(Path(os.environ[CLOCK]))  # type: ignore[method-assign]

if __name__ == "__main__":
    main()

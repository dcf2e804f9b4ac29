"""A demonstration trial out of a simulated dataset, with people in every role, for tests of safety pages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lutetia.protocol.profile import read_protocol
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.trial_folder import write_trial
from lutetia.trial import ManualClock, Trial
from lutetia.trial.exchange import create_from_dataset

LATER = datetime(2031, 3, 3, 9, 0, tzinfo=UTC)


def virtual_trial(folder: Path, *, subjects: int = 24, seed: int = 3, **options: Any) -> Trial:
    """Simulated subjects imported into a new trial, long after their last event."""
    write_trial(simulate_trial(read_protocol("duonen"), subjects=subjects, seed=seed), folder / "tables")
    return create_from_dataset(folder / "trial", folder / "tables", clock=ManualClock(LATER), **options)

"""A server that is killed while people write loses nothing that it confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.web.killed_server import bursts, make


@pytest.mark.requirement(3)
def test_a_killed_server_loses_no_confirmed_record_and_leaves_no_half_one(tmp_path: Path) -> None:
    make(tmp_path / "trial")
    tally = bursts(tmp_path / "trial", 3)
    assert tally.confirmed > 3
    assert (tally.bursts, tally.lost, tally.half, tally.broken) == (3, 0, 0, 0)

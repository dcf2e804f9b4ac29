"""A trial with two sites and some people, on either database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lutetia.trial import Actor, Change, Create, Grant, ManualClock, Study, Trial
from lutetia.trial.authentication import DemonstrationAuthenticator

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock(START)


@pytest.fixture
def trial(tmp_path: Path, database: str | None, clock: ManualClock) -> Iterator[Trial]:
    """An empty demonstration trial with two sites, once for each database."""
    study = Study("DUO", "A study", files={"study.toml": b'schema = "lutetia.study/1"\n'})
    made = Trial.create(
        tmp_path / "trial", study=study, url=database, demonstration=True, clock=clock,
        authenticator=DemonstrationAuthenticator(),
    )  # fmt: skip
    sites = [Create("sites", {"site": s, "name": f"Centre {s}", "timezone": "Europe/Warsaw"}) for s in ("01", "02")]
    made.commit(Change("add_sites", sites), Actor("system", "Lutetia"))
    with made:
        yield made


@pytest.fixture
def coordinator() -> Actor:
    """A coordinator of site 01."""
    return Actor("ann", "Ann Example", (Grant("coordinator", "01"),))

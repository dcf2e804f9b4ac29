"""A trial with two sites and a person in every role, and browsers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.browsing import START, Browser, PlainAuthenticator, TestClient, fill

from lutetia.trial import ManualClock, Study, Trial
from lutetia.web.app import create_app
from lutetia.web.settings import Settings


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[Trial]:
    folder: Path = tmp_path_factory.mktemp("web") / "trial"
    study = Study("DUONEN", "DUONEN trial", "duonen", "1.0", {"timezone": "Europe/Warsaw"})
    with Trial.create(folder, study=study, demonstration=True, clock=clock, authenticator=PlainAuthenticator()) as made:
        fill(made)
        yield made


@pytest.fixture
def new_browser(trial: Trial) -> Iterator[Callable[..., Browser]]:
    opened: list[TestClient] = []

    def make(user: str = "", **settings: Any) -> Browser:
        app = create_app(trial, settings=Settings(**{"sign_in_tries": 1000, **settings}))
        client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        opened.append(client)
        browser = Browser(client)
        if user:
            browser.sign_in(user)
        return browser

    yield make
    for client in opened:
        client.close()

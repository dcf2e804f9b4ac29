"""A trial with two sites and a person in every role, and browsers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.browsing import START, Browser, PlainAuthenticator, TestClient, fill, person
from tests.web.subject_trial import browsers, make_trial

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


@pytest.fixture(scope="module")
def treated(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[Trial]:
    """A trial of four arms with a treated subject (`subject_trial`)."""
    with make_trial(tmp_path_factory.mktemp("treated") / "trial", clock) as made:
        yield made


@pytest.fixture(scope="module")
def browser_of(treated: Trial) -> Iterator[Callable[[str], Browser]]:
    """The signed-in browser of each person on it."""
    with browsers(treated) as made:
        yield made


@pytest.fixture
def site(browser_of: Callable[[str], Browser]) -> Browser:
    """The browser of the coordinator of site 01."""
    return browser_of(person("coordinator"))


@pytest.fixture
def physician(browser_of: Callable[[str], Browser]) -> Browser:
    """The browser of the physician of site 01."""
    return browser_of(person("physician"))

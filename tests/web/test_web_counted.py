"""How often a page asks the database: a bounded number of statements, the same for few subjects and for many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event
from tests.web.browsing import Browser, TestClient
from tests.web.large_trial import add_courses

from lutetia.trial import Trial
from lutetia.web.app import create_app
from lutetia.web.demonstration import PASSWORD, make_demonstration
from lutetia.web.settings import Settings

SITES = ("01", "02", "03", "04")
SUBJECT = "/subjects/DUO-01-1001"
#: Page → most statements, those of the session and of beginning and ending readings included.
BOUNDS = {
    "/": 30, "/subjects": 30, "/queries": 30, "/audit": 30, SUBJECT: 70, f"{SUBJECT}/laboratory": 45,
    f"{SUBJECT}/screening": 50, f"{SUBJECT}/cycles/1": 70, "/api/subjects": 25, f"{SUBJECT}/adverse-events": 45,
    f"{SUBJECT}/records": 70,
}  # fmt: skip


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trial, Callable[[str], int]]]:
    """A trial, and the number of statements of a page for a data manager."""
    with make_demonstration(tmp_path_factory.mktemp("counted") / "trial") as trial:
        app = create_app(trial, settings=Settings(sign_in_tries=1000))
        browser = Browser(TestClient(app, base_url="http://127.0.0.1"))
        browser.sign_in("data-manager", PASSWORD)
        seen: list[str] = []

        @event.listens_for(trial.database.engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            seen.append(statement)

        def statements(path: str) -> int:
            browser.get(path)
            seen.clear()
            assert browser.get(path).status_code == 200, path
            return len(seen)

        yield trial, statements
        browser.client.close()


def test_pages_ask_a_bounded_number_of_statements_however_many_subjects_there_are(
    counted: tuple[Trial, Callable[[str], int]],
) -> None:
    trial, statements = counted
    add_courses(trial, subjects=4, samples=3, sites=SITES)
    few = {path: statements(path) for path in BOUNDS}
    add_courses(trial, subjects=24, samples=3, sites=SITES, first=2001)
    many = {path: statements(path) for path in BOUNDS}
    over = {path: count for path, count in many.items() if count > BOUNDS[path]}
    assert not over
    more = {path: (few[path], many[path]) for path in BOUNDS if many[path] > few[path]}
    assert not more

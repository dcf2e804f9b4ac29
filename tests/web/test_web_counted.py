"""How often each page asks the database: a bounded number of statements, the same for few subjects and for 500 more."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from tests.web.browsing import Browser
from tests.web.every_page import Opened, open_again, open_every_page, people_at, trial_in_progress
from tests.web.large_trial import add_courses

from lutetia.trial import SYSTEM, Change, Create, Trial
from lutetia.web.routes import ROUTES

SITES = ("01", "02", "03", "04")
MORE = 500
#: Most statements of a page, those of the session and of beginning and ending readings included.
BOUND = 70
#: Pages that may ask for more, and why.
BOUNDS = {
    "/subjects/{subject_id}/screening": 200,  # each signature of the checklist is held against every record it covers
}
API = [route for route in ROUTES if route.is_api and route.method == "GET" and "{" not in route.path]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trial, dict[str, Browser], list[str]]]:
    """A trial in progress, its people, and the statements of answers; what works in the background is left out."""
    folder: Path = tmp_path_factory.mktemp("counted")
    with trial_in_progress(folder / "trial") as trial, people_at(trial) as people:
        seen: list[str] = []

        @event.listens_for(trial.database.engine, "before_cursor_execute")
        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if threading.current_thread().name.startswith("AnyIO"):
                seen.append(statement)

        yield trial, people, seen


def statements(pages: Iterable[Opened], people: dict[str, Browser], seen: list[str]) -> dict[str, int]:
    """Path → how many statements the second visit of its page needs."""
    found = {}

    def count(path: str, address: str, user: str) -> None:
        people[user].get(address)
        seen.clear()
        assert people[user].get(address).status_code == 200, address
        found[path] = len(seen)

    for page in pages:
        count(page.route.path, page.address, page.user)
    for route in API:
        count(route.path, route.path, "data-manager")
    for path in ("/", "/subjects", "/queries"):  # for one who sees every site, too
        count(f"{path} of all sites", path, "data-manager")
    return found


def add_subjects(trial: Trial) -> None:
    """Many subjects, each with a course, and every tenth with a serious event that waits for its report."""
    names = add_courses(trial, subjects=MORE, samples=1, sites=SITES, cycles=1)
    rows = [
        Create("serious_events", {"subject_id": name, "ae_id": "1", "aware_at": "2026-02-20T08:00:00+00:00",
                                  "due_at": "2026-02-21T08:00:00+00:00"}) for name in names[::10]
    ]  # fmt: skip
    trial.commit(Change("import", rows), SYSTEM)


def test_every_page_asks_a_bounded_number_of_statements_however_many_subjects_there_are(
    counted: tuple[Trial, dict[str, Browser], list[str]],
) -> None:
    trial, people, seen = counted
    opened: list[Opened] = []
    few = statements((opened.append(page) or page for page in open_every_page(trial, people)), people, seen)  # type: ignore[func-returns-value]
    add_subjects(trial)
    many = statements(open_again(trial, opened), people, seen)
    assert set(many) == set(few)
    assert not {path: n for path, n in many.items() if n > BOUNDS.get(path, BOUND)}
    assert not {path: (few[path], n) for path, n in many.items() if n > few[path]}

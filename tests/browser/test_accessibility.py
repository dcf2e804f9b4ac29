"""Every kind of page, judged by axe-core in a real browser: no serious or critical fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from tests.browser.story_player import Story, played
from tests.web.large_trial import add_courses

from lutetia.web.routes import ROUTES

#: Who looks at the pages: those who together may open all of them.
PEOPLE = ("coordinator", "physician", "physicist", "monitor", "data-manager", "unmasked-statistician",
          "masked-statistician", "administrator")  # fmt: skip
#: Addresses that are files or fragments, not pages.
NOT_PAGES = re.compile(r"/static|/health|/api/|\.(png|pdf)$|/file$|/archive$|/audit/field|what-if|progress$|/open/|"
                       r"/closed/|/report|cycles/1/(dosimetry/job|job)|[{]")  # fmt: skip


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Story]:
    with played(tmp_path_factory.mktemp("axe"), debian_tool("chromium")) as made:
        made.at(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        add_courses(made.trial, subjects=1, samples=4, cycles=2, sites=("01",))
        yield made


def pages(story: Story) -> list[str]:
    """Addresses of all pages with things that exist."""
    with story.trial.read() as reader:
        record = reader.records("subjects")[0]["record_id"]
    known = {"subject_id": "DUO-01-1001", "cycle": "1", "site": "01", "query_id": "1", "user_id": "physicist",
             "ae_id": "1", "deviation_id": "001", "table": "subjects", "record": str(record)}  # fmt: skip
    paths = [route.path for route in ROUTES if route.method == "GET"]
    filled = [re.sub(r"{(\w+)(:\w+)?}", lambda m: known.get(m[1], m[0]), path) for path in paths]
    return [path for path in dict.fromkeys(filled) if not NOT_PAGES.search(path)]


def test_a_planted_fault_is_found(story: Story) -> None:
    story.tab.goto("/sign-in")
    assert story.faults() == []
    story.tab.evaluate("document.querySelector('main').appendChild(document.createElement('button'))")
    assert any(found.startswith("button-name (critical)") for found in story.faults())


def test_no_page_has_a_serious_fault(story: Story) -> None:
    waiting = pages(story)
    assert len(waiting) > 50
    story.tab.goto("/sign-in")
    found = {"/sign-in": story.faults()}
    for user in PEOPLE:
        story.as_person(user)
        for path in list(waiting):
            answer = story.tab.goto(path)
            assert answer is not None
            if answer.status == 200:
                waiting.remove(path)
                found[path] = story.faults()
    story.tab.goto("/nothing-here")
    found["/nothing-here"] = story.faults()
    assert not {path: wrong for path, wrong in found.items() if wrong}
    assert story.complaints == []
    assert len(found) > 50, sorted(waiting)

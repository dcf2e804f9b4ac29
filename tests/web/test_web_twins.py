"""Two trials that differ only in what is hidden read alike, byte by byte, to everybody from whom it is hidden.

The same people do the same at the same instants in both. The subject of the first has one nuclide, that of the second
two, and there everything happens besides that masked readers may not know of: queries, comparisons with the source,
locks and signatures about administrations, deviations of activity, an unblinding, a cross-over, other reasons.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.web.browsing import PASSWORD, Browser, PlainAuthenticator
from tests.web.crawling import browser_of, crawl, readable, routed
from tests.workflow.treated_trial import (
    COORDINATOR,
    MANAGER,
    PHYSICIAN,
    PHYSICIST,
    SECOND,
    SITE,
    SUBJECT,
    Story,
    make_story,
    person,
)

from lutetia.trial import Trial, accounts
from lutetia.workflow import adverse_events, deviations, locks, oversight, queries_form, randomisation, signing
from lutetia.workflow.snapshot import TakeSnapshot, take_snapshot

MONITOR = person("mona", "monitor")
ADMINISTRATOR = person("anna", "administrator", None)
MASKED = {"sam": "masked_statistician", "adam": "administrator", "beth": "board"}
FIRST, SECOND_CYCLE = datetime(2026, 1, 12, 8, tzinfo=UTC), datetime(2026, 3, 9, 8, tzinfo=UTC)
#: What a person may read that tells more: the board reads figures by arm, as in the closed report.
ALLOWED = {"beth": ("/safety", "/safety?view=arms")}
#: What differs between any two trials and tells nothing: every row of the trail is hashed with a random salt, so
#: hashes, heads and what is named after them differ even between two runs of one story; sessions and form tokens are
#: random.
RANDOM = re.compile(r"(?<![0-9a-f])[0-9a-f]{10,64}(?![0-9a-f])")


def play(folder: Path, *, arm: str, more: bool) -> Story:
    """Two cycles of one subject; `more`: with everything that nobody masked may know."""
    story = make_story(folder, arm=arm, draws=40)
    for user, role in MASKED.items():
        accounts.add_user(story.trial, ADMINISTRATOR, user_id=user, name=user.title(), password="a first password")
        accounts.grant_role(story.trial, ADMINISTRATOR, user, role=role)
    cycle(story, FIRST, factor=1.3 if more else 1.0)
    if more:
        hidden_acts(story)
    open_acts(story)
    cycle(story, SECOND_CYCLE)
    if more:
        hidden_acts(story, number=2)
    open_acts(story, number=2)
    take_snapshot(story.trial, MANAGER, TakeSnapshot("2026-03-01", "interim"))
    return story


def cycle(story: Story, planned: datetime, *, factor: float = 1.0) -> None:
    """A cycle from planning to doses; another factor than 1 makes deviations."""
    story.at(planned - timedelta(hours=20))
    number = story.assessed(planned.date().isoformat())
    version = story.propose(number).version
    story.release(number, version)
    story.batches(str(number))
    story.at(planned + timedelta(hours=4))
    story.give(number, version, suffix=str(number), factor=factor, explanation="measured twice")
    story.at(planned + timedelta(days=8))
    arm = story.row("subjects")["arm"]
    job = story.doses(number, protocol={"name": "duonen", "arm": arm})
    assert job["state"] == "DONE", job["error"]


def hidden_acts(story: Story, *, number: int = 1) -> None:
    trial = story.trial
    given = story.rows("administrations", subject_id=SUBJECT, cycle=number)[-1]
    doses = story.rows("doses", subject_id=SUBJECT, cycle=number)[0]
    record = int(given["record_id"])
    queries_form.open_query(
        trial, MONITOR, queries_form.OpenQuery("administrations", record, "administered_MBq", "so much?")
    )
    asked = story.rows("queries")[-1]["query_id"]
    queries_form.answer_query(trial, COORDINATOR, queries_form.QueryStep(asked, "yes"))
    queries_form.close_query(trial, MANAGER, queries_form.QueryStep(asked, "well"))
    oversight.verify_source(
        trial, MONITOR, oversight.VerifySource([("administrations", record, int(given["record_version"]))])
    )
    signed = signing.SignForms([("administrations", record)], "given", story.sign(PHYSICIAN))
    signing.sign_forms(trial, PHYSICIAN, signed)
    locks.lock(trial, MANAGER, locks.Lock("form", None, "doses", int(doses["record_id"])))
    deviations.record_deviation(
        trial, COORDINATOR, deviations.RecordDeviation(SUBJECT, day(story), "missing_nuclide", "major", "none came")
    )
    name = story.rows("deviations")[-1]["deviation_id"]
    deviations.review_deviation(trial, PHYSICIAN, deviations.ReviewDeviation(SUBJECT, name, "noted"))
    randomisation.unblind(trial, PHYSICIAN, randomisation.Unblind(SUBJECT, "emergency", "Dr X", "bleeding", "none"))
    arm = {1: "C", 2: "D"}[number]
    randomisation.record_cross_over(
        trial, PHYSICIST, randomisation.RecordCrossOver(SUBJECT, number, arm, "no generator")
    )


def open_acts(story: Story, *, number: int = 1) -> None:
    trial = story.trial
    subject = story.row("subjects")
    record = int(subject["record_id"])
    lab = story.rows("labs")[-1]
    queries_form.open_query(trial, MONITOR, queries_form.OpenQuery("subjects", record, "age_years", "58 or 85?"))
    oversight.verify_source(
        trial, MONITOR, oversight.VerifySource([("labs", int(lab["record_id"]), int(lab["record_version"]))])
    )
    signed = signing.SignForms([("labs", int(lab["record_id"]))], "read", story.sign(SECOND))
    signing.sign_forms(trial, SECOND, signed)
    locks.lock(trial, MANAGER, locks.Lock("form", None, "labs", int(lab["record_id"])))
    event = {"term": "Nausea", "started_on": day(story), "grade": 1, "serious": "no", "related": "possible",
             "ongoing": "yes"}  # fmt: skip
    adverse_events.record_event(trial, COORDINATOR, adverse_events.RecordEvent(SUBJECT, event))
    late = deviations.RecordDeviation(SUBJECT, day(story), "laboratory", "minor", "sample late")
    deviations.record_deviation(trial, COORDINATOR, late)


def day(story: Story) -> str:
    return story.clock.now().date().isoformat()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, Story]]:
    """The same course with one nuclide, and with two and all that is hidden; signed in without one-time codes."""
    pair = []
    for name, arm, more in (("one", "A", False), ("two", "B", True)):
        story = play(tmp_path_factory.mktemp(name), arm=arm, more=more)
        story.trial.close()
        story.trial = Trial.open(story.trial.folder, clock=story.clock, authenticator=PlainAuthenticator())
        for user in MASKED:
            accounts.set_password(story.trial, ADMINISTRATOR, user, password="another password")
            plain = person(user, MASKED[user], None)
            accounts.set_password(story.trial, plain, user, password=PASSWORD)
        pair.append(story)
    yield pair[0], pair[1]
    for story in pair:
        story.trial.close()


def everything(trial: Trial, user: str) -> dict[str, tuple[int, str]]:
    """What this person finds by links, by every address of the map, and by trying numbers."""
    browser = browser_of(trial, user, PASSWORD)
    until_derived(browser)
    known = {"cycle": "1", "site": SITE, "user_id": "sam", "deviation_id": "001", "column": "age_years",
             "table": "subjects", "view": "axial", "path": "mark.svg"}  # fmt: skip
    first = routed(SUBJECT, known)
    first += [path.replace("/cycles/1", "/cycles/2") for path in first]
    numbers = range(1, 45)
    tables = ("subjects", "labs", "administrations", "doses", "deviations", "cycles", "missing_reasons")
    first += [f"/subjects/{SUBJECT}/records?table={table}" for table in tables]
    first += [f"/subjects/{SUBJECT}/records/{table}/{n}" for table in tables[:3] for n in numbers]
    first += [f"/audit/field/{t}/{n}/state" for t in ("subjects", "cycles") for n in numbers]
    first += [f"/queries/{n}" for n in range(1, 9)] + ["/queries?state=all", "/audit?print=yes", "/openapi.json"]
    first += [f"/audit?before={n}" for n in numbers] + [f"/audit?table={table}" for table in (*tables, "queries")]
    found = crawl(browser, first)
    browser.get("/exports")
    exported = browser.post("/exports/data")
    found["/exports/data"] = exported.status_code, readable(exported)
    return {told(path): (status, told(text)) for path, (status, text) in found.items()}


def until_derived(browser: Browser) -> None:
    """Wait for the figures of the safety dashboard, whose progress would differ with the time."""
    deadline = time.monotonic() + 120
    while "/safety/progress?cold=yes" in browser.client.get("/safety").text:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def told(text: str) -> str:
    """A text without what is random in every trial."""
    return RANDOM.sub("#", text)


@pytest.mark.requirement(10)
@pytest.mark.requirement(22)
@pytest.mark.parametrize("user", MASKED)
def test_everything_that_a_masked_person_reads_is_alike_whatever_is_hidden(
    user: str, twins: tuple[Story, Story]
) -> None:
    one, two = (everything(story.trial, user) for story in twins)
    assert sum(status == 200 for status, _ in one.values()) > 8
    assert sorted(one) == sorted(two)
    different = [path for path in one if one[path] != two[path] and path not in ALLOWED.get(user, ())]
    assert not different, first_difference(one[different[0]][1], two[different[0]][1], different)


def first_difference(one: str, two: str, where: list[str]) -> str:
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return f"{len(where)} differ, such as {where[:6]}: …{one[at - 200 : at + 80]!r} and …{two[at - 200 : at + 80]!r}"

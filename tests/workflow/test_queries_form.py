from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_trial, screened

from lutetia.errors import (
    AccessDeniedError,
    InputError,
    MissingRecordError,
    StaleRecordError,
    TransitionError,
    UnknownNameError,
)
from lutetia.trial import Trial
from lutetia.trial.access import RIGHTS, ROLES
from lutetia.workflow.queries_form import (
    OpenQuery,
    QueryStep,
    answer_query,
    close_query,
    open_query,
    read_thread,
    reopen_query,
)

CO, MO = actor("coordinator"), actor("monitor")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        screened(made)
        yield made


def subject_record(trial: Trial) -> int:
    with trial.read() as reader:
        return int(reader.record("subjects", {"subject_id": "01-001"})["record_id"])


def opened(trial: Trial) -> int:
    return int(open_query(trial, MO, OpenQuery("subjects", subject_record(trial), "weight_kg", "70 or 77?")).result)


def state(trial: Trial, number: int) -> str:
    with trial.read() as reader:
        return str(reader.record("queries", {"query_id": number})["state"])


@pytest.mark.requirement(32)
def test_a_query_is_opened_answered_sent_back_answered_and_closed(trial: Trial) -> None:
    number = opened(trial)
    steps = (
        (answer_query, CO, "70 kg", "ANSWERED"),
        (reopen_query, MO, "the chart says 77", "OPEN"),
        (answer_query, CO, "corrected", "ANSWERED"),
        (close_query, MO, "agreed", "CLOSED"),
        (reopen_query, MO, "changed again", "OPEN"),
    )
    for verb, person, text, expected in steps:
        verb(trial, person, QueryStep(number, text))
        assert state(trial, number) == expected
    with trial.read() as reader:
        thread = read_thread(reader, number)
        query = reader.record("queries", {"query_id": number})
    assert [(row["kind"], row["text"], row["user_id"]) for row in thread] == [
        ("open", "70 or 77?", MO.user_id),
        *((("answer", "reopen", "answer", "close", "reopen")[i], s[2], s[1].user_id) for i, s in enumerate(steps)),
    ]
    assert (query["subject_id"], query["site"], query["closed_by"]) == ("01-001", "01", MO.user_id)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.requirement(32)
def test_who_may_open_answer_and_close_a_query_is_as_the_rights_say(trial: Trial, role: str) -> None:
    person, record = actor(role), subject_record(trial)
    number = opened(trial)
    acts = (
        ("manage_queries", lambda: open_query(trial, person, OpenQuery("subjects", record, "sex", "?"))),
        ("answer_query", lambda: answer_query(trial, person, QueryStep(number, "yes"))),
        ("manage_queries", lambda: reopen_query(trial, person, QueryStep(number, "no"))),
        ("manage_queries", lambda: close_query(trial, person, QueryStep(number, "done"))),
    )
    answered = False
    for right, act in acts:
        if role in RIGHTS[right]:
            if right == "manage_queries" and not answered:
                act()
                answer_query(trial, CO, QueryStep(number, "by the site"))
                answered = True
            else:
                act()
        else:
            with pytest.raises(AccessDeniedError):
                act()


def test_a_monitor_of_another_site_neither_opens_nor_closes(trial: Trial) -> None:
    number, stranger = opened(trial), actor("monitor", "02")
    with pytest.raises(AccessDeniedError, match="site 01"):
        open_query(trial, stranger, OpenQuery("subjects", subject_record(trial), "sex", "?"))
    with pytest.raises(AccessDeniedError, match="site 01"):
        close_query(trial, stranger, QueryStep(number, "x"))
    with pytest.raises(AccessDeniedError, match="site 01"):
        answer_query(trial, actor("coordinator", "02"), QueryStep(number, "x"))


def test_a_query_out_of_order_stale_or_empty_is_refused(trial: Trial) -> None:
    number = opened(trial)
    with pytest.raises(TransitionError, match="expected ANSWERED or CLOSED"):
        reopen_query(trial, MO, QueryStep(number, "x"))
    answer_query(trial, CO, QueryStep(number, "70", version=1))
    with pytest.raises(TransitionError, match="is ANSWERED"):
        answer_query(trial, CO, QueryStep(number, "71"))
    with pytest.raises(StaleRecordError):
        close_query(trial, MO, QueryStep(number, "fine", version=1))
    with pytest.raises(InputError, match="is missing"):
        close_query(trial, MO, QueryStep(number, "  "))
    with pytest.raises(MissingRecordError):
        close_query(trial, MO, QueryStep(99, "x"))
    assert state(trial, number) == "ANSWERED"


def test_a_query_is_about_an_existing_field_of_an_existing_record(trial: Trial) -> None:
    with pytest.raises(UnknownNameError, match="weight_kg"):
        open_query(trial, MO, OpenQuery("subjects", subject_record(trial), "weight", "?"))
    with pytest.raises(MissingRecordError):
        open_query(trial, MO, OpenQuery("subjects", 10**6, "weight_kg", "?"))
    with pytest.raises(InputError, match="question"):
        open_query(trial, MO, OpenQuery("subjects", subject_record(trial), "weight_kg", ""))

"""The first minutes of each role: what one-time codes would open, what stands on the overview, whose sessions end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.web.browsing import PASSWORD, ROOT, START, Browser, PlainAuthenticator, TestClient, fill, person
from tests.web.subject_trial import browsers

from lutetia.trial import SYSTEM, Actor, Change, Create, ManualClock, Study, Trial, accounts
from lutetia.trial.access import RIGHTS, ROLES, SECOND_FACTOR
from lutetia.trial.authentication import Proof
from lutetia.web.texts import texts


@dataclass(frozen=True, slots=True)
class NoCodes(PlainAuthenticator):
    """Nobody has set up one-time codes."""

    def check(self, user: dict[str, Any], password: str | None, code: str | None, *, at: Any) -> Proof:
        return Proof(user.get("password_hash") == f"plain {password}", False)


def made(folder: Path, authenticator: PlainAuthenticator) -> Trial:
    study = Study("DUONEN", "DUONEN trial", "duonen", "1.0", {"timezone": "Europe/Warsaw"})
    trial = Trial.create(folder, study=study, demonstration=True, clock=ManualClock(START), authenticator=authenticator)
    fill(trial)
    accounts.add_user(trial, ROOT, user_id="nobody", name="No Role", password=PASSWORD)
    accounts.set_password(trial, Actor("nobody", "No Role"), "nobody", password=PASSWORD)
    accounts.add_user(trial, ROOT, user_id="fresh", name="Fresh", password=PASSWORD)
    return trial


@pytest.fixture(scope="module")
def without_codes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Browser]]:
    with made(tmp_path_factory.mktemp("first") / "t", NoCodes()) as trial, browsers(trial) as enter:
        yield enter


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with made(tmp_path_factory.mktemp("codes") / "t", PlainAuthenticator()) as trial:
        yield trial


@pytest.fixture(scope="module")
def enter(trial: Trial) -> Iterator[Callable[[str], Browser]]:
    with browsers(trial) as found:
        yield found


@pytest.mark.parametrize("role", ROLES)
def test_overview_and_account_name_what_codes_would_open_and_only_to_roles_that_need_them(
    role: str, without_codes: Callable[[str], Browser]
) -> None:
    words = texts("en").words
    lacking = [words[f"needs_codes.{action}"] for action in SECOND_FACTOR if role in RIGHTS[action]]
    overview, account = (without_codes(person(role)).get(path).text for path in ("/", "/account"))
    for page in (overview, account):
        shown = [text for action in SECOND_FACTOR if (text := words[f"needs_codes.{action}"]) in page]
        assert sorted(shown) == sorted(lacking)
        assert ("With one-time codes you may also:" in page) == bool(lacking)
    assert ('href="/account#codes-title"' in overview) == bool(lacking)
    assert ("No right of yours needs them" in account) == (not lacking)


def test_with_a_code_there_is_no_such_word(enter: Callable[[str], Browser]) -> None:
    for role in ("administrator", "physician", "board"):
        assert "With one-time codes" not in enter(person(role)).get("/").text


def test_the_administrator_sees_who_is_signed_in_and_who_lacks_something_and_ends_sessions(
    enter: Callable[[str], Browser], trial: Trial
) -> None:
    monitor = enter(person("monitor"))
    assert monitor.get("/").status_code == 200
    administrator = enter(person("administrator"))
    page = administrator.get("/").text
    accounts_card = page.partition('id="accounts-title"')[2].partition("</section>")[0]
    assert 'href="/users/monitor"' in accounts_card.partition("Without a role")[0]
    assert 'href="/users/nobody"' in accounts_card.partition("Without a role: 2")[2]
    assert 'href="/users/fresh"' in accounts_card.partition("Have not chosen their own password yet: 1")[2]
    assert "Signed in now, in 1 sessions." in administrator.get("/users/monitor").text
    refused = administrator.post("/users/monitor/sessions", {"reason": ""})
    assert refused.status_code == 422
    done = administrator.post("/users/monitor/sessions", {"reason": "left the room"})
    assert "The sessions were ended" in done.text
    assert "User name" in monitor.get("/").text
    again = administrator.post("/users/monitor/sessions", {"reason": "again"})
    assert again.status_code == 422
    assert "found no open session" in again.text
    assert 'id="accounts-title"' not in enter(person("board")).get("/").text


def test_a_trial_with_odd_settings_is_served_with_their_defaults(tmp_path: Path) -> None:
    odd = {"timezone": "Paris", "idle_minutes": "abc", "visits": [{"nam": 1}], "arms": 3, "checklist": "all"}
    study = Study("DUONEN", "DUONEN trial", "duonen", "1.0", odd)
    with Trial.create(
        tmp_path / "t", study=study, demonstration=True, clock=ManualClock(START), authenticator=PlainAuthenticator()
    ) as trial:
        fill(trial)
        with browsers(trial) as enter:
            for role, path in (
                ("coordinator", "/subjects/DUO-01-001/laboratory/entry"),
                ("coordinator", "/subjects/DUO-01-001/screening"),
                ("unmasked_statistician", "/randomisation-list"), ("board", "/"), ("administrator", "/documents"),
            ):  # fmt: skip
                assert enter(person(role)).get(path).status_code == 200, path


def test_a_person_without_role_is_told_who_grants_one(enter: Callable[[str], Browser]) -> None:
    page = enter("nobody").get("/").text
    assert "You have no role in this trial yet" in page
    assert "Pages for you" not in page


def test_the_board_finds_the_last_signed_closed_report_and_the_open_ones(
    enter: Callable[[str], Browser], trial: Trial
) -> None:
    assert 'id="reports-title"' not in enter(person("board")).get("/").text
    rows: list[tuple[str, dict[str, Any]]] = []
    for number in (1, 2):
        day = f"2026-02-0{number}T08:00:00+00:00"
        rows.append(
            (
                "snapshots",
                {
                    "snapshot_id": f"S{number}",
                    "cut_on": "2026-02-01",
                    "extracted_at": day,
                    "purpose": f"interim {number}",
                    "audit_head": "a" * 64,
                    "sha256": "b" * 64,
                },
            )
        )
        rows += [("reports", {"report_id": 10 * number + k, "snapshot_id": f"S{number}", "kind": kind,
                              "sha256": "c" * 64, "software": "x", "created_by": "us", "created_at": day})
                 for k, kind in enumerate(("open.pdf", "closed.pdf"))]  # fmt: skip
    trial.commit(Change("fill", [Create(table, values) for table, values in rows]), SYSTEM)
    statistician = enter(person("unmasked_statistician"))
    for number in (1, 2):
        statistician.get(f"/interim/S{number}/1/sign")
        given = {"sign_user": person("unmasked_statistician"), "sign_password": PASSWORD}
        assert "The analysis was signed." in statistician.post(f"/interim/S{number}/1/sign", given).text
    page = enter(person("board")).get("/").text
    card = page.partition('id="reports-title"')[2].partition("</section>")[0]
    assert "/interim/S2/1/closed/pdf" in card
    assert "/interim/S1/1/closed/pdf" not in card
    assert "/interim/S1/1/open/pdf" in card
    assert "/interim/S2/1/open/pdf" in card


def test_the_first_password_is_said_to_be_set_not_given_by_somebody(enter: Callable[[str], Browser]) -> None:
    browser = Browser(TestClient(enter(person("board")).client.app, base_url="http://127.0.0.1"))
    browser.sign_in("fresh")
    assert "set when your account was made or reset" in browser.get("/account").text

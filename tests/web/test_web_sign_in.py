"""Sign-in, pauses that keep what was typed, sign-out, passwords and one-time codes, as a browser sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyotp
import pytest
from starlette.requests import Request
from tests.web.browsing import PASSWORD, ROOT, START, Browser, TestClient, person

from lutetia.trial import Actor, Change, ManualClock, Reader, Sign, Study, Trial, accounts, sessions
from lutetia.trial.authentication import PasswordAuthenticator
from lutetia.trial.keys import KeyRing
from lutetia.web.app import create_app
from lutetia.web.context import PageContext
from lutetia.web.forms import Form
from lutetia.web.routes import ROUTES
from lutetia.web.session import find

NewBrowser = Callable[..., Browser]


def actions(reader: Reader, actor: str | None = None) -> list[str]:
    from sqlalchemy import select

    from lutetia.trial.schema import AUDIT

    rows = reader.rows(select(AUDIT.c.action, AUDIT.c.actor).order_by(AUDIT.c.sequence))
    return [row["action"] for row in rows if actor in (None, row["actor"])]


@pytest.mark.requirement(6)
def test_sign_in_failure_and_sign_out_leave_their_rows_in_the_trail(new_browser: NewBrowser, trial: Trial) -> None:
    browser = new_browser()
    with trial.read() as reader:
        before = len(actions(reader))
    refused = browser.sign_in(person("inspector"), "not the password")
    assert refused.status_code == 401
    assert "is not right" in refused.text
    assert browser.sign_in(person("inspector")).status_code == 200
    assert browser.post("/sign-out").url.path == "/sign-in"
    with trial.read() as reader:
        new = actions(reader)[before:]
    assert [a for a in dict.fromkeys(new) if a.startswith("sign")] == ["sign_in_failed", "sign_in", "sign_out"]
    assert browser.get("/account").status_code == 401


@pytest.mark.requirement(20)
def test_after_several_failures_the_account_is_locked_and_the_administrator_is_told(
    new_browser: NewBrowser, trial: Trial, clock: ManualClock
) -> None:
    browser, user = new_browser(), person("safety_officer")
    for _ in range(accounts.MAXIMUM_FAILURES):
        clock.advance(minutes=6)
        assert browser.sign_in(user, "wrong password").status_code == 401
    clock.advance(minutes=6)
    right = browser.sign_in(user)
    assert right.status_code == 401
    assert "is not right" in right.text, "the answer does not tell a guesser that the password was right"
    administrator = new_browser(person("administrator"))
    page = administrator.get(f"/users/{user}").text
    assert "Locked since" in page
    administrator.post(f"/users/{user}/unlock", {"reason": "spoke with the person"})
    assert new_browser().sign_in(user).status_code == 200


@pytest.mark.requirement(20)
def test_unknown_accounts_get_the_same_answer_as_known_slowed_and_locked_ones(
    new_browser: NewBrowser, clock: ManualClock
) -> None:
    browser = new_browser()
    strip = lambda text: re.sub(r'value="[^"]*"', "", text)  # noqa: E731
    for _ in range(accounts.MAXIMUM_FAILURES + 1):
        unknown, known = browser.sign_in("nobody", "wrong"), browser.sign_in(person("board"), "wrong")
        assert unknown.status_code == known.status_code == 401
        assert strip(unknown.text) == strip(known.text)
        clock.advance(minutes=6)
    locked = browser.sign_in(person("board"))
    assert strip(locked.text) == strip(unknown.text)


@pytest.mark.requirement(21)
def test_a_pause_locks_the_session_and_what_was_typed_comes_back_after_the_password(
    new_browser: NewBrowser, trial: Trial, clock: ManualClock
) -> None:
    browser = new_browser(person("administrator"))
    browser.get("/sites")
    clock.advance(minutes=16)
    typed = {"site": "07", "name": "Łódź & <Zgierz>", "country": "PL", "timezone": "Europe/Warsaw",
             "opened_on": "2026-03-01"}  # fmt: skip
    paused = browser.post("/sites", typed)
    assert paused.status_code == 401
    assert "locked after a pause" in paused.text
    with trial.read() as reader:
        assert reader.find("sites", {"site": "07"}) is None
        assert actions(reader, person("administrator"))[-1] == "time_out"
    kept = dict(re.findall(r'name="(kept\.\w+|onward|whose)" value="([^"]*)"', paused.text))
    assert kept["onward"] == "/sites"
    welcome = browser.post("/session/unlock", {**_unescaped(kept), "password": PASSWORD})
    assert welcome.status_code == 200
    assert "Łódź &amp; &lt;Zgierz&gt;" in welcome.text
    again = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', welcome.text))
    saved = browser.client.post("/sites", data=_unescaped(again))
    assert saved.url.path == "/sites"
    with trial.read() as reader:
        assert reader.record("sites", {"site": "07"})["name"] == typed["name"]


@pytest.mark.requirement(21)
def test_the_overlay_unlocks_without_leaving_the_page_and_renews_the_forms_token(
    new_browser: NewBrowser, clock: ManualClock
) -> None:
    browser = new_browser(person("monitor"))
    browser.get("/queries")
    clock.advance(minutes=16)
    assert browser.post("/session/pause").status_code == 204
    fragment = browser.get("/queries", headers={"HX-Request": "true"})
    assert fragment.status_code == 401
    assert fragment.headers["x-session"] == "idle"
    overlay = {"X-Lock-Overlay": "1"}
    assert browser.post("/session/unlock", {"password": "wrong"}, headers=overlay).status_code == 403
    opened = browser.post("/session/unlock", {"password": PASSWORD}, headers=overlay)
    assert opened.status_code == 200
    browser.csrf = opened.json()["csrf"]
    assert browser.post("/session/touch").status_code == 204
    assert browser.get("/queries").status_code == 200


@pytest.mark.requirement(21)
def test_typed_entries_are_offered_to_the_same_person_only(new_browser: NewBrowser, clock: ManualClock) -> None:
    browser = new_browser(person("administrator"))
    browser.get("/sites")
    clock.advance(minutes=16)
    browser.post("/sites", {"site": "08", "name": "mine"})
    other = browser.post("/sign-in", {"user": person("monitor"), "password": PASSWORD, "onward": "/sites",
                                      "whose": person("administrator"), "kept.name": "mine"})  # fmt: skip
    assert "mine" not in other.text


@pytest.mark.requirement(21)
def test_work_on_a_page_keeps_the_session_open_and_a_pause_of_the_whole_time_does_not(
    new_browser: NewBrowser, clock: ManualClock
) -> None:
    browser = new_browser(person("monitor"))
    browser.get("/queries")
    for _ in range(4):
        clock.advance(minutes=10)
        assert browser.post("/session/touch").status_code == 204
    clock.advance(minutes=15, seconds=1)
    assert browser.post("/session/touch").status_code == 401


@pytest.mark.requirement(21)
def test_a_session_that_is_ended_elsewhere_stops_at_once(new_browser: NewBrowser, trial: Trial) -> None:
    first, second = new_browser(person("physicist")), new_browser(person("physicist"))
    page = second.get("/account").text
    other = re.findall(r'action="(/account/sessions/s\d+/end)"', page)
    assert other
    for path in other:
        second.post(path)
    assert first.get("/account", follow_redirects=False).status_code == 401
    assert second.get("/account").status_code == 200


@pytest.mark.requirement(21)
def test_after_half_a_day_the_password_is_asked_again_and_what_was_typed_is_kept(
    new_browser: NewBrowser, clock: ManualClock
) -> None:
    browser = new_browser(person("administrator"))
    browser.get("/sites")
    for _ in range(12 * 6):
        clock.advance(minutes=10)
        assert browser.post("/session/touch").status_code == 204
    clock.advance(seconds=1)
    paused = browser.post("/sites", {"site": "09", "name": "typed before"})
    assert (paused.status_code, "typed before" in paused.text) == (401, True)
    assert browser.post("/session/unlock", {"password": PASSWORD}).status_code == 200


def test_nobody_ends_another_persons_session(new_browser: NewBrowser, trial: Trial) -> None:
    victim, browser = new_browser(person("physicist")), new_browser(person("monitor"))
    with trial.read() as reader:
        open_one = reader.records("sessions", user_id=person("physicist"), ended_at=None)[-1]["session_id"]
    browser.get("/account")
    assert browser.post(f"/account/sessions/{open_one}/end").status_code == 404
    assert victim.get("/account").status_code == 200


def test_after_sign_in_only_own_addresses_are_gone_to(new_browser: NewBrowser) -> None:
    for bad in ("//evil.example/x", "https://evil.example", "/\\evil.example", "/sign-out", "javascript:alert(1)"):
        browser = new_browser()
        browser.get("/sign-in", params={"onward": bad})
        given = {"user": person("monitor"), "password": PASSWORD, "onward": bad}
        answer = browser.post("/sign-in", given, follow_redirects=False)
        assert answer.headers["location"] == "/", bad


def test_a_first_password_must_be_changed_before_anything_else(new_browser: NewBrowser, trial: Trial) -> None:
    accounts.add_user(trial, ROOT, user_id="newcomer", name="New Comer", password="given by somebody")
    accounts.grant_role(trial, ROOT, "newcomer", role="inspector")
    browser = new_browser()
    browser.sign_in("newcomer", "given by somebody")
    due = browser.get("/audit")
    assert due.url.path == "/account"
    assert "Choose a password that only you know" in due.text
    new = "three words of mine"
    changed = {"present": "given by somebody", "new_password": new, "repeat": "three words of mne"}
    assert "differs" in browser.post("/account/password", changed).text
    assert browser.post("/account/password", {**changed, "present": "x", "repeat": new}).status_code == 422
    done = browser.post("/account/password", {**changed, "repeat": new})
    assert "Your password was changed" in done.text
    assert browser.get("/audit").url.path == "/audit"


@pytest.fixture
def still() -> ManualClock:
    """A clock that stands, so that a code is the one of its half minute however busy the machine is."""
    return ManualClock(START)


@pytest.fixture
def real_trial(tmp_path: Path, still: ManualClock) -> Iterator[Trial]:
    """A trial with argon2id, one-time codes, and one person."""
    real = PasswordAuthenticator(KeyRing(tmp_path / "trial" / "keys"))
    with Trial.create(
        tmp_path / "trial", study=Study("REAL", "Real accounts"), demonstration=True, clock=still, authenticator=real
    ) as made:
        accounts.add_user(made, ROOT, user_id="jan", name="Jan Lis", password=PASSWORD)
        accounts.set_password(made, Actor("jan", "Jan Lis"), "jan", password=PASSWORD)
        accounts.grant_role(made, ROOT, "jan", role="administrator")
        yield made


@pytest.mark.requirement(19)
def test_one_time_codes_are_set_up_from_a_qr_code_and_asked_from_then_on(real_trial: Trial, still: ManualClock) -> None:
    with TestClient(create_app(real_trial), base_url="http://127.0.0.1") as client:
        browser = Browser(client)
        browser.sign_in("jan")
        assert "With one-time codes you may also" in browser.get("/account").text
        assert browser.get("/users").status_code == 403, "rights that need a code are refused without one"
        for nothing in ({}, {"own_password": "not the password"}):
            refused = browser.post("/account/codes", nothing)
            assert (refused.status_code, "Your password: is not right" in refused.text) == (422, True)
        page = browser.post("/account/codes", {"own_password": PASSWORD})
        assert "<svg" in page.text
        found = re.search(r'name="secret" value="([A-Z2-7]+)"', page.text)
        assert found
        secret = found[1]
        wrong = browser.post("/account/codes/confirm", {"secret": secret, "code": "abc"})
        assert wrong.status_code == 422
        code = pyotp.TOTP(secret).at(still.now())
        done = browser.post("/account/codes/confirm", {"secret": secret, "code": code})
        assert "Sign in again" in done.text
        assert browser.sign_in("jan").status_code == 401, "the password alone is no longer enough"
        with real_trial.read() as reader:
            stored = reader.record("users", {"user_id": "jan"})
        assert PASSWORD not in stored["password_hash"]
        assert secret not in stored["totp_secret"]
        assert browser.sign_in("jan", code=code).status_code == 401, "the code that confirmed was used"
        still.advance(minutes=6)
        assert browser.sign_in("jan", code=pyotp.TOTP(secret).at(still.now())).status_code == 200
        assert browser.get("/users").status_code == 200
        assert "asked at sign-in and signing" in browser.get("/account").text


def _unescaped(fields: dict[str, str]) -> dict[str, str]:
    import html

    return {name: html.unescape(text) for name, text in fields.items()}


def test_idle_time_is_the_trials_and_shown_to_the_page(tmp_path: Path) -> None:
    with Trial.create(tmp_path / "t", study=Study("S", "S", settings={"idle_minutes": 20}), demonstration=True,
                      clock=ManualClock(START)) as trial:  # fmt: skip
        app = create_app(trial)
        assert app.state.services.study.idle_seconds == 1200
        with trial.read() as reader:
            assert sessions.idle_minutes(reader) == 20


@pytest.mark.requirement(13)
@pytest.mark.requirement(21)
def test_after_a_pause_the_first_signature_asks_for_everything_again(
    new_browser: NewBrowser, trial: Trial, clock: ManualClock
) -> None:
    browser = new_browser(person("physician"))
    app = browser.client.app

    def asked(fields: dict[str, list[str]]) -> tuple[bool, str]:
        session = find(trial, browser.client.cookies["lutetia"])
        assert session is not None
        page = PageContext(Request({"type": "http", "headers": [], "method": "POST"}), app.state.services, ROUTES[0],  # type: ignore[attr-defined]
                           session)  # fmt: skip
        form = Form(page.t, "sign", page.services.study.zone, fields)
        signed = page.confirmed(form)
        if signed is not None:
            covers = (("sites", {"site": "01"}),)
            trial.commit(Change("sign", [Sign(covers, "seen", signed)]), session.actor)
        first = page.signing().first
        page.close()
        return first, form.error("sign_password")

    password, user = {"sign_password": [PASSWORD]}, {"sign_user": [person("physician")]}
    assert asked(password)[0]
    assert "needs account name and password" in asked(password)[1]
    assert asked(password | user)[1] == ""
    assert asked(password) == (False, ""), "one component is enough within the session"
    assert "not right" in asked({"sign_password": ["wrong"]})[1]
    clock.advance(minutes=16)
    browser.get("/account")
    assert browser.post("/session/unlock", {"password": PASSWORD}).status_code == 200
    assert "needs account name and password" in asked(password)[1]

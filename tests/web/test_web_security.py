"""Headers, form tokens, cookies, limits: what every answer and every change of the web carries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import anyio
import pytest
from tests.web.browsing import Browser, TestClient, person

from lutetia.trial import ManualClock, Trial
from lutetia.web.app import create_app
from lutetia.web.routes import ROUTES
from lutetia.web.security import RateLimit, TooManyTriesError, check_form_token, form_token
from lutetia.web.session import VISITOR
from lutetia.web.settings import Settings

NewBrowser = Callable[..., Browser]
PATHS = ["/sign-in", "/", "/users", "/nowhere", "/static/lutetia.css", "/api/trial", "/api/nowhere", "/health"]


@pytest.mark.requirement(24)
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_inline_script_and_style_framing_and_plain_http(
    new_browser: NewBrowser, path: str
) -> None:
    for browser in (new_browser(), new_browser(person("administrator"))):
        headers = browser.get(path, follow_redirects=False).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert int(headers["strict-transport-security"].split(";")[0].removeprefix("max-age=")) >= 31536000
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


@pytest.mark.requirement(24)
def test_no_page_holds_inline_script_style_or_handlers(new_browser: NewBrowser) -> None:
    browser = new_browser(person("administrator"))
    pages = [r.path for r in ROUTES if r.method == "GET" and "{" not in r.path and not r.is_api]
    for path in [*pages, "/users/monitor", "/sites/01", "/nowhere"]:
        text = browser.get(path).text
        for tag in re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL):
            assert tag == "", f"{path}: inline script"
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=|javascript:", text), path
        assert not re.search(r"""(src|href|action)="(https?:)?//""", text), f"{path}: something from elsewhere"


@pytest.mark.requirement(24)
def test_cookies_are_not_readable_by_scripts_and_not_sent_from_other_sites(new_browser: NewBrowser) -> None:
    browser = new_browser()
    visitor = browser.get("/sign-in").headers["set-cookie"].lower()
    session = browser.post("/sign-in", {"user": "monitor", "password": "a calm river stone"}, follow_redirects=False)
    assert session.status_code == 303
    for cookie in (visitor, session.headers["set-cookie"].lower()):
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie


@pytest.mark.requirement(24)
def test_behind_tls_the_session_cookie_is_secure_and_bound_to_the_host(new_browser: NewBrowser) -> None:
    browser = new_browser(behind_tls=True)
    browser.client.base_url = "https://127.0.0.1"
    browser.get("/sign-in")
    answer = browser.post("/sign-in", {"user": "monitor", "password": "a calm river stone"}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-lutetia=")
    assert "secure" in cookie.lower()


@pytest.mark.requirement(24)
@pytest.mark.parametrize("token", ["", "0" * 64, None])
def test_a_change_without_this_sessions_form_token_is_refused_and_nothing_is_stored(
    new_browser: NewBrowser, trial: Trial, token: str | None
) -> None:
    browser = new_browser(person("administrator"))
    with trial.read() as reader:
        before = reader.count("sites")
    fields = {"site": "09", "name": "X", "country": "PL", "timezone": "Europe/Warsaw", "opened_on": "2026-03-01"}
    answer = browser.post("/sites", {**fields, "csrf": token} if token is not None else {**fields, "csrf": None})
    assert answer.status_code == 403
    assert "out of date" in answer.text
    with trial.read() as reader:
        assert reader.count("sites") == before


@pytest.mark.requirement(24)
def test_another_sessions_token_and_another_sites_page_are_refused(new_browser: NewBrowser) -> None:
    first, second = new_browser(person("administrator")), new_browser(person("administrator"))
    first.get("/account")
    second.get("/account")
    assert first.csrf != second.csrf
    assert first.post("/sign-out", {"csrf": second.csrf}).status_code == 403
    foreign = first.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert first.get("/account").status_code == 200


def test_sign_in_itself_needs_the_visitors_token(new_browser: NewBrowser) -> None:
    browser = new_browser()
    browser.csrf = "0" * 64
    assert browser.post("/sign-in", {"user": "monitor", "password": "a calm river stone"}).status_code == 403


def test_programs_with_a_bearer_token_need_no_form_token(new_browser: NewBrowser) -> None:
    client = new_browser().client
    given = {"user": "monitor", "password": "a calm river stone"}
    client.get("/sign-in")
    token = form_token(client.cookies[VISITOR])
    signed_in = client.post("/api/session", json=given, headers={"X-CSRF-Token": token})
    assert signed_in.status_code == 200
    client.cookies.clear()
    headers = {"Authorization": f"Bearer {signed_in.json()['token']}"}
    assert client.get("/api/session", headers=headers).json()["user_id"] == "monitor"
    assert client.delete("/api/session", headers=headers).status_code == 204
    assert client.get("/api/session", headers=headers).status_code == 401


def test_form_tokens_belong_to_one_secret() -> None:
    check_form_token("secret", form_token("secret"))
    for secret, found in (("secret", form_token("other")), (None, form_token("secret")), ("secret", None)):
        with pytest.raises(Exception, match="no valid token"):
            check_form_token(secret, found)


def test_requests_under_another_host_name_are_refused(new_browser: NewBrowser) -> None:
    assert new_browser().get("/health", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.requirement(24)
def test_bodies_beyond_the_limit_are_refused_with_or_without_announced_length(trial: Trial) -> None:
    app = create_app(trial, settings=Settings(form_bytes=2000))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        announced = client.post("/sign-in", data={"user": "x" * 5000})
        chunked = client.post(
            "/sign-in",
            content=(b"x" * 500 for _ in range(10)),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        json = client.post("/api/session", json={"user": "x" * 5000, "password": "x"})
    assert [announced.status_code, chunked.status_code, json.status_code] == [413, 413, 413]


@pytest.mark.requirement(24)
def test_only_addresses_for_files_take_large_bodies_and_only_from_who_may_send_them(trial: Trial) -> None:
    app = create_app(trial, settings=Settings(sign_in_tries=1000, form_bytes=2000, upload_bytes=9000))
    sent: list[int] = []

    def parts(count: int) -> Iterator[bytes]:
        for _ in range(count):
            sent.append(500)
            yield b"x" * 500

    kind = {"content-type": "application/x-www-form-urlencoded"}
    with TestClient(app, base_url="http://127.0.0.1") as client:
        browser = Browser(client)
        assert browser.get("/documents", follow_redirects=False).status_code == 401
        assert client.post("/documents", content=parts(8), headers=kind).status_code == 401, "before it is read"
        browser.sign_in(person("administrator"))
        assert client.post("/documents", content=parts(8), headers=kind).status_code == 403, "read: it lacks the token"
        assert client.post("/documents", content=parts(20), headers=kind).status_code == 413
        assert client.post("/users", content=parts(8), headers=kind).status_code == 413


def test_a_body_that_stops_coming_is_given_up(trial: Trial) -> None:
    messages: list[dict[str, Any]] = []

    async def silence() -> dict[str, Any]:
        await anyio.sleep(60)
        raise AssertionError("nobody waited for it")

    async def note(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/sign-in", "raw_path": b"/sign-in", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("x", 80),
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-www-form-urlencoded")],
    }  # fmt: skip
    app = create_app(trial, settings=Settings(stall_seconds=0.05))
    anyio.run(app, scope, silence, note)
    assert messages[0]["status"] == 408


@pytest.mark.parametrize("address", ["/subjects?page=²", f"/queries?page={'9' * 5000}", "/audit?before=²",
                                     "/audit?since_day=0001-01-01", f"/locks/{10**23}",
                                     f"/audit/field/labs/{10**23}/value"])  # fmt: skip
def test_numbers_and_days_that_cannot_be_meant_are_no_faults(new_browser: NewBrowser, address: str) -> None:
    for who in ("data_manager", "inspector"):
        assert new_browser(person(who)).get(address).status_code in (200, 403, 404, 422)


def test_static_files_are_kept_by_browsers_and_pages_are_not(new_browser: NewBrowser) -> None:
    browser = new_browser()
    address = re.search(r'href="(/static/lutetia\.css\?v=[0-9a-f]+)"', browser.get("/sign-in").text)
    assert address
    sheet = browser.get(address[1])
    assert "immutable" in sheet.headers["cache-control"]
    assert browser.get(address[1], headers={"If-None-Match": sheet.headers["etag"]}).status_code == 304
    assert browser.get("/sign-in").headers["cache-control"] == "no-store"
    assert browser.get("/static/../app.py").status_code == 404
    assert browser.get("/static/nothing.js").status_code == 404


@pytest.mark.requirement(20)
def test_tries_are_limited_in_rate_and_come_back_with_time(trial: Trial, clock: ManualClock) -> None:
    limit, began = RateLimit(trial, 3, seconds=60.0), clock.now()
    for _ in range(3):
        limit.take("a")
    with pytest.raises(TooManyTriesError, match="wait 20 s"):
        limit.take("a")
    limit.take("b")
    clock.advance(seconds=21)
    limit.take("a")
    with pytest.raises(TooManyTriesError):
        RateLimit(trial, 3, seconds=60.0).take("a")  # of another process
    clock.moment = began - timedelta(hours=1)
    limit.take("a")
    clock.moment = began


@pytest.mark.requirement(20)
def test_tries_at_the_same_time_are_counted_one_by_one(trial: Trial) -> None:
    limit = RateLimit(trial, 10, seconds=60.0)

    def tried(number: int) -> bool:
        try:
            limit.take("at once")
        except TooManyTriesError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(tried, range(120))) == 10


@pytest.mark.requirement(20)
def test_too_many_sign_ins_from_one_place_are_told_to_wait(new_browser: NewBrowser, clock: ManualClock) -> None:
    clock.advance(minutes=1)
    browser = new_browser(sign_in_tries=2)
    answers = [browser.sign_in(f"nobody-{n}", "wrong") for n in range(3)]
    assert [a.status_code for a in answers] == [401, 401, 429]
    assert int(answers[-1].headers["retry-after"]) > 0

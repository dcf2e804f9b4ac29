"""Every route × role × site: what the matrix of rights denies is refused, what it grants is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.web.browsing import PASSWORD, ROOT, Browser, TestClient, person

from lutetia.trial import Trial, access, accounts
from lutetia.trial.access import RIGHTS, ROLES
from lutetia.trial.records import Actor, Grant
from lutetia.web.app import create_app
from lutetia.web.routes import ROUTES
from lutetia.web.routing import OWN_ACCOUNT, PAUSED, PUBLIC, SIGNED_IN, Route, any_site
from lutetia.web.settings import Settings

OPEN = {PUBLIC, SIGNED_IN, OWN_ACCOUNT, PAUSED}
GUARDED = [route for route in ROUTES if route.action not in OPEN]
WHO = [*((role, "01") for role in ROLES), ("coordinator", "02"), ("monitor", "02")]


@dataclass(frozen=True)
class Visitor:
    """A signed-in person: grants, and a client of their own."""

    actor: Actor
    browser: Browser


@pytest.fixture(scope="module")
def app(trial: Trial) -> Any:
    return create_app(trial, settings=Settings(sign_in_tries=10_000))


@pytest.fixture(scope="module")
def visitors(app: Any) -> Iterator[dict[tuple[str, str], Visitor]]:
    made = {}
    for role, site in WHO:
        browser = Browser(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
        browser.sign_in(person(role, site), PASSWORD)
        grant = Grant(role, site if role in access.SITE_ROLES else None)
        made[role, site] = Visitor(Actor("x", "X", (grant,)), browser)
    yield made
    for visitor in made.values():
        visitor.browser.client.close()


def address(route: Route, site: str) -> str:
    """The route's path with things of a site in it; what does not exist there is asked for all the same."""
    values = {"subject_id": f"DUO-{site}-001", "site": site, "query_id": str(int(site)), "user_id": "monitor",
              "table": "subjects", "column": "sex", "view": "axial", "batch": f"LOT-{site}", "name": "pdf"}  # fmt: skip
    return re.sub(r"{(\w+)(:\w+)?}", lambda m: values.get(m[1], "1"), route.path)


def ask(visitor: Visitor, route: Route, site: str) -> int:
    path, headers = address(route, site), {"X-CSRF-Token": visitor.browser.csrf}
    if route.method == "GET":
        return visitor.browser.client.get(path, follow_redirects=False).status_code
    answer = visitor.browser.client.request(route.method, path, headers=headers, follow_redirects=False)
    return answer.status_code


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.requirement(22)
@pytest.mark.parametrize("route", GUARDED, ids=named)
def test_each_role_reaches_a_route_at_each_site_exactly_as_the_matrix_says(
    route: Route, visitors: dict[tuple[str, str], Visitor]
) -> None:
    wrong = []
    sites = ("01",) if route.site_of is any_site else ("01", "02")
    for (role, own), visitor in visitors.items():
        for site in sites:
            granted = access.may(visitor.actor, route.action, None if route.site_of is any_site else site)
            status = ask(visitor, route, site)
            # A page of doses refuses masked persons who may otherwise see subjects.
            fine = status not in (401, 403) or access.masked(visitor.actor) if granted else status == 403
            if not fine or status >= 500:
                wrong.append(f"{role} of {own} at {site}: {status}, granted: {granted}")
    assert not wrong, wrong


@pytest.mark.requirement(22)
@pytest.mark.parametrize("route", [r for r in ROUTES if r.action != PUBLIC], ids=named)
def test_nobody_reaches_a_route_without_signing_in(route: Route, app: Any) -> None:
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        browser = Browser(client)
        browser.get("/sign-in")
        headers = {"X-CSRF-Token": browser.csrf}
        answer = client.request(route.method, address(route, "01"), headers=headers, follow_redirects=False)
    assert answer.status_code == 401


@pytest.fixture(scope="module")
def newcomer(app: Any, trial: Trial) -> Iterator[Visitor]:
    """A person with every right that one may hold, whose password the administrator chose."""
    accounts.add_user(trial, ROOT, user_id="newcomer", name="New Comer", password=PASSWORD)
    grants = tuple(Grant(role, "01" if role in access.SITE_ROLES else None) for role in ROLES[:7])
    for grant in grants:
        accounts.grant_role(trial, ROOT, "newcomer", role=grant.role, site=grant.site)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        browser = Browser(client)
        browser.sign_in("newcomer", PASSWORD)
        yield Visitor(Actor("newcomer", "New Comer", grants), browser)


@pytest.mark.requirement(17)
@pytest.mark.requirement(22)
@pytest.mark.parametrize("route", [r for r in ROUTES if r.action not in (PUBLIC, PAUSED, OWN_ACCOUNT)], ids=named)
def test_nothing_opens_before_the_password_that_the_administrator_gave_is_changed(
    route: Route, newcomer: Visitor
) -> None:
    path, headers = address(route, "01"), {"X-CSRF-Token": newcomer.browser.csrf}
    answer = newcomer.browser.client.request(route.method, path, headers=headers, follow_redirects=False)
    if route.is_api:
        assert answer.status_code == 403
        assert "choose your own first" in answer.text
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, "/account")


def test_before_the_password_is_changed_one_may_only_change_it_and_sign_out() -> None:
    own = {named(r) for r in ROUTES if r.action == OWN_ACCOUNT}
    assert own == {"GET /account", "POST /account/password", "POST /session/touch", "DELETE /api/session"}


@pytest.mark.requirement(22)
def test_what_the_map_does_not_name_does_not_exist(app: Any) -> None:
    served = {
        (method, route.path) for route in app.routes for method in getattr(route, "methods", ()) if method != "HEAD"
    }
    assert served == {(r.method, r.path) for r in ROUTES} | {("GET", "/openapi.json")}


@pytest.mark.requirement(22)
def test_every_route_names_a_right_of_the_matrix_and_none_is_named_twice() -> None:
    assert {route.action for route in ROUTES} <= OPEN | set(RIGHTS)
    assert len({(r.method, r.path) for r in ROUTES}) == len(ROUTES)


def test_only_these_routes_need_nobody_signed_in() -> None:
    public = {f"{r.method} {r.path}" for r in ROUTES if r.action == PUBLIC}
    assert public == {"GET /health", "GET /static/{path:path}", "GET /sign-in", "POST /sign-in", "POST /sign-out",
                      "POST /api/session"}  # fmt: skip


def test_the_left_side_shows_only_what_may_be_opened(visitors: dict[tuple[str, str], Visitor]) -> None:
    for visitor in visitors.values():
        page = visitor.browser.client.get("/").text
        navigation = page.split("<nav", 1)[1].split("</nav>", 1)[0]
        for path in re.findall(r'href="([^"]+)"', navigation):
            assert visitor.browser.client.get(path).status_code == 200, path


def test_the_api_is_described_and_says_who_one_is(app: Any, visitors: dict[tuple[str, str], Visitor]) -> None:
    client = visitors["monitor", "02"].browser.client
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {r.path for r in ROUTES if r.is_api}
    assert client.get("/api/session").json()["grants"] == [{"role": "monitor", "site": "02"}]
    assert [row["site"] for row in client.get("/api/accrual").json()] == ["02"]
    assert {row["site"] for row in client.get("/api/queries").json()} == {"02"}
    assert client.get("/api/queries", params={"state": "LOST"}).status_code == 422
    assert client.get("/api/trial").json()["demonstration"] is True
    assert visitors["administrator", "01"].browser.client.get("/api/accrual").json()["title"] == "You may not do this"

"""What the tests of the web share: a small filled trial, quick passwords, and a browser that keeps the form's token."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from lutetia.trial import SYSTEM, Actor, Change, Create, Grant, Trial, accounts
from lutetia.trial.access import ROLES, SITE_ROLES
from lutetia.trial.authentication import Proof
from lutetia.workflow import queries_form, sites_users

with warnings.catch_warnings():
    # starlette asks for another client library than the one that this project uses; the interface is the same.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

PASSWORD = "a calm river stone"
ROOT = Actor("root", "Root", (Grant("administrator"),))
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PlainAuthenticator:
    """Passwords compared as they are and any code right: quick, for demonstration databases only."""

    def hash(self, password: str) -> str:
        return f"plain {password}"

    def check(self, user: dict[str, Any], password: str | None, code: str | None, *, at: datetime) -> Proof:
        return Proof(user.get("password_hash") == f"plain {password}", True)

    def new_secret(self) -> tuple[str, str]:
        return "JBSWY3DPEHPK3PXP", "sealed"


@dataclass
class Browser:
    """One browser: follows links, remembers the form token of the last page."""

    client: TestClient
    csrf: str = ""
    last: httpx.Response | None = field(default=None)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._seen(self.client.get(path, **options))

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
        return self._seen(self.client.post(path, data={"csrf": self.csrf, **(data or {})}, **options))

    def sign_in(self, user: str, password: str = PASSWORD, code: str = "") -> httpx.Response:
        self.get("/sign-in")
        return self.post("/sign-in", {"user": user, "password": password, "code": code})

    def _seen(self, response: httpx.Response) -> httpx.Response:
        self.last = response
        if found := re.search(r'data-csrf="([0-9a-f]+)"', response.text):
            self.csrf = found[1]
        return response


def person(role: str, site: str = "01") -> str:
    """Account name of the person with a role (at site 01 unless said)."""
    return role.replace("_", "-") + ("" if site == "01" else f"-{site}")


def fill(trial: Trial) -> None:
    """Two sites, a person in every role at site 01, a coordinator at site 02, a subject and a query at each site."""
    for site, name in (("01", "Warsaw"), ("02", "Uppsala")):
        sites_users.add_site(trial, ROOT, sites_users.AddSite(site, name, "PL", "Europe/Warsaw", "2026-01-10"))
    for role, site in [*((role, "01") for role in ROLES), ("coordinator", "02"), ("monitor", "02")]:
        user = person(role, site)
        accounts.add_user(trial, ROOT, user_id=user, name=f"Person {user}", password=PASSWORD)
        accounts.set_password(trial, Actor(user, user), user, password=PASSWORD)
        accounts.grant_role(trial, ROOT, user, role=role, site=site if role in SITE_ROLES else None)
    for site in ("01", "02"):
        values = {"subject_id": f"DUO-{site}-001", "site": site, "state": "SCREENING", "sex": "female", "arm": "B"}
        batch = {"batch": f"LOT-{site}", "nuclide": "Lu-177", "product": "DOTA-TATE", "site": site, "state": "OPEN",
                 "activity_MBq": 9000.0, "calibrated_at": "2026-03-01T08:00:00+00:00",
                 "expires_at": "2026-03-04T08:00:00+00:00", "received_on": "2026-03-01"}  # fmt: skip
        made = [Create("subjects", values | {"age_years": 58}), Create("product_batches", batch)]
        number = trial.commit(Change("screen", made), SYSTEM).records[0]
        monitor = Actor("mo", "Monitor", (Grant("monitor", site),))
        assert number is not None
        queries_form.open_query(trial, monitor, queries_form.OpenQuery("subjects", number, "age_years", "58 or 85?"))


__all__ = ["PASSWORD", "ROOT", "START", "Browser", "PlainAuthenticator", "TestClient", "fill", "person"]

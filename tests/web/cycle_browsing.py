"""A treated trial behind the web application: its people with accounts, and a browser for each of them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from tests.web.browsing import PASSWORD, ROOT, Browser, PlainAuthenticator, TestClient
from tests.workflow.treated_trial import SUBJECT, Story, make_story

from lutetia.trial import Actor, Trial, accounts
from lutetia.web.app import create_app
from lutetia.web.settings import Settings

#: Account, role, site: the persons of `tests.workflow.treated_trial`.
PEOPLE = (("cora", "coordinator", "01"), ("phil", "physicist", "01"), ("ines", "physician", "01"),
          ("paul", "physician", "01"), ("otto", "physicist", "02"), ("stan", "masked_statistician", None),
          ("sofia", "safety_officer", None))  # fmt: skip
SUBJECT_PATH = f"/subjects/{SUBJECT}"


def web_story(folder: Path, **more: Any) -> Story:
    """A story whose trial knows its people by account and password."""
    story = make_story(folder, **more)
    story.trial.close()
    story.trial = Trial.open(folder / "data", clock=story.clock, authenticator=PlainAuthenticator())
    for user, role, site in PEOPLE:
        accounts.add_user(story.trial, ROOT, user_id=user, name=f"{user.title()} Example", password=PASSWORD)
        accounts.set_password(story.trial, Actor(user, user), user, password=PASSWORD)
        accounts.grant_role(story.trial, ROOT, user, role=role, site=site)
    return story


class Site:
    """Browsers on one application, one a person, signed in when first asked for."""

    def __init__(self, story: Story) -> None:
        self.app = create_app(story.trial, settings=Settings(sign_in_tries=10_000))
        self.clock = story.clock
        self.open: dict[str, Browser] = {}
        self.since: dict[str, datetime] = {}

    def of(self, user: str) -> Browser:
        """The browser of a person; a session that stood idle is opened again."""
        now, last = self.clock.now(), self.since.get(user)
        if user not in self.open:
            client = TestClient(self.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
            self.open[user] = Browser(client)
        browser = self.open[user]
        if last is None or now - last > timedelta(minutes=10):
            browser.sign_in(user)
        self.since[user] = now
        return browser

    def close(self) -> None:
        for browser in self.open.values():
            browser.client.close()


def cycle_path(number: int = 1, step: str = "") -> str:
    """Address of a cycle or of a step of it."""
    return f"{SUBJECT_PATH}/cycles/{number}" + (f"/{step}" if step else "")


def hidden(page: httpx.Response) -> dict[str, str]:
    """The hidden inputs of a page's forms, as a browser would send them."""
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    return {name: value for name, value in pairs if name != "csrf"}


def sign_step(browser: Browser, number: int, step: str, user: str, **fields: Any) -> httpx.Response:
    """Open the page of a signature, then send it with all components; conditions shown there are acknowledged."""
    shown = browser.get(cycle_path(number, step))
    if shown.status_code != 200:
        return shown
    boxes = re.findall(r'name="acknowledged" value="([^"]*)"', shown.text)
    sent = dict(re.findall(r'name="(activity\.[\w-]+)" type="text" value="([^"]*)"', shown.text))
    sent |= hidden(shown) | {"sign_user": user, "sign_password": PASSWORD} | fields
    return browser.post(cycle_path(number, step), sent | ({"acknowledged": boxes} if boxes else {}))

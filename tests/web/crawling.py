"""Reading everything that one person can read: every address of the map and every link on the pages, once each."""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Mapping

import httpx
from tests.web.browsing import Browser, TestClient

from lutetia.trial import Trial
from lutetia.web.app import create_app
from lutetia.web.routes import ROUTES
from lutetia.web.settings import Settings

#: Addresses whose content is the same for everybody, or that end the session.
SKIPPED = ("/sign-out", "/static", "/session", "/health")


def browser_of(trial: Trial, user: str, password: str) -> Browser:
    """A signed-in browser on an application of its own."""
    app = create_app(trial, settings=Settings(sign_in_tries=1000))
    browser = Browser(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
    browser.sign_in(user, password)
    return browser


def routed(subject: str, known: Mapping[str, str]) -> list[str]:
    """Every GET address of the map, with these values in place of its parameters (1 where none is named)."""
    values = {**known, "subject_id": subject}
    paths = [r.path for r in ROUTES if r.method == "GET" and not r.path.startswith(SKIPPED)]
    return [re.sub(r"{(\w+)(:\w+)?}", lambda m: values.get(m[1], "1"), path) for path in paths]


def readable(answer: httpx.Response) -> str:
    """The text of an answer; of an archive the names and texts of its files."""
    if answer.headers.get("content-type") != "application/zip":
        return answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return "\n".join(f"{name}:\n{archive.read(name).decode(errors='replace')}" for name in archive.namelist())


def crawl(browser: Browser, first: list[str]) -> dict[str, tuple[int, str]]:
    """Status and text of every address and of every link on the pages, once each."""
    found: dict[str, tuple[int, str]] = {}
    waiting = list(first)
    while waiting and len(found) < 1500:
        path = waiting.pop()
        if path in found or path.startswith(SKIPPED):
            continue
        answer = browser.client.get(path, follow_redirects=True)
        found[path] = answer.status_code, readable(answer)
        links = re.findall(r'(?:href|hx-get)="(/[^"#]*)"', answer.text)
        waiting += [html.unescape(link) for link in links if link not in found]
    return found

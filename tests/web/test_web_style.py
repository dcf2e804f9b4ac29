"""Style sheet and templates agree: no class without a rule, no rule without a class; few bytes, few requests."""

from __future__ import annotations

import gzip
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from tests.web.browsing import Browser, person

from lutetia.web.assets import assets

WEB = Path(str(files("lutetia.web")))
#: Classes that the vendored script sets, and levels that a template writes behind a hyphen.
_SET_ELSEWHERE = frozenset({"htmx-request"})
_LEVELS = re.compile(r"(warm|hot)-[0-3]|tone-(ok|info|warning|danger)")


@cache
def style() -> str:
    text = assets()["lutetia.css"].content.decode()
    return re.sub(r"/\*.*?\*/|url\((\"[^\"]*\"|[^)]*)\)", "", text, flags=re.DOTALL)


@cache
def templates() -> str:
    return "".join(path.read_text() for path in sorted((WEB / "templates").rglob("*.html")))


def with_rules() -> set[str]:
    return set(re.findall(r"\.([A-Za-z][\w-]*)", re.sub(r"{[^{}]*}", "{}", style())))


def written() -> set[str]:
    """Classes that templates name literally."""
    lists = re.findall(r'class="((?:{{.*?}}|{%.*?%}|[^"])*)"', templates())
    plain = (re.sub(r"{{.*?}}|{%.*?%}", " ", each) for each in lists)
    return {name for each in plain for name in each.split() if not name.endswith("-")}


def test_every_class_of_the_templates_has_a_rule() -> None:
    assert written() - with_rules() == set()


def test_every_rule_has_a_class_that_pages_use() -> None:
    sources = [*(WEB / "pages").rglob("*.py"), *WEB.glob("*.py"), *(WEB / "static" / "js").glob("*.js")]
    words = set(re.findall(r"[A-Za-z][\w-]*", templates() + "".join(path.read_text() for path in sources)))
    assert {n for n in with_rules() - words - _SET_ELSEWHERE if not _LEVELS.fullmatch(n)} == set()


def test_every_colour_and_length_of_a_name_is_used_and_every_used_one_is_set() -> None:
    names = set(re.findall(r"(--[\w-]+):", style()))
    used = set(re.findall(r"var\((--[\w-]+)", style()))
    assert used - names == set()
    own = set(re.findall(r"(--[\w-]+):", (WEB / "static" / "lutetia.css").read_text()))
    assert own - used == set()


@pytest.mark.parametrize(("path", "limit"), [("lutetia.css", 12_000), ("vendor/htmx-2.0.11.min.js", 20_000)])
def test_what_every_page_loads_stays_small(path: str, limit: int) -> None:
    assert len(gzip.compress(assets()[path].content)) < limit
    assert sum(len(a.content) for name, a in assets().items() if name.startswith("js/")) < 16_000


def test_addresses_of_style_scripts_and_fonts_never_have_to_be_asked_for_again(new_browser: type[Browser]) -> None:
    browser = new_browser(person("coordinator"))
    page = browser.get("/").text
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page) + re.findall(
        r"url\((/static/[^)]+)\)", assets()["lutetia.css"].content.decode()
    )
    assert len(found) >= 8
    for address in found:
        answer = browser.get(address.replace("&amp;", "&"))
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"], address


def test_fonts_of_the_first_sight_are_asked_for_with_the_page(new_browser: type[Browser]) -> None:
    page = new_browser().get("/sign-in").text
    for address in re.findall(r'rel="preload" href="([^"]+)"', page):
        assert f"url({address})" in assets()["lutetia.css"].content.decode()

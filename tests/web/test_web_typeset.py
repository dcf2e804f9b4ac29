"""What people read on every page: raised mass numbers, µ, thin spaces, one form of dates, words instead of code."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.web.every_page import open_every_page, people_at, trial_in_progress

from lutetia.web.rendering import moment_typed, typeset

#: What a reader would stumble over: nuclides, units and structures as computers write them, other forms of dates.
PLAIN = re.compile(
    r"(?<![\w-])(?:177Lu|90Y|Lu-177|Y-90)(?![\w-])|\d ?umol|10\^\d|\b\d{1,2}[/.]\d{1,2}[/.]20\d\d"
    r"|\d{5,} [MG]Bq|\{['\"]|\bNone\b|\bTrue\b|\bFalse\b|\bnan\b"
)


def visible(page: str) -> str:
    """A page without pictures and scripts, and without tags inside words."""
    body = re.sub(
        r"<(script|style|svg)\b.*?</\1>|<!--.*?-->", " ", page.partition("<body")[2].partition(">")[2], flags=re.DOTALL
    )
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"</?(?:sup|b|strong|span)\b[^>]*>", "", body)))


def words(page: str) -> str:
    """The text of a page."""
    return re.sub(r"<[^>]*>", " ", visible(page))


def test_no_page_shows_nuclides_units_or_dates_as_computers_write_them(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    with trial_in_progress(tmp_path / "trial") as trial, people_at(trial) as people:
        for page in open_every_page(trial, people):
            answer = people[page.user].get(page.address)
            stumbled = [nearby(words(answer.text), m) for m in PLAIN.finditer(words(answer.text))]
            if re.search(r'<input[^>]* type="(date|time|month|datetime-local)"', answer.text):
                stumbled.append("a date in the browser's own form")
            if stumbled:
                found[page.address] = stumbled[:3]
    assert found == {}


def nearby(text: str, match: re.Match[str]) -> str:
    return text[max(0, match.start() - 30) : match.end() + 15]


def test_planted_words_are_found() -> None:
    for planted in ("3700 MBq Lu-177", "<td>177<b>Lu</b></td>", "creatinine 7 umol/L", "on 05/04/2026", "{'a': 1}"):
        assert PLAIN.search(words(f"<body><p>{planted}</p></body>")), planted


def test_text_is_typeset_as_it_is_shown() -> None:
    assert typeset("11100 MBq Lu-177, 7 umol/L, 2.5 10^9/L") == "11\u202f100\u00a0MBq ¹⁷⁷Lu, 7 µmol/L, 2.5 10⁹/L"
    assert typeset("2026 was version 1234 of DUO-Y-901") == "2026 was version 1234 of DUO-Y-901"
    assert typeset(None) == ""


def test_a_local_time_is_typed_with_a_space() -> None:
    assert moment_typed("2026-03-02T09:30") == "2026-03-02 09:30"
    assert moment_typed("Tuesday") == "Tuesday"

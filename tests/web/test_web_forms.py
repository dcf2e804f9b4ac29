"""Typed text becomes a typed command or a message beside its field; words of the interface are complete."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from lutetia.errors import AccessDeniedError, AccessError, InputError, StaleRecordError, UnknownNameError
from lutetia.web.forms import Form, values_of
from lutetia.web.texts import LANGUAGES, texts

WARSAW = ZoneInfo("Europe/Warsaw")
SOURCE = Path(str(files("lutetia.web")))


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    dose_Gy: float | None = None
    cycle: int = 1
    on: date | None = None
    taken_at: str | None = None
    given_at: datetime | None = None
    serious: bool = False
    related: Literal["none", "possible"] = "none"
    reasons: tuple[str, ...] = ()


def form(**values: Any) -> Form:
    return Form(texts(), "entry", WARSAW, {k: v if isinstance(v, list) else [v] for k, v in values.items()})


def test_a_form_becomes_the_command_that_it_means() -> None:
    found = form(
        name=" kidneys ", dose_Gy="3.7", cycle="2", on="2026-03-02", taken_at="2026-03-02T09:30",
        given_at="2026-07-02T09:30", serious="yes", related="possible", reasons=["kidney", "marrow"],
    ).read(Entry)  # fmt: skip
    given = datetime(2026, 7, 2, 9, 30, tzinfo=WARSAW)
    assert found == Entry("kidneys", 3.7, 2, date(2026, 3, 2), "2026-03-02T09:30:00+01:00", given, True, "possible",
                          ("kidney", "marrow"))  # fmt: skip


def test_blank_optional_fields_take_their_defaults_and_given_values_come_from_the_address() -> None:
    assert form(dose_Gy="", cycle=" ").read(Entry, name="from the address") == Entry("from the address")


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("name", "", "name: fill this in"),
        ("dose_Gy", "3,7", "dose Gy: found “3,7”; write a number with a decimal point"),
        ("dose_Gy", "3,700", "found “3,700”; write a number"),
        ("dose_Gy", "nan", "found “nan”"),
        ("dose_Gy", "1_000", "found “1_000”"),
        ("dose_Gy", "1e999", "found “1e999”"),
        ("cycle", "1.5", "cycle: found “1.5”; write a whole number"),
        ("on", "02.03.2026", "on: found “02.03.2026”; write a date as YYYY-MM-DD"),
        ("on", "2026-02-30", "found “2026-02-30”"),
        ("taken_at", "half past nine", "write date and time"),
        ("given_at", "2026-03-02", "found “2026-03-02”; write date and time as YYYY-MM-DD HH:MM"),
        ("taken_at", "2026-03-29T02:30", "2026-03-29 02:30 does not exist in Europe/Warsaw, because clocks skip it"),
        ("given_at", "2026-10-25T02:30", "2026-10-25 02:30 exists twice in Europe/Warsaw, because clocks go back"),
        ("related", "certain", "related: choose one of the offered values"),
        ("name", "x" * 20_001, "found 20001 characters"),
    ],
)
def test_what_cannot_be_read_has_a_message_beside_its_field_and_is_kept(field: str, typed: str, message: str) -> None:
    tried = form(**{"name": "x", field: typed})
    assert tried.read(Entry) is None
    assert message in tried.error(field)
    assert tried.value(field) == typed


@pytest.mark.parametrize(("offset", "utc"), [("+02:00", "00:30"), ("+01:00", "01:30")])
def test_of_a_time_that_exists_twice_the_chosen_one_is_taken_and_written_back(offset: str, utc: str) -> None:
    local, chosen = "2026-10-25T02:30", f"2026-10-25T02:30{offset}"
    found = form(name="x", taken_at=[local, chosen], given_at=[local, chosen]).read(Entry)
    assert found is not None
    assert found.given_at is not None
    assert found.taken_at == f"2026-10-25T02:30:00{offset}"
    assert found.given_at.astimezone(UTC).isoformat() == f"2026-10-25T{utc}:00+00:00"
    stored = {"taken_at": f"2026-10-25T{utc}:00+00:00"}
    assert values_of(stored, WARSAW) == {"taken_at": [local, chosen]}
    other_day = form(name="x", taken_at=["2026-10-25T04:30", chosen]).read(Entry)
    assert other_day is not None
    assert other_day.taken_at == "2026-10-25T04:30:00+01:00", "a choice of another time is left alone"
    for wrong in ("", "2026-10-25T02:30+05:00", "2026-10-25T02:31+02:00"):
        assert form(name="x", taken_at=[local, wrong]).read(Entry) is None


def test_a_refusal_that_the_person_corrects_is_shown_on_the_form_and_others_are_pages() -> None:
    def refuse(error: Exception) -> None:
        raise error

    for error in (InputError("found 1; expected 2"), UnknownNameError("unit", "g/l", ["g/L"]), AccessError("masked")):
        tried = form(name="x")
        assert tried.attempt(refuse, error) is None
        assert tried.errors[""] == str(error)
    for error in (StaleRecordError("stale"), AccessDeniedError("denied")):
        with pytest.raises(type(error)):
            form(name="x").attempt(refuse, error)


def test_a_saved_record_is_written_as_inputs_want_it() -> None:
    record = {"taken_at": "2026-03-02T08:30:00+00:00", "weight_kg": 68.0, "age": 58, "note": None, "done": True}
    assert values_of(record, WARSAW) == {
        "taken_at": ["2026-03-02T09:30"], "weight_kg": ["68"], "age": ["58"], "done": ["yes"],
    }  # fmt: skip


def used_keys() -> set[tuple[str, str]]:
    """Literal keys in templates and handlers, with the file that uses them."""
    found = set()
    for path in [*SOURCE.rglob("*.html"), *SOURCE.rglob("*.py")]:
        if path == SOURCE / "__init__.py":
            continue  # an example of a page that is not there
        text = path.read_text(encoding="utf-8")
        keys = re.findall(r"""\bt\(\s*["']([a-z_]+\.[A-Za-z_.]+[a-z])["']\s*[,)]""", text)
        keys += re.findall(r"""notice=["']([a-z_.]+)["']""", text)
        keys += re.findall(r"""\bplural\(["']([a-z_.]+)["']""", text)
        found |= {(path.name, key) for key in keys}
    return found


def test_every_text_that_a_page_asks_for_exists() -> None:
    words = texts().words
    missing = [(name, key) for name, key in used_keys() if key not in words and f"{key}.other" not in words]
    assert not missing


def test_every_language_has_the_same_keys_and_the_same_values_to_fill_in() -> None:
    english = texts("en").words
    for language in LANGUAGES:
        other = texts(language).words
        assert set(other) == set(english)
        for key, text in english.items():
            assert set(re.findall(r"{(\w+)}", other[key])) == set(re.findall(r"{(\w+)}", text)), key


def test_unknown_texts_and_languages_are_refused_with_what_exists() -> None:
    with pytest.raises(UnknownNameError, match=r"frame\.skip"):
        texts()("frame.skipp")
    with pytest.raises(UnknownNameError, match="en"):
        texts("xx")


def test_plurals_follow_the_count() -> None:
    assert texts().plural("form.errors", 1).startswith("One entry")
    assert texts().plural("form.errors", 3).startswith("3 entries")

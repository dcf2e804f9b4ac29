"""The terminal's summary: which warnings it prints, and how it counts the others."""

from __future__ import annotations

from typing import Any

import pytest

from lutetia.plan.summary import summary_lines


def printed(*warnings: tuple[str, str]) -> list[str]:
    """Lines for warnings given as (severity, where)."""
    result: dict[str, Any] = {
        "subject": {"id": "T-1"},
        "protocol": {"name": "duonen", "version": "1", "arm": "B"},
        "prescription": {"cycle": 2, "state": "HELD", "activities_MBq": None, "reasons": [], "conditions": []},
        "limits": [],
        "warnings": [{"code": "c", "message": "look", "where": where, "severity": s} for s, where in warnings],
    }
    return summary_lines(result)


def test_a_first_line_warning_says_where_it_arose() -> None:
    assert "Warning: cycle 1, kidneys: look" in printed(("first-line", "cycle 1, kidneys"))
    assert "Warning: look" in printed(("first-line", ""))


@pytest.mark.parametrize(
    ("severities", "hint"),
    [
        (("first-line", "warning", "note"), "1 further warning and 1 note in the report, under Warnings"),
        (("first-line", "warning"), "1 further warning in the report, under Warnings"),
        (("note", "note"), "2 notes in the report, under Warnings"),
    ],
)
def test_other_warnings_are_counted(severities: tuple[str, ...], hint: str) -> None:
    lines = printed(*((s, "cycle 1") for s in severities))
    assert hint in lines
    assert sum("look" in line for line in lines) == severities.count("first-line")


def test_nothing_is_said_where_there_are_no_warnings() -> None:
    assert not [line for line in printed() if "arning" in line]

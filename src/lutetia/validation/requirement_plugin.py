"""Plugin of pytest: writes which requirement each marked test answers and how it ended.

Loaded by `lutetia.validation.requirements`; the file is named by the environment variable of `RESULT_FILE`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

RESULT_FILE = "LUTETIA_REQUIREMENT_RESULTS"
_numbers: dict[str, list[int]] = {}
_outcomes: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Remember the numbers of every marked test."""
    for item in items:
        numbers = [int(n) for mark in item.iter_markers("requirement") for n in mark.args]
        if numbers:
            _numbers[item.nodeid] = numbers


def pytest_runtest_logreport(report: Any) -> None:
    """Keep the worst outcome of set-up, call and tear-down."""
    order = ("passed", "skipped", "failed")
    known = _outcomes.get(report.nodeid, "passed")
    _outcomes[report.nodeid] = max(known, report.outcome, key=order.index)


def pytest_sessionfinish() -> None:
    """Write the results of the tests that ran here."""
    path = os.environ.get(RESULT_FILE)
    if path and not os.environ.get("PYTEST_XDIST_WORKER"):
        rows = [{"test": test, "numbers": n, "outcome": _outcomes.get(test, "not run")} for test, n in _numbers.items()]
        Path(path).write_text(json.dumps(rows), encoding="utf-8")

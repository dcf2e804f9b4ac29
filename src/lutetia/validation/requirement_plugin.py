"""Plugin of pytest: writes which requirement each marked test answers and how it ended.

Loaded by `lutetia.validation.requirements`; the file is named by the environment variable of `RESULT_FILE`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

RESULT_FILE = "LUTETIA_REQUIREMENT_RESULTS"
_numbers: dict[str, list[int]] = {}
_outcomes: dict[str, str] = {}
_reasons: dict[str, str] = {}
#: Begins a line of progress: percent done, and the file of the test.
PROGRESS = "requirements:"
_done: set[str] = set()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Remember the numbers of every marked test."""
    for item in items:
        numbers = [int(n) for mark in item.iter_markers("requirement") for n in mark.args]
        if numbers:
            _numbers[item.nodeid] = numbers


def pytest_runtest_logreport(report: Any) -> None:
    """Keep the worst outcome of set-up, call and tear-down, why it is none, and say how far the run is."""
    order = ("passed", "skipped", "failed")
    known = _outcomes.get(report.nodeid, "passed")
    _outcomes[report.nodeid] = max(known, report.outcome, key=order.index)
    if report.outcome != "passed":
        _reasons.setdefault(report.nodeid, _reason(report))
    if report.when == "teardown":
        _done.add(report.nodeid)
        file = report.nodeid.partition("::")[0]
        _say(f"{PROGRESS} {100 * len(_done) // max(len(_numbers), 1)} % {file}")


def _reason(report: Any) -> str:
    """The last line of what went wrong."""
    if isinstance(report.longrepr, tuple):  # a skip: file, line, words
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr).strip()
    return text.splitlines()[0] if text else "no reason given"


def _say(line: str) -> None:
    if os.environ.get(RESULT_FILE):
        print(line, file=sys.__stderr__, flush=True)


def pytest_sessionfinish() -> None:
    """Write the results of the tests that ran here."""
    path = os.environ.get(RESULT_FILE)
    if path and not os.environ.get("PYTEST_XDIST_WORKER"):
        rows = [
            {"test": test, "numbers": n, "outcome": _outcomes.get(test, "not run"), "reason": _reasons.get(test, "")}
            for test, n in _numbers.items()
        ]
        Path(path).write_text(json.dumps(rows), encoding="utf-8")

"""The matrix of requirements: what the trial half must do → tests that show it → how they end on this installation.

Titles and rules: `data/requirements.toml`. A test answers a requirement by the mark ``requirement(number)``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lutetia.errors import InputError
from lutetia.validation.requirement_plugin import PROGRESS, RESULT_FILE

PLUGIN = "lutetia.validation.requirement_plugin"


@dataclass(frozen=True, slots=True)
class Answer:
    """A test and its outcome: passed, failed, skipped or not run; and the reason of a failure or skip."""

    test: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One demand with the tests that answer it."""

    number: int
    group: str
    title: str
    rule: str
    answers: tuple[Answer, ...] = ()

    @property
    def result(self) -> str:
        """The worst outcome of its tests; ``no test`` without one, ``not run`` if all were skipped."""
        outcomes = {answer.outcome for answer in self.answers}
        if not outcomes:
            return "no test"
        if "failed" in outcomes:
            return "failed"
        return "passed" if "passed" in outcomes else "not run"

    def record(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {
            "number": self.number,
            "group": self.group,
            "title": self.title,
            "rule": self.rule,
            "result": self.result,
            "tests": [{"test": a.test, "outcome": a.outcome, "reason": a.reason} for a in self.answers],
        }


def read_requirements() -> dict[int, Requirement]:
    """All requirements by number, without answers."""
    text = (files("lutetia.validation") / "data" / "requirements.toml").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, str]] = tomllib.loads(text)["requirements"]
    return {int(n): Requirement(int(n), row["group"], row["title"], row["rule"]) for n, row in table.items()}


def requirement_matrix(tests: Path, progress: Callable[[str], None] = lambda text: None) -> tuple[Requirement, ...]:
    """Run the marked tests of a folder and join them with the requirements.

    Parameters
    ----------
    progress
        Told, at the end of each test, the percent that is done and the test's file.

    Raises
    ------
    InputError
        If there are no tests there, or pytest is not installed.
    """
    if importlib.util.find_spec("pytest") is None:
        raise InputError("requirements: found no pytest; install the extra 'dev' of lutetia to run the tests")
    if not tests.is_dir():
        raise InputError(
            f"requirements: found no folder {str(tests)!r}; give --tests the folder of this version's tests"
        )
    return join(read_requirements(), _run(tests, progress))


def join(requirements: Mapping[int, Requirement], rows: Iterable[Mapping[str, object]]) -> tuple[Requirement, ...]:
    """Requirements with their answers; a mark with an unknown number is refused.

    Raises
    ------
    InputError
        For a number that is not in the list.
    """
    answers: dict[int, list[Answer]] = {number: [] for number in requirements}
    for row in rows:
        numbers = row["numbers"]
        assert isinstance(numbers, list)
        for number in numbers:
            if number not in answers:
                raise InputError(f"{row['test']}: found requirement {number}; expected 1 to {max(answers)}")
            answers[number].append(Answer(str(row["test"]), str(row["outcome"]), str(row.get("reason", ""))))
    return tuple(
        Requirement(r.number, r.group, r.title, r.rule, tuple(answers[r.number])) for r in requirements.values()
    )


def matrix_lines(matrix: Sequence[Requirement]) -> list[str]:
    """The matrix as text, one block a requirement, a summary at the end."""
    lines: list[str] = []
    group = ""
    for one in matrix:
        if one.group != group:
            group = one.group
            lines += ["", group]
        lines.append(f"  {one.number:>2} {one.result.upper():<8} {one.title} [{one.rule}]")
        for answer in one.answers:
            lines.append(f"              {answer.outcome:<8} {answer.test}")
            lines += [f"                       {answer.reason}"] if answer.reason else []
    passed = sum(one.result == "passed" for one in matrix)
    return [*lines, "", f"{passed} of {len(matrix)} requirements passed"]


def _own_environment() -> dict[str, str]:
    """The environment without what another run of pytest put there for itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def _run(tests: Path, progress: Callable[[str], None]) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as beside:
        result = Path(beside) / "results.json"
        command = [sys.executable, "-m", "pytest", str(tests), "-m", "requirement", "-q", "-p", PLUGIN, "--no-header"]
        with subprocess.Popen(
            command,
            cwd=tests.resolve().parent,
            env={**_own_environment(), RESULT_FILE: str(result)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = [line for line in process.stdout if not _is_progress(line, progress)]
        if not result.is_file():
            last = "".join(said).strip().splitlines()[-1:]
            raise InputError(f"requirements: the tests did not start: {' '.join(last)}")
        rows: list[dict[str, object]] = json.loads(result.read_text(encoding="utf-8"))
    return rows


def _is_progress(line: str, progress: Callable[[str], None]) -> bool:
    """Pass a line of progress on; False for any other line."""
    _, mark, text = line.partition(PROGRESS)
    if mark:
        progress(text.strip())
    return bool(mark)

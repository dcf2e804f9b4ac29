"""The matrix of requirements: marks become rows, the worst outcome counts, unknown numbers are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lutetia.cli.app import app
from lutetia.errors import InputError
from lutetia.validation.requirements import join, matrix_lines, read_requirements, requirement_matrix

TESTS = Path(__file__).parents[1]
SAMPLE = """
import pytest

@pytest.mark.requirement(1)
def test_good(): pass

@pytest.mark.requirement(1, 2)
def test_bad(): assert False

@pytest.mark.requirement(3)
def test_later(): pytest.skip("no tool")

def test_unmarked(): assert False
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  requirement(number): x\n", encoding="utf-8")
    return tests


def test_marked_tests_run_and_their_worst_outcome_counts(folder: Path) -> None:
    matrix = {one.number: one for one in requirement_matrix(folder)}
    assert len(matrix) == 47
    assert (matrix[1].result, matrix[2].result, matrix[3].result, matrix[4].result) == (
        "failed",
        "failed",
        "not run",
        "no test",
    )
    assert [answer.outcome for answer in matrix[1].answers] == ["passed", "failed"]


def test_the_run_tells_how_far_it_is_and_the_list_why_a_test_failed_or_was_skipped(folder: Path) -> None:
    told: list[str] = []
    lines = "\n".join(matrix_lines(requirement_matrix(folder, told.append)))
    assert told == [f"{percent} % tests/test_sample.py" for percent in (33, 66, 100)]
    assert re.search(r"failed +tests/test_sample.py::test_bad\n +assert False", lines)
    assert re.search(r"skipped +tests/test_sample.py::test_later\n +Skipped: no tool", lines)


def test_the_command_prints_the_matrix_and_fails_unless_all_passed(folder: Path) -> None:
    found = CliRunner().invoke(app, ["validate", "--requirements", "--tests", str(folder), "--json"])
    assert found.exit_code == 1
    rows = json.loads(found.stdout)
    bad = {"test": "tests/test_sample.py::test_bad", "outcome": "failed", "reason": "assert False"}
    assert rows[0]["tests"][1] == bad
    assert "33 % tests/test_sample.py" in found.stderr


def test_the_text_groups_and_counts() -> None:
    known = read_requirements()
    rows = [{"test": "a", "numbers": [n], "outcome": "passed"} for n in known]
    lines = matrix_lines(join(known, rows))
    assert lines[-1] == "47 of 47 requirements passed"
    assert "Randomisation" in lines


def test_a_mark_with_an_unknown_number_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found requirement 48; expected 1 to 47"):
        join(read_requirements(), [{"test": "a", "numbers": [48], "outcome": "passed"}])
    with pytest.raises(InputError, match="found no folder"):
        requirement_matrix(tmp_path / "absent")


def test_every_requirement_is_answered_by_a_named_test() -> None:
    marked: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        if path.name != Path(__file__).name:
            for numbers in re.findall(r"mark\.requirement\(([\d, ]+)\)", path.read_text(encoding="utf-8")):
                marked |= {int(n) for n in numbers.split(",")}
    missing = sorted(set(read_requirements()) - marked)
    assert not missing, f"no test answers requirement {missing}"

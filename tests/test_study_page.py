"""docs/reference/study.md describes every key of study.toml and no other, with its default; its example works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lutetia.trial import Trial
from lutetia.workflow import study_file
from lutetia.workflow.study_file import read_study_file, template

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "study.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "Top of the file": study_file.StudyTable,
    "`[protocol]`": study_file.ProtocolChoice,
    "`[[visits]]`": study_file.VisitRow,
    "`[[monitors]]`": study_file.MonitorRow,
    "`[[checklist]]`": study_file.ChecklistRow,
}


def rows(title: str) -> dict[str, list[str]]:
    """Cells of a section's table by key; the first tells whether the key is bold."""
    found = re.search(rf"^## {re.escape(title)}$\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    lines = re.findall(r"^\| (\**`\w+`\**) \| (.*) \|$", found[1], re.MULTILINE)
    return {key.strip("*`"): [key, *re.split(r" \| ", rest)] for key, rest in lines}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_described_with_what_holds_without_it(title: str) -> None:
    table, fields = rows(title), {f.alias or n: f for n, f in SECTIONS[title].model_fields.items()}
    assert set(table) == set(fields)
    for key, field in fields.items():
        assert table[key][0].startswith("**") == field.is_required(), key
        if not field.is_required() and field.default not in (None, ()):
            assert written(field.default) in table[key][2], key


def written(value: Any) -> str:
    """A default as the page writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {v:g}" for k, v in value.items()) + " }"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'"{value}"' if isinstance(value, str) else f"`{value:g}`" if value > 2 or value < 2 else f"`{value}`"


def test_every_table_of_the_file_has_a_section() -> None:
    models = {m for m in vars(study_file).values() if isinstance(m, type) and issubclass(m, study_file._Strict)}
    assert models - {study_file._Strict} == set(SECTIONS.values())


def test_the_example_is_the_template_completed_and_makes_a_trial(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    given, blank = tomllib.loads(example[1]), tomllib.loads(template())
    assert {key for key in given if given[key] != blank[key]} == {"id", "title", "planned_n"}
    (tmp_path / "study.toml").write_text(example[1], encoding="utf-8")
    checked = read_study_file(tmp_path / "study.toml")
    assert checked.warnings == ()
    with Trial.create(tmp_path / "t", study=checked.study("x")) as trial, trial.read() as reader:
        assert reader.records("study")[0]["study_id"] == "DUONEN-1"


def test_the_template_shows_every_setting_that_the_protocol_does_not_give() -> None:
    given = {"cycles", "interval_weeks", "category", "arms", "limits", "simulated", "draws", "seed"}
    assert set(rows("Top of the file")) - given == set(tomllib.loads(template()))

"""The reference pages say what the code does: keys, options, names and links are compared with it."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from lutetia.cli.app import COMMANDS
from lutetia.plan import case
from lutetia.protocol.profile import packaged_protocols

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CASE_SECTIONS: dict[str, type[BaseModel]] = {
    "Top of the file": case.Case,
    "`[subject]`": case.Subject,
    "`[[subject.prior_therapy]]`": case.PriorTherapy,
    "`[protocol]`": case.ProtocolChoice,
    "`[calibration]`": case.Calibration,
    "`[marrow]`": case.Marrow,
    "`[[cycles]]`": case.Cycle,
    "`[[cycles.scans]]`": case.Scan,
    "`[[cycles.segmentation]]`": case.Segmentation,
    "`[cycles.regions]`": case.RegionTable,
    "`[cycles.blood]`, `[cycles.whole_body]`, `[cycles.doses]`": case.TableFile,
}
PAGES = sorted(p for p in (*DOCS.rglob("*.md"), *ROOT.glob("*.md")))
OURS = ("tutorial.md", "how-to-add.md", "case.md", "result.md", "commands.md", "walk.md", "kinetics.md", "images.md")


def section(page: str, title: str) -> str:
    """Text under the heading `title` of a page, up to the next heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^##? {re.escape(title)}$\n(.*?)(?=^##? |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page}: no section {title!r}"
    return found[1]


def first_column(text: str) -> dict[str, bool]:
    """Keys of a table's first column, and whether each is bold (required)."""
    rows = re.findall(r"^\| (\**)`(-*[\w-]+)`\** \|", text, re.MULTILINE)
    assert len({key for _, key in rows}) == len(rows), "a key stands twice in one table"
    return {key: bool(bold) for bold, key in rows}


@pytest.mark.parametrize("title", CASE_SECTIONS)
def test_every_key_of_a_case_is_documented_and_no_other(title: str) -> None:
    fields = CASE_SECTIONS[title].model_fields
    expected = {field.alias or name: field.is_required() for name, field in fields.items()}
    assert first_column(section("reference/case.md", title)) == expected


def test_every_model_of_the_case_has_a_section() -> None:
    models = {m for m in vars(case).values() if isinstance(m, type) and issubclass(m, case._Strict)}
    assert models - {case._Strict} == set(CASE_SECTIONS.values())


def test_columns_of_the_tables_are_those_that_are_read(tmp_path: Path) -> None:
    from lutetia.errors import CaseError
    from lutetia.plan import tables

    text = section("reference/case.md", "The tables")
    empty = tmp_path / "t.csv"
    empty.write_text("nothing\n1\n", encoding="utf-8")
    readers = {
        "regions": tables.read_regions, "blood": tables.read_blood, "whole_body": tables.read_whole_body,
        "doses": tables.read_doses,
    }  # fmt: skip
    for name, read in readers.items():
        row = re.search(rf"^\| {name} \| `([^`]+)`", text, re.MULTILINE)
        assert row, name
        with pytest.raises(CaseError) as refused:
            read(empty, where=name)
        columns = row[1].replace("[", "").replace("]", "")
        assert f"expected {columns}" in str(refused.value)


def test_columns_of_laboratory_values_are_those_that_are_read() -> None:
    from lutetia.plan.proposal import LAB_COLUMNS, MORE_LAB_COLUMNS

    row = re.search(r"^\| labs \| `([^`]+)`", section("reference/case.md", "The tables"), re.MULTILINE)
    assert row
    assert row[1] == f"{','.join(LAB_COLUMNS)}[,{','.join(MORE_LAB_COLUMNS)}]"


def test_packaged_protocols_analytes_and_regions_are_listed() -> None:
    from lutetia.clinical.analytes import analytes
    from lutetia.core.regions import REGIONS

    names = section("reference/case.md", "Names")
    choice = section("reference/case.md", "`[protocol]`")
    assert [p for p in packaged_protocols() if f"`{p}`" not in choice] == []
    assert [a for a in analytes() if a not in names] == []
    assert [r.name for r in REGIONS if f"`{r.name}`" not in names] == []


def test_default_uncertainties_in_the_text_are_those_of_the_data() -> None:
    from lutetia.plan.uncertainty import default_sizes

    sizes, page = default_sizes(), (DOCS / "reference/case.md").read_text(encoding="utf-8")
    assert f"{sizes.calibration_percent:g} % (assumption, `plan/data/uncertainty.toml`)" in page
    assert f"| {sizes.mass_percent:g} % (assumption) |" in page
    for value in (sizes.activity_percent, sizes.blood_percent, sizes.whole_body_percent):
        assert f"({value:g} % if absent, assumption)" in page
    assert f"{sizes.entered_dose_percent:g} % if no sd (assumption)" in page


def _schema_keys(node: dict[str, Any], path: str, found: dict[str, set[str]]) -> None:
    for key, child in node.get("properties", {}).items():
        found.setdefault(path or "Top", set()).add(key)
        here = key if not path else f"{path}.{key}"
        _schema_keys(child, here, found)
        if isinstance(child.get("items"), dict):
            _schema_keys(child["items"], f"{here}[]", found)
        if isinstance(child.get("additionalProperties"), dict):
            _schema_keys(child["additionalProperties"], f"{here}{{}}", found)


def test_every_promised_key_of_the_result_is_documented_and_no_other() -> None:
    schema = json.loads((ROOT / "schemas/result.schema.json").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    _schema_keys(schema, "", found)
    assert found.pop("cycles[].regions[].warnings[]") == found["warnings[]"]
    for path, keys in found.items():
        title = path if path == "Top" else f"`{path}`"
        assert set(first_column(section("reference/result.md", title))) == keys, path


def test_keys_beyond_the_promise_are_really_written() -> None:
    text = section("reference/result.md", "Beyond the promised keys")
    plan = ROOT / "src/lutetia"
    code = "".join(p.read_text(encoding="utf-8") for p in (*plan.glob("plan/*.py"), plan / "protocol/outcomes.py"))
    missing = [key for key in re.findall(r"`(\w+)`", text) if key != "subject" and key not in code]
    assert missing == []


def documented_commands() -> dict[str, str]:
    """Text of every command's section by the command's name."""
    text = (DOCS / "reference/commands.md").read_text(encoding="utf-8")
    parts = re.split(r"^## `lutetia ([\w-]+)[^`]*`$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def function_of(command: str) -> Callable[..., None]:
    """The function of a command, by the rule that its file and function have its name."""
    name = command.replace("-", "_")
    function: Callable[..., None] = getattr(importlib.import_module(f"lutetia.cli.{name}"), name)
    return function


def test_every_command_is_documented() -> None:
    assert set(COMMANDS) - set(documented_commands()) == set()


@pytest.mark.parametrize("name", documented_commands())
def test_options_of_a_command_are_documented_with_the_names_that_help_shows(name: str) -> None:
    one = typer.Typer(add_completion=False)
    one.command()(function_of(name))
    command = typer.main.get_command(one)
    options = {o for p in command.params for o in p.opts if o.startswith("--")} - {"--help"}
    assert set(first_column(documented_commands()[name])) == options


def test_keys_of_an_entered_decision_are_documented(tmp_path: Path) -> None:
    from lutetia.protocol import entry

    page = (DOCS / "how-to/decide.md").read_text(encoding="utf-8")
    assert set(first_column(page)) == set(entry._KEYS)
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example
    file = tmp_path / "decision.toml"
    file.write_text(example[1], encoding="utf-8")
    assert entry.read_decision(file).decide().state == "OK"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


def resolve(name: str) -> object:
    """The module, function or class that a dotted name below `lutetia` means."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(("lutetia", *parts[:cut])))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute)
        return found
    raise AttributeError(name)


def code_names(page: Path) -> list[str]:
    """Dotted names in backticks whose first part is a layer: `layer.module` or `layer.module.function`."""
    layers = {p.name.removesuffix(".py") for p in (ROOT / "src/lutetia").iterdir()}
    names = re.findall(r"`(?:lutetia\.)?([a-z_]+(?:\.\w+)+)(?:\([^`]*\))?`", page.read_text(encoding="utf-8"))
    return [n for n in names if n.split(".")[0] in layers and not re.search(r"\.(toml|csv|py|json|md)$", n)]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name in OURS], ids=lambda p: p.name)
def test_code_that_a_page_names_exists(page: Path) -> None:
    broken = []
    for name in code_names(page):
        try:
            resolve(name)
        except AttributeError:
            broken.append(name)
    assert broken == []


def test_the_walk_names_enough_code_to_be_followed() -> None:
    layers = {name.split(".")[0] for name in code_names(DOCS / "design/walk.md")}
    assert {"imaging", "kinetics", "dose", "plan", "protocol", "report", "core", "cli"} <= layers

"""The tutorial: its case works, its mistakes give the messages it quotes, its table holds every warning."""

from __future__ import annotations

import ast
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lutetia.errors import LutetiaError
from lutetia.nuclear.nuclides import nuclide
from lutetia.plan.run import run_plan
from lutetia.plan.summary import summary_lines

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The only code block of one language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def quoted_messages() -> dict[str, str]:
    """Message by mistake."""
    rows = re.findall(r"^\| ([^|`]+) \| ``? ?(error: .*?) ?``? \|$", PAGE, re.MULTILINE)
    return {mistake: message.removeprefix("error: ") for mistake, message in rows}


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    """The case of section 2, as printed."""
    (tmp_path / "case.toml").write_text(block("toml"), encoding="utf-8")
    (tmp_path / "regions.csv").write_text(block("csv"), encoding="utf-8")
    return tmp_path


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A mistake: a text in a file of the case replaced everywhere."""

    def make(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return make


def one_kidney(folder: Path) -> None:
    changed("regions.csv", "\nkidneys", "\nleft kidney")(folder)
    changed("case.toml", "{ kidneys", '{ "left kidney"')(folder)


MISTAKES: dict[str, Callable[[Path], None]] = {
    "a key misspelt": changed("case.toml", "masses_g", "mass_g"),
    "a region misspelt": changed("regions.csv", "kidneys,4,", "kidny,4,"),
    "decimal comma": changed("regions.csv", "kidneys,4,190", 'kidneys,4,"190,0"'),
    "Bq instead of MBq": changed("regions.csv", "activity_MBq", "activity_Bq"),
    "no mass": changed("case.toml", "masses_g = { kidneys = 292 }", ""),
    "a time without offset": changed("case.toml", "+01:00", ""),
    "another nuclide than measured": changed("case.toml", "Lu-177", "Y-90"),
    "unknown arm": changed("case.toml", 'arm = "A"', 'arm = "E"'),
    "the same time twice": changed("regions.csv", "kidneys,168,24\n", "kidneys,168,24\nkidneys,4,191\n"),
    "a sample at 0 h": changed("regions.csv", "kidneys,168,24\n", "kidneys,168,24\nkidneys,0,0\n"),
    "one kidney of two": one_kidney,
    "wrong path": lambda folder: (folder / "regions.csv").unlink(),
    "wrong folder": shutil.rmtree,
}


def test_the_case_made_by_hand_gives_what_the_text_says(by_hand: Path) -> None:
    result = run_plan(by_hand, draws=100).result
    kidneys = next(r for r in result["cycles"][0]["regions"] if r["region"] == "kidneys")
    assert 4.5 < kidneys["absorbed_dose_Gy"] < 5.5
    assert {limit["kind"] for limit in result["limits"]} == {"advisory"}
    printed = "\n".join(summary_lines(result))
    (promised,) = re.findall(r"^```\n(Open before signing:\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert promised in printed + "\n"


def test_every_mistake_of_the_table_is_made_here() -> None:
    assert set(quoted_messages()) == set(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_the_message_that_is_quoted(mistake: str, by_hand: Path) -> None:
    MISTAKES[mistake](by_hand)
    with pytest.raises(LutetiaError) as refused:
        run_plan(by_hand, draws=100)
    assert str(refused.value).replace(str(by_hand), "nowhere") == quoted_messages()[mistake]


def test_decay_corrected_activities_look_as_the_text_says(by_hand: Path) -> None:
    decay = nuclide("Lu-177").decay_constant_per_h
    for hours, value in ((4, 190), (24, 170), (96, 64), (168, 24)):
        corrected = value * math.exp(decay * hours)
        changed("regions.csv", f"kidneys,{hours},{value}\n", f"kidneys,{hours},{corrected:.1f}\n")(by_hand)
    result = run_plan(by_hand, draws=100).result
    part = result["cycles"][0]["regions"][0]["nuclides"]["Lu-177"]
    assert 75 < part["effective_half_life_h"] < 85
    assert 7.0 < part["absorbed_dose_Gy"] < 7.8
    assert "much_extrapolated" in {w["code"] for w in result["warnings"]}


def _code_of(call: ast.Call) -> set[str]:
    values = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "code")]
    return {n.value for v in values for n in ast.walk(v) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def warning_codes() -> set[str]:
    """Codes that the program can give: first arguments of `Doubt`, also through names assigned in the same file."""
    found: set[str] = set()
    for path in (ROOT / "src/lutetia").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            t.id: node.value
            for node in ast.walk(tree) if isinstance(node, ast.Assign)
            for t in node.targets if isinstance(t, ast.Name)
        }  # fmt: skip
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Doubt":
                first = call.args[0] if call.args else None
                if isinstance(first, ast.Name) and isinstance(value := named.get(first.id), ast.IfExp):
                    found |= {b.value for b in (value.body, value.orelse) if isinstance(b, ast.Constant)}
                elif isinstance(first, ast.Constant):
                    found |= _code_of(call)
    return found


def test_every_warning_is_in_the_table_and_no_other() -> None:
    table = PAGE.split("## 3. Warnings")[1].split("## 4.")[0]
    listed = {c for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for c in re.findall(r"`([\w-]+)`", row)}
    assert listed == warning_codes()


def test_files_of_the_example_are_those_of_the_table(tmp_path: Path) -> None:
    from lutetia.phantom.example import write_table_example

    write_table_example(tmp_path / "case")
    for name in ("case.toml", "cycle1/blood.csv", "cycle1/whole_body.csv", "labs.csv"):
        assert f"`{name}`" in PAGE
        assert (tmp_path / "case" / name).is_file()


def test_parts_of_the_report_have_the_headings_that_the_text_names() -> None:
    text = PAGE.split("### The report")[1].split("## 2.")[0]
    named = set(re.findall(r"\*\*([^*]+)\*\*", text.replace("\n   ", " "))) - {"Proposal for cycle 3"}
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "src/lutetia/plan").glob("report*.py"))
    assert len(named) > 8
    assert [name for name in named if f'"{name}"' not in code] == []

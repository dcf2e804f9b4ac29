"""The recipes of docs/how-to-add.md, applied as printed to a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/how-to-add.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def apply(diff: str, root: Path) -> None:
    """Apply a diff without line numbers: context and removed lines must be found once; `end of file` appends."""
    lines = diff.splitlines(keepends=True)
    path = root / lines[1].split()[1].removeprefix("b/")
    text, body = path.read_text(encoding="utf-8"), lines[3:]
    added = "".join(line[1:] for line in body if line[0] in " +")
    if "end of file" in lines[2]:
        assert all(line[0] == "+" for line in body)
        path.write_text(text.rstrip("\n") + "\n" + added, encoding="utf-8")
        return
    before = "".join(line[1:] for line in body if line[0] in " -")
    assert text.count(before) == 1, f"the place of the diff in {path.name} is not found once; correct the page"
    path.write_text(text.replace(before, added), encoding="utf-8")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with every diff of the page applied; compiled code that is still right is kept."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("*.pyc"))
    for diff in blocks("diff"):
        apply(diff, root)
    return root


def run(code: str, changed: Path) -> str:
    """Output of a program that uses the changed package."""
    environment = os.environ | {"PYTHONPATH": str(changed / "src"), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=changed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_copy_is_used_and_not_the_installed_package(changed: Path) -> None:
    assert run("import lutetia; print(lutetia.__file__)", changed).startswith(str(changed))


def test_a_protocol_file_decides_by_its_own_limit(changed: Path) -> None:
    (changed / "my-protocol.toml").write_text(blocks("toml")[0], encoding="utf-8")
    (changed / "decision.toml").write_text(
        'protocol = "my-protocol.toml"\narm = "E"\ncycle = 2\ngiven_Gy = { kidneys = 6.0 }\n'
        'previous_MBq = { "Lu-177" = 7400 }\npredicted_Gy_per_GBq = { kidneys = { "Lu-177" = 0.8 } }\n',
        encoding="utf-8",
    )
    code = (
        "import json, subprocess, sys; from lutetia.cli.app import app; sys.argv = ['lutetia', 'decide', "
        "'decision.toml', '--json']; app()"
    )
    answer = run(code, changed)
    # (18 − 6) Gy over three cycles at 0.8 Gy/GBq is 5000 MBq.
    assert '"Lu-177": 5000' in answer
    assert '"bound_by": "kidneys"' in answer
    assert "limits.kidneys.risk" in answer


def test_an_arm_added_to_a_packaged_protocol_is_offered(changed: Path) -> None:
    code = (
        "from lutetia.protocol.profile import read_protocol as read; from lutetia.protocol.controller import decide; "
        "p = read('duonen'); print(decide(p, 'E', None, cycle=1, measured=False).activities_MBq)"
    )
    assert run(code, changed) == "{'Y-90': 3700.0}"


def test_an_added_model_is_compared_and_recovers_a_curve_of_its_own_family(changed: Path) -> None:
    code = """
import numpy as np
from lutetia.kinetics.fit import fit_curves, offered_models
from lutetia.kinetics.integrate import time_integrated_activity
from lutetia.nuclear.nuclides import nuclide
rate = nuclide("Lu-177").decay_constant_per_h
time = np.array([1.0, 4.0, 24.0, 48.0, 96.0, 168.0])
c, k = np.array([60.0, 40.0, -100.0]), np.log(2) / np.array([52.0, 10.0, 1.2])
value = (c[:, None] * np.exp(-k[:, None] * time)).sum(0)
fit = fit_curves(time, value, 0.03 * value, physical_rate_per_h=rate, choice="uptake_bi_prior")
ratio = float(time_integrated_activity(fit.coefficient, fit.rate)) / float((c / k).sum())
print("uptake_bi_prior" in [m.name for m in offered_models(6)], abs(ratio - 1) < 0.02)
"""
    assert run(code, changed) == "True True"


def test_an_added_analyte_is_read_converted_and_graded(changed: Path) -> None:
    code = """
from decimal import Decimal
from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import check_values, read_rows
row = {"analyte": "K", "taken_at": "2026-01-08T08:00:00+01:00", "value": "2.9", "unit": "mEq/L", "lln": "3.5"}
value = read_rows([row], "labs.csv")[0]
grades = [worst_grade(grade_value("potassium", v, lln="3.5")) for v in ("4.0", "3.2", "2.9", "2.4")]
print(value.analyte, value.value, value.unit, grades, len(check_values([value])))
"""
    assert run(code, changed) == "potassium 2.9 mmol/L [0, 1, 3, 4] 0"


def test_every_place_that_the_page_names_exists() -> None:
    package = ROOT / "src/lutetia"
    files = [p for p in re.findall(r"`([\w/.-]+\.(?:toml|csv|md))`", PAGE) if "my-" not in p]
    missing = [p for p in files if not any((base / p).exists() for base in (ROOT, package))]
    assert missing == []

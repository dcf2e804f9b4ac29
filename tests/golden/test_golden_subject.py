"""One complete subject, frozen: the example of tables through the whole chain, and the same bytes everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lutetia.phantom.example import write_table_example
from lutetia.plan.run import run_plan

GOLDEN = Path(__file__).with_name("table_example.json")
RENEW = "LUTETIA_RENEW_GOLDEN"
# Texts, hashes and versions change without a change of a number; they have tests of their own.
LEFT_OUT = {
    "software", "inputs_sha256", "sha256", "version", "title", "source", "assumptions", "method", "message", "reasons",
    "why_not_more", "what_would_change", "what_would_remove_doubt", "conditions", "curve", "curves", "warnings",
}  # fmt: skip
RELATIVE = 1e-3
# One of 1,000 draws on the other side of a limit is 0.001; allow a few.
PROBABILITY = 0.005
KERNELS = ("Haswell", "Nehalem")
FILES = ("result.json", "report.html", "report.pdf")


def digest(value: Any) -> Any:
    """What is frozen of a result: numbers to four significant digits, states and categories, no texts."""
    if isinstance(value, dict):
        return {key: digest(item) for key, item in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [digest(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def differences(found: Any, frozen: Any, place: str = "") -> list[str]:
    """Places where a result departs from the frozen one, with both values."""
    if isinstance(frozen, dict) and isinstance(found, dict) and found.keys() == frozen.keys():
        return [line for key in frozen for line in differences(found[key], frozen[key], f"{place}.{key}")]
    if isinstance(frozen, list) and isinstance(found, list) and len(found) == len(frozen):
        pairs = enumerate(zip(found, frozen, strict=True))
        return [line for n, (a, b) in pairs for line in differences(a, b, f"{place}[{n}]")]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (found, frozen))
    if numbers:
        absolute = PROBABILITY if "probability" in place else 1e-12
        same = found == pytest.approx(frozen, rel=RELATIVE, abs=absolute)
    else:
        same = found == frozen
    return [] if same else [f"{place}: found {found!r}, frozen {frozen!r}"]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table_example(tmp_path_factory.mktemp("golden") / "case", seed=1)


def test_the_frozen_subject_gets_the_same_doses_and_the_same_proposal(case: Path) -> None:
    result = run_plan(case, draws=1000, seed=1).result
    found = {**digest(result), "warnings": sorted({doubt["code"] for doubt in result["warnings"]})}
    if os.environ.get(RENEW):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    frozen = json.loads(GOLDEN.read_text(encoding="utf-8"))
    lines = differences(json.loads(json.dumps(found)), frozen)
    assert not lines, "\n".join(["if this change of numbers is meant, run scripts/golden:", *lines[:40]])


def test_a_changed_dose_state_or_missing_region_would_be_seen() -> None:
    frozen = json.loads(GOLDEN.read_text(encoding="utf-8"))
    dose = frozen["cycles"][0]["regions"][0]["absorbed_dose_Gy"]
    for change in (
        lambda r: r["cycles"][0]["regions"][0].update(absorbed_dose_Gy=1.003 * dose),
        lambda r: r["prescription"].update(state="HOLD"),
        lambda r: r["cycles"][0]["regions"].pop(),
    ):
        changed = json.loads(json.dumps(frozen))
        change(changed)
        assert differences(changed, frozen)


CORE_NAME = """
import ctypes, pathlib, numpy
folder = pathlib.Path(numpy.__file__).parent
for file in [*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")]:
    library = ctypes.CDLL(str(file))
    for symbol in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
        if hasattr(library, symbol):
            function = getattr(library, symbol)
            function.restype = ctypes.c_char_p
            print(function().decode())
            raise SystemExit
"""


def blas_kernel(name: str) -> str:
    """The kernel that numpy's BLAS takes when asked for one by name; empty if it does not say."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": name}
    command = [sys.executable, "-c", CORE_NAME]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def test_two_blas_kernels_write_the_same_bytes(case: Path, tmp_path: Path) -> None:
    used = {name: blas_kernel(name) for name in KERNELS}
    if len(set(used.values())) == 1:
        pytest.skip(f"BLAS ignores OPENBLAS_CORETYPE here (kernels used: {used}): reproducibility was NOT tested")
    written = {}
    for name in KERNELS:
        environment = {**os.environ, "OPENBLAS_CORETYPE": name}
        command = [sys.executable, "-c", "from lutetia.cli import main; main()", "plan", str(case)]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / name)], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode < 0:
            pytest.skip(f"this processor cannot run the BLAS kernel {name}: reproducibility was NOT tested")
        assert done.returncode == 0, done.stderr
        written[name] = {file: (tmp_path / name / file).read_bytes() for file in FILES}
    first, second = (written[name] for name in KERNELS)
    assert [file for file in FILES if first[file] != second[file]] == []

"""A frozen snapshot of ten virtual subjects gives the numbers that it gave when they were last looked at."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lutetia.dataset.folder import read_dataset
from lutetia.safety.context import derive_context
from lutetia.safety.interim import analyse, interim_record
from lutetia.safety.reading import read_trial

HERE = Path(__file__).parent
GOLDEN, DATA = HERE / "interim.json", HERE / "interim_data"
RENEW = "LUTETIA_RENEW_GOLDEN"
STATISTICS = {"count", "median", "estimate", "events", "p", "p_adjusted", "probability"}
WITHOUT_ARMS = {"T6b", "T13", "T14", "T16"}
RESAMPLES, RELATIVE = 300, 1e-3
Numbers = dict[str, float | int | None]


def digest() -> dict[str, Any]:
    """Numbers of the pooled columns to five significant digits, and what the first page says of each question."""
    record = interim_record(analyse(derive_context(read_trial(read_dataset(DATA)), resamples=RESAMPLES)))
    numbers: Numbers = {}
    for cell in record["cells"]:
        if cell["statistic"] in STATISTICS and (cell["column"] == "all" or cell["table"] in WITHOUT_ARMS):
            value = cell["value"]
            name = " | ".join((cell["table"], cell["row"], cell["column"], cell["statistic"]))
            numbers[name] = float(f"{value:.5g}") if isinstance(value, float) else value
    statuses = {finding["key"]: finding["status"] for finding in record["findings"]}
    return {"rows": record["rows"], "findings": statuses, "numbers": numbers}


def differences(found: Numbers, frozen: Numbers) -> list[str]:
    lines = [f"gone: {name}" for name in frozen.keys() - found.keys()]
    lines += [f"new: {name}" for name in found.keys() - frozen.keys()]
    for name in sorted(frozen.keys() & found.keys()):
        a, b = found[name], frozen[name]
        same = a == b if a is None or b is None else a == pytest.approx(b, rel=RELATIVE, abs=1e-6)
        lines += [] if same else [f"{name}: found {a}, frozen {b}"]
    return lines


def test_the_frozen_snapshot_gives_the_same_numbers_and_statuses() -> None:
    found = digest()
    if os.environ.get(RENEW):
        lines = ",\n  ".join(
            f"{json.dumps(k, ensure_ascii=False)}: {json.dumps(v)}" for k, v in found["numbers"].items()
        )
        head = json.dumps({key: found[key] for key in ("rows", "findings")}, ensure_ascii=False)
        GOLDEN.write_text(f'{head[:-1]},\n "numbers": {{\n  {lines}\n }}\n}}\n', encoding="utf-8")
    frozen = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert found["rows"] == frozen["rows"]
    assert found["findings"] == frozen["findings"]
    lines = differences(found["numbers"], frozen["numbers"])
    assert not lines, "\n".join(["if this change of numbers is meant, run scripts/golden:", *lines[:40]])


def test_a_changed_or_missing_number_would_be_seen() -> None:
    frozen: Numbers = json.loads(GOLDEN.read_text(encoding="utf-8"))["numbers"]
    name = next(k for k, v in frozen.items() if isinstance(v, float) and abs(v) > 0.1)
    changed = {**frozen, name: 1.01 * float(frozen[name] or 0.0)}
    assert len(differences(changed, frozen)) == 1
    assert differences({k: v for k, v in frozen.items() if k != name}, frozen) == [f"gone: {name}"]

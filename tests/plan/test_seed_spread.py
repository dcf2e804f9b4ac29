"""How much the proposal depends on the seed: what docs/theory/controller.md says of the table example."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from lutetia.phantom.example import write_table_example
from lutetia.plan.run import run_plan

PAGE = (Path(__file__).parents[2] / "docs/theory/controller.md").read_text(encoding="utf-8")
SEEDS = (1, 2, 4, 5, 7)  # with the least and the most of the ten of the page


def test_the_activity_under_the_limit_varies_with_the_seed_as_the_page_says(tmp_path: Path) -> None:
    write_table_example(tmp_path / "case")
    bounds, proposed = [], []
    for seed in SEEDS:
        prescription = run_plan(tmp_path / "case", draws=1000, seed=seed).result["prescription"]
        (bound,) = re.findall(r"bounds are kidneys (\d+) MBq", " ".join(prescription["reasons"]))
        bounds.append(float(bound))
        proposed.append(prescription["activities_MBq"]["Y-90"])
    row = re.search(r"^\| 1,000 \| ([\d,]+) MBq \| (\d+) MBq .*?\| ([\d,]+)–([\d,]+) MBq", PAGE, re.MULTILINE)
    assert row
    mean, sd, least, most = (float(text.replace(",", "")) for text in row.groups())
    assert abs(np.mean(bounds) - mean) < 2 * sd
    assert 0.5 * sd < np.std(bounds, ddof=1) < 2 * sd
    # Numbers may move a little with the libraries.
    assert least - 0.5 * sd <= min(bounds) <= max(bounds) <= most + 0.5 * sd
    assert all(abs(a - b) <= 50.0 for a, b in pairwise(sorted(proposed)))

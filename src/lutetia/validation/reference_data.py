"""The frozen references of the studies: rows of the CSV files in `data/`, each with its source in its first lines."""

from __future__ import annotations

import csv
from importlib.resources import files


def reference_rows(name: str) -> list[dict[str, str]]:
    """Rows of ``data/NAME.csv``, comment lines left out."""
    text = (files("lutetia.validation") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))

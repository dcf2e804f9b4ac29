"""Self-dose S-values of reference organs against two published sets."""

from __future__ import annotations

import csv
from importlib.resources import files

from lutetia.dose.s_values import organ_s_value
from lutetia.validation.checks import Check

MGY_PER_MBQ_S_IN_GY_PER_MBQ_H = 3.6


def published_self_dose() -> list[dict[str, str]]:
    """Rows of data/organ_self_dose.csv: nuclide, sex, organ, mass_g, and S in mGy/(MBq s) by source."""
    text = (files("lutetia.validation") / "data" / "organ_self_dose.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def s_value_study() -> list[Check]:
    """Largest deviation from each published set over kidneys, liver and spleen of woman and man."""
    worst = {"olinda": 0.0, "opendose": 0.0}
    for row in published_self_dose():
        organ = row["organ"].lower()
        ours = float(organ_s_value(row["nuclide"], organ, organ, row["sex"], float(row["mass_g"])).Gy_per_MBq_h)
        for source in worst:
            deviation = abs(ours / (float(row[source]) * MGY_PER_MBQ_S_IN_GY_PER_MBQ_H) - 1.0)
            worst[source] = max(worst[source], 100.0 * deviation)
    names = {"olinda": "OLINDA/EXM 2.2", "opendose": "OpenDose, ICRP 110"}
    return [
        Check("S-values", f"largest deviation of 177Lu organ self-dose from {names[source]}", value, "%", high=3.0)
        for source, value in worst.items()
    ]

"""Self-dose S-values of reference organs against two published sets."""

from __future__ import annotations

from lutetia.dose.s_values import organ_s_value
from lutetia.validation.checks import Check, compared
from lutetia.validation.reference_data import reference_rows

STUDY = "Organ self-dose"
GY_PER_MBQ_H = 3.6
"""In mGy/(MBq s)."""
SOURCES = {"olinda": "OLINDA/EXM 2.2", "opendose": "OpenDose, ICRP 110"}
TOLERANCE_PERCENT = 1.5


def s_value_study() -> list[Check]:
    """Self-dose of 177Lu in kidneys, liver and spleen of woman and man at the published masses."""
    checks = []
    for row in reference_rows("organ_self_dose"):
        organ = row["organ"].lower()
        ours = float(organ_s_value(row["nuclide"], organ, organ, row["sex"], float(row["mass_g"])).Gy_per_MBq_h)
        for source, published in SOURCES.items():
            checks.append(
                compared(
                    STUDY,
                    f"{row['sex']} {organ} {row['mass_g']} g, {published}",
                    1e5 * ours / GY_PER_MBQ_H,
                    1e5 * float(row[source]),
                    unit="1e-5 mGy/(MBq s)",
                    tolerance_percent=TOLERANCE_PERCENT,
                )
            )
    return checks

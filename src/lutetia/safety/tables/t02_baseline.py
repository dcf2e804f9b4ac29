"""T2: the randomised subjects at baseline: demography, disease, and laboratory values before the first infusion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lutetia.clinical.analytes import analytes
from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.tables.building import TableBuilder, arm_columns, lab_analytes

Groups = Mapping[str, tuple[str, ...]]
MEASURES = (("age_years", "Age", "years"), ("weight_kg", "Weight", "kg"), ("height_cm", "Height", "cm"))
PRIOR = (("prior_kidney_Gy", "Prior kidney dose", "Gy"), ("prior_marrow_Gy", "Prior marrow dose", "Gy"))
CLASSES = (("sex", "Sex"), ("site", "Centre"), ("stratum_true", "Stratum"))
LABS = ("haemoglobin", "platelets", "leukocytes", "neutrophils", "lymphocytes", "creatinine", "alt", "ast", "alp",
        "bilirubin", "albumin")  # fmt: skip
ITEMS = {
    "primary_site": "Primary site", "grade": "Tumour grade", "ki67": "Ki-67", "bone_mets": "Bone metastases",
    "liver_mets": "Liver metastases", "hypertension": "Hypertension", "diabetes": "Diabetes",
    "prior_prrt": "Prior radioligand therapy", "prior_chemo": "Prior chemotherapy", "ecog": "ECOG performance status",
}  # fmt: skip
CLASSED = ("grade", "ecog")
NOTE = "Median (quartiles) or number (percentage of the subjects with a value). Laboratory values: see the methods."


def build(context: Context) -> SafetyTable:
    """The table of baseline characteristics."""
    table = TableBuilder("T2", "Baseline characteristics", "ITT")
    groups = arm_columns(table, context, "ITT")
    subjects = context.data["subjects"]
    for column, label, unit in MEASURES:
        _measure(table, (column, f"{label}, {unit}"), groups, subjects.assign(value=subjects[column]), "subjects")
    for column, label in CLASSES:
        _classes(table, (column, label), groups, subjects.assign(value=subjects[column]), "subjects")
    for column, label, unit in PRIOR:
        if (subjects[column] > 0).any():
            _measure(table, (column, f"{label}, {unit}"), groups, subjects.assign(value=subjects[column]), "subjects")
    _items(table, context, groups)
    _labs(table, context, groups)
    table.footnotes.append(NOTE)
    return table.build()


def _items(table: TableBuilder, context: Context, groups: Groups) -> None:
    items = context.data["baseline"]
    for item in [*(i for i in ITEMS if i in set(items["item"])), *sorted(set(items["item"]) - set(ITEMS))]:
        own = items[items["item"] == item]
        numbers = pd.to_numeric(own["value"], errors="coerce")
        label = ITEMS.get(item, item.replace("_", " "))
        unit = next((u for u in own["unit"] if u), "")
        if item not in CLASSED and len(own) and numbers.notna().all():
            _measure(
                table, (item, f"{label}, {unit}" if unit else label), groups, own.assign(value=numbers), "baseline"
            )
        else:
            _classes(table, (item, label), groups, own, "baseline")


def _labs(table: TableBuilder, context: Context, groups: Groups) -> None:
    for analyte in lab_analytes(context, LABS):
        own = context.baseline[context.baseline["analyte"] == analyte]
        entry = analytes()[analyte]
        label = f"{entry.label[0].upper()}{entry.label[1:]}, {entry.unit}"
        _measure(table, (f"baseline {analyte}", label), groups, own, "labs")
    rate = context.egfr
    own = rate[rate["row"] == rate["baseline_row"]]
    _measure(table, ("baseline eGFR", "eGFR (CKD-EPI 2021), mL/min per 1.73 m²"), groups,
             own.assign(value=own["egfr"]), "labs")  # fmt: skip


def _measure(table: TableBuilder, name: tuple[str, str], groups: Groups, frame: pd.DataFrame, origin: str) -> None:
    row = table.row(*name)
    known = frame[np.isfinite(frame["value"])]
    for column, subjects in groups.items():
        own = known[known["subject_id"].isin(subjects)]
        table.summary(row, column, own["value"].to_numpy(), rows={origin: own["row"]})


def _classes(table: TableBuilder, name: tuple[str, str], groups: Groups, frame: pd.DataFrame, origin: str) -> None:
    """Numbers by value; of yes and no only yes has a line."""
    key, label = name
    known = frame[frame["value"].fillna("") != ""]
    everyone = {s for subjects in groups.values() for s in subjects}
    values = sorted(set(known.loc[known["subject_id"].isin(everyone), "value"]))
    binary = bool(values) and set(values) <= {"yes", "no"}
    if not binary:
        table.row(key, label)
    for value in ["yes"] if binary else values:
        row = table.row(*(name if binary else (f"{key} / {value}", value)), level=0 if binary else 1)
        for column, subjects in groups.items():
            own = known[known["subject_id"].isin(subjects)]
            hits = own[own["value"] == value]
            table.share(row, column, len(hits), len(own), rows={origin: hits["row"]}, interval=False)

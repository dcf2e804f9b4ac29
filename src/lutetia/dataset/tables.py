"""Tables of the exchange folder: name, key columns and further columns, in the order of the files.

To add a column: one name here; columns that a reader does not know are kept.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Key columns identify a row; `others` follow them in the file."""

    keys: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns in order."""
        return (*self.keys, *self.others)


def _columns(keys: str, others: str) -> TableColumns:
    return TableColumns(tuple(keys.split()), tuple(others.split()))


TABLES: dict[str, TableColumns] = {
    "subjects": _columns(
        "subject_id",
        "site arm stratum_entered stratum_true sex age_years height_cm weight_kg randomised_on protocol_version "
        "prior_kidney_Gy prior_marrow_Gy",
    ),
    "baseline": _columns("subject_id item", "value unit on"),
    "disposition": _columns("subject_id event on", "reason"),
    "cycles": _columns("subject_id cycle", "planned_on state state_on reason"),
    "prescriptions": _columns(
        "subject_id cycle version nuclide",
        "state base_MBq proposed_MBq prescribed_MBq category reason bound_by proposed_by proposed_at signed_by "
        "signed_at override_by override_reason protocol_version result_sha256",
    ),
    "forecasts": _columns(
        "subject_id cycle version region horizon", "absorbed_dose_Gy absorbed_dose_sd_Gy bed_Gy p_over_limit"
    ),
    "administrations": _columns(
        "subject_id cycle nuclide",
        "started_at ended_at planned_MBq prescribed_MBq administered_MBq residual_MBq batch prescription_version",
    ),
    "doses": _columns(
        "subject_id cycle scope region nuclide method",
        "basis absorbed_dose_Gy absorbed_dose_sd_Gy bed_Gy mass_g result_sha256 missing_reason",
    ),
    "labs": _columns("subject_id sample_id analyte", "taken_at visit qualifier value unit lln uln missing_reason"),
    "vitals": _columns("subject_id taken_on", "weight_kg ecog"),
    "treatments": _columns("subject_id kind started_on", "ended_on agent"),
    "adverse_events": _columns(
        "subject_id ae_id seq",
        "started_on ended_on ongoing term code system_organ_class grade serious seriousness related related_to "
        "expected aesi action outcome aware_at reported_at",
    ),
    "responses": _columns("subject_id assessed_on", "method response progression"),
    "deviations": _columns("subject_id deviation_id", "on kind severity description reviewed_by"),
    "truth": _columns("subject_id cycle quantity item nuclide", "value"),
}

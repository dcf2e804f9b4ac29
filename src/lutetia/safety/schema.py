"""What the analysis reads from each table of the exchange folder: columns, their kinds, and the date of the event.

A value that cannot be read is listed: in a column marked `essential` the whole row is then not used, in the others the
value is missing. To add a column: one entry of `SCHEMAS`. Laboratory values have their own reader
(`lutetia.clinical.labs.read_row`); `truth` is simulated and no part of an analysis.
"""

from __future__ import annotations

from dataclasses import dataclass

NOT_ANALYSED = ("truth",)


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """One column and how its text is read.

    `kind` is text, whole, ordinal (from 1), number, amount (≥ 0), grade (1 to 5), at (time with offset), on (day),
    partial (day, month or year), yes_no, or a list of words separated by `|`.
    """

    name: str
    kind: str
    essential: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns of one table and the column that dates its event against the data cut (empty: dated by other tables)."""

    columns: tuple[ColumnKind, ...]
    event: str = ""
    has_subject: bool = True


def _schema(text: str, *, event: str = "") -> Schema:
    """Columns as ``name:kind``, an exclamation mark after what is essential; without kind it is text."""
    columns = []
    for word in text.split():
        name, _, kind = word.rstrip("!").partition(":")
        columns.append(ColumnKind(name, kind or "text", word.endswith("!")))
    return Schema(tuple(columns), event)


SCHEMAS: dict[str, Schema] = {
    "subjects": _schema(
        "subject_id! site arm stratum_entered stratum_true sex:female|male age_years:amount height_cm:amount "
        "weight_kg:amount randomised_on:on protocol_version prior_kidney_Gy:amount prior_marrow_Gy:amount"
    ),
    "baseline": _schema("subject_id! item! value unit on:on", event="on"),
    "disposition": _schema(
        "subject_id! event:screened|consented|eligible|screen_failed|randomised|treatment_ended|withdrew|lost|"
        "progressed|died|completed|last_contact! on:on! reason",
        event="on",
    ),
    "administrations": _schema(
        "subject_id! cycle:ordinal! nuclide! started_at:at! ended_at:at planned_MBq:amount prescribed_MBq:amount "
        "administered_MBq:amount! residual_MBq:amount batch prescription_version:whole",
        event="started_at",
    ),
    "cycles": _schema("subject_id! cycle:ordinal! planned_on:on state! state_on:on reason", event="state_on"),
    "prescriptions": _schema(
        "subject_id! cycle:ordinal! version:ordinal! nuclide! state! base_MBq:amount proposed_MBq:amount "
        "prescribed_MBq:amount category reason bound_by proposed_by proposed_at:at signed_by signed_at:at override_by "
        "override_reason protocol_version result_sha256",
        event="proposed_at",
    ),
    "forecasts": _schema(
        "subject_id! cycle:ordinal! version:ordinal! region! horizon:next|course! absorbed_dose_Gy:amount "
        "absorbed_dose_sd_Gy:amount bed_Gy:amount p_over_limit:amount"
    ),
    "doses": _schema(
        "subject_id! cycle:ordinal! scope:cycle|cumulative! region! nuclide! method! "
        "basis:measured|predicted|carried|missing! absorbed_dose_Gy:amount absorbed_dose_sd_Gy:amount bed_Gy:amount "
        "mass_g:amount result_sha256 missing_reason"
    ),
    "vitals": _schema("subject_id! taken_on:on! weight_kg:amount ecog:whole", event="taken_on"),
    "treatments": _schema(
        "subject_id! kind:transfusion_red|transfusion_platelet|g_csf|epo|anticoagulant|nephrotoxic! started_on:on! "
        "ended_on:on agent",
        event="started_on",
    ),
    "adverse_events": _schema(
        "subject_id! ae_id! seq:ordinal! started_on:partial! ended_on:partial ongoing:yes_no term! code "
        "system_organ_class grade:grade! serious:yes_no seriousness related:none|possible|probable|definite "
        "related_to expected:yes_no aesi:yes_no action outcome aware_at:at reported_at:at",
        event="started_on",
    ),
    "responses": _schema("subject_id! assessed_on:on! method response progression:yes_no", event="assessed_on"),
    "deviations": _schema("subject_id! deviation_id! on:on kind severity description reviewed_by", event="on"),
}

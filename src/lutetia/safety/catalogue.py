"""All tables of the interim report by their numbers. To add one: a file in `tables` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.tables import (
    t01_disposition,
    t02_baseline,
    t03_activity,
    t04_modifications,
    t05_coefficients,
    t06_comparison,
    t06_cumulative,
    t07_laboratory,
    t07_model,
    t08_shift,
    t09_worst_grade,
    t10_adverse_events,
    t11_renal,
    t12_hepatic,
    t13_dose_effect,
    t14_modification_category,
    t15_data,
    t16_monitoring,
    t17_forecasts,
    t18_time_to_event,
)

TABLES: Mapping[str, Callable[[Context], SafetyTable]] = {
    "T1": t01_disposition.build,
    "T2": t02_baseline.build,
    "T3": t03_activity.build,
    "T4": t04_modifications.build,
    "T5": t05_coefficients.build,
    "T6": t06_cumulative.build,
    "T6b": t06_comparison.build,
    "T7": t07_laboratory.build,
    "T7b": t07_model.build,
    "T8": t08_shift.build,
    "T9": t09_worst_grade.build,
    "T10": t10_adverse_events.build,
    "T11": t11_renal.build,
    "T12": t12_hepatic.build,
    "T13": t13_dose_effect.build,
    "T14": t14_modification_category.build,
    "T15": t15_data.build,
    "T16": t16_monitoring.build,
    "T17": t17_forecasts.build,
    "T18": t18_time_to_event.build,
}
# Tables whose pooled part may go to those who must not know the arms.
OPEN: tuple[str, ...] = ("T1", "T2", "T10", "T15")

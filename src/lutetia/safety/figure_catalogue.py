"""All figures of the closed report by their numbers. To add one: a function of the context and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lutetia.report.document import Figure
from lutetia.safety.context import Context
from lutetia.safety.figures import (
    activity_figure,
    contribution_figure,
    cumulative_figure,
    flow_figure,
    modification_figure,
    prediction_figure,
)
from lutetia.safety.figures_laboratory import (
    association_figure,
    edish_figure,
    egfr_figure,
    incidence_figure,
    stopping_figure,
    trajectory_figure,
    waterfall_figure,
)

FIGURES: Mapping[str, Callable[[Context], Figure]] = {
    "F1": flow_figure,
    "F2": activity_figure,
    "F3": contribution_figure,
    "F4": cumulative_figure,
    "F5": waterfall_figure,
    "F6": trajectory_figure,
    "F7": association_figure,
    "F8": incidence_figure,
    "F9": edish_figure,
    "F10": egfr_figure,
    "F11": modification_figure,
    "F12": prediction_figure,
    "F13": stopping_figure,
}

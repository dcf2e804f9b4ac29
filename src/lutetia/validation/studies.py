"""The studies of `lutetia validate` by name. To add one: a function that returns checks, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from lutetia.validation.checks import Check
from lutetia.validation.images import example_study
from lutetia.validation.kinetics import robustness_study
from lutetia.validation.registration import registration_study
from lutetia.validation.s_values import s_value_study
from lutetia.validation.tables import coverage_study, noise_free_study

STUDIES: dict[str, Callable[[], list[Check]]] = {
    "kinetics": robustness_study,
    "noise-free": noise_free_study,
    "coverage": coverage_study,
    "s-values": s_value_study,
    "registration": registration_study,
    "images": example_study,
}

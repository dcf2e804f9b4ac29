"""The worked decisions of tests/reference/controller_cases.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutetia.core.chain import Forecast
from lutetia.core.draws import exact
from lutetia.protocol.controller import decide
from lutetia.protocol.explain import explain
from lutetia.protocol.profile import read_protocol

FILE = Path(__file__).parents[1] / "reference" / "controller_cases.toml"
CASES: list[dict[str, Any]] = tomllib.loads(FILE.read_text(encoding="utf-8"))["case"]
REGIONS, NUCLIDES = ("kidneys", "red marrow"), ("Lu-177", "Y-90")


def forecast_of(case: dict[str, Any]) -> Forecast:
    per_MBq = [[case["predicted_Gy_per_GBq"][r][n] / 1000.0 for n in NUCLIDES] for r in REGIONS]
    given = [case["given_Gy"][r] for r in REGIONS]
    return Forecast(
        REGIONS, NUCLIDES, exact(given, 5), exact(given, 5), exact(per_MBq, 5), exact(np.zeros((2, 2, 2)), 5)
    )


def test_all_fifteen_cases_are_read() -> None:
    assert len(CASES) == 15


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_worked_decision_is_reproduced(case: dict[str, Any]) -> None:
    decision = decide(
        read_protocol("duonen"),
        case["arm"],
        forecast_of(case),
        cycle=case["cycle"],
        previous_MBq=case["previous_MBq"],
        no_increase=case.get("no_increase", False),
    )
    assert decision.state == case["expect_state"]
    if "expect_MBq" in case:
        assert decision.activities_MBq is not None
        assert dict(decision.activities_MBq) == pytest.approx(case["expect_MBq"], abs=0.5)
    else:
        assert decision.activities_MBq is None
    if "expect_category" in case:
        assert decision.category is not None
        assert decision.variable is not None
        assert decision.category[decision.variable] == case["expect_category"]
    if "expect_bound_by" in case:
        assert decision.bound_by == case["expect_bound_by"]
    assert explain(decision)

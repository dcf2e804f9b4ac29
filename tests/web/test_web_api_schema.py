"""The JSON API under generated requests: no fault of ours, whatever is sent."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.web.browsing import PASSWORD, person

from lutetia.trial import Trial, sessions
from lutetia.web.app import create_app
from lutetia.web.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

ROLES = ("coordinator", "data_manager")


@pytest.fixture(scope="module")
def api_schema(trial: Trial) -> Any:
    app = create_app(trial, settings=Settings(sign_in_tries=10**6, hosts=("*",)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.filterwarnings("ignore")
def test_no_request_makes_a_fault_of_ours(api_schema: Any, trial: Trial) -> None:
    operations = [found.ok() for found in api_schema.get_all_operations()]
    assert len(operations) >= 7
    for operation in operations:
        _try(operation, [sessions.sign_in(trial, person(role), PASSWORD).token for role in ROLES])


def _try(operation: Any, tokens: list[str]) -> None:
    @settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True, database=None)
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        for token in tokens:
            answer = case.call(headers={"Authorization": f"Bearer {token}", "Host": "127.0.0.1"})
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"

    check()

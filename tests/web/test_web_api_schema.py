"""The JSON API under generated requests: no fault of ours, whatever is sent."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from tests.web.browsing import PASSWORD, person

from lutetia.trial import Trial, sessions
from lutetia.web.app import create_app
from lutetia.web.routes import ROUTES
from lutetia.web.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

ROLES = ("coordinator", "physicist", "masked_statistician")
#: Things that exist, for half of the generated requests.
KNOWN = {"subject_id": "DUO-01-001", "cycle": 1}


@pytest.fixture(scope="module")
def api_schema(trial: Trial) -> Any:
    app = create_app(trial, settings=Settings(sign_in_tries=10**6, hosts=("*",)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.filterwarnings("ignore")
def test_no_request_makes_a_fault_of_ours(api_schema: Any, trial: Trial) -> None:
    operations = [found.ok() for found in api_schema.get_all_operations()]
    assert {f"{o.method.upper()} {o.path}" for o in operations} == {f"{r.method} {r.path}" for r in ROUTES if r.is_api}
    for operation in operations:
        _try(operation, [sessions.sign_in(trial, person(role), PASSWORD).token for role in ROLES])


def _try(operation: Any, tokens: list[str]) -> None:
    @settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True, database=None)
    @given(case=operation.as_strategy(), known=strategies.booleans())
    def check(case: Any, known: bool) -> None:
        if known:
            case.path_parameters.update({n: v for n, v in KNOWN.items() if n in case.path_parameters})
        for token in tokens:
            answer = case.call(headers={"Authorization": f"Bearer {token}", "Host": "127.0.0.1"})
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"

    check()

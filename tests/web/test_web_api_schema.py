"""The JSON API against its own description: generated requests, right and wrong ones, with every answer checked.

An answer has a documented status, type and shape, and is never a fault of ours; what contradicts the description is
refused. Every operation, the writing ones too, also succeeds at least once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from tests.support.enrolment import eligible
from tests.web.browsing import TestClient
from tests.web.every_page import trial_in_progress

from lutetia.trial import Trial, sessions
from lutetia.trial.randomisation_list import ACTIVE
from lutetia.web.app import create_app
from lutetia.web.demonstration import PASSWORD
from lutetia.web.routes import ROUTES
from lutetia.web.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.core.parameters import ParameterLocation
    from schemathesis.specs.openapi import checks

PEOPLE = ("coordinator", "coordinator-04", "physicist-04", "masked-statistician", "board")
CHECKS = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
PLATELETS = {"analyte": "platelets", "value": "211", "unit": "10^9/L", "lln": "150", "uln": "400"}
CSV = "subject_id,sample_id,taken_at,analyte,value,unit,lln,uln\n{subject},P1,{at},platelets,211,10^9/L,150,400\n"


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial_in_progress(tmp_path_factory.mktemp("api") / "trial") as made:
        yield made


@pytest.fixture(scope="module")
def app(trial: Trial) -> Any:
    return create_app(trial, settings=Settings(sign_in_tries=10**6, hosts=("*",)))


@pytest.fixture(scope="module")
def operations(app: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        return [found.ok() for found in schema.get_all_operations()]


@pytest.fixture(scope="module")
def known(trial: Trial) -> dict[str, Any]:
    """Things that exist, for half of the generated requests: a subject with an assessed cycle."""
    with trial.read() as reader:
        cycle = reader.records("cycles", state="ASSESSED")[0]
    return {"subject_id": cycle["subject_id"], "cycle": cycle["cycle"]}


def signed_in(trial: Trial, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {sessions.sign_in(trial, user, PASSWORD).token}", "Host": "127.0.0.1"}


def test_every_operation_is_described(operations: list[Any], app: Any) -> None:
    assert {f"{o.method.upper()} {o.path}" for o in operations} == {f"{r.method} {r.path}" for r in ROUTES if r.is_api}
    for path, methods in app.openapi()["paths"].items():
        for method, described in methods.items():
            assert len(described["summary"]) > 5, f"{method} {path}"
            good = described["responses"]["204" if method == "delete" else "200"]
            assert method == "delete" or good["content"]["application/json"]["schema"], f"{method} {path}"
            errors = {s: a for s, a in described["responses"].items() if s >= "400"}
            assert all(
                a["content"]["application/json"]["schema"]["$ref"].endswith("/ProblemBody") for a in errors.values()
            )
            assert ("security" in described) == (f"{method} {path}" != "post /api/session")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_every_answer_is_as_described_and_no_request_makes_a_fault_of_ours(
    operations: list[Any], trial: Trial, known: dict[str, Any], mode: Any
) -> None:
    people = {user: signed_in(trial, user) for user in PEOPLE}
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue  # nothing to be wrong about
        if operation.method == "delete":
            people |= {"monitor": signed_in(trial, "monitor")}
        _try(operation, [*people.values()], known, mode)
        people = {user: signed_in(trial, user) for user in PEOPLE}


def _try(operation: Any, people: list[dict[str, str]], known: dict[str, Any], mode: Any) -> None:
    wrong = mode is GenerationMode.NEGATIVE

    @settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None, derandomize=True, database=None)
    @given(case=operation.as_strategy(generation_mode=mode), at_known=strategies.booleans())
    def check(case: Any, at_known: bool) -> None:
        if at_known and not wrong:
            case.path_parameters.update({n: v for n, v in known.items() if n in case.path_parameters})
        for headers in people:
            answer = case.call(headers=headers)
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"
            case.validate_response(answer, checks=CHECKS)
            body = case.meta.components.get(ParameterLocation.BODY)
            if body is not None and body.mode is GenerationMode.NEGATIVE:
                assert answer.status_code >= 400, f"{case.method} {case.path} takes {case.body!r}"

    check()


def test_every_operation_succeeds_with_right_data(trial: Trial, app: Any, operations: list[Any]) -> None:
    subject = eligible(trial, "01")
    with trial.read() as reader:
        proposed = reader.records("prescriptions", state="PROPOSED")
        scheme = reader.records("randomisation_schemes", state=ACTIVE)[0]["specification"]
    key = {"subject_id": proposed[0]["subject_id"], "cycle": proposed[0]["cycle"]}
    levels = {factor["name"]: factor["levels"][0] for factor in scheme["factors"] if factor["name"] != "site"}
    amounts = {row["nuclide"]: 1000.0 for row in proposed if row["version"] == proposed[0]["version"]}
    at = "2026-03-01T08:00:00+01:00"
    bodies = {
        "post /api/session": {"user": "coordinator", "password": PASSWORD},
        "post /api/subjects": {"site": "01", "sex": "female", "age_years": 58},
        "post /api/subjects/{subject_id}/randomisation": {"levels": levels},
        "post /api/subjects/{subject_id}/labs": {"taken_at": at, "sample_id": "P1", "values": [PLATELETS]},
        "post /api/laboratory/preview": {"content": CSV.format(subject=subject, at=at)},
        "post /api/subjects/{subject_id}/cycles/{cycle}/what-if": {"activities_MBq": amounts},
    }
    site = key["subject_id"][:2]
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        for operation in operations:
            name = f"{operation.method} {operation.path}"
            of_cycle = "{cycle}" in name
            user = "coordinator" if not of_cycle or site == "01" else f"coordinator-{site}"
            path = operation.path.format(**(key if of_cycle else {"subject_id": subject}))
            sent = {"json": bodies.pop(name)} if name in bodies else {}
            answer = client.request(operation.method, path, headers=signed_in(trial, user), **sent)
            assert answer.status_code == (204 if operation.method == "delete" else 200), f"{name}: {answer.text}"
            operation.validate_response(answer)
    assert not bodies

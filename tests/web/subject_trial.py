"""A trial for the pages of subjects: four arms, a list, and a treated subject whose values can be found again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.web.browsing import Browser, PlainAuthenticator, TestClient, fill

from lutetia.trial import SYSTEM, Actor, Change, Clock, Create, Grant, Trial
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.web.app import create_app
from lutetia.web.settings import Settings
from lutetia.workflow.randomisation import GenerateList, generate_list
from lutetia.workflow.study_setup import StudyPlan, create_study

TREATED = "DUO-01-009"
COORDINATOR = Actor("coordinator", "Person coordinator", (Grant("coordinator", "01"),))
_STATISTICIAN = Actor("us", "Statistician", (Grant("unmasked_statistician"),))
#: What would tell a masked reader the arm, each written as pages write it.
REVEALING = (
    "Lu-177",
    "Y-90",
    "GBq",
    "MBq",
    "3.654",
    "16.5",
    "19.8",
    "ARMREASON",
    "waits for a physician",
    "limit 23",
)


def make_trial(folder: Path, clock: Clock) -> Trial:
    plan = StudyPlan(study_id="DUONEN", title="DUONEN trial", planned_n=12)
    trial = create_study(folder, plan, demonstration=True, clock=clock, authenticator=PlainAuthenticator())
    fill(trial)
    spec = RandomisationSpec(
        "blocks", ("A", "B", "C", "D"), (1, 1, 1, 1), (Factor("site"), Factor("diabetes", ("no", "yes")))
    )
    generate_list(trial, _STATISTICIAN, GenerateList(spec, seed=bytes(range(32))))
    add_treated(trial)
    return trial


@contextmanager
def browsers(trial: Trial) -> Iterator[Callable[[str], Browser]]:
    """Signed-in browsers on one application."""
    app = create_app(trial, settings=Settings(sign_in_tries=10_000))
    opened: dict[str, Browser] = {}

    def of(user: str) -> Browser:
        if user not in opened:
            opened[user] = Browser(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
            opened[user].sign_in(user)
        return opened[user]

    yield of
    for browser in opened.values():
        browser.client.close()


def add_treated(trial: Trial, subject_id: str = TREATED) -> None:
    """A subject after one cycle, with a proposal for the second, and laboratory values up to grade 3."""
    head = {"subject_id": subject_id, "cycle": 1}
    second = {"subject_id": subject_id, "cycle": 2, "version": 1}
    dose = {"subject_id": subject_id, "cycle": 1, "region": "kidneys", "nuclide": "total", "method": "own mass",
            "basis": "measured", "absorbed_dose_Gy": 16.4655, "absorbed_dose_sd_Gy": 2.1}  # fmt: skip
    rows: list[tuple[str, dict[str, Any]]] = [
        ("subjects", {"subject_id": subject_id, "site": "01", "arm": "B", "state": "ON_TREATMENT", "sex": "male",
                      "age_years": 61, "height_cm": 180, "weight_kg": 80, "randomised_on": "2026-01-05",
                      "stratum_entered": "site=01, diabetes=no", "stratum_true": "site=01, diabetes=no",
                      "protocol_version": "2026.1", "further": {"note": "ARMREASON"}}),
        ("cycles", {**head, "planned_on": "2026-01-12", "state": "DOSED", "state_on": "2026-01-12",
                    "reason": "ARMREASON"}),
        ("cycles", {"subject_id": subject_id, "cycle": 2, "planned_on": "2026-03-09", "state": "ASSESSED"}),
        ("administrations", {**head, "nuclide": "Y-90", "started_at": "2026-01-12T08:00:00+00:00",
                             "ended_at": "2026-01-12T08:30:00+00:00", "administered_MBq": 3654.38,
                             "prescribed_MBq": 3700.0}),
        ("doses", {**dose, "scope": "cycle"}),
        ("doses", {**dose, "scope": "cumulative"}),
        ("prescriptions", {**second, "nuclide": "Lu-177", "state": "PROPOSED", "proposed_MBq": 3700.0}),
        ("forecasts", {**second, "region": "kidneys", "horizon": "course", "absorbed_dose_Gy": 19.8123,
                       "absorbed_dose_sd_Gy": 2.4, "p_over_limit": 0.31}),
        ("deviations", {"subject_id": subject_id, "deviation_id": "001", "on": "2026-02-01", "kind": "missing_nuclide",
                        "severity": "major", "description": "ARMREASON"}),
        ("disposition", {"subject_id": subject_id, "event": "treatment_ended", "on": "2026-02-20",
                         "reason": "ARMREASON"}),
        ("visits", {"subject_id": subject_id, "visit": "cycle 1 week 4", "cycle": 1, "due_on": "2026-02-10",
                    "window_from_on": "2026-02-03", "window_to_on": "2026-02-16", "state": "PLANNED"}),
        ("vitals", {"subject_id": subject_id, "taken_on": "2026-01-12", "weight_kg": 80.0, "ecog": 1}),
        ("missing_reasons", {"table_name": "vitals", "record_key": f"{subject_id} / 2026-02-09", "field": "weight_kg",
                             "subject_id": subject_id, "site": "01", "reason": "not done", "recorded_by": "system",
                             "recorded_at": "2026-02-10T08:00:00+00:00"}),
    ]  # fmt: skip
    for place, (day, platelets) in enumerate((("2026-01-05", "231"), ("2026-02-02", "44"), ("2026-02-23", "96"))):
        rows.append(("labs", {"subject_id": subject_id, "sample_id": f"S{place}", "analyte": "platelets",
                              "taken_at": f"{day}T08:00:00+00:00", "value": platelets, "unit": "10^9/L", "lln": "150",
                              "uln": "400"}))  # fmt: skip
    trial.commit(Change("fill", [Create(table, values) for table, values in rows]), SYSTEM)


def hidden(page: str) -> dict[str, str]:
    """Hidden fields of a page, such as the version that the person saw."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))


def words(page: str) -> str:
    """The text of a page without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def beside(page: str, field: str) -> str:
    """The message beside a field; empty where it has none."""
    found = re.search(rf'id="e-(?:f-)?{re.escape(field)}".*?</p>', page, re.DOTALL)
    return words(found[0].partition(">")[2]) if found else ""


def sent(browser: Browser, path: str, fields: dict[str, Any], *, page: str = "") -> Any:
    """Open a form's page and send it with these fields beside its hidden ones."""
    opened = browser.get(page or path)
    assert opened.status_code == 200, (page or path, opened.status_code)
    kept = {k: v for k, v in hidden(opened.text).items() if k != "csrf"}
    return browser.post(path, {**kept, **fields})

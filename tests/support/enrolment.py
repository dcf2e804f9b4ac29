"""A small demonstration trial for tests: two sites, people of all roles, and subjects ready to be randomised."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import event

from lutetia.trial import Actor, Change, Create, Grant, ManualClock, Trial
from lutetia.trial.access import ROLES, SITE_ROLES
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.trial.signatures import confirm_demonstration
from lutetia.workflow.consent import RecordConsent, record_consent
from lutetia.workflow.documents import AddDocument, PutInForce, add_document, put_in_force
from lutetia.workflow.eligibility import AnswerEligibility, SignEligibility, answer_eligibility, sign_eligibility
from lutetia.workflow.locks import Lock
from lutetia.workflow.randomisation import GenerateList, RandomisationReceipt, Randomise, generate_list, randomise
from lutetia.workflow.screening import Enrol, enrol
from lutetia.workflow.sites_users import AddSite, Delegate, add_site, delegate
from lutetia.workflow.study_setup import CHECKLIST, StudyPlan, create_study

START = datetime(2026, 1, 12, 8, 0, tzinfo=UTC)
ARMS = ("A", "B", "C", "D")
BLOCKS = RandomisationSpec("blocks", ARMS, (1, 1, 1, 1), (Factor("site"), Factor("diabetes", ("no", "yes"))))
ELIGIBLE = {item.item: item.required for item in CHECKLIST}


def actor(role: str, site: str | None = "01", *, user_id: str | None = None) -> Actor:
    """A person with one role; roles of the whole trial have no site."""
    place = site if role in SITE_ROLES else None
    name = user_id or f"{role}-{place}" if place else user_id or role
    return Actor(name, f"Dr {name}", (Grant(role, place),))


def make_trial(
    folder: Path,
    *,
    url: str | None = None,
    planned_n: int = 24,
    sites: tuple[str, ...] = ("01", "02"),
    protocol: str = "duonen",
) -> Trial:
    """A demonstration trial with sites, accounts of all roles and a delegation log; on SQLite, a copy of the first."""
    if url is not None:
        return _build(folder, url=url, planned_n=planned_n, sites=sites, protocol=protocol)
    shutil.copytree(_template(planned_n, sites, protocol), folder)
    trial = Trial.open(folder, clock=ManualClock(START))
    # Tests do not pull the plug: waiting for the disk at every commit would be most of their time.
    trial.database.engine.dispose()
    event.listen(trial.database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    return trial


@cache
def _template(planned_n: int, sites: tuple[str, ...], protocol: str) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="lutetia-template-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    _build(scratch / "trial", url=None, planned_n=planned_n, sites=sites, protocol=protocol).close()
    return scratch / "trial"


def _build(folder: Path, *, url: str | None, planned_n: int, sites: tuple[str, ...], protocol: str) -> Trial:
    plan = StudyPlan(study_id="DUO", title="Test trial", planned_n=planned_n, protocol=protocol)
    trial = create_study(folder, plan, url=url, demonstration=True, clock=ManualClock(START))
    people = [actor(role, site) for role in ROLES for site in sites]
    unique = {person.user_id: person for person in people}
    trial.commit(
        Change("accounts", [Create("users", {"user_id": p.user_id, "name": p.name, "state": "active"})
                            for p in unique.values()]),
        actor("administrator"),
    )  # fmt: skip
    form = AddDocument("consent", "Consent form", "1.0", b"I agree.", "text/plain")
    document = str(add_document(trial, actor("administrator"), form).result)
    for site in sites:
        add_site(trial, actor("administrator"), AddSite(site, f"Hospital {site}", "PL", "Europe/Warsaw", "2026-01-02"))
        for task, role in (("consent", "coordinator"), ("eligibility", "physician")):
            delegate(trial, actor("administrator"), Delegate(f"{role}-{site}", site, task, "2026-01-02"))
        put_in_force(trial, actor("administrator"), PutInForce(document, site, "2026-01-02", "2026-01-02"))
    return trial


def make_list(trial: Trial, spec: RandomisationSpec = BLOCKS, *, length: int | None = None) -> None:
    """A randomisation list with a seed that tests can repeat."""
    generate_list(trial, actor("unmasked_statistician"), GenerateList(spec, length, seed=bytes(range(32))))


def study_lock(trial: Trial, person: Actor | None = None) -> Lock:
    """The lock of the whole study, signed by its data manager."""
    signer = person or actor("data_manager")
    with trial.read() as reader:
        study_id = str(reader.records("study")[0]["study_id"])
    return Lock("study", study_id=study_id, confirmed=confirm_demonstration(trial, signer))


def screened(trial: Trial, site: str = "01", *, subject_id: str | None = None) -> str:
    """A screened subject with consent and answered checklist, not yet signed."""
    coordinator = actor("coordinator", site)
    command = Enrol(site=site, sex="female", age_years=61, height_cm=168, weight_kg=70, subject_id=subject_id)
    found = str(enrol(trial, coordinator, command).result)
    record_consent(trial, coordinator, RecordConsent(found, "1.0", "2026-01-11", coordinator.user_id))
    answer_eligibility(trial, coordinator, AnswerEligibility(found, ELIGIBLE))
    return found


def eligible(trial: Trial, site: str = "01", *, subject_id: str | None = None) -> str:
    """A subject whose eligibility and consent are signed."""
    found = screened(trial, site, subject_id=subject_id)
    physician = actor("physician", site)
    sign_eligibility(trial, physician, SignEligibility(found, confirm_demonstration(trial, physician)))
    return found


def randomised(trial: Trial, site: str = "01", *, diabetes: str = "no") -> RandomisationReceipt:
    """A subject with an arm."""
    return randomise(trial, actor("coordinator", site), Randomise(eligible(trial, site), {"diabetes": diabetes}))

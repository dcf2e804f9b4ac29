"""Who works in a simulated trial: accounts, delegations and consent forms, for databases marked as demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lutetia.errors import TrialError
from lutetia.trial import Actor, Change, Clock, Grant, Trial, Update, accounts
from lutetia.trial.authentication import DemonstrationAuthenticator
from lutetia.workflow.accounts_form import AddUser, GrantRole, add_user, grant_role
from lutetia.workflow.documents import AddDocument, PutInForce, add_document, put_in_force
from lutetia.workflow.sites_users import AddSite, Delegate, add_site, delegate
from lutetia.workflow.study_setup import StudyPlan, create_study

MAKER = Actor("simulation", "Simulation", (Grant("administrator"),))
STATISTICIAN = Actor("simulation-statistician", "Simulation", (Grant("unmasked_statistician"),))
PASSWORD = "demonstration only"
# Site, name, country and time zone; invented centres.
SITES = (
    ("01", "Centre 1", "PL", "Europe/Warsaw"),
    ("02", "Centre 2", "PL", "Europe/Warsaw"),
    ("03", "Centre 3", "SE", "Europe/Stockholm"),
    ("04", "Centre 4", "PT", "Europe/Lisbon"),
)
# What a site needs: place in the team, role.
TEAM = (("coordinator", "coordinator"), ("physicist", "physicist"), ("physician", "physician"), ("second", "physician"))
CONSENT_FORM = ("Consent form", "1.0", b"Consent form of a simulated trial.\n")
# An odd number: the median of the draws is then the nominal value, as at the other levels.
DRAWS = 201


@dataclass(frozen=True, slots=True)
class Team:
    """The people of one site; `second` is the physician who approves overrides."""

    coordinator: Actor
    physicist: Actor
    physician: Actor
    second: Actor


def make_trial(
    folder: Path, *, protocol: str = "duonen", subjects: int, seed: int, draws: int = DRAWS, clock: Clock
) -> Trial:
    """A new trial marked as demonstration, with four sites and nobody yet; raises as `create_study`."""
    plan = StudyPlan(study_id="SIMULATED", title="Simulated trial", planned_n=max(subjects, 4), protocol=protocol)
    trial = create_study(folder, plan, demonstration=True, clock=clock, authenticator=DemonstrationAuthenticator())
    with trial.read() as reader:
        (row,) = reader.records("study")
    settings = {**(row["settings"] or {}), "draws": draws, "seed": seed}
    change = Change("simulation", [Update("study", int(row["record_id"]), {"settings": settings})])
    trial.commit(change, MAKER, "number of draws of a simulation")
    for site, name, country, timezone in SITES:
        add_site(trial, MAKER, AddSite(site, name, country, timezone, _today(trial)))
    return trial


def teams(trial: Trial, sites: Sequence[str]) -> dict[str, Team]:
    """The team of every site: people who hold the roles there, and new accounts for what lacks.

    Raises
    ------
    TrialError
        If the database is not marked as demonstration.
    """
    if not trial.demonstration:
        raise TrialError("simulated subjects: this trial is not marked as demonstration; make a new one for them")
    return {site: Team(**_team(trial, site)) for site in sites}


def _team(trial: Trial, site: str) -> dict[str, Actor]:
    with trial.read() as reader:
        names = {str(r["user_id"]): str(r["name"]) for r in reader.records("users") if r["state"] == "active"}
        holders = {user: accounts.grants_of(reader, user) for user in names}
    found: dict[str, Actor] = {}
    for place, role in TEAM:
        free = [
            user
            for user, grants in sorted(holders.items())
            if Grant(role, site) in grants and user not in {a.user_id for a in found.values()}
        ]
        user = free[0] if free else _new_account(trial, place, role, site)
        found[place] = Actor(user, names.get(user, f"{place.title()} {site}"), (Grant(role, site),))
    return found


def _new_account(trial: Trial, place: str, role: str, site: str) -> str:
    user, name = f"{'physician2' if place == 'second' else place}-{site}", f"{place.title()} {site}"
    add_user(trial, MAKER, AddUser(user, name, f"{user}@simulation.example", PASSWORD))
    accounts.set_password(trial, Actor(user, name), user, password=PASSWORD)  # nothing asks for a change then
    grant_role(trial, MAKER, GrantRole(user, role, site))
    return user


def prepare_sites(trial: Trial, staff: Mapping[str, Team]) -> None:
    """Consent form in force and delegations of every site, from today."""
    title, version, content = CONSENT_FORM
    form = AddDocument("consent", title, version, content, "text/plain")
    document, today = str(add_document(trial, MAKER, form).result), _today(trial)
    for site, team in staff.items():
        put_in_force(trial, MAKER, PutInForce(document, site, today, today))
        for person, task in ((team.coordinator, "consent"), (team.physician, "eligibility")):
            delegate(trial, MAKER, Delegate(person.user_id, site, task, today))


def _today(trial: Trial) -> str:
    now: datetime = trial.clock.now()
    return now.date().isoformat()

"""The people of a demonstration: an account in every role at four centres, with one printed password.

Not here: subjects and their courses. A database made here is marked as demonstration for ever; only such a one accepts
the quick authenticator that asks for no one-time code.
"""

from __future__ import annotations

from pathlib import Path

from lutetia.trial import Actor, Clock, Grant, Trial, accounts, queries
from lutetia.trial.access import SITE_ROLES
from lutetia.trial.authentication import DemonstrationAuthenticator
from lutetia.web.context import Demonstration
from lutetia.workflow.accounts_form import AddUser, GrantRole, add_user, grant_role
from lutetia.workflow.sites_users import AddSite, add_site
from lutetia.workflow.study_setup import StudyPlan, create_study

PASSWORD = "demonstration only"
#: Site, name, country and time zone; invented centres.
SITES = (
    ("01", "Warsaw", "PL", "Europe/Warsaw"),
    ("02", "Gdańsk", "PL", "Europe/Warsaw"),
    ("03", "Uppsala", "SE", "Europe/Stockholm"),
    ("04", "Lisbon", "PT", "Europe/Lisbon"),
)
#: Account, printed name, role, site (None: the whole trial); invented persons.
PEOPLE = (
    ("coordinator", "Anna Kowalska", "coordinator", "01"),
    ("physician", "Jan Lis", "physician", "01"),
    ("physician2", "Ewa Sowa", "physician", "01"),
    ("physicist", "Piotr Zieliński", "physicist", "01"),
    ("radiopharmacist", "Zofia Mazur", "radiopharmacist", "01"),
    ("monitor", "Marek Bąk", "monitor", "01"),
    ("coordinator-02", "Olga Wrona", "coordinator", "02"),
    ("physician-02", "Adam Dudek", "physician", "02"),
    ("physician2-02", "Ula Kruk", "physician", "02"),
    ("physicist-02", "Kinga Żak", "physicist", "02"),
    ("coordinator-03", "Astrid Lind", "coordinator", "03"),
    ("physician-03", "Erik Ekman", "physician", "03"),
    ("physician2-03", "Nils Berg", "physician", "03"),
    ("physicist-03", "Maja Holm", "physicist", "03"),
    ("coordinator-04", "Inês Faria", "coordinator", "04"),
    ("physician-04", "Rui Pinto", "physician", "04"),
    ("physician2-04", "Clara Reis", "physician", "04"),
    ("physicist-04", "Sofia Neves", "physicist", "04"),
    ("data-manager", "Dora Maj", "data_manager", None),
    ("safety-officer", "Tomasz Gil", "safety_officer", None),
    ("masked-statistician", "Lena Wolf", "masked_statistician", None),
    ("unmasked-statistician", "Hugo Baran", "unmasked_statistician", None),
    ("board", "Irena Sikora", "board", None),
    ("administrator", "Maria Nowak", "administrator", None),
    ("inspector", "Igor Bór", "inspector", None),
)
_MAKER = Actor("demonstration", "Demonstration", (Grant("administrator"),))


def make_demonstration(folder: Path, *, clock: Clock | None = None) -> Trial:
    """A new four-arm demonstration trial with sites and people, without subjects.

    Raises
    ------
    StorageError
        If the folder is not empty, or cannot be written.
    """
    plan = StudyPlan(study_id="DUONEN-DEMO", title="DUONEN demonstration", planned_n=92)
    trial = create_study(folder, plan, demonstration=True, clock=clock, authenticator=DemonstrationAuthenticator())
    for site, name, country, timezone in SITES:
        add_site(trial, _MAKER, AddSite(site, name, country, timezone, trial.clock.now().date().isoformat()))
    for user, name, role, at in PEOPLE:
        add_user(trial, _MAKER, AddUser(user, name, f"{user}@demonstration.example", PASSWORD))
        accounts.set_password(trial, Actor(user, name), user, password=PASSWORD)  # nothing asks for a change then
        grant_role(trial, _MAKER, GrantRole(user, role, at if role in SITE_ROLES else None))
    return trial


def open_demonstration(folder: Path, *, clock: Clock | None = None) -> Trial:
    """An existing demonstration trial, with the quick authenticator.

    Raises
    ------
    TrialError
        If the trial is not marked as demonstration.
    """
    return Trial.open(folder, clock=clock, authenticator=DemonstrationAuthenticator())


def printed_accounts(trial: Trial) -> Demonstration:
    """What the sign-in page of a demonstration shows: its people that are still there, with role and site."""
    with trial.read() as reader:
        names = queries.people(reader)
    shown = tuple((user, role, at) for user, _, role, at in PEOPLE if user in names)
    return Demonstration(shown, PASSWORD)

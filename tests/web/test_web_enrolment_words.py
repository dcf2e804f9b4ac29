"""Identity list, sites and screening in the browser: what is corrected, who is offered, what is missing in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.browsing import Browser, person
from tests.web.subject_trial import TREATED, browsers, make_trial, words

from lutetia.trial import SYSTEM, Change, ManualClock, Trial, Update
from lutetia.trial.identities import FILE


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[Trial]:
    folder: Path = tmp_path_factory.mktemp("enrolment-words") / "trial"
    with make_trial(folder, clock) as made:
        yield made


@pytest.fixture(scope="module")
def coordinator(trial: Trial) -> Iterator[Browser]:
    with browsers(trial) as enter:
        yield enter(person("coordinator"))


@pytest.fixture(scope="module")
def administrator(trial: Trial) -> Iterator[Browser]:
    with browsers(trial) as enter:
        yield enter(person("administrator"))


def test_a_line_of_the_identity_list_is_corrected_and_a_list_that_stayed_behind_is_said(
    coordinator: Browser, trial: Trial
) -> None:
    path = f"/subjects/{TREATED}/identity"
    assert "--identities" in words(coordinator.get(path).text)
    coordinator.post(path, {"name": "Wanda Test", "local_number": "77123"})
    shown = coordinator.post(f"{path}/read", {"reason": "to check"}).text
    assert f'href="{path}/correct"' in shown
    form = coordinator.get(f"{path}/correct").text
    assert "77123" not in form, "the form does not show the line"
    assert coordinator.post(f"{path}/correct", {"local_number": "77132"}).status_code == 422
    done = coordinator.post(f"{path}/correct", {"local_number": "77132", "reason": "two digits swapped"}).text
    assert "The line was corrected" in done
    coordinator.get(path)
    assert "77132" in coordinator.post(f"{path}/read", {"reason": "to check"}).text
    (trial.folder / FILE).unlink()
    page = words(coordinator.get(path).text)
    assert "stayed behind" in page
    assert coordinator.post(path, {"name": "Wanda Test"}).status_code == 422
    again = coordinator.post(path, {"name": "Wanda Test", "lost": "no copy exists"})
    assert "saved in the site" in again.text


def test_the_opening_of_a_site_is_corrected_on_its_page(administrator: Browser, trial: Trial) -> None:
    page = administrator.get("/sites/02").text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert 'name="opened_on"' in page
    fields = {"name": "Uppsala", "country": "SE", "timezone": "Europe/Stockholm", "opened_on": "2025-12-01"}
    done = administrator.post("/sites/02", {**hidden, "csrf": administrator.csrf, **fields, "reason": "typing error"})
    assert "The site was corrected" in done.text
    assert "Open since 2025-12-01" in words(done.text)


def test_consent_offers_people_who_enter_data_at_the_site_only(coordinator: Browser) -> None:
    page = coordinator.get("/subjects/DUO-01-001/screening/consent").text
    choices = page.partition('name="taken_by"')[2].partition("</select>")[0]
    offered = set(re.findall(r'<option value="([^"]+)"', choices))
    assert offered == {"coordinator", "physician", "physicist", "radiopharmacist"}


def test_without_a_checklist_the_page_offers_no_form_and_says_who_adds_it(coordinator: Browser, trial: Trial) -> None:
    base = "/subjects/DUO-01-001/screening"
    assert f'href="{base}/eligibility"' in coordinator.get(base).text
    with trial.read() as reader:
        study = reader.records("study")[0]
    bare = {name: value for name, value in study["settings"].items() if name != "checklist"}
    edit = Update("study", {"study_id": study["study_id"]}, {"settings": bare})
    trial.commit(Change("bare", [edit]), SYSTEM, "test")
    page = coordinator.get(base).text
    assert f'href="{base}/eligibility"' not in page
    assert "The administrator adds [[checklist]] lines to study.toml" in words(page)

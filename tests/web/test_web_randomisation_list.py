"""The randomisation list in the browser, a cross-over, an amended protocol and signed documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tests.web.browsing import PASSWORD, Browser, PlainAuthenticator, fill, person
from tests.web.subject_trial import (
    COORDINATOR,
    TREATED,
    add_treated,
    beside,
    browsers,
    hidden,
    sent,
    words,
)

from lutetia.trial import SYSTEM, Change, ManualClock, Trial, Update
from lutetia.trial.randomisation_reveal import replay_file
from lutetia.workflow.screening import Enrol, enrol
from lutetia.workflow.study_setup import StudyPlan, create_study
from lutetia.workflow.study_text import toml_text

NewBrowser = Callable[[str], Browser]
LIST = "/randomisation-list"
NEW = {"scheme": "blocks", "factors": "site\ndiabetes: no, yes", "block_sizes": "4, 8", "length": "8",
       "ratio_A": "1", "ratio_B": "1", "ratio_C": "1", "ratio_D": "1"}  # fmt: skip
CONSENT = {"kind": "main", "consent_version": "3.0", "signed_on": "2026-02-27", "taken_by": "physician"}
ANSWERS = dict.fromkeys(("adult", "tumour", "receptors", "kidneys", "blood_counts", "liver"), "yes") | {
    "pregnancy": "no"
}
SIGNATURE = {"sign_user": "physician", "sign_password": PASSWORD}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[Trial]:
    folder: Path = tmp_path_factory.mktemp("list") / "trial"
    plan = StudyPlan(study_id="DUONEN", title="DUONEN trial", planned_n=12)
    with create_study(folder, plan, demonstration=True, clock=clock, authenticator=PlainAuthenticator()) as made:
        fill(made)
        add_treated(made)
        yield made


@pytest.fixture(scope="module")
def new_browser(trial: Trial) -> Iterator[NewBrowser]:
    with browsers(trial) as made:
        yield made


@pytest.fixture
def statistician(new_browser: NewBrowser) -> Browser:
    return new_browser(person("unmasked_statistician"))


def records(trial: Trial, table: str, **where: Any) -> list[dict[str, Any]]:
    with trial.read() as reader:
        return reader.records(table, **where)


def make_list(trial: Trial, statistician: Browser) -> dict[str, Any]:
    """The list in use; made in the browser by the first test that needs it."""
    if not records(trial, "randomisation_schemes", state="active"):
        assert "its hash is published" in sent(statistician, LIST, NEW).text
    return records(trial, "randomisation_schemes", state="active")[0]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("block_sizes", "3", "expected a multiple of 4"),
        ("block_sizes", "four", "write a whole number"),
        ("block_sizes", "", "found no block sizes"),
        ("ratio_B", "one", "write a whole number"),
        ("factors", "site\nsite", "expected each once"),
        ("factors", "two words: no, yes", "write a name of letters"),
        ("p_best", "0.1", "expected more than 1/4"),
        ("length", "0", "expected 1 entry"),
        ("scheme", "dice", "dice"),
    ],
)
def test_a_wrong_entry_of_a_list_is_named_beside_its_field(
    trial: Trial, statistician: Browser, field: str, value: str, said: str
) -> None:
    before = records(trial, "randomisation_schemes")
    answer = sent(statistician, LIST, {**NEW, field: value})
    assert answer.status_code == 422
    assert said in beside(answer.text, field)
    assert records(trial, "randomisation_schemes") == before


@pytest.mark.requirement(28)
def test_a_list_made_in_the_browser_publishes_its_hash_and_randomises_a_subject(
    trial: Trial, statistician: Browser, new_browser: NewBrowser
) -> None:
    scheme = make_list(trial, statistician)
    for role in ("coordinator", "board", "administrator", "masked_statistician"):
        page = new_browser(person(role)).get(LIST)
        assert scheme["commitment"] in page.text, role
        assert "Block sizes" not in page.text, "who sees them can guess the end of a block"
        assert "/randomisation-list/reveal" not in page.text
    assert "4, 8" in statistician.get(LIST).text
    site, physician = new_browser(person("coordinator")), new_browser(person("physician"))
    subject_id = str(enrol(trial, COORDINATOR, Enrol(site="01", sex="female", age_years=64)).result)
    base = f"/subjects/{subject_id}/screening"
    sent(site, f"{base}/consent", CONSENT)
    sent(site, f"{base}/eligibility", ANSWERS)
    assert "Eligibility was signed" in sent(physician, f"{base}/sign", SIGNATURE).text
    path = f"/subjects/{subject_id}/randomisation"
    step = sent(site, f"{path}/confirm", {"diabetes": "yes"}, page=path)
    receipt = site.post(path, {k: v for k, v in hidden(step.text).items() if k != "csrf"})
    assert scheme["commitment"] in receipt.text
    assert len(records(trial, "allocations", subject_id=subject_id)) == 1
    facts = words(statistician.get(LIST).text)
    assert re.search(r"Allocated 1 Entries of the list 32 Entries left 31", facts), facts
    assert "it cannot be replaced" in facts
    again = statistician.post(LIST, NEW)
    assert again.status_code == 422, "a list in use is not replaced"
    assert len(records(trial, "randomisation_schemes")) == 1


@pytest.mark.requirement(27)
def test_nobody_else_makes_lengthens_or_reveals_a_list(new_browser: NewBrowser) -> None:
    for role in ("masked_statistician", "coordinator", "physician", "data_manager", "administrator", "inspector"):
        browser = new_browser(person(role))
        browser.get(LIST)
        for path in (LIST, f"{LIST}/extend", f"{LIST}/reveal"):
            assert browser.post(path, NEW | {"reason": "x"}).status_code == 403, (role, path)
        assert browser.get(f"{LIST}/revealed.json").status_code == 403


def lock_the_study(trial: Trial, manager: Browser) -> None:
    """What the data manager does at the end: close what is asked, then sign the lock."""
    asked = {"level": "study", "study_id": "DUONEN", "sign_user": "data-manager", "sign_password": PASSWORD}
    before = words(manager.get("/locks").text)
    assert re.search(r"Queries not closed [1-9]", before), before
    assert "Close the queries first" in before
    refused = manager.post("/locks", asked)
    assert "close them first" in words(refused.text)
    for query in records(trial, "queries"):
        sent(manager, f"/queries/{query['query_id']}/close", {"text": "settled"}, page=f"/queries/{query['query_id']}")
    assert "Queries not closed 0" in words(manager.get("/locks").text)
    for wrong, field in (({"study_id": "DUO"}, "study_id"), ({"sign_password": "not mine"}, "sign_password")):
        answer = manager.post("/locks", asked | wrong)
        assert answer.status_code == 422
        assert beside(answer.text, field), answer.text
    assert not records(trial, "locks")
    assert "It is locked" in manager.post("/locks", asked).text
    assert "Lock the study" not in manager.get("/locks").text


@pytest.mark.requirement(28)
def test_a_longer_list_is_stored_and_the_revealed_seed_replays(
    trial: Trial, statistician: Browser, new_browser: NewBrowser, tmp_path: Path
) -> None:
    scheme = make_list(trial, statistician)
    short = sent(statistician, f"{LIST}/extend", {"length": "4"}, page=LIST)
    assert short.status_code == 422
    assert "nothing was added" in beside(short.text, "extend-length")
    assert "made longer" in sent(statistician, f"{LIST}/extend", {"length": "12"}, page=LIST).text
    assert len(records(trial, "randomisation_list", scheme_id=scheme["scheme_id"])) == 48
    early = statistician.get(f"{LIST}/revealed.json")
    assert early.status_code == 409
    assert "no seed is revealed" in words(early.text)
    empty = sent(statistician, f"{LIST}/reveal", {"reason": " "}, page=LIST)
    assert empty.status_code == 422
    assert beside(empty.text, "reveal-reason")
    open_still = sent(statistician, f"{LIST}/reveal", {"reason": "last subject finished"}, page=LIST)
    assert "found the study open; expected it locked" in words(open_still.text)
    lock_the_study(trial, new_browser(person("data_manager")))
    done = sent(statistician, f"{LIST}/reveal", {"reason": "last subject finished"}, page=LIST)
    assert "every allocation was reproduced" in done.text
    file = statistician.get(f"{LIST}/revealed.json")
    assert "attachment" in file.headers["content-disposition"]
    (tmp_path / "revealed.json").write_bytes(file.content)
    found = replay_file(tmp_path / "revealed.json")
    assert found.commitment == scheme["commitment"]
    assert found.allocations == len(records(trial, "allocations"))
    assert "DUO-" not in json.dumps(file.json()), "no subject is named"
    held = records(trial, "locks", state="locked")[0]["lock_id"]
    manager = new_browser(person("data_manager"))
    assert "The lock was opened" in sent(manager, f"/locks/{held}", {"reason": "a late cross-over"}).text


@pytest.mark.requirement(29)
def test_a_cross_over_is_recorded_beside_the_randomised_arm(trial: Trial, new_browser: NewBrowser) -> None:
    physicist, path = new_browser(person("physicist")), f"/subjects/{TREATED}/randomisation/cross-over"
    assert path in physicist.get(f"/subjects/{TREATED}/randomisation").text
    assert '<option value="B"' not in physicist.get(path).text, "the randomised arm is no cross-over"
    fields = {"cycle": "1", "as_treated_arm": "A", "reason": "no Y-90 delivered"}
    bare = sent(physicist, path, {**fields, "reason": ""})
    assert bare.status_code == 422
    assert beside(bare.text, "reason")
    same = sent(physicist, path, {**fields, "as_treated_arm": "B"})
    assert same.status_code == 422
    assert records(trial, "randomisation_events", subject_id=TREATED) == []
    done = sent(physicist, path, fields)
    assert "The cross-over was recorded" in done.text
    event = records(trial, "randomisation_events", subject_id=TREATED)[0]
    assert event["details"] == {"randomised_arm": "B", "as_treated_arm": "A", "cycle": 1}
    assert records(trial, "subjects", subject_id=TREATED)[0]["arm"] == "B"
    assert new_browser(person("coordinator")).get(path).status_code == 403


def test_an_amended_protocol_is_put_in_force_with_a_reason(trial: Trial, new_browser: NewBrowser) -> None:
    administrator, path = new_browser(person("administrator")), "/documents/amendment"
    old = (files("lutetia.protocol") / "versions" / "duonen.toml").read_text(encoding="utf-8")
    version = records(trial, "study")[0]["protocol_version"]
    new = re.sub(r'(?m)^version = ".*"$', 'version = "9.1"', old, count=1).encode()

    def send(content: bytes, **fields: str) -> Any:
        kept = {k: v for k, v in hidden(administrator.get("/documents").text).items() if k != "csrf"}
        upload = {"protocol_file": ("protocol.toml", content, "application/toml")}
        return administrator.post(path, {**kept, "reason": "amendment 1", **fields}, files=upload)

    same = send(old.encode())
    assert same.status_code == 422
    assert "is the one in force" in beside(same.text, "amendment-protocol_file")
    assert beside(send(b"= no toml").text, "amendment-protocol_file")
    assert beside(send(new, reason="").text, "amendment-reason")
    assert send(new, version="99").status_code == 409
    assert records(trial, "study")[0]["protocol_version"] == version
    assert "The amendment is in force" in send(new).text
    assert records(trial, "study")[0]["protocol_version"] == "9.1"
    assert "version 9.1" in words(administrator.get("/documents").text)
    settings = toml_text(records(trial, "study")[0]["settings"] | {"planned_n": 77})
    odd = send(settings.replace("planned_n = 77", "planed_n = 77").encode())
    assert "unknown key; known here: schema, id" in beside(odd.text, "amendment-protocol_file")
    assert "The amendment is in force" in send(settings.encode()).text
    assert records(trial, "study")[0]["settings"]["planned_n"] == 77


@pytest.mark.requirement(12)
def test_a_version_of_a_document_is_signed_and_shows_by_whom(trial: Trial, new_browser: NewBrowser) -> None:
    administrator, physician = new_browser(person("administrator")), new_browser(person("physician"))
    administrator.get("/documents")
    fields = {"kind": "manual", "title": "Dosimetry manual", "version": "1.0"}
    administrator.post("/documents", fields, files={"file": ("m.pdf", b"%PDF-1.7 manual", "application/pdf")})
    number = records(trial, "documents", title="Dosimetry manual")[0]["document_id"]
    path, wanted = "/documents/signatures", {"document_id": number, "meaning": "read", **SIGNATURE}
    wrong = sent(physician, path, {**wanted, "sign_password": "another one"}, page="/documents")
    assert wrong.status_code == 422
    assert "not right" in beside(wrong.text, "signature-sign_password")
    blank = sent(physician, path, {**wanted, "meaning": ""}, page="/documents")
    assert beside(blank.text, "signature-meaning")
    signed = sent(physician, path, wanted, page="/documents")
    assert "The version is signed" in signed.text
    assert "read and understood: Person physician" in words(signed.text)
    assert "read and understood: Person physician" in words(administrator.get("/documents").text)
    assert administrator.post(path, wanted).status_code == 403
    assert len([s for s in records(trial, "signatures") if s["meaning"] == "read and understood"]) == 1
    row = records(trial, "documents", document_id=number)[0]["record_id"]
    trial.commit(Change("retitle", [Update("documents", row, {"title": "Manual"})]), SYSTEM, "typing error")
    assert "VOID" in words(administrator.get("/documents").text)

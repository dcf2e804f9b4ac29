from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.enrolment import ELIGIBLE, actor, eligible, make_trial, randomised, screened
from tests.support.enrolment import make_list as with_list

from lutetia.errors import (
    AccessDeniedError,
    DuplicateRecordError,
    InputError,
    LutetiaError,
    MissingRecordError,
    ReasonRequiredError,
    StaleRecordError,
    TransitionError,
    TrialError,
    UnknownNameError,
)
from lutetia.trial import SYSTEM, Change, Create, Trial, Update
from lutetia.trial.schema import SCHEMA
from lutetia.trial.signatures import confirm_demonstration
from lutetia.workflow.consent import RecordConsent, WithdrawConsent, consent_takers, record_consent, withdraw_consent
from lutetia.workflow.eligibility import (
    AnswerEligibility,
    SignEligibility,
    answer_eligibility,
    enrolment_faults,
    read_eligibility,
    sign_eligibility,
)
from lutetia.workflow.screening import (
    CorrectSubject,
    Enrol,
    FailScreening,
    RecordBaseline,
    correct_subject,
    enrol,
    fail_screening,
    record_baseline,
)
from lutetia.workflow.sites_users import ChangeSite, CloseSite, change_site, close_site

CO, IN = actor("coordinator"), actor("physician")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        yield made


def state(trial: Trial, subject_id: str) -> str:
    with trial.read() as reader:
        return str(reader.record("subjects", {"subject_id": subject_id})["state"])


def faults(trial: Trial, subject_id: str) -> list[str]:
    with trial.read() as reader:
        return enrolment_faults(reader, subject_id)


def rows(trial: Trial) -> dict[str, int]:
    with trial.read() as reader:
        return {name: reader.count(name) for name in SCHEMA}


def test_subjects_get_the_next_number_of_their_site(trial: Trial) -> None:
    assert [screened(trial), screened(trial), screened(trial, "02")] == ["01-001", "01-002", "02-001"]
    assert screened(trial, subject_id="DUO-014") == "DUO-014"
    with trial.read() as reader:
        assert reader.count("disposition", event="screened") == 4


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sex": "f"}, InputError, "female, male"),
        ({"age_years": 17}, InputError, "18 to 110"),
        ({"weight_kg": 700}, InputError, "weight_kg"),
        ({"height_cm": 1.7}, InputError, "check the unit"),
        ({"screened_on": "2026-01-13"}, InputError, "in the future"),
        ({"screened_on": "2016"}, InputError, "2016"),
        ({"site": "03"}, AccessDeniedError, "site 03"),
        ({"site": "02"}, AccessDeniedError, "site 02"),
        ({"subject_id": "Kowalska"}, InputError, "capitals, digits"),
    ],
)
@pytest.mark.requirement(31)
def test_enrolment_refuses_what_cannot_be_stored_and_stores_nothing(
    trial: Trial, change: dict[str, object], error: type[LutetiaError], words: str
) -> None:
    before = rows(trial)
    values: dict[str, object] = {"site": "01", "sex": "male", "age_years": 60} | change
    with pytest.raises(error, match=words):
        enrol(trial, CO, Enrol(**values))  # type: ignore[arg-type]
    assert rows(trial) == before


def test_a_number_that_could_be_a_name_is_not_repeated_in_the_message(trial: Trial) -> None:
    with pytest.raises(InputError) as caught:
        enrol(trial, CO, Enrol(site="01", sex="male", age_years=60, subject_id="Jan Kowalski"))
    assert "Kowalski" not in str(caught.value)


@pytest.mark.requirement(47)
def test_age_is_stored_and_a_birth_date_nowhere(trial: Trial) -> None:
    columns = {f"{spec.name}.{column}" for spec in SCHEMA.values() for column in spec.names}
    assert "subjects.age_years" in columns
    assert [column for column in columns if "birth" in column or "dob" in column] == []
    assert not any("birth" in name for name in Enrol.__dataclass_fields__)


@pytest.mark.requirement(45)
def test_the_tables_of_subjects_have_no_column_for_a_name_or_an_address(trial: Trial) -> None:
    personal = {"name", "first_name", "last_name", "surname", "address", "phone", "email", "pesel", "initials"}
    found = {
        f"{spec.name}.{column}"
        for spec in SCHEMA.values()
        if "subject_id" in spec.names
        for column in spec.names
        if column in personal
    }
    assert found <= {"attachments.name"}, "only a stored file of a subject has a (file) name"


def test_an_enrolment_number_cannot_be_used_twice(trial: Trial) -> None:
    screened(trial, subject_id="DUO-014")
    with pytest.raises(DuplicateRecordError, match="DUO-014"):
        enrol(trial, CO, Enrol(site="01", sex="male", age_years=60, subject_id="DUO-014"))


def test_a_closed_site_enrols_nobody(trial: Trial) -> None:
    close_site(trial, actor("administrator"), CloseSite("01", "2026-01-11", "too few subjects"))
    with pytest.raises(TrialError, match="closed on 2026-01-11"):
        enrol(trial, CO, Enrol(site="01", sex="male", age_years=60))


def test_an_unusual_value_is_stored_and_asked_about(trial: Trial) -> None:
    subject_id = enrol(trial, CO, Enrol(site="01", sex="male", age_years=60, weight_kg=190)).result
    with trial.read() as reader:
        query = reader.records("queries", subject_id=subject_id)[0]
        assert reader.record("subjects", {"subject_id": subject_id})["weight_kg"] == 190
    assert (query["state"], query["field"], query["opened_by"]) == ("OPEN", "weight_kg", "system")


def test_baseline_answers_are_checked_by_item(trial: Trial) -> None:
    subject_id = screened(trial)
    record_baseline(trial, CO, RecordBaseline(subject_id, {"grade": "2", "ki67": "7.5", "diabetes": "no"}))
    with trial.read() as reader:
        stored = {row["item"]: (row["value"], row["unit"]) for row in reader.records("baseline")}
    assert stored == {"grade": ("2", None), "ki67": ("7.5", "%"), "diabetes": ("no", None)}
    for item, answer, words in (
        ("grade", "4", "1, 2, 3"),
        ("ki67", "7,5", "0 to 100"),
        ("diabetes", "maybe", "yes, no"),
    ):
        with pytest.raises(InputError, match=words):
            record_baseline(trial, CO, RecordBaseline(subject_id, {item: answer}))
    with pytest.raises(UnknownNameError, match="primary_site"):
        record_baseline(trial, CO, RecordBaseline(subject_id, {"primary": "ileum"}))


def test_a_changed_baseline_answer_needs_a_reason_and_the_version_that_was_seen(trial: Trial) -> None:
    subject_id = screened(trial)
    record_baseline(trial, CO, RecordBaseline(subject_id, {"diabetes": "no"}))
    with pytest.raises(ReasonRequiredError):
        record_baseline(trial, CO, RecordBaseline(subject_id, {"diabetes": "yes"}))
    record_baseline(
        trial, CO, RecordBaseline(subject_id, {"diabetes": "yes"}, reason="chart", versions={"diabetes": 1})
    )
    with pytest.raises(StaleRecordError, match="somebody changed it"):
        record_baseline(trial, CO, RecordBaseline(subject_id, {"diabetes": "no"}, None, "x", {"diabetes": 1}))


def test_eligibility_becomes_valid_by_a_physicians_signature_over_answers_and_consent(trial: Trial) -> None:
    subject_id = screened(trial)
    assert any("no valid signature" in text for text in faults(trial, subject_id))
    with pytest.raises(AccessDeniedError):
        sign_eligibility(trial, CO, SignEligibility(subject_id, confirm_demonstration(trial, CO)))
    sign_eligibility(trial, IN, SignEligibility(subject_id, confirm_demonstration(trial, IN)))
    assert (state(trial, subject_id), faults(trial, subject_id)) == ("ELIGIBLE", [])


def test_a_changed_answer_voids_the_signature_until_it_is_renewed(trial: Trial) -> None:
    subject_id = eligible(trial)
    change = AnswerEligibility(subject_id, {"pregnancy": "yes"}, reason="typing error")
    answer_eligibility(trial, CO, change)
    assert faults(trial, subject_id) == ["pregnancy is answered yes, which excludes the subject"]
    answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"pregnancy": "no"}, reason="test repeated"))
    assert any("no valid signature" in text for text in faults(trial, subject_id))
    sign_eligibility(trial, IN, SignEligibility(subject_id, confirm_demonstration(trial, IN)))
    assert faults(trial, subject_id) == []


def test_a_checklist_with_gaps_or_without_consent_cannot_be_signed_and_all_faults_are_named(trial: Trial) -> None:
    subject_id = str(enrol(trial, CO, Enrol(site="01", sex="male", age_years=60)).result)
    answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"tumour": "no", "adult": "yes"}))
    with pytest.raises(TrialError) as caught:
        sign_eligibility(trial, IN, SignEligibility(subject_id, confirm_demonstration(trial, IN)))
    for words in ("tumour is answered no", "kidneys is not answered", "no consent"):
        assert words in str(caught.value)
    assert state(trial, subject_id) == "SCREENING"


def test_answers_are_yes_or_no_known_and_agree_with_the_record(trial: Trial) -> None:
    subject_id = screened(trial)
    with pytest.raises(InputError, match="yes or no"):
        answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"tumour": "perhaps"}))
    with pytest.raises(UnknownNameError, match="tumour"):
        answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"tumor_": "yes"}))
    with pytest.raises(InputError, match="61 years"):
        answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"adult": "no"}, reason="x"))
    with pytest.raises(InputError, match="future"):
        answer_eligibility(trial, CO, AnswerEligibility(subject_id, ELIGIBLE, "2026-02-01"))


def test_a_consent_in_the_future_or_signed_twice_is_refused(trial: Trial) -> None:
    subject_id = screened(trial)
    with pytest.raises(InputError, match="in the future"):
        record_consent(trial, CO, RecordConsent(subject_id, "2.0", "2026-01-20", CO.user_id))
    with pytest.raises(DuplicateRecordError, match=r"1\.0"):
        record_consent(trial, CO, RecordConsent(subject_id, "1.0", "2026-01-11", CO.user_id))


def test_a_consent_of_another_year_or_after_a_screen_failure_is_refused(trial: Trial) -> None:
    subject_id = screened(trial)
    with pytest.raises(InputError, match="more than 365 days before screening"):
        record_consent(trial, CO, RecordConsent(subject_id, "1.0", "2023-01-11", CO.user_id, kind="optional"))
    fail_screening(trial, CO, FailScreening(subject_id, "2026-01-12", "creatinine clearance"))
    trial.clock.advance(hours=24)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"after the subject left \(screen failed\) on 2026-01-12"):
        record_consent(trial, CO, RecordConsent(subject_id, "1.0", "2026-01-13", CO.user_id, kind="optional"))


def test_a_consent_taken_without_delegation_is_asked_about(trial: Trial) -> None:
    subject_id = screened(trial)
    record_consent(trial, CO, RecordConsent(subject_id, "1.0", "2026-01-12", "physicist-01", kind="optional"))
    with trial.read() as reader:
        fields = {row["field"] for row in reader.records("queries", subject_id=subject_id)}
    assert "taken_by" in fields


def test_consent_can_be_withdrawn_before_and_after_randomisation(trial: Trial) -> None:
    with_list(trial)
    early, late = eligible(trial), randomised(trial).subject_id
    for subject_id, end in ((early, "SCREEN_FAILED"), (late, "CONSENT_WITHDRAWN")):
        with pytest.raises(InputError, match="before the consent"):
            withdraw_consent(trial, CO, WithdrawConsent(subject_id, "2026-01-02", "moved away"))
        withdraw_consent(trial, CO, WithdrawConsent(subject_id, "2026-01-12", "moved away"))
        assert state(trial, subject_id) == end
    with trial.read() as reader:
        assert reader.record("subjects", {"subject_id": late})["arm"] in "ABCD"
        assert reader.count("disposition", event="withdrew") == 1


def test_a_screen_failure_needs_a_reason_and_ends_screening(trial: Trial) -> None:
    subject_id = screened(trial)
    with pytest.raises(InputError, match="reason"):
        fail_screening(trial, CO, FailScreening(subject_id, "2026-01-12", " "))
    fail_screening(trial, CO, FailScreening(subject_id, "2026-01-12", "creatinine clearance"))
    assert state(trial, subject_id) == "SCREEN_FAILED"
    with pytest.raises(TransitionError, match="SCREEN_FAILED"):
        answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"tumour": "yes"}))
    with pytest.raises(TransitionError):
        sign_eligibility(trial, IN, SignEligibility(subject_id, confirm_demonstration(trial, IN)))


def test_a_subject_of_another_site_is_refused_everywhere(trial: Trial) -> None:
    subject_id = screened(trial, "02")
    commands = (
        lambda: record_baseline(trial, CO, RecordBaseline(subject_id, {"grade": "2"})),
        lambda: record_consent(trial, CO, RecordConsent(subject_id, "2.0", "2026-01-12", CO.user_id)),
        lambda: withdraw_consent(trial, CO, WithdrawConsent(subject_id, "2026-01-12", "x")),
        lambda: answer_eligibility(trial, CO, AnswerEligibility(subject_id, ELIGIBLE)),
        lambda: sign_eligibility(trial, IN, SignEligibility(subject_id, confirm_demonstration(trial, IN))),
        lambda: fail_screening(trial, CO, FailScreening(subject_id, "2026-01-12", "x")),
    )
    before = rows(trial)
    for command in commands:
        with pytest.raises(AccessDeniedError, match="site 02"):
            command()
    assert rows(trial) == before
    with pytest.raises(MissingRecordError, match="not in this trial"):
        fail_screening(trial, CO, FailScreening("DUO-999", "2026-01-12", "x"))


def test_what_was_entered_at_enrolment_is_corrected_with_a_reason(trial: Trial) -> None:
    subject_id = screened(trial)
    correct_subject(trial, CO, CorrectSubject(subject_id, {"weight_kg": 190}, "wrong line of the chart", 1))
    with trial.read() as reader:
        assert reader.record("subjects", {"subject_id": subject_id})["weight_kg"] == 190
        assert [row["field"] for row in reader.records("queries")] == ["weight_kg"]
    with pytest.raises(InputError, match="reason"):
        correct_subject(trial, CO, CorrectSubject(subject_id, {"weight_kg": 70}, ""))
    with pytest.raises(InputError, match="is no field"):
        correct_subject(trial, CO, CorrectSubject(subject_id, {"arm": "A"}, "x"))
    with pytest.raises(InputError, match="check the unit"):
        correct_subject(trial, CO, CorrectSubject(subject_id, {"height_cm": 1.68}, "x"))
    with pytest.raises(StaleRecordError):
        correct_subject(trial, CO, CorrectSubject(subject_id, {"weight_kg": 70}, "x", 1))


@pytest.mark.requirement(31)
def test_answers_that_contradict_another_form_are_refused(trial: Trial) -> None:
    subject_id = str(enrol(trial, CO, Enrol(site="01", sex="male", age_years=60)).result)
    with pytest.raises(InputError, match="for a man"):
        answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"pregnancy": "yes"}))


def test_the_page_of_the_checklist_shows_questions_answers_and_what_is_missing(trial: Trial) -> None:
    subject_id = str(enrol(trial, CO, Enrol(site="01", sex="male", age_years=60)).result)
    answer_eligibility(trial, CO, AnswerEligibility(subject_id, {"tumour": "yes"}))
    form = read_eligibility(trial, CO, subject_id)
    assert {line.item: (line.answer, line.version) for line in form.lines}["tumour"] == ("yes", 1)
    assert {line.answer for line in form.lines} == {"yes", None}
    assert "no consent in force is recorded; whoever took it records it under Consent" in form.faults
    assert read_eligibility(trial, CO, eligible(trial)).faults == ()
    with pytest.raises(AccessDeniedError):
        read_eligibility(trial, actor("board"), subject_id)


def test_without_a_checklist_nobody_is_signed_as_eligible_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        subject_id = screened(trial)
        with trial.read() as reader:
            study = reader.records("study")[0]
        bare = {name: value for name, value in study["settings"].items() if name != "checklist"}
        edit = Update("study", {"study_id": study["study_id"]}, {"settings": bare})
        trial.commit(Change("bare", [edit]), SYSTEM, "test")
        with pytest.raises(TrialError, match=r"no eligibility checklist; the administrator adds \[\[checklist\]\]"):
            sign_eligibility(trial, IN, SignEligibility(subject_id, confirm_demonstration(trial, IN)))
        assert "no eligibility checklist" in read_eligibility(trial, IN, subject_id).missing[0]


def test_what_is_missing_before_the_signature_does_not_name_the_signature(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        subject_id = screened(trial)
        form = read_eligibility(trial, IN, subject_id)
        assert form.missing == ()
        assert all("has no valid signature" in fault for fault in form.faults)


def test_a_screening_before_the_site_was_opened_is_refused_until_the_opening_is_corrected(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        early = Enrol(site="01", sex="female", age_years=61, screened_on="2025-12-20")
        with pytest.raises(InputError, match="before site 01 was opened on 2026-01-02"):
            enrol(trial, CO, early)
        admin = actor("administrator")
        change_site(trial, admin, ChangeSite("01", {"opened_on": "2025-12-01"}, "typing error"))
        enrol(trial, CO, early)
        with pytest.raises(InputError, match="a day up to the first screening there, 2025-12-20"):
            change_site(trial, admin, ChangeSite("01", {"opened_on": "2026-01-02"}, "back"))


def test_a_consent_is_taken_by_people_of_the_site_and_by_those_delegated_where_the_log_says_so(tmp_path: Path) -> None:
    with make_trial(tmp_path / "t") as trial:
        subject_id = screened(trial)
        grants: list[tuple[str, str, str | None]]
        grants = [
            ("coordinator-01", "coordinator", "01"),
            ("physician-01", "physician", "01"),
            ("physician-02", "physician", "02"),
            ("monitor-01", "monitor", "01"),
            ("board", "board", None),
        ]
        rows = [Create("grants", {"grant_id": f"G{n}", "user_id": user, "role": role, "site": site})
                for n, (user, role, site) in enumerate(grants)]  # fmt: skip
        trial.commit(Change("grants", rows), SYSTEM)
        with trial.read() as reader:
            assert set(consent_takers(reader, "01")) == {"coordinator-01"}, "the log of site 01 names one person"
            assert set(consent_takers(reader, "02")) == {"physician-02"}, "those who are named have no role there"
        for user in ("physician-02", "monitor-01", "board"):
            with pytest.raises(InputError, match=f"taken_by: found {user} .*expected a person who enters data at site"):
                record_consent(trial, CO, RecordConsent(subject_id, "1.0", "2026-01-12", user, kind="optional"))

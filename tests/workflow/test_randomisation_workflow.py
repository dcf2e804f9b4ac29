from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.support.enrolment import (
    ARMS,
    BLOCKS,
    ELIGIBLE,
    actor,
    eligible,
    make_list,
    make_trial,
    randomised,
    screened,
    study_lock,
)

from lutetia.errors import (
    AccessDeniedError,
    InputError,
    LockedRecordError,
    LutetiaError,
    MissingRecordError,
    StaleRecordError,
    StorageError,
    TransitionError,
    TrialError,
)
from lutetia.trial import SYSTEM, Change, Create, ManualClock, Remove, Trial, Update, queries
from lutetia.trial.access import ROLES
from lutetia.trial.audit import verify, verify_data
from lutetia.trial.clock import local_text
from lutetia.trial.exporting import export_trial
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.trial.randomisation_blocks import block_list
from lutetia.trial.randomisation_list import allocations, open_spec, opened_scheme
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.trial.randomisation_reveal import replay_record
from lutetia.trial.randomisation_seal import read_key, seal_entry
from lutetia.trial.schema import DATA
from lutetia.trial.signatures import confirm_demonstration
from lutetia.workflow.consent import WithdrawConsent, withdraw_consent
from lutetia.workflow.eligibility import AnswerEligibility, SignEligibility, answer_eligibility, sign_eligibility
from lutetia.workflow.locks import Lock, Unlock, lock, unlock
from lutetia.workflow.randomisation import (
    CorrectStratum,
    ExtendList,
    GenerateList,
    Randomise,
    RecordCrossOver,
    Unblind,
    correct_stratum,
    extend_list,
    generate_list,
    published,
    randomise,
    read_randomise,
    receipt_hash,
    record_cross_over,
    unblind,
)
from lutetia.workflow.randomisation_record import Reveal, block_sizes, reveal
from lutetia.workflow.screening import RecordBaseline, record_baseline
from lutetia.workflow.sites_users import AddSite, add_site
from lutetia.workflow.study_setup import StudyPlan, create_study

CO, US = actor("coordinator"), actor("unmasked_statistician")
SEED = bytes(range(32))
MINIMISED = RandomisationSpec("minimisation", ARMS, (1, 1, 1, 1), (Factor("site"), Factor("diabetes", ("no", "yes"))))
LEVELS = {"diabetes": "no"}


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        make_list(made)
        yield made


@pytest.fixture
def stored(tmp_path: Path, database: str | None) -> Iterator[Trial]:
    """A trial on either database."""
    with make_trial(tmp_path / "trial", url=database) as made:
        yield made


def subject(trial: Trial, subject_id: str) -> dict[str, object]:
    with trial.read() as reader:
        return reader.record("subjects", {"subject_id": subject_id})


def dump(trial: Trial) -> str:
    """Every value of every table of the database, whatever the program thinks of it."""
    with trial.database.reading() as connection:
        if trial.database.kind == "sqlite":
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        else:
            names = connection.execute(
                text("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
            ).scalars().all()  # fmt: skip
        rows = {name: connection.execute(text(f'SELECT * FROM "{name}"')).all() for name in names}
    assert {"randomisation_list", "randomisation_schemes", "audit_bodies"} <= set(rows)
    return "\n".join(f"{name} {tuple(row)!r}" for name, found in rows.items() for row in found)


@pytest.mark.requirement(25)
def test_only_signed_eligibility_and_consent_lead_to_an_allocation(trial: Trial) -> None:
    subject_id = screened(trial)
    with pytest.raises(TransitionError, match="from SCREENING to RANDOMISED"):
        randomise(trial, CO, Randomise(subject_id, LEVELS))
    void = eligible(trial)
    answer_eligibility(trial, CO, AnswerEligibility(void, {"liver": "no"}, reason="new value"))
    answer_eligibility(trial, CO, AnswerEligibility(void, {"liver": "yes"}, reason="wrong patient's value"))
    with pytest.raises(TrialError, match="liver has no valid signature"):
        randomise(trial, CO, Randomise(void, LEVELS))
    withdrawn = eligible(trial)
    withdraw_consent(trial, CO, WithdrawConsent(withdrawn, "2026-01-12", "changed mind"))
    with pytest.raises(TransitionError):
        randomise(trial, CO, Randomise(withdrawn, LEVELS))
    with trial.read() as reader:
        assert reader.count("allocations") == 0
    done = randomised(trial)
    row = subject(trial, done.subject_id)
    assert (row["state"], row["arm"], row["randomised_on"]) == ("RANDOMISED", done.arm, "2026-01-12")


def test_a_receipt_names_slot_time_and_head_and_its_hash_is_that_of_the_stored_allocation(trial: Trial) -> None:
    done = randomised(trial)
    with trial.read() as reader:
        stored = reader.record("allocations", {"subject_id": done.subject_id})
    assert (done.slot, done.at, done.head) == (1, stored["allocated_at"], trial.head().head)
    assert done.receipt == stored["receipt"] == receipt_hash(stored, SEED)
    assert receipt_hash(stored | {"arm": "E"}, SEED) != done.receipt


@pytest.mark.parametrize("spec", [BLOCKS, MINIMISED], ids=lambda spec: spec.scheme)
@pytest.mark.requirement(26)
def test_parallel_requests_get_distinct_slots_in_list_order_and_none_is_lost(
    stored: Trial, spec: RandomisationSpec
) -> None:
    make_list(stored, spec)
    waiting = [(eligible(stored, site), ("no", "yes")[n % 2]) for n, site in enumerate(("01", "02") * 12)]

    def one(job: tuple[str, str]) -> str:
        site = job[0][:2]
        return str(randomise(stored, actor("coordinator", site), Randomise(job[0], {"diabetes": job[1]})).arm)

    with ThreadPoolExecutor(24) as pool:
        arms = dict(zip((name for name, _ in waiting), pool.map(one, waiting), strict=True))
    with stored.read() as reader:
        rows = allocations(reader, "R01")
        verify(reader)
        verify_data(reader)
    assert [row["slot"] for row in rows] == list(range(1, 25))
    assert {row["subject_id"]: row["arm"] for row in rows} == arms
    by_stratum = defaultdict(list)
    for row in rows:
        assert row["position"] == len(by_stratum[row["stratum"]])
        by_stratum[row["stratum"]].append(row["arm"])
    assert sum(map(len, by_stratum.values())) == 24
    if spec.scheme == "blocks":
        for stratum, given in by_stratum.items():
            assert tuple(given) == block_list(spec, SEED, stratum, length=len(given)), "the order of the list is kept"
    lock(stored, actor("data_manager"), study_lock(stored))
    assert replay_record(reveal(stored, US, Reveal("test")), where="trial").allocations == 24


@pytest.mark.requirement(26)
def test_one_subject_asked_for_many_times_at_once_gets_one_arm(stored: Trial) -> None:
    make_list(stored)
    subject_id = eligible(stored)

    def one(_: int) -> str:
        try:
            return str(randomise(stored, CO, Randomise(subject_id, LEVELS)).arm)
        except TrialError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert sum(answer in ARMS for answer in answers) == 1
    assert sum("is randomised already" in answer for answer in answers) == 7


@pytest.mark.requirement(27)
def test_a_dump_of_the_database_holds_no_arm_ahead_of_time(tmp_path: Path, database: str | None) -> None:
    packaged = create_study(tmp_path / "a", StudyPlan(study_id="X", title="x", planned_n=4))
    with packaged, packaged.read() as reader:
        content = packaged.files.get(reader.records("study")[0]["files"]["protocol.toml"]).decode()
    for arm in ARMS:
        content = content.replace(f"[arms.{arm}]", f"[arms.QUIXOTE{arm}]").replace(
            f'"arms.{arm}.', f'"arms.QUIXOTE{arm}.'
        )
    protocol = tmp_path / "named.toml"
    protocol.write_text(content, encoding="utf-8")
    names = tuple(f"QUIXOTE{arm}" for arm in ARMS)
    with make_trial(tmp_path / "trial", url=database, protocol=str(protocol)) as trial:
        before = dump(trial).count("QUIXOTE")
        make_list(trial, RandomisationSpec("blocks", names, (1, 1, 1, 1), (Factor("site"),)))
        after = dump(trial)
        # The published specification names the four arms: in its record and in the audit row of that record.
        assert after.count("QUIXOTE") - before == 2 * len(names)
        assert SEED.hex() not in after
        sealed = [line for line in after.splitlines() if line.startswith("randomisation_list ")]
        assert len(sealed) == 48
        assert len({len(line) for line in sealed}) <= 3, "entries differ by the digits of their place only"
        receipt = randomise(trial, CO, Randomise(eligible(trial)))
        told = {name for name in names if dump(trial).count(name) > after.count(name)}
        assert told == {receipt.arm}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.requirement(27)
def test_nobody_reads_future_allocations_and_only_one_role_generates_the_list(trial: Trial, role: str) -> None:
    person = actor(role)
    with trial.read() as reader, pytest.raises(AccessDeniedError):
        queries.records(reader, person, "randomisation_list")
    if role != "unmasked_statistician":
        with pytest.raises(AccessDeniedError):
            generate_list(trial, person, GenerateList(BLOCKS))
        with pytest.raises(AccessDeniedError):
            extend_list(trial, person, ExtendList(50))
        with pytest.raises(AccessDeniedError):
            reveal(trial, person, Reveal("curious"))
    public = published(trial)
    assert set(json.dumps(dict(public.specification))) & set("ABCD")
    assert not hasattr(public, "sealed_seed")


@pytest.mark.requirement(27)
def test_nobody_reads_the_sizes_of_blocks_before_the_seed_is_revealed(trial: Trial, tmp_path: Path) -> None:
    randomised(trial)
    assert block_sizes(trial, US) == (4, 8)
    for role in ROLES:
        person = actor(role)
        if role != "unmasked_statistician":
            with pytest.raises(AccessDeniedError):
                block_sizes(trial, person)
    manager = actor("data_manager")
    with trial.read() as reader:
        rows = queries.records(reader, manager, "randomisation_schemes")
        told = str(rows) + str(audit_trail(reader, manager, AuditFilter(table="randomisation_schemes")))
    assert "ratio" in told
    assert "block_sizes" not in told + dump(trial)
    export_trial(trial, manager, tmp_path / "trial.zip")
    with zipfile.ZipFile(tmp_path / "trial.zip") as archive:
        assert not [name for name in archive.namelist() if b"block_sizes" in archive.read(name)]
    lock(trial, manager, study_lock(trial))
    reveal(trial, US, Reveal("end"))
    assert published(trial).specification["block_sizes"] == [4, 8]


@pytest.mark.requirement(28)
def test_a_scheme_that_was_sealed_without_its_block_sizes_is_still_opened(trial: Trial) -> None:
    with trial.read() as reader:
        scheme = reader.records("randomisation_schemes")[0]
    key = read_key(trial.folder / "keys")
    spec, seed = opened_scheme(scheme, key)
    known = scheme["specification"] | {"block_sizes": list(spec.block_sizes)}
    older = scheme | {"specification": known, "sealed_seed": seal_entry(key, seed.hex(), f"{scheme['scheme_id']}/seed")}
    assert opened_scheme(older, key) == (spec, seed)
    assert open_spec(older).factors == open_spec(scheme).factors == spec.factors


@pytest.mark.requirement(28)
def test_the_hash_published_before_the_first_subject_fits_the_seed_revealed_at_the_end(trial: Trial) -> None:
    before = published(trial).commitment
    arms = [randomised(trial, site, diabetes=level).arm for site in ("01", "02") for level in ("no", "yes", "no")]
    with pytest.raises(TrialError, match="found the study open; expected it locked"):
        reveal(trial, US, Reveal("curious"))
    held = int(lock(trial, actor("data_manager"), study_lock(trial)).result)
    record = reveal(trial, US, Reveal("end of the trial"))
    assert record["commitment"] == before
    assert [row["arm"] for row in record["allocations"]] == arms
    assert replay_record(json.loads(json.dumps(record)), where="published").allocations == 6
    assert "01-001" not in json.dumps(record), "no subject is named in what is published"
    assert (published(trial).state, published(trial).commitment) == ("revealed", before)
    unlock(trial, actor("data_manager"), Unlock(held, "late value"))
    with pytest.raises(TrialError, match="found no list"):
        randomised(trial)


@pytest.mark.requirement(28)
def test_a_seed_that_does_not_fit_the_published_hash_stops_the_randomisation(trial: Trial) -> None:
    with trial.database.writing() as connection:
        connection.execute(DATA["randomisation_schemes"].update().values(commitment="0" * 64))
    with pytest.raises(TrialError, match="do not give the published hash"):
        randomise(trial, CO, Randomise(eligible(trial), LEVELS))


@pytest.mark.requirement(29)
def test_a_wrong_stratum_is_recorded_and_the_allocation_stays(trial: Trial) -> None:
    done = randomised(trial, diabetes="no")
    correct_stratum(trial, CO, CorrectStratum(done.subject_id, {"diabetes": "yes"}, "medication list found"))
    row = subject(trial, done.subject_id)
    assert row["arm"] == done.arm
    assert (row["stratum_entered"], row["stratum_true"]) == ("site=01;diabetes=no", "site=01;diabetes=yes")
    with trial.read() as reader:
        assert reader.records("randomisation_events")[0]["kind"] == "wrong_stratum"
        assert reader.records("deviations")[0]["kind"] == "randomisation"
        assert reader.record("allocations", {"subject_id": done.subject_id})["stratum"] == "site=01;diabetes=no"
    with pytest.raises(InputError, match="already"):
        correct_stratum(trial, CO, CorrectStratum(done.subject_id, {"diabetes": "yes"}, "again"))


@pytest.mark.requirement(29)
def test_no_allocation_or_list_entry_can_be_removed(stored: Trial) -> None:
    make_list(stored)
    done = randomised(stored)
    for table, key in (
        ("allocations", {"subject_id": done.subject_id}),
        ("randomisation_list", {"scheme_id": "R01", "stratum": done.stratum, "position": 0}),
        ("randomisation_schemes", {"scheme_id": "R01"}),
    ):
        with pytest.raises(TrialError, match="kept for ever"):
            stored.commit(Change("tidy", [Remove(table, key)]), US, "tidy")
    with pytest.raises((LutetiaError, IntegrityError), match="never"), stored.database.writing() as connection:
        connection.execute(DATA["allocations"].delete())
    assert subject(stored, done.subject_id)["arm"] == done.arm


def add_cycle(trial: Trial, subject_id: str, state: str) -> None:
    """The subject's first cycle in this state."""
    key = {"subject_id": subject_id, "cycle": 1}
    with trial.read() as reader:
        held = reader.find("cycles", key)
    edit = Create("cycles", key | {"state": state}) if held is None else Update("cycles", key, {"state": state})
    trial.commit(Change("fill", [edit]), SYSTEM)


@pytest.mark.requirement(29)
def test_a_cross_over_keeps_the_randomised_arm_and_flags_the_arm_as_treated(trial: Trial) -> None:
    done = randomised(trial)
    other = next(arm for arm in ARMS if arm != done.arm)
    physicist = actor("physicist")
    with pytest.raises(MissingRecordError, match="cycle 1"):
        record_cross_over(trial, physicist, RecordCrossOver(done.subject_id, 1, other, "Y-90 was not delivered"))
    add_cycle(trial, done.subject_id, "ASSESSED")
    with pytest.raises(TransitionError, match="is ASSESSED; expected a cycle that was given"):
        record_cross_over(trial, physicist, RecordCrossOver(done.subject_id, 1, other, "Y-90 was not delivered"))
    add_cycle(trial, done.subject_id, "GIVEN")
    with pytest.raises(InputError, match="another arm"):
        record_cross_over(trial, physicist, RecordCrossOver(done.subject_id, 1, str(done.arm), "no Y-90"))
    record_cross_over(trial, physicist, RecordCrossOver(done.subject_id, 1, other, "Y-90 was not delivered"))
    row = subject(trial, done.subject_id)
    assert (row["arm"], row["further"]) == (done.arm, {"as_treated_arm": other})
    with trial.read() as reader:
        deviation = reader.records("deviations")[0]
    assert (deviation["kind"], deviation["severity"]) == ("missing_nuclide", "major")
    assert other not in deviation["description"].split()


@pytest.mark.requirement(30)
def test_an_unblinding_is_recorded_with_reason_and_impact_before_the_arm_is_told(trial: Trial) -> None:
    done = randomised(trial)
    safety = actor("safety_officer")
    for missing in ({"reason": " "}, {"impact": ""}, {"person": ""}, {"kind": "curiosity"}):
        values = {"kind": "emergency", "person": "Dr N", "reason": "SUSAR", "impact": "none"} | missing
        with pytest.raises(InputError):
            unblind(trial, safety, Unblind(done.subject_id, **values))
    command = Unblind(done.subject_id, "emergency", "Dr N", "suspected unexpected reaction", "subject unmasked to site")
    assert unblind(trial, safety, command) == done.arm
    with trial.read() as reader:
        event = reader.records("randomisation_events", subject_id=done.subject_id)[0]
    assert (event["kind"], event["reason"], event["impact"]) == ("unblinding", command.reason, command.impact)
    assert (event["recorded_by"], event["details"]["person"]) == (safety.user_id, "Dr N")


@pytest.mark.requirement(30)
def test_a_masked_person_can_report_an_accidental_unblinding_and_learns_nothing_by_it(trial: Trial) -> None:
    done = randomised(trial)
    command = Unblind(
        done.subject_id, "accidental", "the reporter", "letter showed the arm", "analysis plan unaffected"
    )
    assert unblind(trial, actor("masked_statistician"), command) is None
    with trial.read() as reader:
        assert reader.count("randomisation_events", kind="unblinding") == 1


@pytest.mark.requirement(10)
def test_the_trail_that_masked_roles_read_does_not_tell_the_arm(trial: Trial) -> None:
    done = randomised(trial)
    add_cycle(trial, done.subject_id, "GIVEN")
    record_cross_over(
        trial, actor("physicist"),
        RecordCrossOver(done.subject_id, 1, next(a for a in ARMS if a != done.arm), "Y-90 was not delivered"),
    )  # fmt: skip
    with trial.read() as reader:
        open_rows = audit_trail(reader, actor("data_manager"), AuditFilter(done.subject_id))
        for role in ("masked_statistician", "administrator"):
            hidden = audit_trail(reader, actor(role), AuditFilter(done.subject_id))
            assert hidden, "the masked reader reads a trail"
            shown = json.dumps([row.changes for row in hidden], default=str)
            assert not [arm for arm in ARMS if f'"{arm}"' in shown]
            assert "Y-90" not in json.dumps([str(row) for row in hidden])
    assert f'"{done.arm}"' in json.dumps([row.changes for row in open_rows], default=str)


def test_a_stale_record_wrong_levels_or_another_site_allocates_nothing(trial: Trial) -> None:
    subject_id = eligible(trial)
    seen = int(str(subject(trial, subject_id)["record_version"]))
    trial.commit(Change("x", [Update("subjects", {"subject_id": subject_id}, {"weight_kg": 71})]), CO, "weighed again")
    with pytest.raises(StaleRecordError, match="somebody changed"):
        randomise(trial, CO, Randomise(subject_id, LEVELS, seen))
    for levels, words in (({}, "diabetes is missing"), ({"diabetes": "x"}, "no or yes"), ({"site": "02"}, "the site")):
        with pytest.raises(InputError, match=words):
            randomise(trial, CO, Randomise(subject_id, levels))
    with pytest.raises(AccessDeniedError):
        randomise(trial, actor("coordinator", "02"), Randomise(subject_id, LEVELS))
    with pytest.raises(AccessDeniedError):
        randomise(trial, actor("physicist"), Randomise(subject_id, LEVELS))
    lock(trial, actor("data_manager"), Lock("subject", subject_id))
    with pytest.raises(LockedRecordError):
        randomise(trial, CO, Randomise(subject_id, LEVELS))
    with trial.read() as reader:
        assert reader.count("allocations") == 0


def test_a_used_up_list_stops_and_a_longer_one_continues_it(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        make_list(trial, length=2)
        first = [randomised(trial).arm for _ in range(2)]
        waiting = eligible(trial)
        with pytest.raises(TrialError, match="make the list longer"):
            randomise(trial, CO, Randomise(waiting, LEVELS))
        extend_list(trial, US, ExtendList(6))
        first.append(randomise(trial, CO, Randomise(waiting, LEVELS)).arm)
        assert tuple(first) == block_list(BLOCKS, SEED, "site=01;diabetes=no", length=3)
        with pytest.raises(InputError, match="already"):
            extend_list(trial, US, ExtendList(6))


def test_a_site_that_joins_later_gets_entries_of_its_own(trial: Trial) -> None:
    add_site(trial, actor("administrator"), AddSite("03", "Hospital 03", "PL", "Europe/Warsaw", "2026-01-12"))
    before = published(trial)
    after = extend_list(trial, US, ExtendList(24))
    assert (after.entries - before.entries, after.commitment) == (48, before.commitment)
    assert randomised(trial, "03").stratum == "site=03;diabetes=no"


def test_a_list_can_be_replaced_before_the_first_subject_only(trial: Trial) -> None:
    generate_list(trial, US, GenerateList(MINIMISED))
    assert (published(trial).scheme_id, published(trial).kind) == ("R02", "minimisation")
    randomised(trial)
    with pytest.raises(TrialError, match="cannot be replaced"):
        generate_list(trial, US, GenerateList(BLOCKS))
    with pytest.raises(InputError, match="those of the protocol"):
        generate_list(trial, US, GenerateList(RandomisationSpec("simple", ("A", "B"), (1, 1))))


def test_without_a_list_or_its_key_nobody_is_randomised(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        subject_id = eligible(trial)
        with pytest.raises(TrialError, match=r"found no list.*generate it"):
            randomise(trial, CO, Randomise(subject_id, LEVELS))
        make_list(trial)
        (tmp_path / "trial/keys/randomisation.key").write_bytes(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
        with pytest.raises(StorageError, match="does not open"):
            randomise(trial, CO, Randomise(subject_id, LEVELS))
        assert ELIGIBLE


def test_a_given_seed_is_refused_outside_demonstrations(tmp_path: Path) -> None:
    plan = StudyPlan(study_id="X", title="x", planned_n=4)
    with create_study(tmp_path / "real", plan) as trial, pytest.raises(TrialError, match="not a demonstration"):
        generate_list(trial, US, GenerateList(BLOCKS, seed=SEED))


@pytest.mark.requirement(19)
def test_signing_randomising_and_unblinding_need_a_session_with_the_one_time_code(trial: Trial) -> None:
    subject_id, done = eligible(trial), randomised(trial)
    weak = {role: replace(actor(role), second_factor=False) for role in ("coordinator", "physician", "safety_officer")}
    with pytest.raises(AccessDeniedError, match="one-time code"):
        randomise(trial, weak["coordinator"], Randomise(subject_id, LEVELS))
    confirmed = confirm_demonstration(trial, weak["physician"])
    with pytest.raises(AccessDeniedError, match="one-time code"):
        sign_eligibility(trial, weak["physician"], SignEligibility(screened(trial), confirmed))
    with pytest.raises(AccessDeniedError, match="one-time code"):
        unblind(trial, weak["safety_officer"], Unblind(done.subject_id, "emergency", "Dr N", "SUSAR", "none"))
    with pytest.raises(AccessDeniedError, match="one-time code"):
        generate_list(trial, replace(US, second_factor=False), GenerateList(BLOCKS))


@pytest.mark.requirement(8)
def test_times_are_the_servers_in_utc_and_days_those_of_the_site_through_the_change_of_summer_time(
    tmp_path: Path,
) -> None:
    with make_trial(tmp_path / "trial") as trial:
        make_list(trial)
        clock = trial.clock
        assert isinstance(clock, ManualClock)
        told = []
        for moment in ("2026-03-28T22:30+00:00", "2026-03-28T23:30+00:00", "2026-03-29T22:30+00:00"):
            clock.moment = datetime.fromisoformat(moment)
            done = randomised(trial)
            told.append(
                (done.at, local_text(done.at, "Europe/Warsaw"), subject(trial, done.subject_id)["randomised_on"])
            )
    assert told == [
        ("2026-03-28T22:30:00+00:00", "2026-03-28 23:30 CET", "2026-03-28"),
        ("2026-03-28T23:30:00+00:00", "2026-03-29 00:30 CET", "2026-03-29"),
        ("2026-03-29T22:30:00+00:00", "2026-03-30 00:30 CEST", "2026-03-30"),
    ]
    assert not [name for name in Randomise.__dataclass_fields__ if name.endswith(("_at", "_on"))]


def test_the_page_of_a_randomisation_asks_for_the_factors_besides_the_site(trial: Trial) -> None:
    subject_id = screened(trial)
    form = read_randomise(trial, CO, subject_id)
    assert [(factor.name, factor.levels) for factor in form.factors] == [("diabetes", ("no", "yes"))]
    assert any("no valid signature" in words for words in form.faults)
    done = randomised(trial)
    assert read_randomise(trial, CO, done.subject_id).faults == ("the subject is RANDOMISED; expected ELIGIBLE",)
    assert read_randomise(trial, CO, eligible(trial)).faults == ()


@pytest.mark.requirement(31)
def test_a_stratum_that_the_baseline_form_contradicts_is_refused_before_it_is_too_late(trial: Trial) -> None:
    subject_id = eligible(trial)
    record_baseline(trial, CO, RecordBaseline(subject_id, {"diabetes": "yes"}))
    with pytest.raises(InputError, match="the baseline form says 'yes'"):
        randomise(trial, CO, Randomise(subject_id, {"diabetes": "no"}))
    assert randomise(trial, CO, Randomise(subject_id, {"diabetes": "yes"})).stratum == "site=01;diabetes=yes"


@pytest.mark.requirement(28)
def test_minimisation_replays_after_a_stratum_was_corrected(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        make_list(trial, MINIMISED)
        first = [randomised(trial, diabetes=level).subject_id for level in ("no", "yes", "no", "no")]
        correct_stratum(trial, CO, CorrectStratum(first[1], {"diabetes": "no"}, "medication list found"))
        for level in ("yes", "no", "yes"):
            randomised(trial, "02", diabetes=level)
        lock(trial, actor("data_manager"), study_lock(trial))
        assert replay_record(reveal(trial, US, Reveal("end")), where="trial").allocations == 7


def test_a_list_has_at_least_one_entry_and_minimisation_none(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        with pytest.raises(InputError, match="length of 0"):
            generate_list(trial, US, GenerateList(BLOCKS, 0))
        make_list(trial, MINIMISED)
        assert published(trial).entries == 0
        with pytest.raises(InputError, match="no list ahead"):
            extend_list(trial, US, ExtendList(30))

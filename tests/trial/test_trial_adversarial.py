"""Attempts against the store: arms by the back door, one code twice, locked data moved, broken archives, odd text."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher

from lutetia.errors import (
    AccessDeniedError,
    AccessError,
    AuditError,
    DuplicateRecordError,
    InputError,
    LockedRecordError,
    SignatureError,
    SignInError,
    StorageError,
)
from lutetia.trial import (
    Actor,
    Change,
    Create,
    Grant,
    ManualClock,
    Sign,
    Study,
    Trial,
    Update,
    accounts,
    backup,
    exchange,
    exporting,
    queries,
    redaction,
    sessions,
    signatures,
)
from lutetia.trial.authentication import PasswordAuthenticator
from lutetia.trial.clock import day, instant
from lutetia.trial.container import Secret
from lutetia.trial.keys import KeyRing
from lutetia.trial.queries_audit import audit_trail
from lutetia.trial.queries_notices import notices
from lutetia.trial.store import emptied_on_failure

SYSTEM = Actor("system", "Lutetia")
ADMIN = Actor("ada", "Ada", (Grant("administrator"),))
MASKED = Actor("stan", "Stan", (Grant("masked_statistician"),))
MANAGER = Actor("dana", "Dana", (Grant("data_manager"),))
PASSWORD = "correct horse battery"


def with_subjects(trial: Trial) -> Trial:
    arms = {"S1": "A", "S2": "B"}
    edits = [Create("subjects", {"subject_id": s, "site": "01", "arm": arm}) for s, arm in arms.items()]
    trial.commit(Change("enrol", edits), SYSTEM)
    return trial


@pytest.mark.parametrize("arm", ["A", "B", "C"])
def test_a_masked_reader_does_not_learn_an_arm_by_asking_for_it(trial: Trial, arm: str) -> None:
    with_subjects(trial)
    questions: list[Callable[[Any], object]] = [
        lambda reader: queries.records(reader, MASKED, "subjects", arm=arm),
        lambda reader: queries.count_by(reader, MASKED, "subjects", "state", arm=arm),
        lambda reader: queries.count_by(reader, MASKED, "subjects", "arm"),
        lambda reader: queries.latest(reader, MASKED, "subjects", "S1", column="arm"),
        lambda reader: queries.records(reader, MANAGER, "sessions", token_hash="0" * 64),
    ]
    with trial.read() as reader:
        for question in questions:
            with pytest.raises(AccessDeniedError, match="hidden"):
                question(reader)
        assert len(queries.records(reader, MANAGER, "subjects", arm="A")) == 1


@pytest.mark.requirement(10)
def test_a_redaction_shows_no_arm_to_masked_readers(trial: Trial) -> None:
    with_subjects(trial)
    wrong = Update("subjects", {"subject_id": "S1"}, {"age_years": 44.0, "arm": "HIDDEN-ARM"})
    sequence = trial.commit(Change("correct", [wrong]), SYSTEM, "typing error").sequence
    trial.commit(Change("correct", [Update("subjects", {"subject_id": "S1"}, {"age_years": 45.0})]), SYSTEM, "again")
    redaction.propose_redaction(trial, MANAGER, sequence, columns=["age_years"], reason="a birthday in words")
    with trial.read() as reader:
        for actor in (MASKED, ADMIN):
            shown = [queries.records(reader, actor, "redactions"), audit_trail(reader, actor, limit=500)]
            assert "HIDDEN-ARM" not in str(shown)
        assert "HIDDEN-ARM" in str(queries.records(reader, MANAGER, "redactions"))


@pytest.mark.requirement(10)
def test_the_reason_of_an_action_on_hidden_tables_is_hidden_at_all_its_rows(trial: Trial) -> None:
    with_subjects(trial)
    person = Actor("ines", "Ines", (Grant("physician", "01"),))
    confirmed = signatures.confirm_demonstration(trial, person, role="physician")
    row = {"subject_id": "S1", "cycle": 1, "version": 1, "nuclide": "Y-90"}
    key = tuple(row.items())
    edits = [Create("prescriptions", row), Create("visits", {"subject_id": "S1", "visit": "cycle 1"})]
    edits += [Create("files", {"sha256": "0" * 64, "name": "yttrium.csv"})]
    signed = Sign((("prescriptions", dict(key)),), "lowers this prescription", confirmed)
    trial.commit(Change("lower", [*edits, signed]), person, "too much YTTRIUM")
    trial.commit(Change("unlock", [Update("sites", {"site": "01"}, {"name": "Centre"})]), SYSTEM, "was misspelt")
    with trial.read() as reader:
        for actor in (MASKED, ADMIN):
            trail = audit_trail(reader, actor, limit=500)
            assert "yttrium" not in str(trail).lower()
            assert "was misspelt" in [entry.reason for entry in trail]
        assert "YTTRIUM" in str(audit_trail(reader, MANAGER, limit=500))
        assert queries.records(reader, MASKED, "files") == []


def test_who_is_masked_does_not_sit_on_the_board(trial: Trial) -> None:
    accounts.add_user(trial, ADMIN, user_id="jan", name="Jan", password=PASSWORD)
    accounts.grant_role(trial, ADMIN, "jan", role="board")
    with pytest.raises(AccessError, match="different hands"):
        accounts.grant_role(trial, ADMIN, "jan", role="masked_statistician")


@pytest.mark.requirement(17)
def test_a_person_gets_no_second_account_while_the_first_is_open(trial: Trial) -> None:
    accounts.add_user(trial, ADMIN, user_id="jan", name="Jan", email="Jan@clinic.example", password=PASSWORD)
    again: dict[str, Any] = {"name": "Jan", "email": "jan@CLINIC.example ", "password": PASSWORD}
    with pytest.raises(DuplicateRecordError, match="one account a person"):
        accounts.add_user(trial, ADMIN, user_id="jan2", **again)
    accounts.end_user(trial, ADMIN, "jan", reason="left")
    accounts.add_user(trial, ADMIN, user_id="jan2", **again)


@pytest.mark.parametrize("name", ["ann\u200b", "ann\u00a0", "\uff41nn", "a/b", "ann lis", "żak", "Ann", ""])
def test_an_account_name_that_looks_like_another_or_breaks_an_address_is_refused(trial: Trial, name: str) -> None:
    with pytest.raises(InputError, match="account name"):
        accounts.add_user(trial, ADMIN, user_id=name, name="Ann", password=PASSWORD)


@pytest.mark.requirement(20)
def test_the_administrator_reads_which_account_was_locked(trial: Trial, clock: ManualClock) -> None:
    accounts.add_user(trial, ADMIN, user_id="jan", name="Jan", password=PASSWORD)
    for _ in range(accounts.MAXIMUM_FAILURES):
        with pytest.raises(SignInError):
            sessions.sign_in(trial, "jan", "not this one")
        clock.advance(minutes=6)
    with trial.read() as reader:
        (found,) = notices(reader, ADMIN)
    assert found["text"] == f"account jan was locked after {accounts.MAXIMUM_FAILURES} failed attempts"


@pytest.mark.requirement(13)
def test_of_parallel_signatures_with_one_code_one_is_made(tmp_path: Path, clock: ManualClock) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    authenticator = PasswordAuthenticator(KeyRing(tmp_path / "keys"), cheap)
    with Trial.create(
        tmp_path / "t", study=Study("DUO", "S"), demonstration=True, clock=clock, authenticator=authenticator
    ) as trial:
        accounts.add_user(trial, ADMIN, user_id="jan", name="Jan", password=PASSWORD)
        jan = Actor("jan", "Jan")
        totp = pyotp.TOTP(accounts.begin_totp(trial, jan, "jan"))
        accounts.confirm_totp(trial, jan, "jan", code=totp.at(clock.now()))
        clock.advance(minutes=1)
        actor = sessions.sign_in(trial, "jan", PASSWORD, code=totp.at(clock.now())).actor
        clock.advance(minutes=1)
        given = signatures.Credentials("jan", PASSWORD, totp.at(clock.now()))
        barrier, made = threading.Barrier(6), []

        def confirm() -> None:
            barrier.wait()
            try:
                made.append(signatures.confirm(trial, actor, given))
            except SignatureError:
                made.append(None)

        threads = [threading.Thread(target=confirm) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(found is not None for found in made) == 1
        assert len(made) == 6


@pytest.mark.requirement(35)
def test_a_record_does_not_leave_a_locked_subject_by_a_new_key(trial: Trial) -> None:
    with_subjects(trial)
    key = {"subject_id": "S1", "taken_on": "2026-01-01"}
    lock = {"lock_id": 1, "level": "subject", "subject_id": "S1", "state": "locked", "locked_at": "2026-01-02T00:00Z"}
    trial.commit(Change("enter", [Create("vitals", key | {"weight_kg": 70.0}), Create("locks", lock)]), SYSTEM)
    with pytest.raises(LockedRecordError):
        trial.commit(Change("move", [Update("vitals", key, {"subject_id": "S2"})]), SYSTEM, "typing error")
    with trial.read() as reader:
        assert reader.records("vitals")[0]["subject_id"] == "S1"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"])
def test_an_instant_at_the_ends_of_the_calendar_is_refused_in_words(text: str) -> None:
    with pytest.raises(InputError, match="expected a time with offset"):
        instant(text, where="labs.taken_at")


@pytest.mark.parametrize("text", ["2026-W01-1", "2026W01", "20260101", "2026-1-1"])
def test_a_date_is_written_in_one_way_so_that_dates_sort(text: str) -> None:
    with pytest.raises(InputError, match="expected a date"):
        day(text, where="x")
    assert [day(one, where="x") for one in ("2026", "2026-05", "2026-05-31")] == ["2026", "2026-05", "2026-05-31"]


def test_text_that_no_file_can_hold_is_refused_and_nothing_is_stored(trial: Trial) -> None:
    with_subjects(trial)
    before = trial.head().head
    key = {"subject_id": "S1"}
    for values, reason in (({"sex": "\ud800"}, "r"), ({"further": {"a": "\udcff"}}, "r"), ({"sex": "f"}, "\ud800")):
        with pytest.raises(InputError, match="half a letter"):
            trial.commit(Change("correct", [Update("subjects", key, values)]), SYSTEM, reason)
    assert trial.head().head == before


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_other_accounts_of_the_server_cannot_read_the_trial(tmp_path: Path) -> None:
    with with_subjects(Trial.create(tmp_path / "t", study=Study("DUO", "S"))) as trial:
        assert trial.folder.stat().st_mode & 0o077 == 0
        for path in trial.folder.glob("trial.*"):
            assert path.stat().st_mode & 0o077 == 0, path.name


@pytest.fixture
def archive(trial: Trial, tmp_path: Path) -> Path:
    """An export of a trial with a text that a spreadsheet would compute."""
    with_subjects(trial)
    deviation = {"subject_id": "S1", "deviation_id": "001", "description": '=HYPERLINK("http://x")', "kind": "-1.5"}
    trial.commit(Change("enter", [Create("deviations", deviation)]), SYSTEM)
    exporting.export_trial(trial, MANAGER, tmp_path / "export.zip")
    return tmp_path / "export.zip"


def test_no_text_of_an_export_for_people_is_a_formula(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as found:
        table = found.read("tables/deviations.csv").decode()
        trail = found.read("audit.csv").decode()
    assert "\"'=HYPERLINK(" in table
    assert ",-1.5," in table
    assert "\n=" not in trail
    exporting.import_trial(archive, tmp_path / "back")
    with Trial.open(tmp_path / "back") as back, back.read() as reader:
        assert reader.records("deviations")[0]["description"].startswith("=HYPERLINK")


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "half of it": lambda c: c[: len(c) // 2],
    "last lines cut": lambda c: b"\n".join(c.splitlines()[:-5]) + b"\n",
    "a line without values": lambda c: c + b'["subjects"]\n',
    "a value too many": lambda c: c + b'["study",[1,2,3]]\n',
    "an unknown column": lambda c: c.replace(b'"taken_on","weight_kg"', b'"taken_on","wait_kg"', 1),
    "no text": lambda c: c + b"\xff\xfe",
    "a changed value": lambda c: c.replace(b'"S2"', b'"S3"', 1),
    "lists in lists": lambda c: c + b"[" * 100_000 + b"\n",
    "a value that no column holds": lambda c: re.sub(rb'\["subjects",\[(\d+),', rb'["subjects",[[\1],', c),
    "a number that no column holds": lambda c: re.sub(rb'\["subjects",\[\d+,', b'["subjects",[' + b"9" * 30 + b",", c),
    "a row twice": lambda c: re.sub(rb'(\["subjects",\[\d+,.*\n)', rb"\1\1", c),
    "a header without length": lambda c: c.replace(b'"audit_sequence":', b'"audit_length":', 1),
}
MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no members": lambda m: m | {"members": None},
    "members as a list": lambda m: m | {"members": list(m["members"])},
    "members as a text": lambda m: m | {"members": "dump.jsonl"},
    "hashes that are none": lambda m: m | {"members": dict.fromkeys(m["members"], 5)},
    "a member that is missing": lambda m: m | {"members": m["members"] | {"files/x": "00"}},
    "no length": lambda m: {name: value for name, value in m.items() if name != "audit_sequence"},
    "a list": lambda m: [m],
    "lists in lists": lambda m: "[" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_refused_in_words_and_leaves_nothing(archive: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(broken, "w") as target:
        contents = {member: source.read(member) for member in source.namelist()}
        contents["dump.jsonl"] = BROKEN[name](contents["dump.jsonl"])
        manifest = json.loads(contents.pop("manifest.json"))
        manifest["members"]["dump.jsonl"] = hashlib.sha256(contents["dump.jsonl"]).hexdigest()
        for member, content in (contents | {"manifest.json": json.dumps(manifest).encode()}).items():
            target.writestr(member, content)
    with pytest.raises((InputError, AuditError)):
        exporting.import_trial(broken, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", MANIFESTS)
def test_an_archive_with_an_odd_manifest_is_refused_in_words(archive: Path, tmp_path: Path, name: str) -> None:
    odd = tmp_path / "odd.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(odd, "w") as target:
        for member in source.namelist():
            content: Any = source.read(member)
            if member == "manifest.json":
                content = MANIFESTS[name](json.loads(content))
                content = content if isinstance(content, str) else json.dumps(content)
            target.writestr(member, content)
    with pytest.raises(InputError, match=r"import: found|is no archive of a trial"):
        exporting.import_trial(odd, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("damage", ["packed bytes", "encrypted"])
def test_an_archive_that_cannot_be_unpacked_is_refused_in_words(archive: Path, tmp_path: Path, damage: str) -> None:
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as source:
        entry = source.getinfo("dump.jsonl")
        begin = entry.header_offset + 30 + len(entry.filename) + 20
    if damage == "packed bytes":
        content[begin + 8 : begin + 40] = b"\xff" * 32
    else:
        at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"dump.jsonl"))
        content[at + 8] |= 1
    (tmp_path / "odd.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"is no archive of a trial|is encrypted"):
        exporting.import_trial(tmp_path / "odd.zip", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_what_was_its_owners_alone_stays_so_after_a_failure(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for mode in (0o700, 0o750):
        place.mkdir(exist_ok=True)
        place.chmod(mode)
        with pytest.raises(FileNotFoundError), emptied_on_failure(place):
            (place / "half" / "way").mkdir()
        assert place.stat().st_mode & 0o777 == mode
        assert not any(place.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_an_export_is_its_owners_alone_as_a_backup_is(archive: Path, trial: Trial, tmp_path: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    exchange.export_dataset(trial, MANAGER, tmp_path / "tables")
    assert (tmp_path / "tables").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tables").iterdir()} == {0o600}
    with zipfile.ZipFile(archive) as found:
        assert "lutetia trial DATA --archive FILE" in found.read("README.txt").decode()


def test_a_backup_with_an_altered_header_is_refused_in_words(tmp_path: Path) -> None:
    clock, secret = ManualClock(datetime(2026, 3, 2, tzinfo=UTC)), Secret(key=b"k" * 32)
    with Trial.create(tmp_path / "t", study=Study("DUO", "S"), demonstration=True, clock=clock) as trial:
        backup.write_backup(trial, ADMIN, tmp_path / "whole", secret=secret)
    line, content = (tmp_path / "whole").read_bytes().split(b"\n", 1)
    header = json.loads(line)
    changes = [{"salt": "zz"}, {"salt": 5}, {"secret": None}, {"audit_head": "0" * 64}, {"made_at": "yesterday"}]
    for change in changes:
        altered = {k: v for k, v in (header | change).items() if v is not None}
        text = json.dumps(altered, sort_keys=True, separators=(",", ":")).encode()
        (tmp_path / "altered").write_bytes(text + b"\n" + content)
        with pytest.raises((InputError, StorageError)):
            backup.verify_backup(tmp_path / "altered", secret=secret)


@pytest.mark.requirement(1)
@pytest.mark.parametrize("name", ["system", "worker", "dicom-node"])
def test_no_person_acts_under_the_name_of_the_program(trial: Trial, name: str) -> None:
    with pytest.raises(InputError, match="the program itself acts"):
        accounts.add_user(trial, ADMIN, user_id=name, name="Somebody", password=PASSWORD)


@pytest.mark.parametrize("name", ["../protocol.toml", "a/b.toml", "..\\x.toml", ".."])
def test_a_file_of_the_study_does_not_lead_out_of_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="plain name"):
        Trial.create(tmp_path / "t", study=Study("DUO", "S", files={name: b"x"}))
    assert not (tmp_path / "t").exists()

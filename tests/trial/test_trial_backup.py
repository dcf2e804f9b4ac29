"""Backups, the whole export and its import: nothing lost, alterations noticed, wrong keys refused."""

from __future__ import annotations

import csv
import io
import json
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lutetia.errors import AccessDeniedError, AuditError, InputError, LutetiaError, OutputError, StorageError
from lutetia.trial import (
    SYSTEM,
    Actor,
    Change,
    Create,
    Event,
    Grant,
    Sign,
    Trial,
    Update,
    accounts,
    audit,
    dump,
    identities,
)
from lutetia.trial.backup import restore_backup, verify_backup, write_backup
from lutetia.trial.container import Secret
from lutetia.trial.exporting import export_trial, import_trial
from lutetia.trial.keys import new_key_file, read_key
from lutetia.trial.redaction import confirm_redaction, propose_redaction
from lutetia.trial.signatures import confirm_demonstration

MANAGER = Actor("dora", "Dora", (Grant("data_manager"),))
KEY = Secret(key=bytes(range(32)))
NAME = "Jan Kowalski-Canary"


@pytest.fixture
def database() -> None:
    """SQLite as the source; PostgreSQL is restored into and taken from."""


@pytest.fixture
def lived(trial: Trial) -> Trial:
    """A trial with accounts, data of every kind, signatures, a redaction-worthy past and a file."""
    accounts.add_user(trial, SYSTEM, user_id="ann", name="Dr Ann", password="a long password")
    sha = trial.files.put(b"an image \x00\xff" * 1000)
    key = {"subject_id": "DUO-001"}
    trial.commit(
        Change(
            "enter",
            [
                Create("files", {"sha256": sha, "size": 11000, "name": "scan"}),
                Create("subjects", {"subject_id": "DUO-001", "site": "01", "weight_kg": 70.1,
                                    "further": {"é": [1, None]}}),
                Create("vitals", {"subject_id": "DUO-001", "taken_on": "2026-01-01", "ecog": 1}),
                Create("labs", {"subject_id": "DUO-001", "sample_id": "1", "analyte": "alt", "value": "1.10"}),
            ],
        ),
        SYSTEM,
    )  # fmt: skip
    trial.commit(Change("correct", [Update("subjects", key, {"weight_kg": 69.3})]), SYSTEM, 'a "reason", with ,')
    ann = Actor("ann", "Dr Ann", (Grant("physician", "01"),))
    trial.commit(Change("sign", [Sign((("subjects", key),), "eligible", confirm_demonstration(trial, ann))]), ann)
    leaked = {"subject_id": "DUO-001", "taken_on": "2026-01-01"}
    trial.commit(Change("enter", [Update("vitals", leaked, {"further": {"note": NAME}})]), SYSTEM)
    trial.commit(Change("correct", [Update("vitals", leaked, {"further": None})]), SYSTEM, "a name")
    for sequence in (trial.head().sequence - 1, trial.head().sequence):
        propose_redaction(trial, ann, sequence, columns=["further"], reason="a name was typed")
        confirm_redaction(trial, MANAGER, sequence)
    identities.enter_identity(trial, SYSTEM, subject_id="DUO-001", name=NAME, birth_date="1960-01-02")
    return trial


def contents(trial: Trial) -> tuple[str, str, dict[str, Any]]:
    with trial.read() as reader:
        return dump.content_hash(reader), audit.head(reader)[1], audit.stored_state(reader)


@pytest.mark.requirement(37)
def test_a_backup_made_while_people_write_restores_to_the_same_head_and_rows(
    lived: Trial, tmp_path: Path, postgresql_url: Callable[[], str]
) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.005):
            lived.commit(Change("work", [Event({"kind": "x"})]), SYSTEM)

    worker = threading.Thread(target=write)
    worker.start()
    facts = write_backup(lived, MANAGER, tmp_path / "b.lutetia", secret=KEY)
    stop.set()
    worker.join()
    assert verify_backup(tmp_path / "b.lutetia", secret=KEY) == facts
    with lived.read() as reader:
        assert audit.verify(reader, facts.head).rows_after is not None
    for number, url in enumerate((None, postgresql_url())):
        assert restore_backup(tmp_path / "b.lutetia", tmp_path / f"r{number}", secret=KEY, url=url) == facts
        with Trial.open(tmp_path / f"r{number}") as restored:
            assert restored.head().head == facts.head
            assert restored.files.get(restored.files.digests()[0])
            restored.commit(Change("work", [Event({})]), SYSTEM)


@pytest.mark.requirement(37)
def test_objects_that_wait_in_quarantine_are_in_the_backup_and_missed_by_its_proof(
    lived: Trial, tmp_path: Path
) -> None:
    values = {"reason": "unknown patient", "sender": "CT", "received_at": "2026-01-02T08:00:00+00:00"}
    lived.commit(Change("wait", [Create("quarantine", {"sha256": "ab" * 32, "state": "waiting", **values})]), SYSTEM)
    write_backup(lived, MANAGER, tmp_path / "without", secret=KEY)
    with pytest.raises(StorageError, match="found no object abababababab that waits in quarantine"):
        verify_backup(tmp_path / "without", secret=KEY)
    place = lived.folder / "quarantine" / f"{'ab' * 32}.sealed"
    place.parent.mkdir()
    place.write_bytes(b"sealed")
    write_backup(lived, MANAGER, tmp_path / "with", secret=KEY)
    restore_backup(tmp_path / "with", tmp_path / "again", secret=KEY)
    assert (tmp_path / "again" / "quarantine" / place.name).read_bytes() == b"sealed"


@pytest.mark.requirement(37)
def test_a_quiet_trial_goes_to_postgresql_and_back_without_a_difference(
    lived: Trial, tmp_path: Path, postgresql_url: Callable[[], str]
) -> None:
    secret = Secret(passphrase="open sesame 123")
    write_backup(lived, MANAGER, tmp_path / "b.lutetia", secret=secret)
    restore_backup(tmp_path / "b.lutetia", tmp_path / "pg", secret=secret, url=postgresql_url())
    with Trial.open(tmp_path / "pg", clock=lived.clock, authenticator=lived.authenticator) as moved:
        assert contents(moved) == contents(lived)
        write_backup(moved, MANAGER, tmp_path / "c.lutetia", secret=secret)
        export_trial(moved, MANAGER, tmp_path / "x.zip")
        there = contents(moved)
    restore_backup(tmp_path / "c.lutetia", tmp_path / "back", secret=secret)
    import_trial(tmp_path / "x.zip", tmp_path / "imported")
    with Trial.open(tmp_path / "imported") as imported:
        assert contents(imported) == there


@pytest.mark.requirement(37)
@pytest.mark.parametrize("damage", ["key", "passphrase", "altered", "cut", "other"])
def test_a_backup_that_cannot_be_trusted_is_refused_and_leaves_nothing(
    lived: Trial, tmp_path: Path, damage: str
) -> None:
    path, secret = tmp_path / "b.lutetia", KEY
    write_backup(lived, MANAGER, path, secret=KEY)
    content = path.read_bytes()
    header = content.index(b"\n")
    if damage == "key":
        secret = Secret(key=bytes(32))
    elif damage == "passphrase":
        secret = Secret(passphrase="x")
    else:
        middle = content[: header + 50] + bytes([content[header + 50] ^ 1]) + content[header + 51 :]
        path.write_bytes({"altered": middle, "cut": content[:-40], "other": b"PK\x03\x04\n"}[damage])
    with pytest.raises(
        LutetiaError, match=r"does not open; expected the right key|sealed with a key|another kind of file"
    ):
        restore_backup(path, tmp_path / "r", secret=secret)
    assert not (tmp_path / "r").exists()
    with pytest.raises(OutputError, match="never overwritten"):
        write_backup(lived, MANAGER, path, secret=KEY)


def test_a_backup_header_that_was_rewritten_does_not_open(lived: Trial, tmp_path: Path) -> None:
    path = tmp_path / "b.lutetia"
    facts = write_backup(lived, MANAGER, path, secret=KEY)
    path.write_bytes(path.read_bytes().replace(facts.head.encode(), b"0" * 64, 1))
    with pytest.raises(StorageError, match="does not open"):
        verify_backup(path, secret=KEY)


def test_restoring_into_a_folder_with_something_in_it_leaves_it_alone(lived: Trial, tmp_path: Path) -> None:
    write_backup(lived, MANAGER, tmp_path / "b.lutetia", secret=KEY)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(StorageError, match="not an empty folder"):
        restore_backup(tmp_path / "b.lutetia", tmp_path / "full", secret=KEY)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "x"


@pytest.mark.requirement(45)
def test_names_are_in_no_table_trail_export_or_backup_unless_identities_are_asked_for(
    lived: Trial, tmp_path: Path
) -> None:
    export_trial(lived, MANAGER, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert NAME.encode() not in everything
    assert b"1960-01-02" not in everything
    for path in lived.folder.rglob("*"):
        assert path.is_dir() or NAME.encode() not in path.read_bytes(), path
    assert identities.read_identity(lived, MANAGER, "DUO-001", reason="recall").name == NAME
    assert 1 <= abs(identities.date_shift(lived, "DUO-001")) <= identities.LARGEST_SHIFT_DAYS
    for asked in (False, True):
        path = tmp_path / f"b{asked}"
        write_backup(lived, MANAGER, path, secret=KEY, with_identities=asked)
        restore_backup(path, tmp_path / f"r{asked}", secret=KEY)
        with Trial.open(tmp_path / f"r{asked}") as restored:
            assert identities.has_identity(restored, "DUO-001") is asked
            assert (restored.folder / "keys" / "identities.key").exists() is asked


@pytest.mark.requirement(45)
def test_the_schema_has_no_place_for_a_patients_name() -> None:
    from lutetia.trial.schema import SCHEMA

    people = {"users", "signatures", "sites", "documents", "files", "attachments", "study"}
    for name, spec in SCHEMA.items():
        for column in spec.names:
            named = column in ("name", "first_name", "last_name", "initials", "birth_date", "address", "mrn")
            assert not named or name in people | {"sessions"}, f"{name}.{column}"


@pytest.mark.requirement(45)
def test_an_identity_is_entered_once_and_every_reading_is_recorded(lived: Trial) -> None:
    with pytest.raises(LutetiaError, match="found one already"):
        identities.enter_identity(lived, SYSTEM, subject_id="DUO-001", name="Other")
    with pytest.raises(LutetiaError, match="found none"):
        identities.read_identity(lived, MANAGER, "DUO-404", reason="recall")
    with lived.read() as reader:
        rows = [(r["action"], r["actor"], r["subject_id"], b["reason"]) for r, b in audit.bodies(reader)]
    assert rows[-1] == ("read_identity", "dora", "DUO-404", "recall")
    assert (lived.folder / "identities.sqlite").stat().st_mode & 0o077 == 0
    assert (lived.folder / "keys" / "identities.key").stat().st_mode & 0o077 == 0


def test_an_identity_whose_audit_row_cannot_be_written_is_not_kept(
    lived: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise StorageError("database: disk is full")

    monkeypatch.setattr(Trial, "commit", refuse)
    with pytest.raises(StorageError, match="disk is full"):
        identities.enter_identity(lived, SYSTEM, subject_id="DUO-002", name=NAME)
    monkeypatch.undo()
    assert not identities.has_identity(lived, "DUO-002")
    assert identities.enter_identity(lived, SYSTEM, subject_id="DUO-002", name=NAME).name == NAME


@pytest.mark.requirement(36)
def test_the_whole_export_is_imported_without_loss_on_either_database(
    lived: Trial, tmp_path: Path, postgresql_url: Callable[[], str]
) -> None:
    facts = export_trial(lived, MANAGER, tmp_path / "x.zip")
    for number, url in enumerate((None, postgresql_url())):
        assert import_trial(tmp_path / "x.zip", tmp_path / f"i{number}", url=url) == facts
        with Trial.open(tmp_path / f"i{number}", clock=lived.clock, authenticator=lived.authenticator) as imported:
            assert contents(imported) == contents(lived)
            assert imported.head().head == facts.head
            assert imported.files.digests() == lived.files.digests()
    import_again = tmp_path / "again.zip"
    with Trial.open(tmp_path / "i0", clock=lived.clock, authenticator=lived.authenticator) as imported:
        export_trial(imported, MANAGER, import_again)
    assert import_trial(import_again, tmp_path / "i9").sequence == facts.sequence + 1


@pytest.mark.requirement(36)
def test_the_export_is_readable_by_people(lived: Trial, tmp_path: Path) -> None:
    export_trial(lived, MANAGER, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        trail = list(csv.DictReader(io.StringIO(archive.read("audit.csv").decode())))
        signed = list(csv.DictReader(io.StringIO(archive.read("signatures.csv").decode())))
        assert archive.read("study/study.toml") == b'schema = "lutetia.study/1"\n'
        users = archive.read("tables/users.csv").decode()
    corrected = next(row for row in trail if row["action"] == "correct")
    assert corrected["reason"] == 'a "reason", with ,'
    assert json.loads(corrected["changes"]) == {"weight_kg": [70.1, 69.3]}
    assert trail[-1]["action"] == "export"
    assert signed[0]["text"].startswith("eligible: Dr Ann, 2026-03-02 08:00 UTC")
    assert (signed[0]["state"], signed[0]["records"][:15]) == ("valid", "subjects record")
    assert "password" not in users.replace("password_changed_at", "")


@pytest.mark.requirement(36)
def test_an_altered_export_is_refused_by_the_name_of_the_member(lived: Trial, tmp_path: Path) -> None:
    export_trial(lived, MANAGER, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["dump.jsonl"] = members["dump.jsonl"].replace(b"69.3", b"96.3")
    write_zip(tmp_path / "y.zip", members)
    with pytest.raises(InputError, match=r"dump.jsonl was altered after the export"):
        import_trial(tmp_path / "y.zip", tmp_path / "i")
    manifest = json.loads(members["manifest.json"])
    import hashlib

    manifest["members"]["dump.jsonl"] = hashlib.sha256(members["dump.jsonl"]).hexdigest()
    write_zip(tmp_path / "z.zip", members | {"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(AuditError, match=r"audit row \d+: its body was altered"):
        import_trial(tmp_path / "z.zip", tmp_path / "i")
    (tmp_path / "no.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no archive of a trial"):
        import_trial(tmp_path / "no.zip", tmp_path / "i")
    assert not (tmp_path / "i").exists()


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.requirement(6)
def test_exports_and_backups_are_in_the_trail_and_denied_to_those_without_the_right(
    lived: Trial, tmp_path: Path
) -> None:
    for role in ("masked_statistician", "administrator", "board", "physician"):
        with pytest.raises(AccessDeniedError):
            export_trial(lived, Actor("x", "X", (Grant(role, "01"),)), tmp_path / "x.zip")
    export_trial(lived, MANAGER, tmp_path / "x.zip")
    write_backup(lived, MANAGER, tmp_path / "b", secret=KEY)
    with lived.read() as reader:
        actions = [(row["action"], row["actor"]) for row, _ in audit.bodies(reader)]
    assert actions[-2:] == [("export", "dora"), ("backup", "dora")]


def test_key_files_are_private_and_never_replaced(tmp_path: Path) -> None:
    key = new_key_file(tmp_path / "k")
    assert read_key(tmp_path / "k") == key
    assert (tmp_path / "k").stat().st_mode & 0o077 == 0
    with pytest.raises(StorageError, match="exists; expected a new key file"):
        new_key_file(tmp_path / "k")
    (tmp_path / "bad").write_text("short")
    with pytest.raises(StorageError, match="holds no 256-bit key"):
        read_key(tmp_path / "bad")
    with pytest.raises(InputError, match="one of them"):
        Secret().derived(b"")

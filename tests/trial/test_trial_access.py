"""Roles, sites, masking, and what the queries show to whom."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from lutetia.errors import AccessDeniedError, AccessError, MissingRecordError, UnknownNameError
from lutetia.trial import SYSTEM, Actor, Change, Create, Event, Grant, Trial, Update, access, accounts, masking, queries
from lutetia.trial.queries_audit import AuditFilter, audit_trail, field_history
from lutetia.trial.schema import SCHEMA

ARMS = ("A", "B")
SECRET = "CANARY"


def person(role: str, site: str | None = None) -> Actor:
    return Actor(role, role, (Grant(role, site if role in access.SITE_ROLES else None),))


@pytest.mark.requirement(22)
@pytest.mark.parametrize(("role", "action"), list(itertools.product(access.ROLES, access.RIGHTS)))
def test_every_role_has_exactly_the_rights_of_the_matrix_at_exactly_its_sites(role: str, action: str) -> None:
    actor, scope = person(role, "01"), access.RIGHTS[action].get(role)
    assert access.may(actor, action, "01") is (scope is not None)
    elsewhere = scope in ("a", "m") or (scope == "s" and role not in access.SITE_ROLES)
    assert access.may(actor, action, "02") is elsewhere
    if not elsewhere:
        with pytest.raises(AccessDeniedError, match=f"{action} at site 02: found the roles {role}"):
            access.require(actor, action, "02")


@pytest.mark.requirement(22)
def test_whoever_holds_nothing_may_nothing_and_unknown_rights_are_no_rights() -> None:
    for action, actor in itertools.product(access.RIGHTS, (SYSTEM, Actor("x", "X", (Grant("guest"),)))):
        with pytest.raises(AccessError):
            access.require(actor, action)
        assert access.masked(actor)
    with pytest.raises(UnknownNameError, match="unknown right"):
        access.may(person("administrator"), "do_anything")


def test_the_documented_rights_are_those_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "trial.md").read_text(encoding="utf-8")
    lines = page.partition("<!-- rights -->\n")[2].partition("\n<!-- /rights -->")[0].splitlines()
    header, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]
    assert [name.replace(" ", "_") for name in header[1:]] == list(access.ROLES)
    found = {row[0].rstrip("¹").replace(" ", "_"): row for row in rows}
    assert set(found) == set(access.RIGHTS)
    for action, row in found.items():
        assert row[1:] == [access.RIGHTS[action].get(role, "–") for role in access.ROLES]
        assert row[0].endswith("¹") is (action in access.SECOND_FACTOR)


def test_the_matrix_is_the_agreed_one() -> None:
    found = {action: "".join(access.RIGHTS[action].get(role, "-") for role in access.ROLES) for action in access.RIGHTS}
    assert found == {
        "enter_data": "ssss--------", "sign_forms": "-s----------", "randomise": "ss----------",
        "see_subject": "sssssaama--a", "propose": "--s---------", "release": "-s----------",
        "record_administration": "--ss--------", "manage_queries": "----saa-----", "answer_query": "ssss--------",
        "verify_source": "----s-------", "judge_expectedness": "------a-----", "lock": "-----a------",
        "export": "-----a-ma--a", "open_report": "-----aaaaa-a", "run_closed_report": "--------a---",
        "read_closed_report": "--------aa--", "generate_list": "--------a---", "manage_users": "----------a-",
        "read_audit": "sssssaama-ma",
    }  # fmt: skip


@pytest.fixture
def database() -> None:
    """SQLite alone: nothing here depends on the kind of database."""


@pytest.fixture
def filled(trial: Trial) -> Trial:
    """Two subjects at two sites, with the canary word wherever an arm could be told from."""
    edits: list[Any] = []
    for number, site in ((1, "01"), (2, "02")):
        name = f"DUO-00{number}"
        edits += [
            Create("subjects", {"subject_id": name, "site": site, "arm": SECRET, "weight_kg": 70}),
            Create("cycles", {"subject_id": name, "cycle": 1, "state": "GIVEN"}),
            Create("allocations", {"subject_id": name, "arm": SECRET, "scheme_id": "s", "stratum": "x"}),
            Create("prescriptions", {"subject_id": name, "cycle": 1, "version": 1, "nuclide": SECRET,
                                     "prescribed_MBq": 4242}),
            Create("administrations", {"subject_id": name, "cycle": 1, "nuclide": SECRET, "batch": SECRET}),
            Create("doses", {"subject_id": name, "cycle": 1, "scope": "cycle", "region": "kidneys", "nuclide": SECRET,
                             "method": SECRET, "absorbed_dose_Gy": 4242}),
            Create("deviations", {"subject_id": name, "deviation_id": "1", "description": SECRET, "severity": "minor"}),
            Create("queries", {"query_id": number, "subject_id": name, "table_name": "doses", "record_key": SECRET,
                               "site": site, "state": "open"}),
            Create("signature_records", {"signature_id": number, "table_name": "doses", "record": number}),
            Create("labs", {"subject_id": name, "sample_id": "1", "analyte": "alt", "value": "30",
                            "taken_at": "2026-01-01"}),
        ]  # fmt: skip
    trial.commit(Change("fill", edits), SYSTEM)
    trial.commit(Change("view_unblinded", [Event({"kind": "view", "arm": SECRET}, subject_id="DUO-001")]), SYSTEM)
    trial.commit(Change("fix", [Update("subjects", {"subject_id": "DUO-001"}, {"stratum_true": "y"})]), SYSTEM)
    trial.commit(
        Change("move", [Update("cycles", {"subject_id": "DUO-001", "cycle": 1}, {"state": "x"})]), SYSTEM, SECRET
    )
    message = {"query_id": 2, "seq": 1, "text": SECRET}
    trial.commit(Change("ask", [Create("query_messages", message)]), SYSTEM)
    return trial


@pytest.mark.requirement(10)
def test_no_masked_reader_finds_an_arm_in_any_table_or_in_the_trail(filled: Trial) -> None:
    with filled.read() as reader:
        for role in ("masked_statistician",):
            seen = [queries.records(reader, person(role), t) for t in SCHEMA if readable(reader, role, t)]
            text = str(seen) + str(audit_trail(reader, person(role), limit=10_000))
            assert SECRET not in text
            assert "4242" not in text
            assert "DUO-002" in text
            assert masking.HIDDEN in text
        trail = str(audit_trail(reader, person("administrator"), limit=10_000))
        assert SECRET not in trail
        assert "DUO-001" in trail
        unmasked = queries.records(reader, person("unmasked_statistician"), "subjects")
        assert {row["arm"] for row in unmasked} == {SECRET}


def readable(reader: Any, role: str, table: str) -> bool:
    try:
        queries.records(reader, person(role), table)
    except AccessDeniedError:
        return False
    return True


@pytest.mark.requirement(10)
def test_every_column_that_names_an_arm_nuclide_activity_dose_or_batch_is_hidden() -> None:
    telling = ("arm", "nuclide", "MBq", "Gy", "batch", "category", "bound_by")
    for name, spec in SCHEMA.items():
        for column in spec.names:
            if any(word in column.split("_") for word in telling) and not column.startswith("prior_"):
                hidden = name in masking.HIDDEN_TABLES or column in masking.HIDDEN_COLUMNS.get(name, ())
                assert hidden, f"{name}.{column} is shown to masked readers"


@pytest.mark.requirement(22)
def test_people_see_the_subjects_of_their_site_and_nothing_of_others(filled: Trial) -> None:
    for role in ("coordinator", "physician", "physicist", "radiopharmacist", "monitor"):
        actor = person(role, "01")
        with filled.read() as reader:
            assert [row["subject_id"] for row in queries.subjects(reader, actor)] == ["DUO-001"]
            for table in SCHEMA:
                if "subject_id" in SCHEMA[table].names and table != "randomisation_list":
                    assert "DUO-002" not in str(queries.records(reader, actor, table)), table
            assert "DUO-002" not in str(audit_trail(reader, actor, limit=10_000))
            with pytest.raises(MissingRecordError) as foreign:
                queries.subject(reader, actor, "DUO-002")
            with pytest.raises(MissingRecordError) as absent:
                queries.subject(reader, actor, "DUO-009")
            assert str(foreign.value).replace("002", "") == str(absent.value).replace("009", "")
            with pytest.raises(MissingRecordError):
                queries.of_subject(reader, actor, "labs", "DUO-002")
            with pytest.raises(MissingRecordError):
                queries.query_thread(reader, actor, 2)
            assert queries.count_by(reader, actor, "queries", "state") == {"open": 1}


@pytest.mark.requirement(22)
def test_board_and_administrator_see_no_subject(filled: Trial) -> None:
    with filled.read() as reader:
        for role in ("board", "administrator"):
            for table in ("subjects", "labs", "doses", "queries", "jobs"):
                with pytest.raises(AccessDeniedError):
                    queries.records(reader, person(role), table)
            with pytest.raises(AccessDeniedError):
                queries.accrual(reader, person(role))


@pytest.mark.requirement(27)
def test_nobody_reads_the_list_of_coming_allocations(filled: Trial) -> None:
    with filled.read() as reader:
        for role in access.ROLES:
            with pytest.raises(AccessDeniedError, match=r"read by nobody|expected"):
                queries.records(reader, person(role, "01"), "randomisation_list")


def test_secrets_are_in_no_reading(trial: Trial) -> None:
    accounts.add_user(trial, SYSTEM, user_id="ann", name="Ann", password="a long password")
    with trial.read() as reader:
        for role in ("administrator", "inspector", "data_manager"):
            text = str(queries.records(reader, person(role), "users")) + str(audit_trail(reader, person(role)))
            assert "argon2" not in text
            assert "Ann" in text


def test_by_arm_counts_and_hidden_columns_are_refused_to_masked_people(filled: Trial) -> None:
    with filled.read() as reader:
        sam = person("masked_statistician")
        assert [(row["site"], row["n"]) for row in queries.accrual(reader, sam)] == [("01", 1), ("02", 1)]
        with pytest.raises(AccessDeniedError):
            queries.accrual(reader, sam, by_arm=True)
        with pytest.raises(AccessDeniedError):
            queries.count_by(reader, sam, "subjects", "arm")
        with pytest.raises(AccessDeniedError):
            queries.count_by(reader, sam, "doses", "region")
        assert queries.accrual(reader, person("data_manager"), by_arm=True)[0]["arm"] == SECRET


def test_the_history_of_a_field_is_read_in_order_and_filters_narrow_the_trail(filled: Trial) -> None:
    key, actor = {"subject_id": "DUO-001"}, person("data_manager")
    filled.commit(Change("correct", [Update("subjects", key, {"weight_kg": 71})]), SYSTEM, "scales")
    with filled.read() as reader:
        number = reader.record("subjects", key)["record_id"]
        history = field_history(reader, actor, "subjects", number, column="weight_kg")
        assert [(e.changes["weight_kg"], e.reason) for e in history] == [([None, 70.0], None), ([70.0, 71.0], "scales")]
        assert [e.action for e in audit_trail(reader, actor, AuditFilter(action="correct"))] == ["correct"]
        page = audit_trail(reader, actor, limit=3)
        following = audit_trail(reader, actor, limit=3, before=page[-1].sequence)
        assert [e.sequence for e in page + following] == sorted({e.sequence for e in page + following}, reverse=True)
        with pytest.raises(AccessDeniedError):
            audit_trail(reader, person("board"))


def test_masking_is_defined_in_one_module_only() -> None:
    folder = Path(masking.__file__).parent
    definitions = [p.name for p in folder.glob("*.py") if "\nHIDDEN_COLUMNS:" in p.read_text(encoding="utf-8")]
    assert definitions == ["masking.py"]


def test_latest_values_come_newest_first(filled: Trial) -> None:
    lab = {"subject_id": "DUO-001", "sample_id": "2", "analyte": "alt", "value": "31", "taken_at": "2026-02-01"}
    filled.commit(Change("labs", [Create("labs", lab)]), SYSTEM)
    with filled.read() as reader:
        found = queries.latest(reader, person("physician", "01"), "labs", "DUO-001", column="taken_at", limit=2)
    assert [row["value"] for row in found] == ["31", "30"]

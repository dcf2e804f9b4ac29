from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_trial, screened

from lutetia.errors import AccessDeniedError, InputError, SignatureError
from lutetia.trial import Trial, audit
from lutetia.trial.access import ROLES
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.workflow.redaction import ProposeRedaction, confirm_redaction, propose_redaction
from lutetia.workflow.screening import RecordBaseline, record_baseline

CO, DM, AD = actor("coordinator"), actor("data_manager"), actor("administrator")


@pytest.mark.requirement(9)
def test_a_leaked_name_goes_from_the_trail_by_two_people_and_the_chain_still_verifies(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        subject_id = screened(trial)
        leak = record_baseline(trial, CO, RecordBaseline(subject_id, {"primary_site": "ileum, Mr Kowalski"})).sequence
        with pytest.raises(InputError, match="still holds"):
            propose_redaction(trial, DM, ProposeRedaction(leak, ["value"], "a name"))
        repair = RecordBaseline(subject_id, {"primary_site": "ileum"}, reason="a name was typed")
        corrected = record_baseline(trial, CO, repair).sequence
        for row in (leak, corrected):
            propose_redaction(trial, DM, ProposeRedaction(row, ["value"], "a name"))
            with pytest.raises(SignatureError, match="one person twice"):
                confirm_redaction(trial, DM, row)
            confirm_redaction(trial, AD, as_the_administrator_counts(trial, row))
        with trial.read() as reader:
            assert audit.verify(reader).redacted == (leak, corrected)
            shown = audit_trail(reader, actor("inspector"), AuditFilter(subject_id))
        assert "Kowalski" not in str(shown)
    content = b"".join(path.read_bytes() for path in (tmp_path / "trial").glob("trial.sqlite*"))
    assert content.count(b"ileum") > 0


def as_the_administrator_counts(trial: Trial, row: int) -> int:
    """A row's number in the trail of a masked person."""
    with trial.read() as reader:
        whole = audit_trail(reader, DM, limit=100_000)
        wanted = next(entry.hash for entry in whole if entry.sequence == row)
        own = audit_trail(reader, AD, limit=100_000)
        return next(entry.sequence for entry in own if entry.hash == wanted)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("data_manager", "administrator")])
@pytest.mark.requirement(9)
def test_other_roles_redact_nothing(tmp_path: Path, role: str) -> None:
    with make_trial(tmp_path / "trial") as trial:
        with pytest.raises(AccessDeniedError):
            propose_redaction(trial, actor(role), ProposeRedaction(1, ["title"], "x"))
        with pytest.raises(AccessDeniedError):
            confirm_redaction(trial, actor(role), 1)

"""Electronic signatures: who signed which content, when, with which meaning; bound by SHA-256, void on later change.

The first signature of a session takes account name and password (and the one-time code, once set up); later ones take
password or code; after idleness the session is a new one and everything is asked again. To sign within a larger change,
put ``Sign(covers, meaning, confirm(...))`` behind the edits that it covers. Not here: what the digest holds (`seals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutetia.errors import SignatureError, TrialError
from lutetia.trial.accounts import authenticator_of, failure_edits
from lutetia.trial.authentication import Proof
from lutetia.trial.clock import local_text, utc_text
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Key, Receipt, Sign, Update
from lutetia.trial.schema import spec_of
from lutetia.trial.seals import covering_signatures, signature_digest
from lutetia.trial.sessions import last_use, timed_out
from lutetia.trial.store import Trial

VALID, VOID, INVALID = "valid", "void", "invalid"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a person typed to sign."""

    user_id: str | None = None
    password: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A person who has just proved who they are; made by `confirm` for one change."""

    user_id: str
    name: str
    role: str | None
    at: str


def confirm(trial: Trial, actor: Actor, credentials: Credentials, *, role: str | None = None) -> Confirmed:
    """Check the components of a signature; failures are counted like those of a sign-in.

    Parameters
    ----------
    role
        The role in which the person signs; must be one of the actor's.

    Raises
    ------
    SignatureError
        If a component is missing or wrong, or the session has ended or stood idle.
    """
    if role is not None and role not in actor.roles:
        raise SignatureError(f"signature: found the roles {', '.join(sorted(actor.roles))}; expected {role} to sign as")
    with trial.read() as reader:
        session = _open_session(trial, reader, actor)
        user = reader.record("users", {"user_id": actor.user_id})
    _refuse_incomplete(actor, user, credentials, first=session["signed_at"] is None)
    at = trial.clock.now()
    proof = authenticator_of(trial).check(user, credentials.password, credentials.code, at=at)
    right = _right(user, credentials, proof)
    if right and user["state"] != "active":
        raise SignatureError(
            "signature: the account is locked; expected an open one; ask an administrator to unlock it"
        )
    if not right:
        _count_failure(trial, actor)
        raise SignatureError("signature: password or one-time code is not right; expected your own; try again")
    if proof.code_step is not None:
        _use_code(trial, actor, proof.code_step)
    return Confirmed(actor.user_id, actor.name, role, utc_text(at))


def confirm_demonstration(trial: Trial, actor: Actor, *, role: str | None = None) -> Confirmed:
    """A confirmation without components, for building demonstration data.

    Raises
    ------
    TrialError
        In any other database.
    """
    if not trial.demonstration:
        raise TrialError("signature: found no components; expected them, because this is not a demonstration database")
    return Confirmed(actor.user_id, actor.name, role, utc_text(trial.clock.now()))


def sign(
    trial: Trial, actor: Actor, credentials: Credentials, *, covers: list[tuple[str, Key]], meaning: str,
    role: str | None = None,
) -> Receipt:  # fmt: skip
    """Sign records as they stand; the receipt's first record is the signature's number."""
    confirmed = confirm(trial, actor, credentials, role=role)
    return trial.commit(Change("sign", [Sign(tuple(covers), meaning, confirmed)]), actor)


def require_different(first: str | None, second: str | None, *, what: str) -> None:
    """Refuse when one person would act twice where two are needed.

    Raises
    ------
    SignatureError
        If both names are the same or one is missing.
    """
    if first is None or second is None or first == second:
        raise SignatureError(
            f"{what}: found {second or 'nobody'} twice; expected two different people; ask a colleague"
        )


def status(reader: Reader, signature_id: int) -> str:
    """``valid``, ``void`` (a signed record changed later) or ``invalid`` (digest and records do not match)."""
    row = reader.record("signatures", {"signature_id": signature_id})
    if row["state"] != VALID:
        return VOID
    covered = []
    for cover in reader.records("signature_records", signature_id=signature_id):
        record = reader.find(cover["table_name"], int(cover["record"]))
        if record is None:
            return INVALID
        covered.append((spec_of(cover["table_name"]), record))
    return VALID if signature_digest(row, covered) == row["digest"] else INVALID


def signatures_of(reader: Reader, table: str, record: int) -> list[Record]:
    """Every signature ever given to a record, void ones included, each with its `status`."""
    covers = reader.records("signature_records", table_name=table, record=record)
    rows = [reader.record("signatures", {"signature_id": cover["signature_id"]}) for cover in covers]
    return [row | {"status": status(reader, row["signature_id"])} for row in rows]


def is_signed(reader: Reader, table: str, record: int, *, meaning: str | None = None) -> bool:
    """Whether a record carries a valid signature (of this meaning)."""
    found = covering_signatures(reader, table, record)
    rows = [reader.record("signatures", {"signature_id": number}) for number in found]
    named = [row for row in rows if meaning is None or row["meaning"] == meaning]
    return any(status(reader, row["signature_id"]) == VALID for row in named)


def printed(row: Record, *, zone: str = "UTC") -> str:
    """A signature as screens, prints and exports show it: printed name, role, local time with zone, meaning, state."""
    name = row["name"] if row["role"] is None else f"{row['name']} ({row['role'].replace('_', ' ')})"
    state = "" if row["state"] == VALID else f" — VOID since {local_text(row['voided_at'], zone)}"
    return f"{row['meaning']}: {name}, {local_text(row['signed_at'], zone)}{state}"


def _open_session(trial: Trial, reader: Reader, actor: Actor) -> Record:
    session = None if actor.session_id is None else reader.find("sessions", {"session_id": actor.session_id})
    if session is None or session["ended_at"] is not None or session["user_id"] != actor.user_id:
        raise SignatureError("signature: found no open session; expected one; sign in again")
    if timed_out(reader, session, trial.clock.now(), last_use(reader, session)) is not None:
        raise SignatureError("signature: the session stood idle or lasts too long; expected a fresh one; sign in again")
    return session


def _refuse_incomplete(actor: Actor, user: Record, credentials: Credentials, *, first: bool) -> None:
    if credentials.user_id not in (None, actor.user_id):
        raise SignatureError("signature: found another account's name; expected your own")
    if first and (credentials.user_id is None or not credentials.password):
        raise SignatureError("signature: the first one of a session needs account name and password; give both")
    if first and user["totp_confirmed_at"] is not None and not credentials.code:
        raise SignatureError("signature: the first one of a session needs the one-time code too; give it")
    if not credentials.password and not credentials.code:
        raise SignatureError("signature: found neither password nor one-time code; expected one of them")


def _right(user: Record, credentials: Credentials, proof: Proof) -> bool:
    if credentials.password and not proof.password:
        return False
    if credentials.code and (not proof.code or (proof.code_step or 1) <= (user["totp_step"] or 0)):
        return False
    return proof.password or proof.code


def _use_code(trial: Trial, actor: Actor, step: int) -> None:
    """Note inside the write lock that a code is used: of several requests with the same one the first is served."""
    key = {"user_id": actor.user_id}

    def change(reader: Reader) -> Change:
        if step <= (reader.record("users", key)["totp_step"] or 0):
            raise SignatureError("signature: this one-time code was used already; expected a fresh one; wait for it")
        return Change("use_code", [Update("users", key, {"totp_step": step})])

    trial.commit(change, actor)


def _count_failure(trial: Trial, actor: Actor) -> None:
    def change(reader: Reader) -> Change:
        user: Any = reader.record("users", {"user_id": actor.user_id})
        return Change("signature_failed", failure_edits(reader, user, "signature"))

    trial.commit(change, actor)

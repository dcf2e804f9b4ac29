"""Accountability of product batches: received, used, returned, discarded; what must still be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lutetia.errors import InputError, MissingRecordError
from lutetia.plan.activity import decayed_MBq
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import site_zone
from lutetia.workflow.edits import now_of, query_edits, required_text
from lutetia.workflow.entry_checks import check_form, dates_in_order

KINDS = ("returned", "discarded")


@dataclass(frozen=True, slots=True)
class ReceiveBatch:
    """A batch that arrived at a site; `activity_MBq` at `calibrated_at`."""

    batch: str
    nuclide: str
    product: str
    site: str
    supplier: str
    activity_MBq: float
    calibrated_at: str
    expires_at: str
    received_on: str


@dataclass(frozen=True, slots=True)
class MoveBatch:
    """Activity of a batch that was returned or discarded."""

    batch: str
    kind: str
    activity_MBq: float
    moved_at: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class BatchAccount:
    """What became of a batch, all activities at its calibration time; `rest_MBq` is not accounted for yet."""

    batch: str
    received_MBq: float
    used_MBq: float
    returned_MBq: float
    discarded_MBq: float
    rest_MBq: float


def receive_batch(trial: Trial, actor: Actor, command: ReceiveBatch) -> Receipt:
    """Record a batch that a site received.

    Raises
    ------
    InputError
        For values that cannot be, or a batch that expired before it was calibrated.
    DuplicateRecordError
        If the batch is recorded already.
    """
    access.require(actor, "record_administration", command.site)
    fields = ("batch", "activity_MBq", "calibrated_at", "expires_at", "received_on")
    where = f"batch {command.batch}"

    def change(reader: Reader) -> Change:
        entered = {name: getattr(command, name) for name in fields}
        local = now_of(reader).astimezone(site_zone(reader, command.site) or UTC)
        checked = check_form("product_batches", entered, now=local, where=where)
        dates_in_order(checked.values, ("calibrated_at", "expires_at"), where=where)
        decayed_MBq(command.nuclide, 1.0, from_at=now_of(reader), to_at=now_of(reader))  # the nuclide is a known one
        row = {**checked.values, "nuclide": command.nuclide, "product": command.product, "site": command.site,
               "supplier": command.supplier, "state": "OPEN"}  # fmt: skip
        first = _movement(reader, actor, command.batch, "received", command.activity_MBq,
                          checked.values["calibrated_at"])  # fmt: skip
        queries = query_edits(reader, checked.findings, subject_id="", site=command.site, table="product_batches",
                              values=row)  # fmt: skip
        return Change("receive_batch", [Create("product_batches", row), first, *queries])

    return trial.commit(change, actor)


def move_batch(trial: Trial, actor: Actor, command: MoveBatch) -> Receipt:
    """Record activity of a batch that was returned or discarded.

    Raises
    ------
    InputError
        For another kind of movement, or more activity than is left.
    """
    with trial.read() as reader:
        site = batch_of(reader, command.batch)["site"]
    access.require(actor, "record_administration", site)
    if command.kind not in KINDS:
        raise InputError(f"batch {command.batch}: found {command.kind!r}; expected one of {', '.join(KINDS)}")
    required_text(command.note, "note: why")

    def change(reader: Reader) -> Change:
        batch, account = batch_of(reader, command.batch), _account(reader, command.batch)
        entered = {"batch": command.batch, "activity_MBq": command.activity_MBq, "calibrated_at": command.moved_at,
                   "expires_at": command.moved_at, "received_on": batch["received_on"]}  # fmt: skip
        at = check_form("product_batches", entered, now=now_of(reader)).values["calibrated_at"]
        amount = _at_calibration(batch, command.activity_MBq, at)
        if amount > account.rest_MBq * 1.05 + 1.0:
            raise InputError(
                f"batch {command.batch}: found {amount:.0f} MBq at calibration; {account.rest_MBq:.0f} MBq are left"
            )
        edit = _movement(reader, actor, command.batch, command.kind, command.activity_MBq, at, note=command.note)
        return Change("move_batch", [edit])

    return trial.commit(change, actor)


def close_batch(trial: Trial, actor: Actor, batch: str) -> Receipt:
    """Close a batch whose activity is accounted for, within 10 % of what was received."""
    with trial.read() as reader:
        site = batch_of(reader, batch)["site"]
    access.require(actor, "record_administration", site)

    def change(reader: Reader) -> Change:
        account = _account(reader, batch)
        if abs(account.rest_MBq) > 0.1 * account.received_MBq:
            raise InputError(
                f"batch {batch}: {account.rest_MBq:.0f} of {account.received_MBq:.0f} MBq are not accounted for; "
                "record what was returned or discarded"
            )
        return Change("close_batch", [Update("product_batches", {"batch": batch}, {"state": "CLOSED"})])

    return trial.commit(change, actor)


def batch_account(trial: Trial, actor: Actor, batch: str) -> BatchAccount:
    """What became of a batch; reveals nuclide and activity, so masked roles may not see it."""
    with trial.read() as reader:
        row = batch_of(reader, batch)
        access.require(actor, "record_administration", row["site"])
        return _account(reader, batch)


def batch_of(reader: Reader, batch: str) -> Record:
    """The record of a batch.

    Raises
    ------
    MissingRecordError
        If it was never received.
    """
    found = reader.find("product_batches", {"batch": batch})
    if found is None:
        raise MissingRecordError(f"batch {batch}: was not received at this trial; record its receipt first")
    return found


def use_edit(
    reader: Reader, actor: Actor, batch: str, *, activity_MBq: float, at: str, subject_id: str, cycle: int
) -> Edit:
    """The movement that an administration makes.

    Raises
    ------
    InputError
        If the batch is closed: its account is complete.
    """
    if batch_of(reader, batch)["state"] == "CLOSED":
        raise InputError(f"batch {batch}: found it closed; expected an open one; choose the batch that was used")
    return _movement(reader, actor, batch, "used", activity_MBq, at, subject_id=subject_id, cycle=cycle)


def corrected_use(reader: Reader, actor: Actor, before: Record, values: Mapping[str, Any]) -> list[Edit]:
    """The movement of a corrected administration: its new activity, or that of another batch after all.

    Parameters
    ----------
    before, values
        The administration as it was stored, and its new values.
    """
    place = {"subject_id": before["subject_id"], "cycle": before["cycle"]}
    used = reader.records("product_movements", batch=before["batch"], kind="used", **place) if before["batch"] else []
    amount, at = values["administered_MBq"], values["started_at"]
    same = before["batch"] == values["batch"]
    edits: list[Edit] = [
        Update("product_movements", int(row["record_id"]), {"activity_MBq": amount if same else 0.0, "moved_at": at})
        for row in used
    ]
    if not (same and used):
        edits.append(use_edit(reader, actor, values["batch"], activity_MBq=amount, at=at, **place))
    return edits


def left_MBq(reader: Reader, batch: str, *, at: str, but: tuple[str, int] | None = None) -> float:
    """Activity that a batch held at an instant, by its account.

    Parameters
    ----------
    but
        Subject and cycle whose use is left out, because it is being corrected.
    """
    row, rest = batch_of(reader, batch), _account(reader, batch).rest_MBq
    for move in reader.records("product_movements", batch=batch, kind="used"):
        if (move["subject_id"], move["cycle"]) == but:
            rest += _at_calibration(row, float(move["activity_MBq"]), move["moved_at"])
    moments = (datetime.fromisoformat(row["calibrated_at"]), datetime.fromisoformat(at))
    return decayed_MBq(row["nuclide"], rest, from_at=moments[0], to_at=moments[1])


def _account(reader: Reader, batch: str) -> BatchAccount:
    row = batch_of(reader, batch)
    sums = dict.fromkeys(("received", "used", "returned", "discarded"), 0.0)
    for move in reader.records("product_movements", batch=batch):
        sums[move["kind"]] += _at_calibration(row, float(move["activity_MBq"]), move["moved_at"])
    rest = sums["received"] - sums["used"] - sums["returned"] - sums["discarded"]
    return BatchAccount(batch, sums["received"], sums["used"], sums["returned"], sums["discarded"], rest)


def _at_calibration(batch: Record, activity_MBq: float, at: str) -> float:
    moments = (datetime.fromisoformat(at), datetime.fromisoformat(batch["calibrated_at"]))
    return decayed_MBq(batch["nuclide"], activity_MBq, from_at=moments[0], to_at=moments[1])


def _movement(reader: Reader, actor: Actor, batch: str, kind: str, activity_MBq: float, at: str, **more: Any) -> Create:
    return Create("product_movements", {"batch": batch, "movement": reader.next_number("product_movements", "movement",
                                        batch=batch), "kind": kind, "moved_at": at, "activity_MBq": activity_MBq,
                                        "moved_by": actor.user_id, **more})  # fmt: skip

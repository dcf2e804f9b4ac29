"""The trial: records and store, the one write gateway, audit, access, signatures, randomisation, queries.

The interface that the layers above build on; names here are stable, more may be added::

    from lutetia.trial import Actor, Change, Create, Grant, Study, Trial, Update, access

    trial = Trial.create(folder, study=Study("DUO", "DUONEN"))          # or Trial.open(folder)
    actor = Actor("u07", "Maria Nowak", (Grant("coordinator", "01"),))

    access.require(actor, "enter_data", "01")                           # AccessDeniedError unless granted
    receipt = trial.commit(
        Change("enrol", [Create("subjects", {"subject_id": "DUO-014", "site": "01", "state": "SCREENING"})]), actor
    )                                                                   # data + audit rows, or nothing
    with trial.read() as reader:                                        # one consistent state, read-only
        row = reader.record("subjects", {"subject_id": "DUO-014"})

    trial.commit(
        Change("correct", [Update("subjects", {"subject_id": "DUO-014"}, {"weight_kg": 69.5}, row["record_version"])]),
        actor, reason="typing error",                                   # StaleRecordError, ReasonRequiredError
    )

    def next_number(reader):                                            # runs inside the write lock:
        number = reader.next_number("jobs", "job_id")                   # nobody writes between reading and writing
        return Change("queue", [Create("jobs", {"job_id": number, "kind": "plan", "state": "queued"})], result=number)

    trial.commit(next_number, actor).result

`schema` lists every table; each record also has `record_id` (the number of its first audit row), `record_version`
(compared when `Update.version` is given) and `further`, a JSON object for what no column holds.
Read through `lutetia.trial.queries`, which shows a person what the role may see; sign with `signatures`; accounts and
sessions are in `accounts` and `sessions`. Times come from `trial.clock`, never from the caller.
"""

from lutetia.trial import access
from lutetia.trial.clock import Clock, ManualClock, SystemClock
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import (
    SYSTEM,
    Actor,
    Change,
    Create,
    Edit,
    Event,
    Grant,
    Receipt,
    Remove,
    Sign,
    Touch,
    Update,
)
from lutetia.trial.store import Study, Trial

__all__ = [
    "SYSTEM",
    "Actor",
    "Change",
    "Clock",
    "Create",
    "Edit",
    "Event",
    "Grant",
    "ManualClock",
    "Reader",
    "Receipt",
    "Record",
    "Remove",
    "Sign",
    "Study",
    "SystemClock",
    "Touch",
    "Trial",
    "Update",
    "access",
]

"""Safety of the trial as it stands: derived once from the live data with the report's own methods, shown by role.

By arm to readers of the closed report (every view is noted in the trail), pooled with small numbers suppressed to
readers of the open one. Derivation takes seconds: it runs beside the pages (in a thread, for large trials in a
process), is kept until the data change, and the last one stays in sight, marked as older, while the next is made.
Figures and tables are those of the interim report (`lutetia.safety`); what a view holds is in `safety_panels`. Not
here: snapshots and their reports (`interim`).
"""

from __future__ import annotations

import tomllib
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from lutetia.dataset.folder import STUDY, Dataset
from lutetia.dataset.tables import TABLES
from lutetia.errors import LutetiaError
from lutetia.trial import access, audit
from lutetia.trial.exchange import dataset_tables, study_files
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor
from lutetia.trial.schema import AUDIT
from lutetia.trial.store import Trial
from lutetia.workflow.interim import note_closed_reading

if TYPE_CHECKING:
    from lutetia.workflow.safety_panels import Views

#: From so many rows on, a derivation has a process of its own, so that other pages keep their speed meanwhile.
ROWS_APART = 40_000


@dataclass(frozen=True, slots=True)
class State:
    """What the data are: day of the cut, last audit row that touched them."""

    day: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Derived:
    """Both views of one state, and the place in the trail that they stand for."""

    state: State
    at: str
    head: str
    head_sequence: int
    views: Views


@dataclass(frozen=True, slots=True)
class Answer:
    """What can be shown now: `derived` may be older than the data; `step` says what is being done, `error` what failed.

    An error belongs to the data as they are now; it is not tried again before they change, or before `retry`.
    """

    derived: Derived | None
    stale: bool
    step: str
    error: str


@dataclass(slots=True)
class LiveSafety:
    """The derivation of one trial and its cache; safe for many threads."""

    trial: Trial
    _lock: Lock = field(default_factory=Lock)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="safety"))
    _kept: Derived | None = None
    _running: Future[Derived] | None = None
    _failed: tuple[State, str] | None = None
    _step: str = ""
    _mark: tuple[int, int] = (0, 0)

    def ask(self, *, retry: bool = False) -> Answer:
        """What there is; starts a derivation where the data are newer, never waits for one."""
        with self.trial.read() as reader:
            state = self._state(reader)
        with self._lock:
            self._collect()
            failed = self._failed
            if failed is not None and (failed[0] != state or retry):
                failed = self._failed = None
            fresh = self._kept is not None and self._kept.state == state
            if not fresh and failed is None and self._running is None:
                self._step = "reading the data"
                self._running = self._pool.submit(self._derive)
            step = self._step if self._running is not None else ""
            return Answer(self._kept, not fresh, step, failed[1] if failed else "")

    def wait(self, timeout_s: float = 120.0) -> Answer:
        """Wait for the derivation under way; for tests and commands."""
        self.ask()
        if (running := self._running) is not None:
            running.exception(timeout_s)
        return self.ask()

    def close(self) -> None:
        """End the thread after the derivation under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _collect(self) -> None:
        if self._running is None or not self._running.done():
            return
        done, self._running = self._running, None
        error = done.exception()
        if error is None:
            self._kept = done.result()
        elif isinstance(error, _DerivationError):
            self._failed = (error.state, str(error))
        else:
            raise error

    def _state(self, reader: Reader) -> State:
        """The data's state; only rows of the trail since the last look are searched."""
        head, _ = audit.head(reader)
        searched, found = self._mark  # one value, so that threads never mix the two
        if head > searched:
            newer = select(func.max(AUDIT.c.sequence)).where(
                AUDIT.c.sequence > searched, AUDIT.c.table_name.in_([*TABLES, "study"])
            )
            found = max(found, reader.value(newer) or 0)
            self._mark = (head, found)
        return State(reader.now[:10], found)

    def _derive(self) -> Derived:
        with self.trial.read() as reader:
            sequence, head = audit.head(reader)
            state, at = self._state(reader), reader.now
            try:
                dataset = live_dataset(reader, self.trial, head)
            except LutetiaError as error:
                raise _DerivationError(state, str(error)) from error
        return Derived(state, at, head, sequence, self._views(dataset, state))

    def _views(self, dataset: Dataset, state: State) -> Views:
        # Needs the statistics packages; pages that only ask for what is kept start without them.
        from lutetia.workflow.safety_panels import derive_apart, derive_views

        if sum(map(len, dataset.tables.values())) < ROWS_APART:
            try:
                return derive_views(dataset, self._say)
            except LutetiaError as error:
                raise _DerivationError(state, str(error)) from error
        self._say("deriving in a process of its own")
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                found = process.submit(derive_apart, dataset).result()
        except BrokenExecutor as error:
            text = "safety: the process of the derivation was ended from outside; look for free memory and try again"
            raise _DerivationError(state, text) from error
        if isinstance(found, str):
            raise _DerivationError(state, found)
        return found

    def _say(self, step: str) -> None:
        self._step = step


class _DerivationError(LutetiaError):
    """The data as they stand cannot be analysed; the text says why."""

    def __init__(self, state: State, text: str) -> None:
        super().__init__(text)
        self.state = state


def sees_arms(actor: Actor) -> bool:
    """Whether the actor may see results by arm: the closed report's readers, never a masked person."""
    return access.may(actor, "read_closed_report") and not actor.roles & access.ALWAYS_MASKED


def sees_subjects(actor: Actor) -> bool:
    """Whether single subjects of every site may be named to the actor."""
    return access.may(actor, "see_subject") and access.visible_sites(actor) is None


def view_safety(
    trial: Trial, live: LiveSafety, actor: Actor, *, by_arm: bool = True, retry: bool = False
) -> tuple[Answer, bool]:
    """What there is to show and whether by arm; a view by arm is noted in the trail when there is something to see.

    Raises
    ------
    AccessDeniedError
        For a person who may read neither report.
    """
    access.require(actor, "open_report")
    answer = live.ask(retry=retry)
    closed = by_arm and sees_arms(actor)
    if closed and answer.derived is not None:
        note_closed_reading(trial, actor, {"file": "safety dashboard", "head": answer.derived.head})
    return answer, closed


def live_dataset(reader: Reader, trial: Trial, head: str) -> Dataset:
    """The live tables as a snapshot of today would hold them, unmasked; for derivations, never for a person.

    Raises
    ------
    InputError
        If the trial was made without `study.toml`.
    """
    files = study_files(reader, trial.files)
    snapshot: dict[str, Any] = {"id": "live", "cut_at": reader.now[:10], "extracted_at": reader.now,
                                "audit_head": head}  # fmt: skip
    tables = {name: tuple(rows) for name, rows in dataset_tables(reader).items()}
    return Dataset(tables, tomllib.loads(files[STUDY].decode("utf-8")), snapshot, "")

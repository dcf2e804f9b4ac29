"""Level ``database``: virtual subjects go through the trial's own workflow, command by command, at a clock set by hand.

A virtual subject becomes use cases: enrolment, consent, eligibility, allocation; for every cycle laboratory values,
assessment, proposal, release or override, administration, and a case whose doses are what the subject's measurement
says of the activities that were really given; then follow-up. Events of all subjects happen in the order of time.
Decisions are those of the workflow; nothing here knows a rule. Arms follow from the trial's randomisation list.
Not here: who works in the trial (`database_staff`).
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from lutetia.core.draws import stream
from lutetia.errors import InputError
from lutetia.protocol.profile import read_protocol
from lutetia.protocol.records import Protocol
from lutetia.simulate.clinic import FOLLOW_UP_DAYS, HOLD_DAYS, virtual_clinic
from lutetia.simulate.database_life import ATTEMPTS, SCREENED, Filling, Person, life_of
from lutetia.simulate.database_staff import STATISTICIAN, Team, make_trial, prepare_sites, teams
from lutetia.simulate.effects import read_effects
from lutetia.simulate.population import REGIONS, Measurement, Population, packaged_measurement, read_population
from lutetia.simulate.trials import Block, draw_block
from lutetia.trial import ManualClock, Trial
from lutetia.trial.randomisation import next_arm
from lutetia.trial.randomisation_records import Allocated, Factor, RandomisationSpec
from lutetia.trial.store import emptied_on_failure
from lutetia.workflow.course_records import protocol_of
from lutetia.workflow.randomisation import GenerateList, generate_list

DAYS_BETWEEN_SUBJECTS = 9.0
# Slower in a demonstration, so that some subjects have ended treatment.
DEMONSTRATION_DAYS_BETWEEN = 12.0


def fill_trial(
    trial: Trial,
    *,
    subjects: int,
    seed: int,
    first_day: datetime,
    until: datetime | None = None,
    days_between: float = DAYS_BETWEEN_SUBJECTS,
    level: str = "analytic",
    effect: str = "planted",
    population: Population | None = None,
    measurement: Measurement | None = None,
    events: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Block:
    """Send virtual subjects through the workflow of a demonstration trial with a clock set by hand.

    Parameters
    ----------
    trial
        Open, marked as demonstration, with a `ManualClock`, sites, no subjects and no randomisation list.
    subjects, seed
        How many, and the seed of everything (also of the list).
    first_day, until
        Screening of the first subject, and the moment at which the trial stands still; None: all follow-up is done.
    days_between
        Days from one subject to the next.
    level, effect, population, measurement
        As in `draw_block` and `read_effects`.
    events
        Whether adverse events and vital signs are recorded; the analytic level knows none that holds a cycle.
    progress
        Called with subjects begun and subjects in all.

    Returns
    -------
    The block with the arms that the list gave, for comparison with other levels.

    Raises
    ------
    TrialError
        If the trial is not marked as demonstration.
    InputError
        For fewer than one subject, or a clock that cannot be set.
    """
    if not isinstance(trial.clock, ManualClock):
        raise InputError("simulated subjects: expected a trial that was opened with a clock set by hand")
    with trial.read() as reader:
        sites = sorted(str(row["site"]) for row in reader.records("sites"))
        protocol = protocol_of(trial, reader)
    trial.clock.moment = first_day
    staff = teams(trial, sites)
    prepare_sites(trial, staff)
    drawn = draw_block(
        protocol, population or read_population(), measurement or packaged_measurement(), trials=1,
        per_trial=subjects, seed=seed, level=level,
    )  # fmt: skip
    people, block = _allocated(trial, drawn, sites, seed, first_day, days_between)
    with tempfile.TemporaryDirectory(prefix="lutetia-simulated-") as place:
        filling = _filling(trial, protocol, block, staff, effect, events, Path(place))
        _run(filling, people, until, progress or (lambda begun, total: None))
    if until is not None:
        trial.clock.moment = max(until, trial.clock.moment)
    return block


def simulate_into(
    folder: Path,
    *,
    protocol: str = "duonen",
    subjects: int,
    seed: int,
    level: str = "analytic",
    effect: str = "planted",
    population: Population | None = None,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> Block:
    """A new trial folder, marked as demonstration, with subjects who went through the whole of it until `now`.

    On failure the folder is as it was.

    Raises
    ------
    StorageError
        If the folder is not empty, or cannot be written.
    InputError, ProtocolError, UnknownNameError
        As `fill_trial`.
    """
    read_effects(effect)
    # refused before anything is written: an unknown level, an impossible protocol, nobody
    draw_block(
        read_protocol(protocol), population or read_population(), packaged_measurement(), trials=1, per_trial=subjects,
        seed=seed, level=level,
    )  # fmt: skip
    read = read_protocol(protocol)
    treatment = read.cycles * (7.0 * (read.interval_weeks or 8.0) + ATTEMPTS * HOLD_DAYS)
    first = _morning(now - timedelta(days=DAYS_BETWEEN_SUBJECTS * subjects + treatment + max(FOLLOW_UP_DAYS) + 60.0))
    with (
        emptied_on_failure(folder.absolute()),
        make_trial(folder, protocol=protocol, subjects=subjects, seed=seed, clock=ManualClock(first)) as trial,
    ):
        return fill_trial(
            trial, subjects=subjects, seed=seed, first_day=first, level=level, effect=effect,
            population=population, progress=progress,
        )  # fmt: skip


def demonstrate(
    trial: Trial, *, subjects: int, now: datetime, seed: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Fill a demonstration trial whose clock stands at `demonstration_start`, so that it is in progress now."""
    first = demonstration_start(now, subjects)
    fill_trial(
        trial, subjects=subjects, seed=seed, first_day=first, until=now, days_between=DEMONSTRATION_DAYS_BETWEEN,
        progress=progress,
    )  # fmt: skip


def demonstration_start(now: datetime, subjects: int) -> datetime:
    """Screening of the first subject, such that a first cycle is due next morning and one subject is being screened.

    Its prescription is proposed the morning before and released two hours before the infusion, so that it waits for a
    physician for most of the day.
    """
    due = now if now.hour < 6 else now + timedelta(days=1)
    return _morning(due - timedelta(days=DEMONSTRATION_DAYS_BETWEEN * max(subjects - 2, 0) + SCREENED))


def _morning(moment: datetime) -> datetime:
    return moment.replace(hour=6, minute=30, second=0, microsecond=0)


def _allocated(
    trial: Trial, block: Block, sites: Sequence[str], seed: int, first_day: datetime, days_between: float
) -> tuple[list[Person], Block]:
    """Generate the list, and foretell its arms for subjects in the order in which they will be allocated."""
    ratio = (1,) * len(block.arms)
    sizes = (len(block.arms), 2 * len(block.arms))
    spec = RandomisationSpec("blocks", block.arms, ratio, (Factor("site"),), block_sizes=sizes)
    secret = stream(seed, "randomisation list").bytes(32)
    generate_list(trial, STATISTICIAN, GenerateList(spec, max(block.subjects.count, 1), secret))
    g = stream(seed, "enrolment of the database")
    chosen = g.integers(0, len(sites), size=block.subjects.count)
    allocated: list[Allocated] = []
    people, rows = [], dict.fromkeys(block.arms, 0)
    for i in range(block.subjects.count):
        levels = {"site": sites[int(chosen[i])]}
        arm = next_arm(spec, secret, allocated, levels)
        allocated.append(Allocated(levels, arm))
        start = first_day + timedelta(days=round(SCREENED + i * days_between), hours=2, minutes=15 * (i % 4))
        people.append(Person(i, rows[arm], arm, levels["site"], start))
        rows[arm] += 1
    arms = np.array([block.arms.index(person.arm) for person in people])
    return people, replace(block, arm=arms)


def _filling(
    trial: Trial, protocol: Protocol, block: Block, staff: Mapping[str, Team], effect: str, events: bool, folder: Path
) -> Filling:
    assert isinstance(trial.clock, ManualClock)
    present = [arm for i, arm in enumerate(block.arms) if (block.arm == i).any()]
    clinics = {arm: virtual_clinic(block, arm, read_effects(effect), all_analytes=True) for arm in present}
    counts = {arm: len(clinic.female) for arm, clinic in clinics.items()}
    days = {arm: np.full((n, protocol.cycles), np.nan) for arm, n in counts.items()}
    true = {arm: np.zeros((n, protocol.cycles, len(REGIONS))) for arm, n in counts.items()}
    return Filling(trial, trial.clock, protocol, block, staff, clinics, days, true, events, folder)


def _run(
    filling: Filling, people: Sequence[Person], until: datetime | None, progress: Callable[[int, int], None]
) -> None:
    """All subjects at once, event after event in the order of time."""
    lives = {person.index: life_of(filling, person) for person in people}
    waiting = [(person.at(-SCREENED), person.index) for person in people]
    heapq.heapify(waiting)
    begun = 0
    while waiting:
        moment, index = heapq.heappop(waiting)
        if until is not None and moment > until:
            break
        filling.clock.moment = max(moment, filling.clock.moment)
        begun += not people[index].subject_id
        progress(begun, len(people))
        later = next(lives[index], None)
        if later is not None:
            heapq.heappush(waiting, (later, index))

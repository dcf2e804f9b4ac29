"""State machines of the trial as data: which state of a subject, cycle or prescription may follow which.

Here: states, transitions and what each one asks for, in words. Not here: the checks of those conditions; the use case
that changes a state makes them (`lutetia.workflow`).
To add a transition: one line of `MACHINES`; every transition that no line names is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lutetia.errors import TransitionError, UnknownNameError


@dataclass(frozen=True, slots=True)
class Transition:
    """One permitted step; `condition` says what the use case must have checked (empty: nothing further)."""

    old: str
    new: str
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Transitions of one kind of record and the state that a new record has."""

    name: str
    start: str
    transitions: tuple[Transition, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """All states, in the order in which the transitions name them."""
        named = [self.start, *(state for step in self.transitions for state in (step.old, step.new))]
        return tuple(dict.fromkeys(named))

    @property
    def end_states(self) -> frozenset[str]:
        """States that nothing follows."""
        return frozenset(self.states) - {step.old for step in self.transitions}


def _steps(olds: str, news: str, condition: str = "") -> Iterable[Transition]:
    return (Transition(old, new, condition) for old in olds.split() for new in news.split() if old != new)


_SUBJECT = Machine(
    "subject",
    "SCREENING",
    (
        *_steps("SCREENING", "ELIGIBLE", "consent and eligibility are signed"),
        *_steps("ELIGIBLE", "RANDOMISED", "consent and eligibility are signed and unchanged"),
        *_steps("RANDOMISED", "ON_TREATMENT", "a first administration is recorded"),
        *_steps("ON_TREATMENT", "FOLLOW_UP", "the end of treatment is recorded"),
        *_steps("FOLLOW_UP", "COMPLETED"),
        *_steps("SCREENING ELIGIBLE", "SCREEN_FAILED", "a reason"),
        *_steps("RANDOMISED", "FOLLOW_UP", "never treated; a reason"),
        *_steps("RANDOMISED ON_TREATMENT FOLLOW_UP LOST", "CONSENT_WITHDRAWN LOST DEAD", "a date"),
        *_steps("LOST", "FOLLOW_UP", "a contact is recorded"),
    ),
)

_CYCLE = Machine(
    "cycle",
    "PLANNED",
    (
        *_steps("PLANNED", "ASSESSED", "laboratory values at most 7 days old"),
        *_steps("ASSESSED", "HELD", "a reason"),
        *_steps("HELD", "ASSESSED", "the cause of the hold has recovered"),
        *_steps("ASSESSED", "PRESCRIBED", "a released prescription"),
        *_steps("PRESCRIBED", "ASSESSED", "the prescription became void"),
        *_steps("PRESCRIBED", "GIVEN", "at least one nuclide was given; one missing is a deviation"),
        *_steps("GIVEN", "DOSED"),
        *_steps("GIVEN", "DOSE_MISSING", "a reason"),
        *_steps("DOSED DOSE_MISSING", "CLOSED"),
        *_steps("DOSED CLOSED", "GIVEN", "the administration was corrected, so that its doses are withdrawn"),
        *_steps("PLANNED ASSESSED HELD PRESCRIBED", "WITHHELD CANCELLED", "a reason"),
    ),
)

_PRESCRIPTION = Machine(
    "prescription",
    "DRAFT",
    (
        *_steps("DRAFT", "PROPOSED", "a physicist's signature"),
        *_steps("PROPOSED", "RELEASED", "a physician's signature; another person than the proposer"),
        *_steps("PROPOSED", "REJECTED", "a reason"),
        *_steps("PROPOSED", "OVERRIDE_PENDING", "a physician's signature and a reason"),
        *_steps("OVERRIDE_PENDING", "RELEASED", "a second physician's signature"),
        *_steps("RELEASED", "ADMINISTERED", "the administration is recorded"),
        *_steps(
            "DRAFT PROPOSED OVERRIDE_PENDING RELEASED",
            "VOID",
            "an input changed, laboratory values are older than 7 days, or the window passed",
        ),
    ),
)

MACHINES: dict[str, Machine] = {machine.name: machine for machine in (_SUBJECT, _CYCLE, _PRESCRIPTION)}

# Groups that use cases ask for by name; a subject in one of these was randomised and still takes part.
SUBJECT_RANDOMISED = frozenset(
    {"RANDOMISED", "ON_TREATMENT", "FOLLOW_UP", "COMPLETED", "CONSENT_WITHDRAWN", "LOST", "DEAD"}
)
CYCLE_BEFORE_GIVEN = frozenset({"PLANNED", "ASSESSED", "HELD", "PRESCRIBED"})
PRESCRIPTION_OPEN = frozenset({"DRAFT", "PROPOSED", "OVERRIDE_PENDING", "RELEASED"})


def next_states(machine: str, old: str) -> tuple[str, ...]:
    """States that may follow `old`, in the order of the table; empty for an end state."""
    return tuple(step.new for step in _machine(machine, old).transitions if step.old == old)


def check_transition(machine: str, old: str, new: str, *, where: str = "") -> Transition:
    """The transition from one state to another, whose `condition` the caller has to see fulfilled.

    Parameters
    ----------
    machine
        A key of `MACHINES`.
    old, new
        States of that machine.
    where
        Words before the message, such as "subject DUO-014".

    Raises
    ------
    TransitionError
        If no transition leads from `old` to `new`; the text lists those that lead from `old`.
    UnknownNameError
        For a machine or state that does not exist.
    """
    found = _machine(machine, old, new)
    for step in found.transitions:
        if (step.old, step.new) == (old, new):
            return step
    allowed = ", ".join(next_states(machine, old))
    remedy = f"from {old} a {machine} can go to {allowed}" if allowed else f"{old} is an end state: nothing follows it"
    raise TransitionError(f"{where or machine}: found a change from {old} to {new}, which is not permitted; {remedy}")


def _machine(name: str, *states: str) -> Machine:
    if name not in MACHINES:
        raise UnknownNameError("state machine", name, MACHINES)
    machine = MACHINES[name]
    for state in states:
        if state not in machine.states:
            raise UnknownNameError(f"state of a {name}", state, machine.states)
    return machine

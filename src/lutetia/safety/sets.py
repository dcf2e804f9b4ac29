"""Analysis sets: who is counted where, and who was not treated as randomised.

ITT: randomised by the cut. SAF: of these, at least one administration, in the randomised arm. DOS: of these, every
given cycle has a total dose under the method of every limit. LAB, one set an analyte: of SAF, baseline and at least
one later value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lutetia.safety.baseline import derive_baseline
from lutetia.safety.doses import limit_doses
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.reading import TrialData
from lutetia.safety.visits import place_labs

_ARM_IN_TEXT = re.compile(r"\barm (\w+)\b")


@dataclass(frozen=True, slots=True)
class CrossOver:
    """A subject who was given other nuclides than those of the randomised arm; `treated` is empty if undecided."""

    subject_id: str
    arm: str
    treated: str
    cycles: tuple[int, ...]
    rows: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class AnalysisSets:
    """Subjects of each set in order, their randomised arm, their arm as treated, and who crossed over."""

    itt: tuple[str, ...]
    saf: tuple[str, ...]
    dos: tuple[str, ...]
    lab: Mapping[str, tuple[str, ...]]
    arm: Mapping[str, str]
    as_treated: Mapping[str, str]
    cross_overs: tuple[CrossOver, ...]
    arms: tuple[str, ...]

    def of(self, name: str, arm: str | None = None) -> tuple[str, ...]:
        """Subjects of ITT, SAF or DOS, of one arm if given."""
        members: tuple[str, ...] = {"ITT": self.itt, "SAF": self.saf, "DOS": self.dos}[name]
        return members if arm is None else tuple(s for s in members if self.arm[s] == arm)

    def of_lab(self, analyte: str, arm: str | None = None) -> tuple[str, ...]:
        """Subjects of LAB for an analyte, of one arm if given; none for an analyte without values."""
        members = self.lab.get(analyte, ())
        return members if arm is None else tuple(s for s in members if self.arm[s] == arm)


def analysis_sets(
    data: TrialData,
    *,
    infusions: pd.DataFrame | None = None,
    labs: pd.DataFrame | None = None,
    baseline: pd.DataFrame | None = None,
    limits: pd.DataFrame | None = None,
) -> AnalysisSets:
    """The analysis sets of a trial at its cut; derivations that were made already can be handed in."""
    given = derive_infusions(data) if infusions is None else infusions
    placed = place_labs(data, given) if labs is None else labs
    start = derive_baseline(data, placed) if baseline is None else baseline
    doses = limit_doses(data, given) if limits is None else limits
    subjects = data["subjects"]
    randomised = subjects[subjects["arm"] != ""]
    arm = dict(zip(randomised["subject_id"], randomised["arm"], strict=True))
    itt = tuple(sorted(arm))
    treated = set(given["subject_id"])
    saf = tuple(s for s in itt if s in treated)
    incomplete = set(doses.loc[~doses["complete"], "subject_id"])
    crossed = _cross_overs(data, arm, set(saf))
    changed = {c.subject_id: c.treated for c in crossed}
    return AnalysisSets(
        itt=itt,
        saf=saf,
        dos=tuple(s for s in saf if s not in incomplete) if len(doses) else (),
        lab=_lab_sets(placed, start, saf),
        arm=arm,
        as_treated={s: changed[s] if s in changed else arm[s] for s in saf},
        cross_overs=crossed,
        arms=tuple(data.study.arms),
    )


def _lab_sets(labs: pd.DataFrame, baseline: pd.DataFrame, saf: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    later = labs.loc[labs["on_treatment"], ["subject_id", "analyte"]].drop_duplicates()
    both = later.merge(baseline[["subject_id", "analyte"]], on=["subject_id", "analyte"])
    both = both[both["subject_id"].isin(saf)]
    analytes = sorted(labs["analyte"].unique())
    return {name: tuple(sorted(both.loc[both["analyte"] == name, "subject_id"])) for name in analytes}


def _cross_overs(data: TrialData, arm: Mapping[str, str], saf: set[str]) -> tuple[CrossOver, ...]:
    given = data["administrations"]
    given = given[given["subject_id"].isin(saf) & (given["administered_MBq"] > 0)]
    planned = {name: frozenset(entry.base_MBq) for name, entry in data.study.arms.items()}
    found = []
    for subject, rows in given.groupby("subject_id", sort=True):
        nuclides = {int(cycle): frozenset(part["nuclide"]) for cycle, part in rows.groupby("cycle")}
        other = {cycle: names for cycle, names in nuclides.items() if names != planned[arm[subject]]}
        if not other:
            continue
        first = min(other)
        treated = _stated_arm(data, str(subject)) or _only_arm(planned, other[first])
        names = " and ".join(sorted(other[first]))
        text = f"{subject}: randomised to arm {arm[subject]}, given {names} in cycle {first}"
        at = rows[rows["cycle"].isin(other)]
        found.append(CrossOver(str(subject), arm[subject], treated, tuple(sorted(other)), tuple(at["row"]), text))
    return tuple(found)


def _only_arm(planned: Mapping[str, frozenset[str]], nuclides: frozenset[str]) -> str:
    """The one arm that plans these nuclides; empty where several or none do."""
    arms = [name for name, own in planned.items() if own == nuclides]
    return arms[0] if len(arms) == 1 else ""


def _stated_arm(data: TrialData, subject: str) -> str:
    """The arm that a deviation of kind cross-over names as "arm X"."""
    rows = data["deviations"]
    own = rows[
        (rows["subject_id"] == subject) & rows["kind"].str.replace("-", "").str.contains("crossover", case=False)
    ]
    for text in own["description"]:
        for name in _ARM_IN_TEXT.findall(text):
            if name in data.study.arms:
                return str(name)
    return ""

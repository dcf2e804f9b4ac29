"""Everything that tables, figures and findings of one report read: the trial at its cut, its derivations, the seed.

Each derivation is made once. To add one: a field here and its line in `derive_context`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lutetia.safety.adverse_events import derive_events, derive_time_at_risk
from lutetia.safety.baseline import derive_baseline, derive_changes
from lutetia.safety.course_change import derive_course_means, last_values
from lutetia.safety.doses import (
    cumulative_by_nuclide,
    cumulative_doses,
    cycle_doses,
    limit_doses,
    nuclide_doses,
)
from lutetia.safety.events import derive_durations
from lutetia.safety.exposure import derive_decisions, derive_exposure, derive_infusions
from lutetia.safety.forecasts import derive_forecasts
from lutetia.safety.grading import grade_labs, worst_grades
from lutetia.safety.hepatic import liver_candidates, liver_peaks
from lutetia.safety.nadir import derive_extremes, derive_nadirs
from lutetia.safety.reading import TrialData
from lutetia.safety.renal import derive_egfr, renal_outcomes
from lutetia.safety.sets import AnalysisSets, analysis_sets
from lutetia.safety.visits import place_labs

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """One trial at its cut with its derived frames; `seed` and `resamples` are those of every bootstrap."""

    data: TrialData
    sets: AnalysisSets
    infusions: pd.DataFrame
    exposure: pd.DataFrame
    decisions: pd.DataFrame
    labs: pd.DataFrame
    baseline: pd.DataFrame
    changes: pd.DataFrame
    grades: pd.DataFrame
    worst: pd.DataFrame
    nadirs: pd.DataFrame
    extremes: pd.DataFrame
    course: pd.DataFrame
    last: pd.DataFrame
    cycle_doses: pd.DataFrame
    nuclide_doses: pd.DataFrame
    cumulative: pd.DataFrame
    by_nuclide: pd.DataFrame
    limits: pd.DataFrame
    egfr: pd.DataFrame
    renal: pd.DataFrame
    peaks: pd.DataFrame
    candidates: pd.DataFrame
    durations: pd.DataFrame
    forecasts: pd.DataFrame
    events: pd.DataFrame
    at_risk: pd.DataFrame
    seed: int = 1
    resamples: int = RESAMPLES

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of the study in its order."""
        return self.sets.arms


def derive_context(data: TrialData, *, seed: int = 1, resamples: int = RESAMPLES) -> Context:
    """Make every derivation of a trial once.

    Parameters
    ----------
    data
        As `lutetia.safety.reading.read_trial`.
    seed, resamples
        Seed and number of resamples of every bootstrap.
    """
    infusions = derive_infusions(data)
    labs = place_labs(data, infusions)
    baseline, cumulative = derive_baseline(data, labs), cumulative_doses(data, infusions)
    limits = limit_doses(data, infusions, cumulative)
    changes, grades = derive_changes(labs, baseline, infusions), grade_labs(data, labs, baseline)
    egfr = derive_egfr(data, labs, baseline)
    return Context(
        data=data,
        sets=analysis_sets(data, infusions=infusions, labs=labs, baseline=baseline, limits=limits),
        infusions=infusions,
        exposure=derive_exposure(data),
        decisions=derive_decisions(data),
        labs=labs,
        baseline=baseline,
        changes=changes,
        grades=grades,
        worst=worst_grades(grades, baseline),
        nadirs=derive_nadirs(changes, grades, infusions),
        extremes=derive_extremes(changes),
        course=derive_course_means(changes),
        last=last_values(changes),
        cycle_doses=cycle_doses(data, infusions),
        nuclide_doses=nuclide_doses(data),
        cumulative=cumulative,
        by_nuclide=cumulative_by_nuclide(data, infusions),
        limits=limits,
        egfr=egfr,
        renal=renal_outcomes(egfr),
        peaks=liver_peaks(changes),
        candidates=liver_candidates(changes, baseline),
        durations=derive_durations(data, infusions, labs, grades=grades, egfr=egfr),
        forecasts=derive_forecasts(data, infusions),
        events=derive_events(data, infusions),
        at_risk=derive_time_at_risk(data, infusions),
        seed=seed,
        resamples=resamples,
    )

"""The safety dashboard's data: what the report computes, derived once, shown by rights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.virtual_safety import virtual_trial
from tests.workflow.treated_trial import BOARD, COORDINATOR, MANAGER, OFFICER, STATISTICIAN, UNMASKED, make_story

from lutetia.dataset.folder import read_dataset
from lutetia.errors import AccessDeniedError
from lutetia.safety.catalogue import TABLES
from lutetia.safety.context import derive_context
from lutetia.safety.dose_effect import associations
from lutetia.safety.reading import read_trial
from lutetia.trial import SYSTEM, Actor, Change, Create, Event, Grant, Trial, Update
from lutetia.trial.schema import AUDIT
from lutetia.trial.store import Study
from lutetia.workflow import safety_view
from lutetia.workflow.safety_panels import View
from lutetia.workflow.safety_rows import HIDDEN
from lutetia.workflow.safety_view import LiveSafety, live_dataset, sees_subjects, view_safety
from lutetia.workflow.snapshot import TakeSnapshot, take_snapshot, write_snapshot


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with virtual_trial(tmp_path_factory.mktemp("safety")) as made:
        yield made


@pytest.fixture(scope="module")
def live(trial: Trial) -> Iterator[LiveSafety]:
    found = LiveSafety(trial)
    yield found
    found.close()


def derived(live: LiveSafety):  # type: ignore[no-untyped-def]
    answer = live.wait()
    assert answer.error == ""
    assert answer.derived is not None
    return answer.derived


def test_the_live_view_by_arm_has_the_numbers_of_the_report_of_a_snapshot(
    trial: Trial, live: LiveSafety, tmp_path: Path
) -> None:
    view: View = derived(live).views.closed
    taken = take_snapshot(trial, MANAGER, TakeSnapshot("2031-03-03", "compare"))
    write_snapshot(trial, MANAGER, taken.snapshot_id, tmp_path / "out")
    context = derive_context(read_trial(read_dataset(tmp_path / "out")))
    table = TABLES["T9"](context)
    assert view.grades
    columns = [key for key, _ in view.columns]
    assert columns == ["A", "B", "C", "D", "all"]
    for row in view.grades:
        for column, pair in zip(columns, row.cells, strict=True):
            for least, count in zip((2, 3), pair, strict=True):
                (found,) = [c for c in table.at(f"{row.term} / grade {least}", column) if c.statistic == "count"]
                assert count.words == f"{found.value}/{found.n}"
    shown = {row.term for row in view.grades} | set(derived(live).views.quiet)
    assert shown == {key.partition(" / ")[0] for key in (r.key for r in table.rows)}
    assert [f.value for f in view.facts[:2]] == [str(len(context.sets.itt)), str(len(context.sets.saf))]
    over = context.limits[context.limits["subject_id"].isin(context.sets.saf)]
    for (_, cells), limit in zip(view.over, context.data.study.limits, strict=True):
        own = over[(over["limit"] == limit.id) & over["over"].notna()]
        assert cells[-1] == f"{int(own['over'].sum())}/{len(own)}"


def test_every_mark_is_the_subject_whose_dose_and_change_it_shows(trial: Trial, live: LiveSafety) -> None:
    context = derive_context(read_trial(_dataset(trial)))
    for view in (derived(live).views.closed, derived(live).views.open):
        for picture, found in zip(view.associations, associations(context).values(), strict=True):
            pairs = found.pairs.set_index("subject_id")
            dose = [float(pairs.loc[s.subject_id, "dose_Gy"]) for s in picture.spots]
            change = [float(pairs.loc[s.subject_id, "percent_change"]) for s in picture.spots]
            assert len(dose) == len({s.subject_id for s in picture.spots}) > 15
            assert linear([s.x for s in picture.spots], dose, within=0.8)
            assert linear([s.y for s in picture.spots], change, within=0.8)
        for picture in view.edish:
            assert len({s.subject_id for s in picture.spots}) == len(picture.spots) > 15


def linear(pixels: list[float], values: list[float], *, within: float) -> bool:
    """Whether pixels are a straight function of the values, up to `within` pixels (marks have no common centre)."""
    low, high = values.index(min(values)), values.index(max(values))
    slope = (pixels[high] - pixels[low]) / (values[high] - values[low])
    return all(
        abs(p - pixels[low] - slope * (v - values[low])) < 2 * within for p, v in zip(pixels, values, strict=True)
    )


def _dataset(trial: Trial):  # type: ignore[no-untyped-def]
    with trial.read() as reader:
        return live_dataset(reader, trial, "")


@pytest.mark.requirement(47)
def test_the_pooled_view_has_no_arm_and_no_small_number(live: LiveSafety) -> None:
    view: View = derived(live).views.open
    counts = [c.words for row in view.grades for pair in row.cells for c in pair]
    counts += [cell for _, cells in view.over for cell in cells]
    counts += [f.value for f in view.facts if f.key != "cycles"]
    assert HIDDEN in counts, "24 subjects have small counts"
    for words in counts:
        if words != HIDDEN:
            count, _, n = words.partition("/")
            assert not 0 < int(count) < 5, words
            assert not n or not 0 < int(n) - int(count) < 5, words
    for row in view.grades:
        for two, three in row.cells:
            if HIDDEN not in (two.words, three.words):
                assert not 0 < int(two.words.partition("/")[0]) - int(three.words.partition("/")[0]) < 5
    assert {row.arm for row in (*view.watch, *view.liver)} <= {""}
    assert (view.stops, view.stopping, view.doses) == ((), (), ())
    for picture in (*view.trajectories, *view.associations, *view.edish):
        assert not re.search(rb">(arm )?[A-D]<", picture.image)
    for picture in view.trajectories:
        below = re.findall(rb'text-anchor="middle"[^>]*fill="#3f4a54">(\d+)<', picture.image)
        assert below
        assert all(int(n) % 5 == 0 for n in below)


@pytest.mark.requirement(6)
def test_a_view_by_arm_is_for_few_and_is_noted_in_the_trail(trial: Trial, live: LiveSafety) -> None:
    derived(live)

    def noted() -> list[str]:
        with trial.read() as reader:
            rows = reader.rows(select(AUDIT.c.actor).where(AUDIT.c.action == "read_closed_report"))
        return [row["actor"] for row in rows]

    before = noted()
    for actor in (MANAGER, OFFICER, STATISTICIAN):
        assert view_safety(trial, live, actor)[1] is False
    both = Actor("stan", "Stan", (Grant("masked_statistician"), Grant("unmasked_statistician")))
    assert view_safety(trial, live, both)[1] is False, "masked whatever else is granted"
    assert view_safety(trial, live, UNMASKED, by_arm=False)[1] is False
    assert noted() == before
    for actor in (BOARD, UNMASKED):
        assert view_safety(trial, live, actor)[1] is True
    assert noted() == [*before, "bert", "ulla"]
    with pytest.raises(AccessDeniedError):
        view_safety(trial, live, COORDINATOR)
    assert sees_subjects(UNMASKED)
    assert not sees_subjects(BOARD)
    assert not sees_subjects(COORDINATOR), "only its own site"


def test_the_derivation_is_kept_until_data_change_and_the_old_one_stays_in_sight(
    trial: Trial, live: LiveSafety
) -> None:
    first = derived(live)
    trial.commit(Change("sign_in", [Event({"kind": "test"})]), SYSTEM)
    again = live.ask()
    assert again.derived is first
    assert not again.stale, "an event is no change of data"
    values = {"subject_id": "SIM-001", "taken_at": "2031-03-02T08:00:00+00:00", "analyte": "platelets",
              "sample_id": "late", "value": "20", "unit": "10^9/L", "lln": "150", "uln": "400"}  # fmt: skip
    trial.commit(Change("enter", [Create("labs", values)]), SYSTEM)
    older = live.ask()
    assert older.derived is first
    assert older.stale
    assert older.step
    newer = derived(live)
    assert newer is not first
    assert newer.head_sequence > first.head_sequence
    assert not live.ask().stale


def test_an_arm_with_one_subject_and_a_trial_without_subjects_have_a_view(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=60)
    live = LiveSafety(story.trial)
    none = derived(live).views.closed
    assert none.facts[1].value == "0"
    assert none.grades == ()
    assert b"No subject" in none.associations[0].image or none.associations[0].spots == ()
    story.whole_cycle(datetime(2026, 1, 12, 8, 30, tzinfo=UTC))
    one = derived(live).views
    assert dict(one.closed.columns)["B"] == 1
    assert one.open.facts[1].value == HIDDEN
    live.close()
    story.trial.close()


def test_data_that_cannot_be_analysed_say_why_and_are_tried_again_when_asked(tmp_path: Path) -> None:
    with Trial.create(tmp_path / "t", study=Study("X", "X"), demonstration=True) as made:
        live = LiveSafety(made)
        answer = live.wait()
        assert "study.toml" in answer.error
        assert answer.derived is None
        assert answer.step == ""
        assert live.ask().error == answer.error
        assert live.ask(retry=True).step != ""
        live.close()


def test_a_large_trial_is_derived_in_a_process_of_its_own_with_the_same_result(
    trial: Trial, live: LiveSafety, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = derived(live).views
    monkeypatch.setattr(safety_view, "ROWS_APART", 1)
    apart = LiveSafety(trial)
    assert derived(apart).views == expected
    with trial.read() as reader:
        row = reader.records("study")[0]
    other = {**row["files"], "study.toml": trial.files.put(b"title = 'nothing'\n")}
    trial.commit(Change("alter", [Update("study", row["record_id"], {"files": other})]), SYSTEM)
    assert apart.wait().error
    trial.commit(Change("alter", [Update("study", row["record_id"], {"files": row["files"]})]), SYSTEM)
    apart.close()


def test_a_study_whose_description_is_unusable_is_reported_not_raised(trial: Trial) -> None:
    with trial.read() as reader:
        row = reader.records("study")[0]
    other = {**row["files"], "study.toml": trial.files.put(b"title = 'no arms'\n")}
    trial.commit(Change("alter", [Update("study", row["record_id"], {"files": other})]), SYSTEM)
    live = LiveSafety(trial)
    assert live.wait().error
    trial.commit(Change("alter", [Update("study", row["record_id"], {"files": row["files"]})]), SYSTEM)
    assert derived(live).views.closed.grades
    live.close()

"""A case of images in a trial: computed with its calibration, refused with the reason without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.plan.case_files import edit, image_case
from tests.workflow.treated_trial import PHYSICIST, SUBJECT, Story, make_story

from lutetia.report.figures.slice_stack import unpack_stack
from lutetia.workflow import dosimetry_pictures
from lutetia.workflow.dosimetry import ImportCase, import_case
from lutetia.workflow.dosimetry_pictures import KIND, SUPERSEDED, Pictures, store_pictures

GIVEN = datetime(2026, 1, 12, 6, 30, tzinfo=UTC)  # infusion two hours later, as in the image case


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = make_story(tmp_path_factory.mktemp("images"))
    made.whole_cycle(GIVEN, doses=False)
    image_case(made.folder / "images")
    edit(made.folder / "images", "VIRTUAL-001", SUBJECT)
    yield made
    made.trial.close()


@pytest.mark.requirement(41)
def test_images_in_counts_without_calibration_fail_with_the_reason_and_with_it_give_doses(story: Story) -> None:
    bad = shutil.copytree(story.folder / "images", story.folder / "uncalibrated")
    edit(Path(bad), "cps_per_MBq = 9.4\n", "")
    import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, Path(bad)))
    job = story.work()
    assert job["state"] == "FAILED"
    assert "the image is in counts; add cps_per_MBq" in job["error"]
    assert story.cycle()["state"] == "GIVEN"
    assert story.rows("doses") == []
    import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, story.folder / "images"))
    assert story.work()["state"] == "DONE"
    assert story.cycle()["state"] == "DOSED"
    assert {r["basis"] for r in story.rows("doses", region="kidneys", nuclide="total")} == {"measured"}
    kept = story.row("results")["summary"]["case_files"]
    assert "cycle1/rtstruct.dcm" in kept
    assert sum(name.startswith("cycle1/ct_024h/") for name in kept) > 1


def test_the_drawn_scan_and_the_dose_of_each_nuclide_are_kept_for_the_slice_viewer(story: Story) -> None:
    if not story.rows("attachments", state="kept"):
        import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, story.folder / "images"))
        story.work()
    kept = {row["name"]: row for row in story.rows("attachments", kind=KIND, cycle=1, state="kept")}
    assert set(kept) == {"Lu-177 activity at 24 h", "Absorbed dose of Lu-177", "Absorbed dose of Y-90"}
    stacks = {name: unpack_stack(story.trial.files.get(row["sha256"])) for name, row in kept.items()}
    assert {stack.unit for stack in stacks.values()} == {"MBq_per_mL", "Gy"}
    for name, stack in stacks.items():
        assert stack.ct is not None, name
        assert {"left kidney", "right kidney", "spleen"} <= {region for region, _ in stack.masks}
    means = {row["region"]: row["absorbed_dose_Gy"] for row in story.rows("doses", nuclide="Lu-177", scope="cycle")}
    dose = stacks["Absorbed dose of Lu-177"]
    for region, mask in dose.masks:
        if region in ("liver", "spleen"):
            assert float(dose.overlay[mask].mean()) == pytest.approx(means[region], rel=0.25), region


def test_doses_computed_again_replace_the_pictures_in_the_viewer_and_keep_the_old_ones(story: Story) -> None:
    first = {row["sha256"] for row in story.rows("attachments", kind=KIND, state="kept")}
    import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, story.folder / "images", "other regions"))
    assert story.work()["state"] == "DONE"
    assert {row["sha256"] for row in story.rows("attachments", kind=KIND, state=SUPERSEDED)} == first
    assert len(story.rows("attachments", kind=KIND, state="kept")) == len(first) == 3


def test_a_cycle_without_images_has_no_pictures_and_one_too_large_says_so(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store_pictures(story.trial.files, None) == Pictures()
    monkeypatch.setattr(dosimetry_pictures, "LARGEST_VOXELS", 10)
    import_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, story.folder / "images", "too large"))
    assert story.work()["state"] == "DONE"
    assert [row["name"] for row in story.rows("attachments", kind=KIND, state="kept")] == ["Lu-177 activity at 24 h"]
    (current,) = story.rows("results", state="CURRENT")
    assert "expected at most 10" in current["summary"]["pictures_absent"][0]

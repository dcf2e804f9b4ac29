"""A case of images in a trial: computed with its calibration, refused with the reason without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.plan.case_files import edit, image_case
from tests.workflow.treated_trial import PHYSICIST, SUBJECT, Story, make_story

from lutetia.workflow.dosimetry import ImportCase, import_case

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

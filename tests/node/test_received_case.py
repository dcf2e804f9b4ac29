"""Images through the door give the doses of the original images, across a clock change of the moved dates."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from tests.plan.case_files import image_case
from tests.workflow.treated_trial import PHYSICIST, START, SUBJECT, Story, make_story

from lutetia.errors import AccessDeniedError, CaseError
from lutetia.plan.run import run_plan
from lutetia.trial import SYSTEM, Actor, Change, Grant, Update
from lutetia.trial.identities import enter_identity
from lutetia.workflow.dicom_intake import SiteIdentities, receive_object, write_images
from lutetia.workflow.received_case import ImportReceived, import_received, times_taken

PATIENT, SENDER = "HN-77123", "SPECT_CT_1"
SHIFT = 78  # moves 8-15 January to 27 March-3 April: the clocks go forward on 29 March 2026
PHYSICIST_ELSEWHERE = Actor("otto", "Otto", (Grant("physicist", "02"),))


def cycle_given(folder: Path) -> Story:
    """One cycle of the story, given and without doses, at a site with a sender and a listed patient."""
    story = make_story(folder)
    senders = Update("sites", {"site": "01"}, {"dicom_senders": [SENDER]})
    story.trial.commit(Change("name the sender", [senders]), SYSTEM, "new scanner")
    enter_identity(
        story.trial, PHYSICIST, subject_id=SUBJECT, name="Wanda Kowalska", local_number=PATIENT, shift_days=SHIFT
    )
    story.whole_cycle(START + timedelta(days=3), doses=False)
    return story


def images_of(story: Story, folder: Path) -> Path:
    """A case with images taken after the recorded infusion, as the hospital has it."""
    rows = story.rows("administrations", subject_id=SUBJECT, cycle=1)
    start = min(r["started_at"] for r in rows)
    amounts = tuple((r["nuclide"], float(r["administered_MBq"])) for r in rows)

    case = image_case(folder, administered_at=datetime.fromisoformat(start), administered_MBq=amounts, image="PT")
    for path in case.rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.PatientID, data.PatientName = PATIENT.lower(), "Kowalska^Wanda"
        if "TimezoneOffsetFromUTC" in data:
            del data.TimezoneOffsetFromUTC
        data.save_as(path)
    return case


def test_doses_of_received_images_are_those_of_the_original_case(tmp_path: Path) -> None:
    story = cycle_given(tmp_path)
    case = images_of(story, tmp_path / "hospital")
    identities = SiteIdentities(story.trial)
    stated = tomllib.loads((case / "case.toml").read_text(encoding="utf-8"))
    calibration = dict(stated["calibration"])
    recovery = calibration.pop("recovery_csv", None)
    command = ImportReceived(
        SUBJECT,
        1,
        calibration,
        recovery=None if recovery is None else (case / recovery).read_bytes(),
        hematocrit=stated["subject"].get("hematocrit"),
        tables={n: (case / "cycle1" / f"{n}.csv").read_bytes() for n in ("blood", "whole_body")},
    )
    with pytest.raises(CaseError, match="no images were received"):
        import_received(story.trial, identities, PHYSICIST, command)
    for path in sorted(case.rglob("*.dcm")):
        received = receive_object(story.trial, identities, pydicom.dcmread(path), sender=SENDER)
        assert (received.outcome, received.cycle) == ("filed", 1), received.reason
    with pytest.raises(AccessDeniedError):
        import_received(story.trial, identities, PHYSICIST_ELSEWHERE, command)
    rows = story.rows("dicom_objects", subject_id=SUBJECT, cycle=1)
    every = tuple(sorted({r["series_uid"] for r in rows}))
    with pytest.raises(CaseError, match="no series is chosen"):
        import_received(story.trial, identities, PHYSICIST, replace(command, series=()))
    import_received(story.trial, identities, PHYSICIST, replace(command, series=every))
    job = story.work()
    assert job["state"] == "DONE", job["error"]
    original = run_plan(case, draws=100, seed=1).result["cycles"][0]["regions"]
    expected = {r["region"]: r["absorbed_dose_Gy"] for r in original if r["absorbed_dose_Gy"] is not None}
    stored = {
        r["region"]: r["absorbed_dose_Gy"]
        for r in story.rows("doses", subject_id=SUBJECT, cycle=1, scope="cycle", nuclide="total")
    }
    assert {"kidneys", "liver", "spleen", "red marrow"} <= set(stored)
    for region in ("kidneys", "liver", "spleen", "red marrow"):
        assert stored[region] == pytest.approx(expected[region], rel=1e-5), region
    story.trial.close()


def test_only_the_chosen_series_are_in_the_case(tmp_path: Path) -> None:
    story = cycle_given(tmp_path)
    case = images_of(story, tmp_path / "hospital")
    identities = SiteIdentities(story.trial)
    for path in sorted(case.rglob("*.dcm")):
        receive_object(story.trial, identities, pydicom.dcmread(path), sender=SENDER)
    rows = story.rows("dicom_objects", subject_id=SUBJECT, cycle=1)
    last = max(r["taken_at"] for r in rows if r["modality"] == "PT")
    kept = {r["series_uid"] for r in rows} - {r["series_uid"] for r in rows if r["taken_at"] == last}
    assert len(kept) < len({r["series_uid"] for r in rows})
    written = write_images(story.trial, SUBJECT, 1, tmp_path / "some", series=kept)
    assert written == sum(r["series_uid"] in kept for r in rows)
    assert {str(pydicom.dcmread(p).SeriesInstanceUID) for p in (tmp_path / "some").rglob("*.dcm")} == kept
    story.trial.close()


def test_the_time_of_a_series_is_told_from_the_start_of_infusion_and_one_before_it_is_named(tmp_path: Path) -> None:
    story = cycle_given(tmp_path)
    identities = SiteIdentities(story.trial)
    (given,) = {r["started_at"] for r in story.rows("administrations", subject_id=SUBJECT, cycle=1)}
    start = datetime.fromisoformat(given) + timedelta(days=SHIFT)
    moments = {"early": (-2.0, "PT"), "day": (24.0, "PT"), "its CT": (24.5, "CT"), "week": (168.0, "PT")}
    series = [{"series_uid": uid, "modality": kind, "taken_at": (start + timedelta(hours=h)).isoformat()}
              for uid, (h, kind) in moments.items()]  # fmt: skip
    series.append({"series_uid": "undated", "modality": "CT", "taken_at": None})
    with story.trial.read() as reader:
        found = times_taken(reader, identities, SUBJECT, cycle=1, series=series)
    assert {uid: found[uid].hours for uid in moments} == {uid: pytest.approx(h) for uid, (h, _) in moments.items()}
    assert {uid: taken.doubt for uid, taken in found.items()} == {
        "early": "before", "day": "", "its CT": "", "week": "alone", "undated": "undated"
    }  # fmt: skip
    story.trial.close()

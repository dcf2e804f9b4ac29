"""Dosimetry in the browser: a case is uploaded, looked at, imported and computed; reports, repeats, missing doses."""

from __future__ import annotations

import html
import io
import os
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.plan.case_files import image_case
from tests.web.cycle_browsing import Site, cycle_path, web_story
from tests.workflow.treated_trial import PHYSICIST, SUBJECT, Story

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import CaseError
from lutetia.report.figures.slice_stack import make_stack, pack_stack
from lutetia.report.numbers import with_sd
from lutetia.trial import SYSTEM, Change, Create, Update
from lutetia.trial.identities import enter_identity
from lutetia.workflow.dicom_intake import SiteIdentities, receive_object
from lutetia.workflow.dosimetry import ImportCase, check_case

GIVEN = datetime(2026, 1, 12, 6, 30, tzinfo=UTC)
PATH = cycle_path(1, "dosimetry")
PATIENT, SENDER = "HN-1", "SPECT_CT_1"
COARSE = axis_aligned_grid((10, 21, 27), (30.0, 15.0, 15.0), origin_mm=(-198.75, -153.75, -120.0))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = web_story(tmp_path_factory.mktemp("dosimetry"))
    enter_identity(made.trial, PHYSICIST, subject_id=SUBJECT, name="Wanda Test", local_number=PATIENT, shift_days=40)
    senders = Update("sites", {"site": "01"}, {"dicom_senders": [SENDER]})
    made.trial.commit(Change("name the sender", [senders]), SYSTEM, "new scanner")
    made.whole_cycle(GIVEN, doses=False)
    yield made
    made.trial.close()


@pytest.fixture(scope="module")
def site(story: Story) -> Iterator[Site]:
    made = Site(story)
    yield made
    made.close()


def zipped(folder: Path, prefix: str = "case/") -> bytes:
    """A zip of a folder, as a person makes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, prefix + path.relative_to(folder).as_posix())
    return buffer.getvalue()


def upload(site: Site, content: bytes, name: str = "case.zip") -> str:
    browser = site.of("phil")
    browser.get(PATH)
    return browser.post(f"{PATH}/upload", files={"case": (name, content, "application/zip")}).text


def test_what_is_no_case_of_this_cycle_is_refused_with_the_reason(story: Story, site: Site) -> None:
    assert "Choose a zip file or a folder first" in upload(site, b"", "")
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../case.toml", "x = 1")
    assert "expected one inside of the case folder" in html.unescape(upload(site, outside.getvalue()))
    assert "found 0 files named case.toml" in upload(site, zipped(story.folder / "data" / "keys"))
    other = story.case(1, name="other", subject={"id": "X-9", "sex": "female"})
    page = html.unescape(upload(site, zipped(other)))
    assert "found subject 'X-9'" in page
    assert "Import and compute" not in page
    assert not list(story.folder.rglob("x = 1"))
    assert "Nothing was uploaded yet" in site.of("phil").post(f"{PATH}/discard").text


@pytest.mark.requirement(24)
@pytest.mark.parametrize("named", ["/etc/passwd", "/usr/lib", "/nowhere/at-all", "../outside.csv", "pipe.csv", "empty"])
def test_a_case_reads_nothing_outside_of_itself_and_nothing_but_files(story: Story, site: Site, named: str) -> None:
    folder = story.case(1)
    text = (folder / "case.toml").read_text("utf-8")
    (folder / "case.toml").write_text(re.sub(r'"t_\w+_regions_file.csv"', f'"{named}"', text), "utf-8")
    assert named in (folder / "case.toml").read_text("utf-8")
    (folder / "empty").mkdir(exist_ok=True)
    if named == "pipe.csv":
        os.mkfifo(folder / named)
        with pytest.raises(CaseError, match="found no such file"):
            check_case(story.trial, PHYSICIST, ImportCase(SUBJECT, 1, folder))
        return
    page = html.unescape(upload(site, zipped(folder)))
    assert "lies outside of the case folder" in page or "found no such file" in page
    assert "root" not in page.partition("cannot be imported")[2].partition("</div>")[0]
    site.of("phil").post(f"{PATH}/discard")


@pytest.mark.parametrize("content", [b"a = " + b"[" * 5000, b"\xff\xfe", b"schema = 'lutetia.case/1'"])
def test_an_odd_case_is_refused_and_its_page_stays_readable(site: Site, content: bytes) -> None:
    odd = io.BytesIO()
    with zipfile.ZipFile(odd, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("case.toml", content)
    damaged = bytearray(odd.getvalue())
    damaged[44:48] = b"\0\0\0\0"
    for sent in (odd.getvalue(), bytes(damaged)):
        assert "case" in upload(site, sent)
        assert site.of("phil").get(PATH).status_code == 200
    site.of("phil").post(f"{PATH}/discard")


def test_who_may_not_propose_sees_no_import(site: Site) -> None:
    for user in ("cora", "ines", "otto", "stan"):
        assert site.of(user).get(PATH).status_code == 403
        assert site.of(user).post(f"{PATH}/import").status_code == 403


@pytest.mark.requirement(38)
@pytest.mark.requirement(43)
def test_an_uploaded_case_is_looked_at_imported_and_computed(story: Story, site: Site) -> None:
    page = upload(site, zipped(story.case(1)))
    for words in ("person, arm, activities and times agree", "Activities of regions", "Blood samples", "left kidney"):
        assert words in page
    assert story.rows("jobs") == []
    answer = site.of("phil").post(f"{PATH}/import")
    assert "its doses are computed in the background" in answer.text
    assert "waits for a worker" in answer.text
    fragment = site.of("phil").get(cycle_path(1, "job"), headers={"HX-Request": "true"})
    assert 'hx-trigger="every 2s"' in fragment.text
    assert "hx-refresh" not in fragment.headers
    assert "wait for its end" in upload(site, zipped(story.case(1)))
    assert story.work()["state"] == "DONE"
    fragment = site.of("phil").get(cycle_path(1, "job"), headers={"HX-Request": "true"})
    assert fragment.headers["hx-refresh"] == "true"
    assert site.of("phil").get(cycle_path(1, "job")).url.path == cycle_path(1), "without the script a page, no fragment"
    page = site.of("ines").get(cycle_path(1)).text
    dose = story.row("doses", region="kidneys", scope="cycle", nuclide="total")
    assert with_sd(dose["absorbed_dose_Gy"], dose["absorbed_dose_sd_Gy"]) in page
    result = story.row("results")
    for words in (
        result["inputs_sha256"][:12],
        result["software"],
        "120, seed 1",
        "Predicted and measured",
        "Mean bias of this subject",
        "Left kidney: 4 measured points",
        "fit with 95 % band",
        "Methods",
    ):
        assert words in page  # fmt: skip


def test_the_reports_of_a_result_are_files_for_who_may_see_doses(site: Site) -> None:
    for name, start in (("report.pdf", b"%PDF"), ("report.html", b"<!DOCTYPE html>"), ("result.json", b"{")):
        answer = site.of("ines").get(cycle_path(1, f"files/{name}"))
        assert answer.content.strip().startswith(start), name
        assert answer.headers["content-disposition"].startswith("attachment" if name == "result.json" else "inline")
        assert name != "report.html" or answer.headers["content-security-policy"].startswith("sandbox; default-src")
        saved = site.of("ines").get(cycle_path(1, f"files/{name}?save=yes"))
        assert saved.headers["content-disposition"].startswith("attachment")
        assert site.of("stan").get(cycle_path(1, f"files/{name}")).status_code == 403
    assert site.of("ines").get(cycle_path(1, "files/keys")).status_code == 404
    json = site.of("ines").get(f"/api{cycle_path(1, 'doses')}").json()
    assert {d["basis"] for d in json if d["nuclide"] == "Y-90"} == {"predicted"}


def test_the_images_of_a_cycle_are_seen_on_its_page_by_those_who_may_see_doses(story: Story, site: Site) -> None:
    values = np.zeros(COARSE.shape, dtype=np.float32)
    values[5, 10, 12] = 3.0
    stack = make_stack(Volume(values, COARSE, "Gy"), None, [RegionMask("spleen", values > 1, COARSE)])
    digest = story.trial.files.put(pack_stack(stack))
    kept = {"attachment_id": "S1", "subject_id": SUBJECT, "cycle": 1, "kind": "slice_stack", "sha256": digest,
            "name": "Absorbed dose of Lu-177", "state": "kept"}  # fmt: skip
    story.trial.commit(Change("test", [Create("attachments", kept)]), SYSTEM)
    page = site.of("ines").get(cycle_path(1)).text
    path = cycle_path(1, f"thumbnails/{digest}.png")
    assert path in page
    assert "Absorbed dose of ¹⁷⁷Lu" in page
    assert site.of("ines").get(path).content.startswith(b"\x89PNG")
    assert site.of("ines").get(cycle_path(1, f"thumbnails/{'0' * 64}.png")).status_code == 404
    assert site.of("stan").get(path).status_code == 403


def test_doses_are_computed_again_only_with_a_reason(story: Story, site: Site) -> None:
    upload(site, zipped(story.case(1)))
    browser = site.of("phil")
    assert "say why they are computed again" in browser.post(f"{PATH}/import", {"reason": " "}).text
    assert "computed in the background" in browser.post(f"{PATH}/import", {"reason": "kidney mass corrected"}).text
    assert story.work()["state"] == "DONE"
    page = browser.get(cycle_path(1)).text
    assert "revision 2" in page
    assert "superseded" in page


def _late(data: pydicom.Dataset) -> pydicom.Dataset:
    """The same picture as one of a series taken two months later, which belongs to no cycle by its date."""
    for name in ("AcquisitionDate", "SeriesDate", "ContentDate", "StudyDate"):
        if name in data:
            setattr(data, name, "20260315")
    data.SOPInstanceUID = data.SOPInstanceUID[:-4] + "1234"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.SeriesInstanceUID = data.SeriesInstanceUID[:-4] + "1234"
    return data


def test_received_images_are_listed_assigned_and_imported_with_a_calibration(
    story: Story, site: Site, tmp_path: Path
) -> None:
    case = image_case(
        tmp_path / "images", administered_at=GIVEN, image="PT", times_h=(24.0,), grid=COARSE, ct_grid=COARSE
    )
    identities = SiteIdentities(story.trial)
    for n, path in enumerate(sorted(case.rglob("*.dcm"))):
        data = pydicom.dcmread(path)
        data.PatientID = PATIENT
        if not n:
            receive_object(story.trial, identities, _late(data), sender=SENDER)
            data = pydicom.dcmread(path)
            data.PatientID = "NOBODY"
            receive_object(story.trial, identities, data, sender=SENDER)
            data.PatientID = PATIENT
        receive_object(story.trial, identities, data, sender=SENDER)
    page = site.of("cora").get("/images").text
    assert "Quarantine" in page
    assert "who is not in the site" in html.unescape(page)
    assert "PT" in page
    digest = re.search(r'name="sha256" value="(\w+)"', page)
    assert digest is not None
    answer = site.of("cora").post("/images/quarantine/release", {"sha256": digest[1]})
    assert answer.status_code == 422
    assert "add the subject there first" in answer.text
    why = {"sha256": digest[1], "reason": "sent by mistake"}
    assert site.of("otto").post("/images/quarantine/discard", why).status_code == 403
    assert site.of("otto").get(f"/images/quarantine/discard?sha256={digest[1]}").status_code == 404
    assert f'href="/images/quarantine/discard?sha256={digest[1]}"' in page
    assert "cannot be brought back" in site.of("cora").get(f"/images/quarantine/discard?sha256={digest[1]}").text
    answer = site.of("cora").post("/images/quarantine/discard", {"sha256": digest[1]})
    assert answer.status_code == 422
    assert [row["state"] for row in story.rows("quarantine")] == ["waiting"]
    answer = site.of("cora").post("/images/quarantine/discard", why)
    assert "stays on record" in answer.text
    series = re.search(r'name="series_uid" value="([\d.]+)"', answer.text)
    assert series is not None
    answer = site.of("cora").post("/images/assign", {"series_uid": series[1], "cycle": "1"})
    assert "belongs to the cycle now" in answer.text
    assert 'name="series_uid"' not in answer.text
    page = site.of("phil").get(f"{PATH}/images").text
    assert "moved by whole days" in page
    wrong = {"cps_per_MBq": "9,4", "reason": "images instead"}
    answer = site.of("phil").post(f"{PATH}/images", wrong)
    assert answer.status_code == 422
    assert "Calibration factor: found “9,4”" in answer.text
    boxes = re.findall(r'name="series" value="([\d.]+)"[^>]*( checked)>', page)
    assert [ticked for _, ticked in boxes] == [" checked"] * 4
    hours = [float(h.replace("−", "-")) for h in re.findall(r'"nowrap">([−\d.]+) h<', page)]
    assert hours == sorted(hours)
    # Made for an infusion at 06:30 and written as local time an hour ahead of UTC; on record is 08:30 UTC.
    assert hours[:2] == [20.7, 20.8]
    assert hours[-1] > 1000.0
    assert page.count("no SPECT, or no CT, taken with it") == 1
    right = {"cps_per_MBq": "9.4", "sd_percent": "3", "reason": "images instead"}
    answer = site.of("phil").post(f"{PATH}/images", right)
    assert answer.status_code == 422
    assert "no series is chosen" in answer.text
    assert "checked>" not in answer.text
    answer = site.of("phil").post(f"{PATH}/images", right | {"series": [uid for uid, _ in boxes]})
    assert "its doses are computed in the background" in answer.text


def test_a_batch_is_received_moved_and_accounted_for(story: Story, site: Site) -> None:
    browser = site.of("phil")
    assert "Lu-177-1" in browser.get("/batches").text
    new = {"batch": "Y-2", "nuclide": "Y-90", "product": "DOTA-TATE", "site": "01", "supplier": "Maker",
           "activity_MBq": "4000", "calibrated_at": "2026-01-19T12:00", "expires_at": "2026-01-22T12:00",
           "received_on": "2026-01-19"}  # fmt: skip
    assert "Expires: fill this in" in browser.post("/batches", new | {"expires_at": ""}).text
    assert "The batch is recorded" in browser.post("/batches", new).text
    assert "left" in browser.post("/batches/Y-2/moves", {"kind": "returned", "activity_MBq": "9000",
                                  "moved_at": "2026-01-20T08:30", "note": "unused"}).text  # fmt: skip
    answer = browser.post("/batches/Y-2/close")
    assert "are not accounted for" in answer.text
    fields = {"kind": "discarded", "activity_MBq": "3200", "moved_at": "2026-01-20T08:30", "note": "decayed"}
    assert "The movement is recorded" in browser.post("/batches/Y-2/moves", fields).text
    assert "The batch is closed" in browser.post("/batches/Y-2/close").text
    assert site.of("cora").get("/batches").status_code == 403
    assert site.of("otto").get("/batches/Y-2").status_code == 403
    assert "Y-2" not in site.of("otto").get("/batches").text


def test_doses_that_will_not_come_need_a_reason_and_are_shown_as_missing(story: Story, site: Site) -> None:
    story.whole_cycle(datetime(2026, 3, 9, 8, 30, tzinfo=UTC), doses=False)
    browser, path = site.of("phil"), cycle_path(2, "dosimetry/missing")
    assert "reason: is missing" in browser.post(path, {"reason": ""}).text
    answer = browser.post(path, {"reason": "camera broken"})
    assert "no doses will come" in answer.text
    assert "Doses missing" in answer.text
    assert "camera broken" in answer.text

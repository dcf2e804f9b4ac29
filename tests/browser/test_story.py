"""A subject from enrolment through two cycles to a snapshot, in a real browser and by visible words only."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from tests.browser.story_player import Story, played, running
from tests.plan.case_files import image_case

from lutetia.core.geometry import axis_aligned_grid

DAYS = (datetime(2026, 1, 12, 8, 0, tzinfo=UTC), datetime(2026, 3, 9, 8, 0, tzinfo=UTC))
GRID = axis_aligned_grid((30, 32, 40), (10.0, 10.0, 10.0), origin_mm=(-195.0, -155.0, -120.0))
LABS = {"haemoglobin": ("128", "g/L", "120", "160"), "platelets": ("240", "10^9/L", "150", "400"),
        "neutrophils": ("4.1", "10^9/L", "1.8", "7.5"), "leukocytes": ("6.4", "10^9/L", "4.0", "10.0"),
        "lymphocytes": ("1.6", "10^9/L", "1.0", "4.0"), "creatinine": ("70", "umol/L", "45", "90"),
        "bilirubin": ("9", "umol/L", "3", "21"), "albumin": ("42", "g/L", "35", "50")}  # fmt: skip


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Story]:
    with played(tmp_path_factory.mktemp("story"), debian_tool("chromium")) as made:
        yield made


@pytest.mark.requirement(40)
def test_a_subject_goes_from_enrolment_through_two_cycles_to_a_snapshot(
    story: Story, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    subject = enrolled(story)
    eligible(story, subject)
    randomised(story)
    first_cycle(story, subject, DAYS[0])
    second_cycle(story, subject, DAYS[1])
    images_received(story, subject, tmp_path, debian_tool("storescu"))
    imported(story, subject)
    queried(story, subject)
    snapshot(story)
    assert story.complaints == []


def first_cycle(story: Story, subject: str, day: datetime) -> None:
    """Proposed, released by another person, given, measured; doses come from an uploaded case."""
    planned(story, subject, day)
    proposed(story, subject, 1)
    assert story.tab.get_by_role("link", name="Release", exact=True).count() == 0
    story.as_person("physician")
    open_cycle(story, subject, 1)
    signed_step(story, "Release", "Sign and release", "The prescription is released.")
    administered(story, subject, 1, day)
    story.at(day + timedelta(days=8))
    story.as_person("physicist")
    doses_of_case(story, subject, story.case_zip(subject, 1))


def second_cycle(story: Story, subject: str, day: datetime) -> None:
    """New doses make a signed proposal void; more than computed takes two physicians with reasons."""
    planned(story, subject, day)
    proposed(story, subject, 2)
    doses_of_case(story, subject, story.case_zip(subject, 1, kidneys=1.1), again="kidneys drawn again")
    story.as_person("physician")
    open_cycle(story, subject, 2)
    story.sees("Version 1 of the prescription is void")
    story.sees("the doses of cycle 1 changed")
    assert story.tab.get_by_role("link", name="Release", exact=True).count() == 0
    story.as_person("physicist")
    proposed(story, subject, 2, more_MBq=100.0)
    overridden(story, subject)
    administered(story, subject, 2, day)
    story.at(day + timedelta(days=8))


def planned(story: Story, subject: str, day: datetime) -> None:
    """Laboratory values of the day before, a day for the infusion, the assessment."""
    story.at(day - timedelta(hours=20))
    story.as_person("coordinator")
    story.link("Subjects")
    story.link(subject)
    laboratory(story, day - timedelta(hours=22))
    story.link("Course")
    story.link("Go on")
    story.fill("Day of the infusion", day.date().isoformat())
    story.button("Plan the cycle")
    story.says("The cycle is planned.")
    story.button("Assess")
    story.says("The cycle was assessed.")


def proposed(story: Story, subject: str, number: int, *, more_MBq: float = 0.0) -> None:
    """As computed, or with more of the measured nuclide and a note why."""
    story.as_person("physicist")
    open_cycle(story, subject, number)
    story.link("Propose and sign")
    if more_MBq:
        activity = story.tab.get_by_label("⁹⁰Y", exact=True)
        activity.fill(f"{float(activity.input_value()) + more_MBq:.0f}")
        story.fill("Physicist's note", "as in the tumour board's minutes")
    signed(story, "Sign and propose", "The proposal is signed and stored.")


def overridden(story: Story, subject: str) -> None:
    """One physician asks, and cannot approve what she asked for; another one approves; both say why."""
    story.as_person("physician")
    open_cycle(story, subject, 2)
    assert story.tab.get_by_role("link", name="Release", exact=True).count() == 0
    story.link("Ask for an override")
    story.fill("Reason", "progress in the liver")
    signed(story, "Sign and ask for the override", "The override waits for a second physician.")
    assert story.tab.get_by_role("link", name="Approve the override").count() == 0
    story.as_person("physician2")
    open_cycle(story, subject, 2)
    story.sees("progress in the liver")
    story.link("Approve the override")
    story.fill("Reason", "agreed, kidneys far from their limit")
    signed(story, "Sign and approve", "The override is approved; the prescription is released.")


def enrolled(story: Story) -> str:
    story.as_person("coordinator")
    story.link("Subjects")
    story.link("Enrol a subject")
    story.fill("Screened on", "2026-01-05")
    story.tick("Sex", "female")
    story.fill("Age", "58")
    story.fill("Height", "165")
    story.fill("Weight", "68")
    story.button("Enrol the subject")
    story.says("The subject was enrolled.")
    story.link("Record a consent")
    story.fill("Version", "1.0")
    story.choose("Taken by", "Jan Lis")
    story.button("Save the consent")
    story.says("The consent was saved.")
    story.link("Answer the questions")
    groups = story.tab.get_by_role("group")
    for number in range(groups.count()):
        question = groups.nth(number).get_by_text("?").or_(groups.nth(number).locator("legend")).first.inner_text()
        groups.nth(number).get_by_label("no" if "pregnant" in question else "yes", exact=True).check()
    story.button("Save the answers")
    story.says("The answers were saved.")
    return story.tab.url.split("/subjects/")[1].split("/")[0]


def eligible(story: Story, subject: str) -> None:
    story.as_person("physician")
    story.link("Subjects")
    story.link(subject)
    story.link("Screening")
    story.link("Sign")
    story.sign()
    story.button("Sign")
    story.says("Eligibility was signed.")


def randomised(story: Story) -> None:
    story.link("Go to the randomisation")
    story.button("Continue")
    story.sees("cannot be taken back")
    story.button("Randomise now")
    story.says("The subject is randomised.")
    story.sees("Receipt of the randomisation")


def open_cycle(story: Story, subject: str, number: int) -> None:
    story.link("Subjects")
    story.link(subject)
    story.tab.get_by_role("link", name=f"Cycle {number}").first.click()


def laboratory(story: Story, taken: datetime) -> None:
    """One sample by keyboard: value, then the next analyte with Enter."""
    story.link("Laboratory")
    story.link("Enter a sample")
    story.fill("Taken", story.local(taken))
    for analyte, (value, unit, low, high) in LABS.items():
        for label, text in (("Unit", unit), ("lower limit of normal", low), ("upper limit of normal", high)):
            story.tab.get_by_label(f"{analyte}, {label}", exact=True).fill(text)
        story.tab.get_by_label(f"{analyte}, Value", exact=True).fill(value)
    story.tab.keyboard.press("Control+Enter")
    story.says("The sample was saved.")


def signed_step(story: Story, step: str, button: str, notice: str) -> None:
    story.link(step)
    signed(story, button, notice)


def signed(story: Story, button: str, notice: str) -> None:
    """Acknowledge what is open, sign, send."""
    conditions = story.tab.get_by_role("group", name="I have seen these open conditions")
    for number in range(conditions.get_by_role("checkbox").count() if conditions.count() else 0):
        conditions.get_by_role("checkbox").nth(number).check()
    story.sign()
    assert story.faults() == []
    story.button(button)
    story.says(notice)


def administered(story: Story, subject: str, number: int, day: datetime) -> None:
    story.at(day + timedelta(hours=4))
    story.as_person("radiopharmacist")
    for nuclide in ("Lu-177", "Y-90"):
        story.link("Product batches")
        story.fill("Batch", f"{nuclide}-{number}")
        story.choose("Nuclide", {"Lu-177": "¹⁷⁷Lu", "Y-90": "⁹⁰Y"}[nuclide])
        story.choose("Site", "01 Warsaw")
        story.fill("Product", "DOTA-TATE")
        story.fill("Supplier", "Maker")
        story.fill("Activity at calibration", "9000")
        story.fill("Calibrated at", story.local(day))
        story.fill("Expires", story.local(day + timedelta(days=2)))
        story.fill("Received on", day.date().isoformat())
        story.button("Record the batch")
        story.says("The batch is recorded.")
    open_cycle(story, subject, number)
    story.link("Record the administration")
    start = day + timedelta(hours=1)
    for name in ("¹⁷⁷Lu", "⁹⁰Y"):
        card = story.tab.get_by_role("region", name=name)
        prescribed = re.search(r"\(([\d\s.]+)\sMBq\)", card.inner_text())
        assert prescribed is not None, card.inner_text()
        card.get_by_label("Batch").select_option(index=1)
        story.fill("Activity before the infusion", re.sub(r"\s", "", prescribed[1]), within=card)
        story.fill("Residual activity", "0", within=card)
        for label, when in (("Measured at", start), ("Infusion from", start), ("Infusion to", start),
                            ("Residual measured at", start)):  # fmt: skip
            minutes = {"Infusion to": 30, "Residual measured at": 60}.get(label, 0)
            story.fill(label, story.local(when + timedelta(minutes=minutes)), within=card)
    story.button("Record the administration")
    story.says("The administration is recorded.")


def doses_of_case(story: Story, subject: str, content: bytes, *, again: str = "") -> None:
    """The physicist uploads the case of cycle 1 and looks at it; the page follows the worker by itself."""
    open_cycle(story, subject, 1)
    story.link("Compute the doses again" if again else "Import the dosimetry")
    chosen = {"name": "case.zip", "mimeType": "application/zip", "buffer": content}
    story.tab.get_by_label("Zip file of the case folder").set_input_files(chosen)
    story.button("Look at it")
    story.sees("person, arm, activities and times agree")
    if again:
        story.fill("Why they are computed again", again)
    story.button("Import and compute")
    story.sees("The case is kept; its doses are computed in the background.")
    story.waits_for("2 revisions" if again else "Absorbed doses")
    story.sees("Measured curves")
    assert story.faults() == []


def images_received(story: Story, subject: str, folder: Path, storescu: str) -> None:
    """The scanner sends the images of cycle 2 to the node; they become its case."""
    story.as_person("administrator")
    story.link("Sites")
    story.link("01")
    story.fill("DICOM senders", "SPECT_CT_1")
    story.fill("Reason for the change", "new scanner")
    story.button("Save")
    story.says("The site was corrected.")
    story.as_person("coordinator")
    story.link("Subjects")
    story.link(subject)
    story.link("Identity")
    story.fill("Name", "Wanda Kowalska")
    story.fill("Number in the hospital", "HN-77123")
    story.button("Save in the site's list")
    story.says("The line was saved in the site's list.")
    case = hospital_images(story, subject, folder)
    words = ("dicom-node", story.folder / "trial", "--port", "0")
    with running(story.folder, "node", r"127\.0\.0\.1:(\d+) ", *words) as port:
        command = [storescu, "-aet", "SPECT_CT_1", "-aec", "LUTETIA", "127.0.0.1", port]
        files = [str(path) for path in sorted(case.rglob("*.dcm"))]
        sent = subprocess.run([*command, *files], capture_output=True, text=True, check=False, timeout=60)
        assert sent.returncode == 0, sent.stderr
    story.as_person("physicist")
    open_cycle(story, subject, 2)
    story.link("Import the dosimetry")
    story.link("Received images", within=story.tab.get_by_role("main"))
    for label, value in calibration(case).items():
        story.fill(label, value)
    for label, name in (("Recovery table (CSV)", "recovery"), ("Blood samples (CSV)", "blood"),
                        ("Whole-body measurements (CSV)", "whole_body")):  # fmt: skip
        story.tab.get_by_label(label).set_input_files(next(case.rglob(f"{name}*.csv")))
    story.button("Import and compute")
    story.waits_for("Absorbed doses")
    story.sees("Measured curves")
    assert story.faults() == []


def hospital_images(story: Story, subject: str, folder: Path) -> Path:
    """Scans after the recorded infusion, with the patient's name in them."""
    _, given = story.recorded(subject, 2)
    start = datetime.fromisoformat(given[0]["started_at"])
    amounts = tuple((row["nuclide"], float(row["administered_MBq"])) for row in given)
    case = image_case(folder / "hospital", administered_at=start, administered_MBq=amounts, grid=GRID, ct_grid=GRID)
    for path in case.rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.PatientID, data.PatientName = "HN-77123", "Kowalska^Wanda"
        data.save_as(path)
    return case


def calibration(case: Path) -> dict[str, str]:
    """Labels of the form and what the case states for them."""
    stated = tomllib.loads((case / "case.toml").read_text(encoding="utf-8"))["calibration"]
    labels = {"Calibration factor": "cps_per_MBq", "Its standard deviation": "sd_percent",
              "Resolution (FWHM)": "resolution_fwhm_mm", "Sensitivity to ⁹⁰Y in the window": "y90_cps_per_MBq",
              "Dead time": "dead_time_us"}  # fmt: skip
    return {label: str(stated[key]) for label, key in labels.items() if key in stated}


def imported(story: Story, subject: str) -> None:
    """A table from the laboratory: a dry run says what happens to each row, then the good rows are stored."""
    story.as_person("coordinator")
    story.link("Subjects")
    story.link("Import laboratory values")
    day = (story.clock.now() - timedelta(days=2)).date().isoformat()
    rows = [f"{subject},platelets,{day}T09:00,138,10^9/L,150,400", f"{subject},platelets,{day}T09:30,1,furlong,,",
            f"04-999,platelets,{day}T09:00,200,10^9/L,150,400"]  # fmt: skip
    table = "\n".join(["subject_id,analyte,taken_at,value,unit,lln,uln", *rows]) + "\n"
    chosen = {"name": "labs.csv", "mimeType": "text/csv", "buffer": table.encode()}
    story.tab.get_by_label("CSV file").set_input_files(chosen)
    story.button("Show what would happen")
    story.sees("Dry run of labs.csv")
    assert story.tab.get_by_text("refused", exact=True).count() == 2
    story.tab.get_by_label("Store the other rows and leave the 2 refused ones out").check()
    story.button("Store 1 row")
    story.sees("The file was stored")


def queried(story: Story, subject: str) -> None:
    """A monitor asks, the coordinator answers, the monitor closes."""
    story.as_person("monitor")
    story.link("Subjects")
    story.link(subject)
    story.link("Records")
    story.tab.get_by_role("region").or_(story.tab.get_by_role("main")).get_by_role("link", name=subject).last.click()
    story.choose("Field", "age, years")
    story.fill("Question", "58 or 85?")
    story.button("Send the question")
    story.says("The query was opened.")
    story.as_person("coordinator")
    story.link("Queries")
    story.link("58 or 85?")
    story.fill("Your words", "58, checked in the source.")
    story.button("Answer the query")
    story.says("Your answer was sent.")
    story.as_person("monitor")
    story.link("Queries")
    story.link("58 or 85?")
    story.sees("58, checked in the source.")
    story.fill("Your words", "Thank you.")
    story.button("Close the query")
    story.says("The query was closed.")
    with story.trial.read() as reader:
        assert {row["state"] for row in reader.records("queries", opened_by="monitor")} == {"CLOSED"}


def snapshot(story: Story) -> None:
    story.as_person("data-manager")
    story.link("Snapshots")
    story.fill("Purpose", "interim 1")
    story.fill("Data cut", story.clock.now().date().isoformat())
    story.button("Take snapshot")
    story.says("The snapshot was taken.")
    story.sees("interim 1")

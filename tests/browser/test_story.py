"""A subject from enrolment through two cycles to a snapshot, in a real browser and by visible words only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.browser.story_player import Story, played

DAYS = (datetime(2026, 1, 12, 8, 0, tzinfo=UTC), datetime(2026, 3, 9, 8, 0, tzinfo=UTC))
LABS = {"haemoglobin": ("128", "g/L", "120", "160"), "platelets": ("240", "10^9/L", "150", "400"),
        "neutrophils": ("4.1", "10^9/L", "1.8", "7.5"), "leukocytes": ("6.4", "10^9/L", "4.0", "10.0"),
        "lymphocytes": ("1.6", "10^9/L", "1.0", "4.0"), "creatinine": ("70", "umol/L", "45", "90"),
        "bilirubin": ("9", "umol/L", "3", "21"), "albumin": ("42", "g/L", "35", "50")}  # fmt: skip


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Iterator[Story]:
    with played(tmp_path_factory.mktemp("story"), debian_tool("chromium")) as made:
        yield made


@pytest.mark.requirement(40)
def test_a_subject_goes_from_enrolment_through_two_cycles_to_a_snapshot(story: Story) -> None:
    subject = enrolled(story)
    eligible(story, subject)
    randomised(story)
    for number, day in enumerate(DAYS, start=1):
        cycle(story, subject, number, day)
    imported(story, subject)
    queried(story, subject)
    snapshot(story)
    assert story.complaints == []


def enrolled(story: Story) -> str:
    story.as_person("coordinator")
    story.link("Subjects")
    story.link("Enrol a subject")
    story.fill("Screened on", "2026-01-05")
    story.tick("Sex", "female")
    story.fill("Age", "58")
    story.fill("Height", "165")
    story.fill("Weight", "68")
    story.button("Enrol")
    story.says("The subject was enrolled.")
    story.link("Record a consent")
    story.fill("Version", "1.0")
    story.choose("Taken by", "Jan Lis")
    story.button("Save the consent")
    story.says("The consent was saved.")
    story.link("Answer")
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


def cycle(story: Story, subject: str, number: int, day: datetime) -> None:
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
    story.as_person("physicist")
    open_cycle(story, subject, number)
    signed_step(story, "Propose and sign", "Sign and propose", "The proposal is signed and stored.")
    assert story.tab.get_by_role("link", name="Release", exact=True).count() == 0
    story.as_person("physician")
    open_cycle(story, subject, number)
    signed_step(story, "Release", "Sign and release", "The prescription is released.")
    administered(story, subject, number, day)
    story.at(day + timedelta(days=8))
    doses(story, subject, number)


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
    prescribed = story.prescribed(subject, number)
    for nuclide in prescribed:
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
    for nuclide, activity_MBq in prescribed.items():
        card = story.tab.get_by_role("region", name={"Lu-177": "177Lu", "Y-90": "90Y"}[nuclide])
        card.get_by_label("Batch").select_option(index=1)
        story.fill("Activity before the infusion", f"{activity_MBq:.1f}", within=card)
        story.fill("Residual activity", "0", within=card)
        for label, when in (("Measured at", start), ("Infusion from", start), ("Infusion to", start),
                            ("Residual measured at", start)):  # fmt: skip
            minutes = {"Infusion to": 30, "Residual measured at": 60}.get(label, 0)
            story.fill(label, story.local(when + timedelta(minutes=minutes)), within=card)
    story.button("Record the administration")
    story.says("The administration is recorded.")


def doses(story: Story, subject: str, number: int) -> None:
    """The physicist uploads the case and looks at it; the worker computes its doses."""
    story.as_person("physicist")
    open_cycle(story, subject, number)
    story.link("Import the dosimetry")
    content = story.case_zip(subject, number)
    chosen = {"name": "case.zip", "mimeType": "application/zip", "buffer": content}
    story.tab.get_by_label("Zip file of the case folder").set_input_files(chosen)
    story.button("Look at it")
    story.sees("person, arm, activities and times agree")
    story.button("Import and compute")
    story.sees("The case is kept; its doses are computed in the background.")
    story.work()
    open_cycle(story, subject, number)
    story.sees("Absorbed doses")
    story.sees("Measured curves")
    assert story.faults() == []


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
    story.button("Store 1 rows")
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
    story.button("Answer")
    story.as_person("monitor")
    story.link("Queries")
    story.link("58 or 85?")
    story.sees("58, checked in the source.")
    story.fill("Your words", "Thank you.")
    story.button("Close")
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

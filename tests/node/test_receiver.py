"""The DICOM node over the loopback: pynetdicom, storescu and Orthanc send, the trial files by subject and cycle."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification

from lutetia.core.geometry import axis_aligned_grid
from lutetia.errors import AccessDeniedError, IdentityError, InputError
from lutetia.imaging.pseudonymise import texts
from lutetia.node.receiver import Node, start_node
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.phantom.subject import reference_woman
from lutetia.trial import Actor, Change, Create, Grant, Study, Trial
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.workflow.dicom_intake import (
    AssignImages,
    Received,
    assign_images,
    discard_quarantined,
    release_quarantined,
    write_images,
)

SENDER, SITE, PATIENT = "SPECT_CT_1", "01", "PESEL58031201234"
COORDINATOR = Actor("u1", "Maria Nowak", (Grant("coordinator", SITE),))
INSPECTOR = Actor("u3", "Ida Lis", (Grant("inspector"),))
STRANGER = Actor("u2", "Jan Kowal", (Grant("coordinator", "02"),))


class Identities:
    """An identity list in memory."""

    salt = "secret of the test"

    def __init__(self) -> None:
        self.subjects = {PATIENT: "DUO-014"}

    def subject_of_patient(self, patient_id: str, *, site: str) -> str | None:
        return self.subjects.get(patient_id) if site == SITE else None

    def shift_days(self, subject_id: str) -> int:
        return -17


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One scan of the virtual woman: PT, CT and RTSTRUCT with a real-looking identity."""
    grid = axis_aligned_grid((40, 32, 32), (12.0, 12.0, 12.0), origin_mm=(-190.0, -190.0, -200.0))
    folder = tmp_path_factory.mktemp("images") / "case"
    options = CaseOptions(image="PT", times_h=(24.0,), drawn_on=1, grid=grid, ct_grid=grid)
    write_image_case(EllipsoidAnatomy(reference_woman()), folder, options)
    files = sorted(folder.rglob("*.dcm"))
    for file in files:
        data = pydicom.dcmread(file)
        data.PatientName, data.PatientID = "Wisniewska^Zofia", PATIENT
        data.save_as(file)
    return files


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial.create(tmp_path / "trial", study=Study("DUO", "DUONEN")) as made:
        edits = [
            Create("sites", {"site": SITE, "name": "One", "timezone": "Europe/Warsaw", "dicom_senders": [SENDER]}),
            Create("sites", {"site": "02", "name": "Two", "timezone": "Europe/Warsaw"}),
            Create("subjects", {"subject_id": "DUO-014", "site": SITE, "state": "ON_TREATMENT"}),
            Create("cycles", {"subject_id": "DUO-014", "cycle": 1, "state": "GIVEN"}),
            Create("cycles", {"subject_id": "DUO-014", "cycle": 2, "state": "PLANNED"}),
            Create(
                "administrations",
                {
                    "subject_id": "DUO-014",
                    "cycle": 1,
                    "nuclide": "Lu-177",
                    "started_at": "2026-01-12T08:30:00+00:00",
                    "administered_MBq": 3700.0,
                    "prescribed_MBq": 3700.0,
                },
            ),
        ]
        made.commit(Change("set up", edits), COORDINATOR)
        yield made


@pytest.fixture
def identities() -> Identities:
    return Identities()


@pytest.fixture
def seen() -> list[Received]:
    return []


@pytest.fixture
def node(trial: Trial, identities: Identities, seen: list[Received]) -> Iterator[Node]:
    running = start_node(trial, identities, port=0, report=seen.append)
    yield running
    running.stop()


def send(node: Node, dataset: Dataset, *, title: str = SENDER, called: str = "LUTETIA") -> int | None:
    """Status of one C-STORE; None if the association was rejected."""
    entity = AE(ae_title=title)
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    link = entity.associate("127.0.0.1", node.port, ae_title=called)
    if not link.is_established:
        return None
    status = int(link.send_c_store(dataset).Status)
    link.release()
    return status


def first(images: list[Path], modality: str) -> Dataset:
    return next(d for d in map(pydicom.dcmread, images) if d.Modality == modality)


def stored(trial: Trial) -> list[Dataset]:
    with trial.read() as reader:
        rows = reader.records("dicom_objects")
    return [pydicom.dcmread(io.BytesIO(trial.files.get(row["sha256"]))) for row in rows]


def test_an_object_is_filed_by_subject_and_cycle_without_the_identity(
    node: Node, trial: Trial, images: list[Path], seen: list[Received]
) -> None:
    assert send(node, first(images, "PT")) == 0
    assert seen == [Received("filed", "DUO-014", 1)]
    (out,) = stored(trial)
    assert (out.PatientID, out.ClinicalTrialTimePointID) == ("DUO-014", "cycle 1")
    assert not [t for t in texts(out) if "wisniewska" in t.lower() or PATIENT.lower() in t.lower()]
    for path in trial.folder.rglob("*"):
        if path.is_file():
            assert b"Wisniewska" not in path.read_bytes(), path.name


def test_the_same_object_again_changes_nothing(
    node: Node, trial: Trial, images: list[Path], seen: list[Received]
) -> None:
    for _ in range(2):
        assert send(node, first(images, "CT")) == 0
    assert [r.outcome for r in seen] == ["filed", "known"]
    assert len(stored(trial)) == 1


def test_an_unknown_sender_and_a_wrong_title_are_rejected(node: Node, trial: Trial, images: list[Path]) -> None:
    assert send(node, first(images, "CT"), title="SOMEBODY") is None
    assert send(node, first(images, "CT"), called="OTHER") is None
    assert stored(trial) == []


def test_an_unknown_patient_waits_sealed_in_quarantine_until_listed(
    node: Node, trial: Trial, identities: Identities, images: list[Path], seen: list[Received]
) -> None:
    identities.subjects.clear()
    assert send(node, first(images, "CT")) == 0
    assert (seen[0].outcome, "identity list" in seen[0].reason) == ("quarantined", True)
    (sealed,) = (trial.folder / "quarantine").iterdir()
    assert b"Wisniewska" not in sealed.read_bytes()
    with trial.read() as reader:
        (row,) = reader.records("quarantine")
    assert PATIENT not in json.dumps(row)
    with pytest.raises(AccessDeniedError):
        release_quarantined(trial, identities, STRANGER, sha256=row["sha256"])
    with pytest.raises(IdentityError, match="identity list"):
        release_quarantined(trial, identities, COORDINATOR, sha256=row["sha256"])
    identities.subjects[PATIENT] = "DUO-014"
    assert release_quarantined(trial, identities, COORDINATOR, sha256=row["sha256"]).outcome == "filed"
    assert not sealed.exists()
    assert len(stored(trial)) == 1


@pytest.mark.requirement(46)
def test_burned_in_text_and_secondary_captures_go_to_quarantine_and_can_be_discarded(
    node: Node, trial: Trial, images: list[Path], seen: list[Received]
) -> None:
    burned = first(images, "CT")
    burned.BurnedInAnnotation = "YES"
    capture = first(images, "CT")
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    assert send(node, burned) == 0
    assert send(node, capture) == 0
    assert [r.outcome for r in seen] == ["quarantined", "quarantined"]
    assert stored(trial) == []
    with trial.read() as reader:
        rows = reader.records("quarantine")
    for row in rows:
        with pytest.raises(InputError, match="reason: is missing"):
            discard_quarantined(trial, COORDINATOR, sha256=row["sha256"], reason=" ")
        discard_quarantined(trial, COORDINATOR, sha256=row["sha256"], reason="sent by mistake")
    with trial.read() as reader:
        trail = audit_trail(reader, INSPECTOR, AuditFilter(action="quarantined object discarded"))
    assert {entry.reason for entry in trail} == {"sent by mistake"}
    assert not list((trial.folder / "quarantine").iterdir())
    with pytest.raises(InputError, match="discarded"):
        discard_quarantined(trial, COORDINATOR, sha256=rows[0]["sha256"], reason="again")


def test_images_far_from_any_infusion_wait_for_a_person_to_assign_them(
    node: Node, trial: Trial, images: list[Path], tmp_path: Path, seen: list[Received]
) -> None:
    early = first(images, "CT")
    early.AcquisitionDate = "20251201"
    assert send(node, early) == 0
    assert seen[0].cycle is None
    assert write_images(trial, "DUO-014", 1, tmp_path / "a") == 0
    uid = str(stored(trial)[0].SeriesInstanceUID)
    with pytest.raises(AccessDeniedError):
        assign_images(trial, STRANGER, AssignImages(uid, 1))
    assign_images(trial, COORDINATOR, AssignImages(uid, 1))
    assert write_images(trial, "DUO-014", 1, tmp_path / "b") == 1


def test_a_taken_port_is_a_clear_error(node: Node, trial: Trial, identities: Identities) -> None:
    with pytest.raises(InputError, match="another --port"):
        start_node(trial, identities, port=node.port)


def test_echo_is_answered(node: Node) -> None:
    entity = AE(ae_title=SENDER)
    entity.add_requested_context(Verification)
    link = entity.associate("127.0.0.1", node.port, ae_title="LUTETIA")
    assert link.is_established
    assert link.send_c_echo().Status == 0
    link.release()


def test_an_object_with_little_more_than_its_identity_waits_in_quarantine(
    node: Node, trial: Trial, seen: list[Received]
) -> None:
    broken = Dataset()
    broken.SOPClassUID, broken.SOPInstanceUID = CTImageStorage, "1.2.3"
    broken.PatientID, broken.AcquisitionDate = PATIENT, "20260112"
    broken.file_meta = pydicom.dataset.FileMetaDataset()
    broken.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    assert send(node, broken) == 0
    assert (seen[0].outcome, "without pixel data" in seen[0].reason) == ("quarantined", True)
    assert stored(trial) == []


def test_storescu_sends_a_whole_case(
    node: Node, trial: Trial, images: list[Path], seen: list[Received], debian_tool: Callable[[str], str]
) -> None:
    command = [debian_tool("storescu"), "-aet", SENDER, "-aec", "LUTETIA", "127.0.0.1", str(node.port)]
    found = subprocess.run([*command, *map(str, images)], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert {r.outcome for r in seen} == {"filed"}
    assert len(stored(trial)) == len(images)
    assert {d.Modality for d in stored(trial)} == {"PT", "CT", "RTSTRUCT"}


def test_orthanc_forwards_to_the_node(tmp_path: Path, images: list[Path], debian_tool: Callable[[str], str]) -> None:
    """Orthanc listens on all addresses: it, the node and the test run in a network namespace of their own."""
    debian_tool("Orthanc")
    command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        if os.environ.get("LUTETIA_REQUIRE_TOOLS"):
            pytest.fail("network namespaces are required here and are not permitted")
        pytest.skip("network namespaces are not permitted: Orthanc was NOT run")
    shutil.copytree(images[0].parents[2], tmp_path / "images")
    script = Path(__file__).with_name("orthanc_story.py")
    found = subprocess.run(
        [*command, sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert found.returncode == 0, found.stderr[-2000:]
    outcome = json.loads(found.stdout.splitlines()[-1])
    assert outcome["filed"] == outcome["sent"] > 5


def test_a_hundred_objects_take_a_bounded_time(node: Node, images: list[Path]) -> None:
    dataset = first(images, "CT")
    entity = AE(ae_title=SENDER)
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    link = entity.associate("127.0.0.1", node.port, ae_title="LUTETIA")
    start = time.perf_counter()
    for number in range(100):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        assert link.send_c_store(dataset).Status == 0
    link.release()
    assert time.perf_counter() - start < 20.0

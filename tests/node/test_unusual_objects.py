"""Unusual and broken objects at the door: filed without the identity, or in quarantine with a reason; never lost."""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless
from pynetdicom import AE
from tests.plan.case_files import image_case

from lutetia.imaging.pseudonymise import texts
from lutetia.node.receiver import Node, start_node
from lutetia.trial import SYSTEM, Change, Create, Study, Trial, audit
from lutetia.workflow.dicom_intake import Received, receive_object

SENDER, PATIENT = "SPECT_CT_1", "PESEL58031201234"
NAMES = ("wisniewska", "zofia", "pesel58031201234", "58031201234", "nowacka")


@dataclass
class Identities:
    """Two listed patients."""

    salt: str = "secret of the test"
    subjects: dict[str, str] = field(default_factory=lambda: {PATIENT: "DUO-014", "OTHER": "DUO-015"})

    def subject_of_patient(self, patient_id: str, *, site: str) -> str | None:
        return self.subjects.get(patient_id)

    def shift_days(self, subject_id: str) -> int:
        return -17


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """One object a kind, with a real-looking identity."""
    folder = image_case(tmp_path_factory.mktemp("images") / "case", times_h=(24.0,), drawn_on=1)
    found: dict[str, Dataset] = {}
    for path in sorted(folder.rglob("*.dcm")):
        data = pydicom.dcmread(path)
        data.PatientName, data.PatientID = "Wisniewska^Zofia", PATIENT
        found.setdefault(str(data.Modality), data)
    assert set(found) == {"CT", "NM", "RTSTRUCT"}
    return found


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with Trial.create(tmp_path / "trial", study=Study("DUO", "DUONEN")) as made:
        edits = [Create("sites", {"site": "01", "name": "One", "timezone": "Europe/Warsaw", "dicom_senders": [SENDER]})]
        for subject in ("DUO-014", "DUO-015"):
            head = {"subject_id": subject, "cycle": 1}
            given = {"nuclide": "Lu-177", "started_at": "2026-01-12T08:30:00+00:00", "administered_MBq": 3700.0}
            edits += [Create("subjects", {"subject_id": subject, "site": "01", "state": "ON_TREATMENT"}),
                      Create("cycles", head | {"state": "GIVEN"}), Create("administrations", head | given)]  # fmt: skip
        made.commit(Change("set up", edits), SYSTEM)
        yield made


@pytest.fixture
def seen() -> list[Received]:
    return []


@pytest.fixture
def node(trial: Trial, seen: list[Received]) -> Iterator[Node]:
    running = start_node(trial, Identities(), port=0, report=seen.append)
    yield running
    running.stop()


def copy_of(images: dict[str, Dataset], kind: str) -> Dataset:
    buffer = io.BytesIO()
    images[kind].save_as(buffer)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def taken(trial: Trial, data: Dataset) -> Received:
    return receive_object(trial, Identities(), data, sender=SENDER)


def filed(trial: Trial) -> list[bytes]:
    with trial.read() as reader:
        return [trial.files.get(row["sha256"]) for row in reader.records("dicom_objects")]


def item(**values: str) -> Dataset:
    """An item with a private block that repeats the name."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    made.private_block(0x0099, "ACME", create=True).add_new(1, "LO", "Wisniewska")
    return made


def private_inside(data: Dataset) -> None:
    nested = Sequence([item(PatientName="Wisniewska^Zofia")])
    data.private_block(0x0099, "ACME", create=True).add_new(1, "SQ", nested)
    data.PatientOrientationCodeSequence = Sequence([item(CodeValue="1", CodeMeaning="Wisniewska Zofia")])


def names_as_text(data: Dataset) -> None:
    for tag in (0x00081010, 0x00181030, 0x00081090, 0x00081155, 0x00200010, 0x00180015):
        data.add_new(tag, "PN", "Nowacka^Zofia")


def free_text(data: Dataset) -> None:
    data.add_new(0x00720406, "SH", "Wisniewska")  # description of a hanging protocol
    data.DeviceSerialNumber, data.StationName, data.ProtocolName = "Wisniewska", "ROOM ZOFIA", "Zofia 177Lu"
    data.SeriesDescription, data.ImageComments, data.ConvolutionKernel = "WISNIEWSKA", "Zofia", "Zofia"
    data.ContentSequence = Sequence([item(TextValue="Wisniewska")])


def beside_the_data(data: Dataset) -> None:
    data.preamble = b"Wisniewska".ljust(128, b"\0")
    data.file_meta.PrivateInformationCreatorUID, data.file_meta.PrivateInformation = "1.2.3", b"Wisniewska"
    data.add_new(0xFFFCFFFC, "OB", b"Wisniewska")
    data.add_new(0x60003000, "OW", b"Wisniewska")
    data.EncapsulatedDocument = b"Wisniewska"


def frames_of_their_own(data: Dataset) -> None:
    """Functional groups as enhanced multi-frame objects have them."""
    content, anatomy = item(FrameComments="Wisniewska", FrameLabel="Zofia"), item(FrameLaterality="U")
    content.FrameAcquisitionDateTime = "20260113093000"
    frame, shared = Dataset(), Dataset()
    frame.FrameContentSequence, frame.FrameAnatomySequence = Sequence([content]), Sequence([anatomy])
    shared.ReferencedImageSequence = Sequence([item(ReferencedSOPInstanceUID="1.2.3")])
    data.PerFrameFunctionalGroupsSequence, data.SharedFunctionalGroupsSequence = Sequence([frame]), Sequence([shared])


HIDDEN: dict[str, tuple[str, Callable[[Dataset], None]]] = {
    "private sequences, nested": ("CT", private_inside),
    "names where other text stands": ("CT", names_as_text),
    "free text": ("NM", free_text),
    "preamble, padding, overlay, document": ("CT", beside_the_data),
    "functional groups of frames": ("NM", frames_of_their_own),
    "another alphabet": ("CT", lambda d: setattr(d, "SeriesDescription", "Wiśniewska")),
}


@pytest.mark.requirement(46)
@pytest.mark.parametrize("case", HIDDEN)
def test_a_name_in_an_unusual_place_does_not_come_out(trial: Trial, images: dict[str, Dataset], case: str) -> None:
    kind, change = HIDDEN[case]
    data = copy_of(images, kind)
    data.SpecificCharacterSet = "ISO_IR 192"
    change(data)
    assert taken(trial, data).outcome == "filed"
    (content,) = filed(trial)
    words = [word for text in texts(pydicom.dcmread(io.BytesIO(content))) for word in NAMES if word in text.lower()]
    assert words == []
    assert not [name for name in NAMES if name.encode() in content.lower()]


def test_names_of_regions_that_nobody_knows_become_numbers(trial: Trial, images: dict[str, Dataset]) -> None:
    data = copy_of(images, "RTSTRUCT")
    known = [str(row.ROIName) for row in data.StructureSetROISequence]
    data.StructureSetROISequence[0].ROIName = "Kidney L Wisniewska"
    data.StructureSetLabel = data.StructureSetName = "Wisniewska"
    assert taken(trial, data).outcome == "filed"
    out = pydicom.dcmread(io.BytesIO(filed(trial)[0]))
    assert [str(row.ROIName) for row in out.StructureSetROISequence] == ["region 1", *known[1:]]


def test_references_between_objects_of_two_associations_still_meet(trial: Trial, images: dict[str, Dataset]) -> None:
    for kind in ("CT", "RTSTRUCT"):
        taken(trial, copy_of(images, kind))
    by_kind = {str(d.Modality): d for d in (pydicom.dcmread(io.BytesIO(c)) for c in filed(trial))}
    referred = by_kind["RTSTRUCT"].ReferencedFrameOfReferenceSequence[0]
    series = referred.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert referred.FrameOfReferenceUID == by_kind["CT"].FrameOfReferenceUID
    assert series.SeriesInstanceUID == by_kind["CT"].SeriesInstanceUID
    assert str(series.SeriesInstanceUID) != str(images["CT"].SeriesInstanceUID)


def cut(data: Dataset) -> None:
    data.PixelData = data.PixelData[:100]


WRONG: dict[str, tuple[str, Callable[[Dataset], None], str]] = {
    "burned in, another word": ("CT", lambda d: d.add_new(0x00280301, "CS", "TRUE"), "burned-in text"),
    "burned in, two words": ("CT", lambda d: d.add_new(0x00280301, "CS", ["YES", "NO"]), "burned-in text"),
    "pixel data cut": ("CT", cut, "pixel data that are truncated"),
    "frames cut": ("NM", cut, "pixel data that are truncated"),
    "no pixel data": ("CT", lambda d: d.pop("PixelData"), "without pixel data"),
    "no rows": ("CT", lambda d: setattr(d, "Rows", 0), "pixel data that are truncated"),
    "a colour capture": ("CT", lambda d: setattr(d, "SamplesPerPixel", 3), "colour image"),
    "unknown patient": ("CT", lambda d: setattr(d, "PatientID", "X-1"), "identity list"),
    "two patients": ("CT", lambda d: d.add_new(0x00100020, "LO", [PATIENT, "OTHER"]), "identity list"),
    "no patient": ("CT", lambda d: d.pop("PatientID"), "no patient identifier"),
    "impossible day": ("CT", lambda d: setattr(d, "AcquisitionDate", "20260231"), "impossible date"),
    "another calendar": ("CT", lambda d: setattr(d, "AcquisitionDate", "2026-01-13"), "expected YYYYMMDD"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_waits_in_quarantine_with_the_reason(
    trial: Trial, images: dict[str, Dataset], case: str
) -> None:
    kind, change, words = WRONG[case]
    data = copy_of(images, kind)
    change(data)
    received = taken(trial, data)
    assert received.outcome == "quarantined"
    assert words in received.reason
    assert filed(trial) == []


def test_an_object_of_one_subject_does_not_become_that_of_another(trial: Trial, images: dict[str, Dataset]) -> None:
    assert taken(trial, copy_of(images, "CT")).outcome == "filed"
    other = copy_of(images, "CT")
    other.PatientID = "OTHER"
    received = taken(trial, other)
    assert received.outcome == "quarantined"
    assert "another subject" in received.reason


def test_a_full_disk_is_told_to_the_sender_and_sending_again_helps(
    node: Node, trial: Trial, images: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("lutetia.trial.files._write_whole", full)
        assert sent(node, [copy_of(images, "CT")]) == [0xA700]
    assert filed(trial) == []
    assert sent(node, [copy_of(images, "CT")]) == [0]
    assert len(filed(trial)) == 1


def test_two_senders_at_once_lose_nothing(node: Node, trial: Trial, images: dict[str, Dataset]) -> None:
    statuses: list[int] = []

    def send_some(first: int) -> None:
        statuses.extend(sent(node, [numbered(images, n) for n in range(first, first + 30)]))

    threads = [threading.Thread(target=send_some, args=(first,)) for first in (0, 20)]  # ten objects come twice
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 60
    assert len(filed(trial)) == 50
    with trial.read() as reader:
        audit.verify(reader)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_a_compression_is_taken_only_where_its_images_can_be_read(
    node: Node, images: dict[str, Dataset], syntax: str
) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    entity = AE(ae_title=SENDER)
    entity.add_requested_context(images["CT"].SOPClassUID, syntax)
    link = entity.associate("127.0.0.1", node.port, ae_title="LUTETIA")
    assert bool(link.accepted_contexts) is get_decoder(syntax).is_available
    if link.is_established:
        link.release()


def test_run_lengths_are_read_and_filed(trial: Trial, images: dict[str, Dataset]) -> None:
    data = copy_of(images, "CT")
    data.compress(RLELossless, generate_instance_uid=False)
    assert taken(trial, data).outcome == "filed"
    out = pydicom.dcmread(io.BytesIO(filed(trial)[0]))
    assert (out.pixel_array == images["CT"].pixel_array).all()


def numbered(images: dict[str, Dataset], number: int) -> Dataset:
    data = copy_of(images, "CT")
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    return data


def sent(node: Node, objects: list[Dataset]) -> list[int]:
    """Status of each C-STORE of one association."""
    entity = AE(ae_title=SENDER)
    entity.add_requested_context(objects[0].SOPClassUID, objects[0].file_meta.TransferSyntaxUID)
    link = entity.associate("127.0.0.1", node.port, ae_title="LUTETIA")
    assert link.is_established
    statuses = [int(link.send_c_store(each).Status) for each in objects]
    link.release()
    return statuses

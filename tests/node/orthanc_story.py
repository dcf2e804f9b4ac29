"""Run inside a network namespace: a node, an Orthanc that gets the images and forwards them, and what arrived."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pydicom

from lutetia.node.receiver import start_node
from lutetia.trial import SYSTEM, Change, Create, Study, Trial

HTTP, DICOM, NODE = 8042, 4242, 11112


class Identities:
    """One patient."""

    salt = "secret"

    def subject_of_patient(self, patient_id: str, *, site: str) -> str | None:
        """The only subject."""
        return "DUO-014"

    def shift_days(self, subject_id: str) -> int:
        """A constant."""
        return 5


def call(path: str, body: bytes | None = None) -> object:
    """Answer of Orthanc's HTTP interface."""
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}{path}", body, timeout=20) as answer:
        return json.loads(answer.read() or b"null")


def main(folder: Path) -> None:
    """The story; prints how many objects were sent and filed."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "orthanc"), "IndexDirectory": str(folder / "orthanc"),
        "HttpPort": HTTP, "DicomPort": DICOM, "DicomAet": "ORTHANC", "AuthenticationEnabled": False, "Plugins": [],
        "RemoteAccessAllowed": False, "DicomModalities": {"lutetia": ["LUTETIA", "127.0.0.1", NODE]},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    trial = Trial.create(folder / "trial", study=Study("DUO", "DUONEN"))
    edits = [
        Create("sites", {"site": "01", "name": "One", "timezone": "Europe/Warsaw", "dicom_senders": ["ORTHANC"]}),
        Create("subjects", {"subject_id": "DUO-014", "site": "01", "state": "ON_TREATMENT"}),
    ]
    trial.commit(Change("set up", edits), SYSTEM)
    seen: list[str] = []
    node = start_node(trial, Identities(), port=NODE, report=lambda received: seen.append(received.subject_id or ""))
    program = shutil.which("Orthanc")
    assert program is not None
    orthanc = subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait()
        files = [p for p in sorted((folder / "images").rglob("*.dcm")) if pydicom.dcmread(p, stop_before_pixels=True)]
        instances = [call("/instances", path.read_bytes()) for path in files]
        identifiers = [entry["ID"] for entry in instances if isinstance(entry, dict)]
        call("/modalities/lutetia/store", json.dumps(identifiers).encode())
        sys.stdout.write(json.dumps({"sent": len(files), "filed": len(seen)}) + "\n")
    finally:
        orthanc.terminate()
        orthanc.wait(20)
        node.stop()
        trial.close()


def _wait() -> None:
    for _ in range(100):
        try:
            call("/system")
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("Orthanc did not start")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

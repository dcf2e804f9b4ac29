"""`lutetia plan --dicom`: the numbers of the result, maps that add up, no identity of the images, all or nothing."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from tests.plan.case_files import GRID, ORGANS, SUBJECT, Run, command, image_case, snapshot

from lutetia.errors import InputError, LutetiaError
from lutetia.phantom.example import write_table_example
from lutetia.plan import dicom_export
from lutetia.plan.dicom_export import export_dicom
from lutetia.plan.run import Planned, run_plan

NAMES = ("organ_doses.dcm", "regions.dcm", "rtdose_Lu-177.dcm", "rtdose_Y-90.dcm", "rtdose_sum.dcm")
MADE_AT = datetime(2026, 2, 1, 14, 5, 6)
SECRETS = (b"Wisniewska", b"Zofia", b"PESEL58031201234", b"VIRTUAL^SUBJECT")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three SPECT/CT whose headers carry a real-looking name."""
    folder = image_case(tmp_path_factory.mktemp("images") / "case", image="PT")
    for file in folder.rglob("*.dcm"):
        data = pydicom.dcmread(file)
        data.PatientName, data.PatientID, data.AccessionNumber = "Wisniewska^Zofia", "PESEL58031201234", "PESEL58031201"
        data.save_as(file)
    return folder


@pytest.fixture(scope="module")
def planned(case: Path) -> Planned:
    return run_plan(case, draws=100, seed=1)


@pytest.fixture(scope="module")
def exported(planned: Planned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "dicom"
    files = export_dicom(planned, folder, made_at=MADE_AT)
    assert [f.relative_to(folder).as_posix() for f in files] == [
        f"cycle1/{name}" for name in ("dose_volume.csv", *NAMES)
    ]
    assert all(f.is_file() for f in files)
    return folder / "cycle1"


def gray(path: Path) -> np.ndarray:
    data = pydicom.dcmread(path)
    return np.asarray(data.pixel_array * float(data.DoseGridScaling))


def test_the_maps_of_the_nuclides_add_up_to_the_sum(exported: Path) -> None:
    lutetium, yttrium, total = (gray(exported / f"rtdose_{name}.dcm") for name in ("Lu-177", "Y-90", "sum"))
    assert lutetium.max() > 1.0
    np.testing.assert_allclose(total, lutetium + yttrium, atol=2.0 * total.max() / 65_000)


def test_the_histograms_belong_to_the_maps(exported: Path) -> None:
    rows = list(csv.DictReader((exported / "dose_volume.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["map"] for row in rows} == {"Lu-177", "Y-90", "sum"}
    means = {(row["region"], row["map"]): float(row["mean"]) for row in rows}
    regions = {region for region, _ in means}
    assert {"liver", "left kidney", "right kidney"} <= regions
    for region in regions:
        assert means[region, "sum"] == pytest.approx(means[region, "Lu-177"] + means[region, "Y-90"], rel=1e-4)
    curve = [float(row["volume_percent"]) for row in rows if (row["region"], row["map"]) == ("liver", "sum")]
    assert curve[0] == 100.0
    assert curve == sorted(curve, reverse=True)


def test_the_mean_of_a_map_over_a_large_organ_is_near_its_dose_and_below_it(exported: Path, case: Path) -> None:
    """Liver: the blur of the SPECT carries a few per cent out of it."""
    truth = json.loads((case / "truth.json").read_text(encoding="utf-8"))
    (true,) = (row for row in truth["cycles"][0]["regions"] if row["region"] == "liver")
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), axis=-1).astype(float)
    inside = SUBJECT.organ("liver").shape.contains(GRID.position_mm(index))
    inside &= ~SUBJECT.organ("tumour 2").shape.contains(GRID.position_mm(index))
    for name in ("Lu-177", "Y-90"):
        found = gray(exported / f"rtdose_{name}.dcm")[inside].mean()
        assert 0.88 < found / true["nuclides"][name]["absorbed_dose_Gy"] < 1.05


def test_the_report_holds_every_evaluable_dose_of_the_result(exported: Path, planned: Planned) -> None:
    content = highdicom.sr.srread(exported / "organ_doses.dcm").content
    groups = [*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()]
    found = sorted((str(g.tracking_identifier), g.get_measurements()[0].value) for g in groups)
    expected = []
    for row in planned.result["cycles"][0]["regions"]:
        parts: dict[str, dict[str, Any]] = {**row["nuclides"], "all nuclides": row}
        expected += [
            (f"{row['region']}, {name}", part["absorbed_dose_Gy"])
            for name, part in parts.items()
            if part["absorbed_dose_Gy"] is not None
        ]
    assert len(expected) > 12
    assert found == sorted(expected)


def test_the_regions_are_those_that_were_drawn_and_refer_to_the_ct(exported: Path, case: Path) -> None:
    seg = pydicom.dcmread(exported / "regions.dcm")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == list(ORGANS)
    ct = pydicom.dcmread(next((case / "cycle1" / "ct_024h").iterdir()))
    assert seg.FrameOfReferenceUID == ct.FrameOfReferenceUID
    (study,) = seg.StudiesContainingOtherReferencedInstancesSequence
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == ct.SeriesInstanceUID
    dose = pydicom.dcmread(exported / "rtdose_sum.dcm")
    spect = {pydicom.dcmread(f).SOPInstanceUID for f in (case / "cycle1" / "spect_024h").iterdir()}
    assert {image.ReferencedSOPInstanceUID for image in dose.ReferencedImageSequence} == spect
    assert dose.FrameOfReferenceUID == ct.FrameOfReferenceUID
    assert dose.DoseComment.startswith("sum: not recovery-corrected")


def test_no_identity_of_the_images_is_in_any_file(exported: Path) -> None:
    studies = set()
    for name in NAMES:
        data = pydicom.dcmread(exported / name)
        assert (data.PatientID, str(data.PatientName)) == ("VIRTUAL-001", "VIRTUAL-001^")
        studies.add(data.StudyInstanceUID)
        content = (exported / name).read_bytes()
        assert not [secret for secret in SECRETS if secret in content]
    assert len(studies) == 1


def test_the_same_plan_and_time_give_the_same_bytes(exported: Path, planned: Planned, tmp_path: Path) -> None:
    export_dicom(planned, tmp_path / "again", made_at=MADE_AT)
    assert [(tmp_path / "again" / "cycle1" / n).read_bytes() for n in NAMES] == [
        (exported / n).read_bytes() for n in NAMES
    ]


def test_a_failure_leaves_nothing_behind(planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(dicom_export, "write_rtdose", fail)
    with pytest.raises(OSError, match="disk full"):
        export_dicom(planned, tmp_path / "dicom", made_at=MADE_AT)
    assert not list(tmp_path.iterdir())


def test_a_case_of_tables_has_nothing_to_export(tmp_path: Path) -> None:
    plan = run_plan(write_table_example(tmp_path / "case"), draws=100, seed=1)
    with pytest.raises(InputError, match="no cycle with images"):
        export_dicom(plan, tmp_path / "dicom", made_at=MADE_AT)
    assert not (tmp_path / "dicom").exists()


def test_a_case_of_nifti_files_is_refused(tmp_path: Path) -> None:
    case = image_case(tmp_path / "case", image="NIfTI", segmentation="label map")
    with pytest.raises(LutetiaError, match=r"cycle 1, scan 1, SPECT: found a NIfTI file; expected DICOM"):
        export_dicom(run_plan(case, draws=100, seed=1), tmp_path / "dicom", made_at=MADE_AT)
    assert not (tmp_path / "dicom").exists()


def test_the_command_writes_the_folder_and_leaves_another_alone(case: Path, tmp_path: Path) -> None:
    def run() -> Run:
        return command("plan", case, "--out", tmp_path / "out", "--draws", "100", "--dicom", tmp_path / "dicom")

    assert run().code == 0
    assert (tmp_path / "dicom" / "cycle1" / "organ_doses.dcm").is_file()
    before = snapshot(tmp_path)
    again = run()
    assert again.code == 2
    assert "expected a new or empty folder" in again.err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_validator_finds_no_error(exported: Path, name: str, debian_tool: Callable[[str], str]) -> None:
    command = [debian_tool("dciodvfy"), "-new", str(exported / name)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (found.stdout + found.stderr).splitlines()
    assert lines
    assert not [line for line in lines if line.startswith("Error")]

"""The packaged examples: complete, readable by the product's readers, reproducible, small."""

from __future__ import annotations

import hashlib
import json
import tomllib
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from lutetia.core.regions import canonical_region
from lutetia.errors import OutputError
from lutetia.imaging.ct import read_ct
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.spect import read_spect
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.case import in_position, scan_counts, truth
from lutetia.phantom.example import DRAWN, EXAMPLE_MOTIONS, example_options, write_example, write_table_example
from lutetia.phantom.subject import reference_woman
from lutetia.phantom.voxels import render_masks

ZONE = ZoneInfo("Europe/Warsaw")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example") / "case")


def case_of(path: Path) -> dict:  # type: ignore[type-arg]
    return tomllib.loads((path / "case.toml").read_text(encoding="utf-8"))


def test_every_file_that_the_case_names_is_there(example: Path) -> None:
    case = case_of(example)
    cycle = case["cycles"][0]
    named = [s[k] for s in cycle["scans"] for k in ("spect", "ct")]
    named += [cycle["segmentation"][0]["file"], cycle["blood"]["file"], cycle["whole_body"]["file"]]
    named += [case["subject"]["labs"], case["calibration"]["recovery_csv"]]
    assert all((example / name).exists() for name in named)
    assert len(cycle["scans"]) == 4


def test_it_fits_in_sixty_megabytes(example: Path) -> None:
    assert sum(f.stat().st_size for f in example.rglob("*") if f.is_file()) < 60e6


def test_scans_come_after_the_administration_at_their_times(example: Path) -> None:
    cycle = case_of(example)["cycles"][0]
    assert isinstance(cycle["administered_at"], datetime)
    hours = []
    for entry in cycle["scans"]:
        scan = read_spect(example / entry["spect"], zone=ZONE, nuclide="Lu-177")
        hours.append((scan.mid_acquisition - cycle["administered_at"]).total_seconds() / 3600)
        assert scan.volume.unit == "counts"
        assert scan.duration_s == 1800.0
        assert scan.decay_corrected_to == "none"
        assert scan.frame_of_reference == read_ct(example / entry["ct"]).frame_of_reference
    assert hours == pytest.approx([4.0, 24.0, 96.0, 168.0])


def test_the_ct_of_each_scan_shows_the_subject_where_its_motion_put_it(example: Path) -> None:
    subject = reference_woman()
    for entry, motion in zip(case_of(example)["cycles"][0]["scans"], EXAMPLE_MOTIONS, strict=True):
        ct = read_ct(example / entry["ct"]).volume
        (spine,) = (m for m in render_masks(subject, ct.grid, motion) if m.region == "vertebra L2")
        inside = np.asarray(spine.mask) > 0.99
        assert ct.values[inside].mean() == pytest.approx(subject.organ("vertebra L2").hounsfield, abs=3.0)


def test_the_outlines_hold_the_organs_of_the_second_scan(example: Path) -> None:
    ct = read_ct(example / "cycle1" / "ct_024h")
    regions = read_segmentation(
        example / "cycle1" / "rtstruct.dcm", grid=ct.volume.grid, frame_of_reference=ct.frame_of_reference
    )
    subject = reference_woman()
    assert [r.region for r in regions] == [canonical_region(name) for name in _in_subject_order()]
    for region in regions:
        assert region.volume_mL == pytest.approx(subject.volume_mL(region.region), rel=0.03), region.region


def _in_subject_order() -> list[str]:
    return [o.region for o in reference_woman().organs if o.region in DRAWN]


def test_the_truth_has_every_drawn_region_the_pair_and_the_marrow(example: Path) -> None:
    found = json.loads((example / "truth.json").read_text(encoding="utf-8"))
    regions = {r["region"]: r for r in found["cycles"][0]["regions"]}
    assert set(DRAWN) | {"kidneys", "red marrow"} <= set(regions)
    left, right, pair = (regions[n] for n in ("left kidney", "right kidney", "kidneys"))
    mean = (left["mass_g"] * left["absorbed_dose_Gy"] + right["mass_g"] * right["absorbed_dose_Gy"]) / pair["mass_g"]
    assert pair["absorbed_dose_Gy"] == pytest.approx(mean, rel=1e-4)
    assert found == json.loads(json.dumps(truth(EllipsoidAnatomy(reference_woman()), example_options())))


def test_the_same_seed_gives_the_same_bytes(example: Path, tmp_path: Path) -> None:
    assert digests(write_example(tmp_path / "again")) == digests(example)


def test_another_seed_gives_other_noise() -> None:
    one, two = (scan_counts(EllipsoidAnatomy(reference_woman()), 2, example_options(seed)).values for seed in (1, 2))
    assert (one != two).mean() > 0.05
    assert one.sum(dtype=np.float64) == pytest.approx(two.sum(dtype=np.float64), rel=0.01)


def digests(path: Path) -> dict[str, str]:
    files = (f for f in path.rglob("*") if f.is_file())
    return {f.relative_to(path).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_nothing_in_the_headers_could_be_a_person(example: Path) -> None:
    for file in (example / "cycle1").rglob("*_001.dcm"):
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        assert dataset.PatientID.startswith("VIRTUAL")
        assert str(dataset.PatientName) == "VIRTUAL^SUBJECT"
        assert dataset.PatientBirthDate == ""


def test_an_existing_folder_with_content_is_left_alone(example: Path) -> None:
    before = digests(example)
    with pytest.raises(OutputError, match="new or empty"):
        write_example(example)
    assert digests(example) == before


def test_the_table_example_has_two_cycles_with_regions_and_masses(tmp_path: Path) -> None:
    path = write_table_example(tmp_path / "tables")
    case = case_of(path)
    assert [c["number"] for c in case["cycles"]] == [1, 2]
    assert case["cycles"][1]["administered_MBq"]["Y-90"] < case["cycles"][0]["administered_MBq"]["Y-90"]
    subject = reference_woman()
    for cycle in case["cycles"]:
        rows = [r.split(",") for r in (path / cycle["regions"]["file"]).read_text(encoding="utf-8").splitlines()]
        assert rows[0] == ["region", "time_h", "activity_MBq", "sd_MBq"]
        for region, time_h, activity, sd in rows[1:]:
            exact = subject.organ(region).biology.activity_MBq(float(time_h), "Lu-177", 3700.0)
            assert abs(float(activity) - float(exact)) < 5 * float(sd)
        assert cycle["regions"]["masses_g"]["liver"] == pytest.approx(subject.mass_g("liver"), abs=0.1)


def test_the_command_writes_the_example_and_names_the_next_step(tmp_path: Path) -> None:
    import typer

    from lutetia.cli.example import example as command

    app = typer.Typer()
    app.command()(command)
    outcome = CliRunner().invoke(app, [str(tmp_path / "case"), "--tables"])
    assert outcome.exit_code == 0, outcome.output
    assert "lutetia plan" in outcome.output
    assert (tmp_path / "case" / "case.toml").is_file()


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
def test_grids_of_other_positions_hold_the_same_voxels(position: str) -> None:
    grid = example_options().grid
    turned = in_position(grid, position)  # type: ignore[arg-type]
    corners = np.array([[k, j, i] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * (np.array(grid.shape) - 1)
    assert {tuple(np.round(p, 6)) for p in turned.position_mm(corners)} == {
        tuple(np.round(p, 6)) for p in grid.position_mm(corners)
    }

"""The packaged examples: complete, readable by the product's readers, reproducible, small."""

from __future__ import annotations

import csv
import hashlib
import json
import re
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
from lutetia.phantom.example import DRAWN, example_course, example_options, write_example, write_table_example
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
    named = [case["subject"]["labs"], case["calibration"]["recovery_csv"]]
    for cycle in case["cycles"]:
        named += [s[k] for s in cycle["scans"] for k in ("spect", "ct")]
        named += [cycle["segmentation"][0]["file"], cycle["blood"]["file"], cycle["whole_body"]["file"]]
        assert len(cycle["scans"]) == 4
    assert len(set(named)) == 2 + 2 * 11
    assert all((example / name).exists() for name in named)


def test_there_are_two_tandem_cycles_eight_weeks_apart_and_the_second_has_less_yttrium(example: Path) -> None:
    one, two = case_of(example)["cycles"]
    assert (one["number"], two["number"]) == (1, 2)
    assert (two["administered_at"] - one["administered_at"]).days == 56
    assert one["administered_MBq"]["Lu-177"] == two["administered_MBq"]["Lu-177"] == 3700.0
    assert two["administered_MBq"]["Y-90"] < one["administered_MBq"]["Y-90"]


def test_it_fits_in_sixty_five_megabytes(example: Path) -> None:
    assert sum(f.stat().st_size for f in example.rglob("*") if f.is_file()) < 65e6


def test_scans_come_after_the_administration_at_their_times(example: Path) -> None:
    frames, patients = set(), set()
    for cycle in case_of(example)["cycles"]:
        assert isinstance(cycle["administered_at"], datetime)
        hours = []
        for entry in cycle["scans"]:
            scan = read_spect(example / entry["spect"], zone=ZONE, nuclide="Lu-177")
            hours.append((scan.mid_acquisition - cycle["administered_at"]).total_seconds() / 3600)
            assert scan.volume.unit == "counts"
            assert scan.duration_s == 1800.0
            assert scan.decay_corrected_to == "none"
            assert scan.frame_of_reference == read_ct(example / entry["ct"]).frame_of_reference
            frames.add(scan.frame_of_reference)
            patients.add(scan.patient_key)
        assert hours == pytest.approx([4.0, 24.0, 96.0, 168.0])
    assert len(frames) == 8
    assert len(patients) == 1


@pytest.mark.parametrize("cycle", [1, 2])
def test_the_ct_of_each_scan_shows_the_subject_where_its_motion_put_it(example: Path, cycle: int) -> None:
    subject, options = reference_woman(), example_course()[cycle - 1][1]
    for entry, motion in zip(case_of(example)["cycles"][cycle - 1]["scans"], options.motions, strict=True):
        ct = read_ct(example / entry["ct"]).volume
        (spine,) = (m for m in render_masks(subject, ct.grid, motion) if m.region == "vertebra L2")
        inside = np.asarray(spine.mask) > 0.99
        assert ct.values[inside].mean() == pytest.approx(subject.organ("vertebra L2").hounsfield, abs=3.0)


@pytest.mark.parametrize("drawn", ["cycle1/rtstruct.dcm", "cycle2/seg.dcm"])
def test_the_outlines_hold_the_organs_of_the_second_scan(example: Path, drawn: str) -> None:
    ct = read_ct(example / drawn.split("/")[0] / "ct_024h")
    regions = read_segmentation(example / drawn, grid=ct.volume.grid, frame_of_reference=ct.frame_of_reference)
    subject = reference_woman()
    assert [r.region for r in regions] == [canonical_region(name) for name in _in_subject_order()]
    for region in regions:
        assert region.volume_mL == pytest.approx(subject.volume_mL(region.region), rel=0.03), region.region


def _in_subject_order() -> list[str]:
    return [o.region for o in reference_woman().organs if o.region in DRAWN]


def test_the_truth_has_every_drawn_region_the_pair_and_the_marrow_in_both_cycles(example: Path) -> None:
    found = json.loads((example / "truth.json").read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(truth(example_course())))
    total: dict[str, float] = {}
    for cycle in found["cycles"]:
        regions = {r["region"]: r for r in cycle["regions"]}
        assert set(DRAWN) | {"kidneys", "red marrow"} <= set(regions)
        left, right, pair = (regions[n] for n in ("left kidney", "right kidney", "kidneys"))
        mean = sum(k["mass_g"] * k["absorbed_dose_Gy"] for k in (left, right)) / pair["mass_g"]
        assert pair["absorbed_dose_Gy"] == pytest.approx(mean, rel=1e-4)
        for region, row in regions.items():
            total[region] = total.get(region, 0.0) + row["absorbed_dose_Gy"]
    assert {r["region"]: r["absorbed_dose_Gy"] for r in found["cumulative"]} == pytest.approx(total, rel=1e-5)


def test_the_biology_of_the_second_cycle_is_another_one(example: Path) -> None:
    cycles = json.loads((example / "truth.json").read_text(encoding="utf-8"))["cycles"]
    one, two = ({r["region"]: r["nuclides"]["Lu-177"]["absorbed_dose_Gy"] for r in c["regions"]} for c in cycles)
    assert 1.005 < two["kidneys"] / one["kidneys"] < 1.03
    assert two["tumour 1"] / one["tumour 1"] == pytest.approx(0.88, rel=0.01)
    assert cycles[0]["motion"] != cycles[1]["motion"]


def test_blood_and_whole_body_of_the_cycles_have_their_own_noise(example: Path) -> None:
    for name in ("blood.csv", "whole_body.csv"):
        one, two = ((example / f"cycle{n}" / name).read_text(encoding="utf-8") for n in (1, 2))
        assert one != two


def test_laboratory_values_cover_baseline_nadirs_and_the_days_before_each_cycle(example: Path) -> None:
    one, two = (c["administered_at"] for c in case_of(example)["cycles"])
    with (example / "labs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    days = {r["visit"]: (datetime.fromisoformat(r["taken_at"]) - one).days for r in rows}
    assert -28 <= days["baseline"] < 0 < days["week 4"] < days["pre-cycle 2"] < (two - one).days
    assert (two - one).days < days["week 12"] < days["pre-cycle 3"] < 112
    assert 112 - days["pre-cycle 3"] <= 14
    per_visit = {visit: {r["analyte"] for r in rows if r["visit"] == visit} for visit in days}
    assert all(analytes == per_visit["baseline"] for analytes in per_visit.values())


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
    files = [f for f in example.rglob("*.dcm") if not re.search(r"_(?!001)\d{3}\.dcm$", f.name)]
    assert {f.name for f in files} >= {"ct_001.dcm", "spect_004h.dcm", "rtstruct.dcm", "seg.dcm"}
    for file in files:
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

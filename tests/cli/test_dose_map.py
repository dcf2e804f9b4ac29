"""Command `dose-map`: units, grid, refusals with nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import typer
from typer.testing import CliRunner

from lutetia.cli.dose_map import dose_map
from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.dose.voxel_dose import voxel_dose
from lutetia.errors import LutetiaError
from lutetia.imaging.nifti import image_of, read_nifti

app = typer.Typer()
app.command("dose-map")(dose_map)
GRID = axis_aligned_grid((12, 11, 10), (4.0, 3.0, 3.5), origin_mm=(-20.0, 15.0, 100.0))


def write(path: Path, values: np.ndarray, grid: Grid = GRID) -> Path:
    sitk.WriteImage(image_of(values.astype(np.float32), grid), str(path))
    return path


def run(*arguments: str | Path) -> dict[str, object]:
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert isinstance(record, dict)
    return record


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    activity = write(tmp_path / "tia.nii.gz", random.random(GRID.shape))
    return activity, write(tmp_path / "density.nii.gz", random.uniform(0.3, 1.8, GRID.shape))


def test_time_integrated_activity_becomes_dose_on_the_same_grid(maps: tuple[Path, Path], tmp_path: Path) -> None:
    activity, density = maps
    out = tmp_path / "dose.nii.gz"
    record = run(
        activity, "--nuclide", "90Y", "--input", "time-integrated-activity", "--density", density, "--out", out
    )
    values, grid = read_nifti(out, where="dose")
    assert grid.same_as(GRID)
    source, mass = (read_nifti(p, where="map")[0].astype(np.float32) for p in maps)
    expected = voxel_dose(
        Volume(source, GRID, "MBq_h_per_mL"), "Y-90", density=Volume(mass, GRID, "g_per_mL")
    ).dose.values
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6 * expected.max())
    assert record["unit"] == "Gy"
    assert record["nuclide"] == "Y-90"
    assert record["maximum"] == pytest.approx(float(expected.max()), rel=1e-5)


def test_activity_becomes_dose_rate_without_density(maps: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "rate.nii"
    record = run(maps[0], "--nuclide", "Lu-177", "--input", "activity", "--out", out, "--method", "local-deposition")
    assert record["unit"] == "Gy/h"
    assert "1.04 g/mL" in str(record["method"])
    source, _ = read_nifti(maps[0], where="map")
    # 0.1479 MeV per decay in 1.04 g/mL: 0.0820 Gy/h per MBq/mL
    np.testing.assert_allclose(read_nifti(out, where="rate")[0], source * 0.0820, rtol=2e-3)


def test_monte_carlo_writes_its_uncertainty_and_repeats(maps: tuple[Path, Path], tmp_path: Path) -> None:
    activity, density = maps
    common = (activity, "--nuclide", "Lu-177", "--input", "activity", "--density", density, "--method", "monte carlo")
    first, second, sd = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", tmp_path / "sd.nii.gz"
    record = run(*common, "--photons", "3200", "--out", first, "--uncertainty", sd)
    run(*common, "--photons", "3200", "--out", second)
    np.testing.assert_array_equal(read_nifti(first, where="a")[0], read_nifti(second, where="b")[0])
    assert read_nifti(sd, where="sd")[0].max() > 0
    assert 0 < float(str(record["relative_sd_above_half_maximum"])) < 0.1


def test_the_text_names_method_and_file(maps: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "dose.nii.gz"
    arguments = [str(maps[0]), "--nuclide", "Y-90", "--input", "activity", "--out", str(out), "--resolution-mm", "10"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "Y-90 Gy/h: kernel" in result.stdout
    assert "FWHM 10 mm" in result.stdout
    assert "dose.nii.gz" in result.stdout


def refused(folder: Path, text: str, *arguments: str | Path) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(LutetiaError, match=text):
        CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_bad_input_is_refused_and_leaves_nothing(maps: tuple[Path, Path], tmp_path: Path) -> None:
    activity, _ = maps
    out = tmp_path / "dose.nii.gz"
    source, _ = read_nifti(activity, where="map")
    lu = ("--nuclide", "Lu-177", "--input", "activity", "--out", out)
    negative, missing = source.copy(), source.copy()
    negative[1, 1, 1], missing[2, 2, 2] = -1.0, np.nan
    shifted = axis_aligned_grid(GRID.shape, GRID.spacing_mm, origin_mm=(-18.0, 15.0, 100.0))
    flat = axis_aligned_grid(GRID.shape, (25.0, 3.0, 3.0))
    cases: list[tuple[str, tuple[str | Path, ...]]] = [
        ("negative voxels", (write(tmp_path / "negative.nii", negative), *lu)),
        ("not a number", (write(tmp_path / "nan.nii", missing), *lu)),
        ("density map: found values that are not", (activity, *lu, "--density", write(tmp_path / "m.nii.gz", missing))),
        ("divide Bq/mL by 1e6", (write(tmp_path / "bq.nii", source * 1e6), *lu)),
        ("at most 5 times the shortest", (write(tmp_path / "flat.nii", source, flat), *lu)),
        ("resample it", (activity, *lu, "--density", write(tmp_path / "shifted.nii", source + 0.5, shifted))),
        ("Hounsfield", (activity, *lu, "--density", write(tmp_path / "hu.nii", source * 2000 - 1000))),
        ("expected 0 to 5", (activity, *lu, "--density", write(tmp_path / "heavy.nii", source * 20))),
        ("found nothing", (tmp_path / "absent.nii.gz", *lu)),
        ("expected a NIfTI file", (tmp_path / "map.dcm", *lu)),
        ("Lu-177", (activity, "--nuclide", "Lu-1777", "--input", "activity", "--out", out)),
        ("expected activity or", (activity, "--nuclide", "Lu-177", "--input", "counts", "--out", out)),
        ("dose method", (activity, *lu, "--method", "kernal")),
        ("found no density map", (activity, *lu, "--method", "monte carlo")),
        ("without noise", (activity, *lu, "--uncertainty", tmp_path / "sd.nii.gz")),
        ("ending in .nii", (activity, "--nuclide", "Lu-177", "--input", "activity", "--out", tmp_path / "dose.dcm")),
        ("overwrite", (activity, "--nuclide", "Lu-177", "--input", "activity", "--out", activity)),
        ("found no folder", (activity, "--nuclide", "Lu-177", "--input", "activity", "--out", tmp_path / "x/d.nii.gz")),
    ]
    for text, arguments in cases:
        refused(tmp_path, text, *arguments)


def test_a_failed_write_keeps_the_earlier_result(
    maps: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "dose.nii.gz"
    run(maps[0], "--nuclide", "Y-90", "--input", "activity", "--out", out)

    def full_disk(*_: object, **__: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", full_disk)
    refused(tmp_path, "cannot be written", maps[0], "--nuclide", "Lu-177", "--input", "activity", "--out", out)


def test_regions_get_their_dose_volume_figures_and_histograms(maps: tuple[Path, Path], tmp_path: Path) -> None:
    labels = np.zeros(GRID.shape)
    labels[2:6, 3:8, 2:7] = 1
    labels[8:10, 3:8, 2:7] = 2
    regions, out, table = write(tmp_path / "regions.nii.gz", labels), tmp_path / "dose.nii.gz", tmp_path / "dvh.csv"
    options = ["--nuclide", "Lu-177", "--input", "time-integrated-activity", "--out", out]
    record = run(maps[0], *options, "--regions", regions, "--label", "1=liver", "--label", "2=spleen", "--dvh", table)
    values, _ = read_nifti(out, where="dose")
    rows = record["regions"]
    assert isinstance(rows, list)
    assert [row["region"] for row in rows] == ["liver", "spleen"]
    inside = values[labels == 1]
    assert rows[0]["mean"] == pytest.approx(inside.mean(), rel=1e-4)
    assert rows[0]["D50"] == pytest.approx(np.median(inside), rel=0.02)
    assert rows[0]["volume_mL"] == pytest.approx((labels == 1).sum() * 4.0 * 3.0 * 3.5 / 1000.0)
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("region,map,unit,volume_mL,mean,D98,D50,D2,dose")
    assert lines[1].startswith("liver,Lu-177,Gy,")
    assert lines[1].endswith(",0,100")
    assert len(lines) == 1 + 2 * 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dvh", "dvh.csv"], "without --regions"),
        (["--regions", "REGIONS", "--label", "liver"], "1=left kidney"),
        (["--regions", "REGIONS", "--label", "1=liver", "--dvh", "dvh.txt"], "ending in .csv"),
    ],
)
def test_regions_that_cannot_be_used_are_refused(
    maps: tuple[Path, Path], tmp_path: Path, options: list[str], message: str
) -> None:
    labels = np.zeros(GRID.shape)
    labels[2:6, 3:8, 2:7] = 1
    regions = write(tmp_path / "regions.nii.gz", labels)
    given = [str(regions) if o == "REGIONS" else o for o in options]
    out = tmp_path / "dose.nii.gz"
    with pytest.raises(LutetiaError, match=message):
        run(maps[0], "--nuclide", "Lu-177", "--input", "activity", "--out", out, *given)
    assert not out.exists()

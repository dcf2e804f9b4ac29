"""Written objects against an independent validator of the DICOM standard (dciodvfy of dicom3tools)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.imaging.writing.common import Study
from lutetia.imaging.writing.ct import write_ct_series
from lutetia.imaging.writing.nm import write_nm
from lutetia.imaging.writing.pt import write_pt_series
from lutetia.imaging.writing.radiopharmaceutical import Radiopharmaceutical
from lutetia.imaging.writing.rtstruct import write_rtstruct
from lutetia.imaging.writing.seg import write_seg

START = datetime(2026, 1, 13, 9, 15)
FILES = (
    "ct/ct_001.dcm",
    "pt_NONE/pt_001.dcm",
    "pt_START/pt_002.dcm",
    "pt_ADMIN/pt_003.dcm",
    "counts.dcm",
    "mapped.dcm",
    "rtstruct.dcm",
    "seg.dcm",
    "fractional.dcm",
)


@pytest.fixture(scope="module", params=["HFS", "FFS"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("valid")
    grid = axis_aligned_grid((5, 20, 24), (3.0, 2.4, 2.4), origin_mm=(-10.12345678, 5.0, 7.0))
    visit = Study("valid", "VIRTUAL-1", "female", START, position=request.param, weight_kg=68.0, height_cm=165.0)
    ct = write_ct_series(Volume(np.zeros(grid.shape), grid, "HU"), path / "ct", visit, acquired_at=START)
    given = Radiopharmaceutical("Lu-177", 3700.0, START - timedelta(hours=23.75))
    values = np.random.default_rng(1).uniform(0.0, 2.0, grid.shape)
    concentration, counts = Volume(values, grid, "MBq_per_mL"), Volume(np.rint(100 * values), grid, "counts")
    for state in ("NONE", "START", "ADMIN"):
        write_pt_series(
            concentration, path / f"pt_{state}", visit, given=given, acquired_at=START, duration_s=1800.0,
            decay_correction=state,  # type: ignore[arg-type]
        )  # fmt: skip
    for name, volume in (("counts", counts), ("mapped", concentration)):
        write_nm(volume, path / f"{name}.dcm", visit, given=given, acquired_at=START, duration_s=1800.0)
    inner = np.zeros(grid.shape, dtype=bool)
    inner[1:3, 8:12, 8:12] = True
    masks = [RegionMask("liver", ~inner, grid), RegionMask("tumour 1", inner, grid)]
    write_rtstruct(masks, path / "rtstruct.dcm", ct, drawn_at=START)
    write_seg(masks, path / "seg.dcm", ct, drawn_at=START)
    write_seg(masks, path / "fractional.dcm", ct, drawn_at=START, fractional=True)
    return path


@pytest.mark.parametrize("name", FILES)
def test_the_validator_finds_no_error(folder: Path, name: str, debian_tool: Callable[[str], str]) -> None:
    command = [debian_tool("dciodvfy"), "-new", str(folder / name)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (found.stdout + found.stderr).splitlines()
    assert not [line for line in lines if line.startswith(("Error", "Warning"))]
    assert lines, "the validator said nothing at all, not even the kind of object"

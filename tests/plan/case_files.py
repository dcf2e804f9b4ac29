"""Small cases for the tests: tables and images written from a case dictionary, and the real command on them."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema

from lutetia.cli import main
from lutetia.core.geometry import axis_aligned_grid
from lutetia.nuclear.nuclides import nuclide
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.camera import Camera
from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.phantom.subject import reference_woman

SUBJECT = reference_woman()
TIMES_H = (4.0, 24.0, 96.0, 168.0)
BLOOD_H = (0.25, 0.75, 1.5, 3.0, 6.0, 24.0, 48.0, 96.0, 168.0)
BODY_H = (0.5, 4.0, 24.0, 48.0, 96.0, 168.0)
ORGANS = ("left kidney", "right kidney", "liver", "spleen")
MASSES = {name: round(SUBJECT.mass_g(name), 2) for name in (*ORGANS, "tumour 1")}
STARTS = ("2026-01-12T09:30:00+01:00", "2026-03-09T09:30:00+01:00", "2026-05-04T09:30:00+02:00")
DRAWS = ("--draws", "200")
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "result.schema.json").read_text(encoding="utf-8"))
GRID = axis_aligned_grid((40, 42, 54), (7.5, 7.5, 7.5), origin_mm=(-198.75, -153.75, -120.0))
CT_GRID = axis_aligned_grid((40, 42, 54), (7.5, 7.5, 7.5), origin_mm=(-198.75, -153.75, -120.0))
SMALL_IMAGES = CaseOptions(
    times_h=(24.0, 96.0, 168.0),
    drawn_on=1,
    camera=Camera(noise_gain=0.0),
    grid=GRID,
    ct_grid=CT_GRID,
    regions=ORGANS,
)


@dataclass(frozen=True)
class Run:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


def command(*arguments: str | Path) -> Run:
    """`lutetia ARGUMENTS` in this process: exit code and both streams."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        patch.object(sys, "argv", ["lutetia", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Run(code, out.getvalue(), err.getvalue())


def planned(case: Path, *arguments: str) -> dict[str, Any]:
    """Result of `lutetia plan --json`, which must succeed and fit the schema."""
    run = command("plan", case, "--json", *(arguments or DRAWS))
    assert run.code == 0, run.err
    jsonschema.validate(run.json, SCHEMA)
    assert run.json == json.loads((case / "out" / "result.json").read_text(encoding="utf-8"))
    return run.json


def refused(case: Path, *fragments: str, out: Path | None = None) -> str:
    """The message of a refusal: exit code 2, one message with all fragments, and nothing written."""
    target = out or case / "out"
    before = snapshot(case.parent)
    run = command("plan", case, "--out", target, *DRAWS)
    assert run.code == 2, (run.code, run.err)
    assert run.out == ""
    assert run.err.startswith("error: ")
    assert "Traceback" not in run.err
    for fragment in fragments:
        assert fragment.lower() in run.err.lower(), f"{fragment!r} is not in: {run.err}"
    assert snapshot(case.parent) == before
    return run.err


def snapshot(folder: Path) -> dict[str, bytes]:
    """Names and contents of everything in a folder."""
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def table(region_rows: dict[str, tuple[float, ...]], *, given_MBq: float = 3700.0) -> str:
    """Text of regions.csv without noise: region → times."""
    rows = ["region,time_h,activity_MBq,sd_MBq"]
    for region, times in region_rows.items():
        for t in times:
            a = float(SUBJECT.organ(region).biology.activity_MBq([t], "Lu-177", given_MBq)[0])
            rows.append(f"{region},{t:g},{a:.6g},{0.04 * a:.4g}")
    return "\n".join(rows) + "\n"


def pair_table(times: tuple[float, ...] = TIMES_H, *, given_MBq: float = 3700.0) -> str:
    """The two kidneys as one region."""
    rows = ["region,time_h,activity_MBq,sd_MBq"]
    for t in times:
        a = sum(
            float(SUBJECT.organ(side).biology.activity_MBq([t], "Lu-177", given_MBq)[0])
            for side in ("left kidney", "right kidney")
        )
        rows.append(f"kidneys,{t:g},{a:.6g},{0.04 * a:.4g}")
    return "\n".join(rows) + "\n"


def blood_csv(*, given_MBq: float = 3700.0) -> str:
    values = SUBJECT.blood_per_mL.activity_MBq(BLOOD_H, "Lu-177", given_MBq)
    return "time_h,activity_MBq_per_mL\n" + "".join(f"{t:g},{a:.6g}\n" for t, a in zip(BLOOD_H, values, strict=True))


def body_csv(*, given_MBq: float = 3700.0) -> str:
    values = SUBJECT.whole_body().activity_MBq(BODY_H, "Lu-177", given_MBq)
    return "time_h,activity_MBq\n" + "".join(f"{t:g},{a:.6g}\n" for t, a in zip(BODY_H, values, strict=True))


def table_cycle(number: int = 1, *, given: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """One measured cycle as a dictionary; tables are texts and become files."""
    given = given or {"Lu-177": 3700.0, "Y-90": 3700.0}
    measured = given.get("Lu-177", 3700.0)
    organs = dict.fromkeys(ORGANS, TIMES_H)
    cycle: dict[str, Any] = {
        "number": number,
        "administered_at": STARTS[number - 1],
        "administered_MBq": given,
        "regions": {
            "file": table(organs, given_MBq=measured),
            "masses_g": {name: MASSES[name] for name in ORGANS},
        },
        "blood": {"file": blood_csv(given_MBq=measured)},
        "whole_body": {"file": body_csv(given_MBq=measured)},
    }
    cycle |= more
    return {key: value for key, value in cycle.items() if value is not None}


def case_data(*cycles: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A case of table cycles in arm B of `duonen`."""
    case: dict[str, Any] = {
        "schema": "lutetia.case/1",
        "timezone": "Europe/Warsaw",
        "subject": {"id": "T-1", "sex": "female", "age_years": 58.0, "weight_kg": 68.0},
        "protocol": {"name": "duonen", "arm": "B"},
        "calibration": {"sd_percent": 4.0},
        "cycles": list(cycles),
    }
    return case | more


def write_case(folder: Path, data: dict[str, Any]) -> Path:
    """Write case.toml; every `file` or `labs` whose value holds a line break becomes a file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{key} = {_toml(value)}"
        for key, value in _filed(data, folder, "t").items()
        if value is not None and value != []
    ]
    (folder / "case.toml").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return folder


def _filed(value: Any, folder: Path, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _filed(item, folder, f"{name}_{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_filed(item, folder, f"{name}{n}") for n, item in enumerate(value, start=1)]
    if isinstance(value, str) and "\n" in value:
        (folder / f"{name}.csv").write_text(value, encoding="utf-8", newline="\n")
        return f"{name}.csv"
    return value


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str) and len(value) >= 10 and value[:4].isdigit() and value[4] == "-":
        return value
    return repr(value) if isinstance(value, float) else json.dumps(value)


def image_case(folder: Path, **changes: Any) -> Path:
    """A case of three small noise-free SPECT/CT of the virtual woman."""
    return write_image_case(EllipsoidAnatomy(SUBJECT), folder, replace(SMALL_IMAGES, **changes))


def edit(case: Path, old: str, new: str, *, file: str = "case.toml") -> None:
    """Replace a text that must be there."""
    path = case / file
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def region(result: dict[str, Any], name: str, cycle: int = 1, method: str | None = None) -> dict[str, Any]:
    """One region of one cycle of a result."""
    found: list[dict[str, Any]] = [
        r
        for r in result["cycles"][cycle - 1]["regions"]
        if r["region"] == name and (method is None or method in r["method"])
    ]
    assert len(found) == 1, [(r["region"], r["method"]) for r in result["cycles"][cycle - 1]["regions"]]
    return found[0]


def codes(result: dict[str, Any]) -> set[str]:
    """Codes of all warnings of a result."""
    return {w["code"] for w in result["warnings"]}


def dose_per_MBq_h(mass_g: float) -> float:
    """Local electron dose of 177Lu in Gy per MBq·h, an upper bound of the self-dose from electrons."""
    return nuclide("Lu-177").electron_MeV * 1.602176634e-13 * 3600.0 * 1e6 / (1e-3 * mass_g)

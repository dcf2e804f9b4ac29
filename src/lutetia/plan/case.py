"""`case.toml`: what a user says about one subject, checked before anything is computed.

Here: the shape of the file and the checks that need no other file. Not here: reading tables (`lutetia.plan.tables`)
and images (`lutetia.imaging`). To add a key: one field of a model below, and a line in docs/reference/case.md.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lutetia.core.clock import hours_between, localise, time_zone
from lutetia.core.regions import canonical_region
from lutetia.errors import CaseError, LutetiaError
from lutetia.nuclear.nuclides import canonical_nuclide

SCHEMA = "lutetia.case/1"
MAX_CASE_BYTES = 1_000_000
NO_NUCLIDE = "administered_MBq is empty; name each nuclide given, in MBq"
NO_REGIONS = "scans without regions; add [[cycles.segmentation]] with the file and the scan it was drawn on"
#: Of a case with images; `lutetia.plan.images` says it too.
NO_CALIBRATION = (
    "calibration: missing for images; give resolution_fwhm_mm or recovery_csv from a sphere phantom, "
    "or recovery_applied = true"
)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Number = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[float, Field(gt=0), AfterValidator(_finite)]
NonNegative = Annotated[float, Field(ge=0), AfterValidator(_finite)]


def _named(canonical: Callable[[str], str]) -> Callable[[str], str]:
    """A name check whose error pydantic collects with the place of the name."""

    def check(name: str) -> str:
        try:
            return canonical(name)
        except LutetiaError as error:
            raise ValueError(str(error)) from error

    return check


RegionName = Annotated[str, AfterValidator(_named(canonical_region))]
NuclideName = Annotated[str, AfterValidator(_named(canonical_nuclide))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def _distinct(given: Any, canonical: Callable[[str], str]) -> Any:
    if isinstance(given, dict):
        names = [canonical(str(name)) for name in given]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is named twice; keep one entry")
    return given


class PriorTherapy(_Strict):
    """Dose that a region received before this course."""

    region: RegionName
    absorbed_dose_Gy: NonNegative
    bed_Gy: NonNegative | None = None
    method: str | None = None

    @model_validator(mode="after")
    def _bed_above_dose(self) -> PriorTherapy:
        if self.bed_Gy is not None and self.bed_Gy < self.absorbed_dose_Gy:
            raise ValueError(f"bed_Gy {self.bed_Gy:g} is below absorbed_dose_Gy {self.absorbed_dose_Gy:g}; correct one")
        return self


class Subject(_Strict):
    """The pseudonymous subject."""

    id: str = Field(min_length=1, max_length=64)
    sex: Literal["female", "male"]
    age_years: Annotated[float, Field(ge=0, le=120)] | None = None
    height_cm: Annotated[float, Field(gt=30, lt=260)] | None = None
    weight_kg: Annotated[float, Field(gt=2, lt=400)] | None = None
    hematocrit: Annotated[float, Field(gt=0.05, lt=0.7)] | None = None
    kidneys_present: Literal[1, 2] = 2
    risk_factors: tuple[str, ...] | None = None
    labs: Path | None = None
    prior_therapy: tuple[PriorTherapy, ...] = ()


class ProtocolChoice(_Strict):
    """Which protocol, and the subject's arm."""

    name: str | None = None
    file: Path | None = None
    arm: str

    @model_validator(mode="after")
    def _one_source(self) -> ProtocolChoice:
        if (self.name is None) == (self.file is None):
            raise ValueError("give either `name` (a packaged protocol) or `file`, not both and not neither")
        return self


class Calibration(_Strict):
    """Scanner calibration and resolution."""

    cps_per_MBq: Positive | None = None
    sd_percent: NonNegative | None = None
    date: dt.date | None = None
    dead_time_us: NonNegative = 0.0
    resolution_fwhm_mm: Annotated[float, Field(gt=0, lt=60)] | None = None
    recovery_csv: Path | None = None
    recovery_applied: bool = False
    y90_cps_per_MBq: NonNegative | None = None

    @model_validator(mode="after")
    def _y90_with_calibration(self) -> Calibration:
        if self.y90_cps_per_MBq is not None and self.cps_per_MBq is None:
            raise ValueError("y90_cps_per_MBq needs cps_per_MBq, to which it is compared; give both")
        return self


class Marrow(_Strict):
    """How the blood method takes marrow from blood."""

    ratio: Literal["unity", "sgouros"] = "unity"


class Scan(_Strict):
    """One quantitative SPECT with its CT."""

    spect: Path
    ct: Path | None = None
    time_h: Number | None = None
    decay_corrected_to: Literal["none", "start", "admin"] | None = None
    unit: Literal["Bq_per_mL", "MBq_per_mL", "counts"] | None = None
    duration_s: Positive | None = None


class Segmentation(_Strict):
    """A file with regions and the scan it was drawn on."""

    file: Path
    scan: Annotated[int, Field(ge=1)]
    labels: dict[str, str] | None = None


class RegionTable(_Strict):
    """Activities of regions over time as a table."""

    file: Path
    masses_g: dict[RegionName, Positive] = {}
    mass_sd_percent: NonNegative | None = None

    @field_validator("masses_g", mode="before")
    @classmethod
    def _each_once(cls, given: Any) -> Any:
        return _distinct(given, _named(canonical_region))


class TableFile(_Strict):
    """A table beside the case file."""

    file: Path


class Cycle(_Strict):
    """One administered cycle and what was measured of it."""

    number: Annotated[int, Field(ge=1, le=20)]
    administered_at: datetime | dict[NuclideName, datetime]
    administered_MBq: dict[NuclideName, Annotated[float, Field(gt=0, le=100_000)]]
    prescribed_MBq: dict[NuclideName, Annotated[float, Field(ge=0, le=100_000)]] | None = None
    scans: tuple[Scan, ...] = ()
    segmentation: tuple[Segmentation, ...] = ()
    regions: RegionTable | None = None
    blood: TableFile | None = None
    whole_body: TableFile | None = None
    doses: TableFile | None = None

    @field_validator("administered_at", mode="before")
    @classmethod
    def _with_time(cls, given: Any) -> Any:
        moments = given.values() if isinstance(given, dict) else [given]
        if any(isinstance(m, dt.date) and not isinstance(m, datetime) for m in moments):
            raise ValueError("found a date without time of day; give date and time, such as 2026-01-12T09:30:00")
        return given

    @field_validator("administered_MBq", "prescribed_MBq", "administered_at", mode="before")
    @classmethod
    def _each_once(cls, given: Any) -> Any:
        return _distinct(given, _named(canonical_nuclide))

    @model_validator(mode="after")
    def _whole(self) -> Cycle:
        if not self.administered_MBq:
            raise ValueError(NO_NUCLIDE)
        if isinstance(self.administered_at, dict):
            times = set(self.administered_at)
            if times != set(self.administered_MBq):
                raise ValueError(
                    f"administered_at names {sorted(times)} but administered_MBq {sorted(self.administered_MBq)}"
                )
        if self.scans and not self.segmentation:
            raise ValueError(NO_REGIONS)
        for part in self.segmentation:
            if part.scan > len(self.scans):
                raise ValueError(
                    f"segmentation is drawn on scan {part.scan}, but the cycle has {len(self.scans)} scans"
                )
        if self.doses and (self.scans or self.regions or self.blood):
            raise ValueError("doses are entered as results and measurements are given too; keep one of them")
        return self


class Case(_Strict):
    """Everything of one subject up to now."""

    schema_: Literal["lutetia.case/1"] = Field(alias="schema")
    timezone: str | None = None
    decision_at: datetime | dt.date | None = None
    subject: Subject
    protocol: ProtocolChoice
    calibration: Calibration | None = None
    marrow: Marrow = Marrow()
    cycles: tuple[Cycle, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Case:
        numbers = [cycle.number for cycle in self.cycles]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"cycles are numbered {numbers}; expected 1, 2, 3, … in order, each once")
        return self

    @model_validator(mode="after")
    def _ratio_with_hematocrit(self) -> Case:
        if self.marrow.ratio == "sgouros" and self.subject.hematocrit is None:
            raise ValueError(
                'marrow, ratio: "sgouros" needs subject, hematocrit (a fraction, 0.38); give it, or "unity"'
            )
        return self


def start_times(case: Case, cycle: Cycle) -> dict[str, datetime]:
    """Start of infusion of each nuclide of a cycle, aware."""
    zone = time_zone(case.timezone) if case.timezone else None
    where = f"cycle {cycle.number}, administered_at"
    if isinstance(cycle.administered_at, datetime):
        return dict.fromkeys(cycle.administered_MBq, localise(cycle.administered_at, zone, where=where))
    return {n: localise(t, zone, where=where) for n, t in cycle.administered_at.items()}


def delays_h(case: Case, cycle: Cycle) -> dict[str, float]:
    """Hours from the cycle's time zero (first infusion) to the start of each nuclide's infusion."""
    starts = start_times(case, cycle)
    zero = min(starts.values())
    return {nuclide: hours_between(zero, start) for nuclide, start in starts.items()}


def read_case(path: Path) -> Case:
    """Read and check a case.

    Parameters
    ----------
    path
        A `case.toml`, or the folder that holds it.

    Raises
    ------
    CaseError
        With the place, what was found, what is expected and what to do; all problems of the file in one message.
    """
    file = case_file(path)
    if file.stat().st_size > MAX_CASE_BYTES:
        raise CaseError(
            f"{file.name}: found {file.stat().st_size} bytes; a case file is text of at most {MAX_CASE_BYTES}"
        )
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CaseError(f"{file.name}: cannot be read ({error.strerror}); check the file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaseError(f"{file.name}: not valid TOML ({error}); correct it there") from error
    if data.get("schema") != SCHEMA:
        raise CaseError(f"{file.name}: found schema {data.get('schema')!r}; expected {SCHEMA!r} on its first line")
    try:
        case = Case.model_validate(data)
    except ValidationError as error:
        raise CaseError(_explain(error, file.name, data)) from error
    _check_times(case)
    return case


def case_file(path: Path) -> Path:
    """The `case.toml` that a user means by a folder or a file."""
    file = path / "case.toml" if path.is_dir() else path
    if not file.is_file():
        raise CaseError(
            f"{path}: found no case.toml; give a case folder, or make one with `lutetia new-case` or `lutetia example`"
        )
    return file


def _check_times(case: Case) -> None:
    zero = [min(start_times(case, cycle).values()) for cycle in case.cycles]
    for number, (before, after) in enumerate(itertools.pairwise(zero), start=2):
        if hours_between(before, after) <= 0:
            raise CaseError(
                f"cycle {number}: administered at {after}, not after cycle {number - 1} ({before}); correct the dates"
            )


def _explain(error: ValidationError, file: str, data: dict[str, Any]) -> str:
    """All problems of a file: those of the models, and those that they come to only when keys before are right."""
    found = [_explain_one(dict(item)) for item in error.errors(include_url=False)]
    lines = list(dict.fromkeys([*found, *_unfinished(data)]))
    head = f"{file}: " if len(lines) == 1 else f"{file}: {len(lines)} problems\n  "
    return head + "\n  ".join(lines)


def _unfinished(data: dict[str, Any]) -> list[str]:
    """What is still missing of nuclides, regions and calibration, told from the file as it was written."""
    cycles = data.get("cycles")
    tables = [c for c in cycles if isinstance(c, dict)] if isinstance(cycles, list) else []
    lines = []
    for number, cycle in enumerate(tables, start=1):
        if cycle.get("administered_MBq") == {}:
            lines.append(f"cycle {number}: {NO_NUCLIDE}")
        if cycle.get("scans") and not cycle.get("segmentation"):
            lines.append(f"cycle {number}: {NO_REGIONS}")
    calibration, scans = data.get("calibration"), any(cycle.get("scans") for cycle in tables)
    known = calibration if isinstance(calibration, dict) else {}
    if scans and not {"resolution_fwhm_mm", "recovery_csv", "recovery_applied"} & set(known):
        lines.append(NO_CALIBRATION)
    return lines


def _explain_one(item: dict[str, Any]) -> str:
    where = f"{place}: " if (place := _place(item["loc"])) else ""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{where}unknown key; known here: {', '.join(_known_keys(item['loc'][:-1]))}"
    if kind == "missing":
        return f"{where}missing; add it"
    if isinstance(cause := context.get("error"), ValueError):
        return f"{where}{cause}"
    shown = "" if isinstance(item.get("input"), dict | list) else f" (found {item.get('input')!r})"
    return f"{where}{item['msg'][0].lower()}{item['msg'][1:]}{shown}"


def _place(location: tuple[int | str, ...]) -> str:
    parts: list[str] = []
    for step in location:
        if isinstance(step, int):
            parts[-1] = f"{parts[-1].removesuffix('s')} {step + 1}"
        elif "[" not in step and step not in {"datetime", "float", "dict"}:
            parts.append(str(step))
    return ", ".join(parts)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Case
    names = {"subject": Subject, "prior_therapy": PriorTherapy, "protocol": ProtocolChoice, "calibration": Calibration,
             "marrow": Marrow, "cycles": Cycle, "scans": Scan, "segmentation": Segmentation,
             "regions": RegionTable}  # fmt: skip
    for step in location:
        model = names.get(str(step), TableFile) if isinstance(step, str) else model
    return [field.alias or name for name, field in model.model_fields.items()]

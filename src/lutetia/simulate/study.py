"""Many virtual trials: run in chunks, kept on disk, resumed, and put together into operating characteristics."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.core.draws import FloatArray
from lutetia.core.numbers import six_digits
from lutetia.core.provenance import software
from lutetia.errors import InputError, OutputError
from lutetia.protocol.records import Protocol
from lutetia.simulate.calibration import calibration_record
from lutetia.simulate.chunks import map_chunks
from lutetia.simulate.outcomes import block_outcomes
from lutetia.simulate.population import Measurement, Population, packaged_measurement, read_population
from lutetia.simulate.statistics import STATISTIC_ANALYTES
from lutetia.simulate.stopping import stopping_record
from lutetia.simulate.trials import draw_block

SCHEMA = "lutetia.study-result/1"
SUBJECTS_PER_BLOCK = 2000
BLOCKS_PER_CHUNK = {"analytic": 6, "fitted": 1}
# Blocks whose intervals and probabilities are judged.
CALIBRATED_BLOCKS = 4
ALPHA = 0.05
Outcomes = dict[str, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class StudySpec:
    """Everything that the numbers of a study depend on."""

    protocol: Protocol
    population: Population
    measurement: Measurement
    subjects: int
    trials: int
    seed: int
    level: str
    effect: str
    biology: str
    calibrated_blocks: int = CALIBRATED_BLOCKS

    @property
    def trials_per_block(self) -> int:
        """Trials that share random streams; it depends on the number of subjects only."""
        return max(1, SUBJECTS_PER_BLOCK // self.subjects)

    @property
    def record(self) -> dict[str, Any]:
        """The specification as data."""
        return {
            "protocol": {"name": self.protocol.name, "version": self.protocol.version, "sha256": self.protocol.sha256},
            "population": {
                "name": self.population.name,
                "sha256": _sha256(self.population.text),
                "nuclide_factor": dict(self.population.nuclide_factor),
                "drift_per_cycle": dict(self.population.drift_per_cycle),
            },
            "measurement_sha256": _sha256(repr(self.measurement)),
            "subjects": self.subjects,
            "trials": self.trials,
            "seed": self.seed,
            "level": self.level,
            "effect": self.effect,
            "biology": self.biology,
            "calibrated_blocks": self.calibrated_blocks,
            "software": software(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ChunkTask:
    """Blocks of a study that one worker computes."""

    spec: StudySpec
    blocks: tuple[int, ...]


def study_spec(
    protocol: Protocol,
    *,
    subjects: int,
    trials: int,
    seed: int = 1,
    level: str = "analytic",
    effect: str = "planted",
    biology: str = "drawn",
    population: Population | None = None,
) -> StudySpec:
    """A checked specification with the packaged measurement errors.

    Raises
    ------
    InputError
        For fewer than one subject or trial.
    """
    if subjects < 1 or trials < 1:
        raise InputError(f"study: found {subjects} subjects and {trials} trials; expected 1 or more of both")
    spec = StudySpec(
        protocol,
        population or read_population(),
        packaged_measurement(),
        subjects,
        trials,
        seed,
        level,
        effect,
        biology,
    )
    # a small draw refuses what no chunk could do: an unknown level, an impossible protocol
    draw_block(
        protocol,
        spec.population,
        spec.measurement,
        trials=1,
        per_trial=len(protocol.arms),
        seed=0,
        level=level,
        biology=biology,
    )
    return spec


def run_chunk(task: ChunkTask) -> Outcomes:
    """Outcomes of the trials of some blocks, trial after trial."""
    spec, parts = task.spec, []
    for block in task.blocks:
        drawn = draw_block(
            spec.protocol, spec.population, spec.measurement, trials=spec.trials_per_block, per_trial=spec.subjects,
            seed=spec.seed, block=block, level=spec.level, biology=spec.biology,
        )  # fmt: skip
        wanted = min(spec.trials_per_block, spec.trials - block * spec.trials_per_block)
        outcomes = block_outcomes(drawn, spec.effect, calibrated=block < spec.calibrated_blocks)
        parts.append({name: values[:wanted] for name, values in outcomes.items()})
    return _joined(parts)


def run_study(
    spec: StudySpec,
    folder: Path | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcomes:
    """Outcomes of all trials; finished chunks in `folder` are used again.

    Parameters
    ----------
    spec
        What to run.
    folder
        Where finished chunks are kept; None keeps nothing.
    workers, scheduler
        As in `map_chunks`; the result does not depend on them.
    progress
        Called with trials done and trials in all.

    Raises
    ------
    OutputError
        If the folder holds another study, or cannot be written (a full disk): run again to resume.
    """
    tasks = _tasks(spec)
    done = {} if folder is None else _finished(folder, spec, len(tasks))
    missing = [i for i in range(len(tasks)) if i not in done]
    report = progress or (lambda finished, total: None)
    report(_trials(done), spec.trials)
    for place, outcomes in map_chunks(run_chunk, [tasks[i] for i in missing], workers=workers, scheduler=scheduler):
        index = missing[place]
        done[index] = outcomes
        if folder is not None:
            _keep(folder, spec, index, outcomes)
        report(_trials(done), spec.trials)
    return _joined([done[i] for i in range(len(tasks))])


def study_result(spec: StudySpec, outcomes: Outcomes) -> dict[str, Any]:
    """Operating characteristics: by arm the mean over trials and the range of 90 % of them; rejection rates.

    Returns
    -------
    A record for JSON; what cannot be told is None.
    """
    arms = list(spec.protocol.arms)
    by_arm: dict[str, dict[str, Any]] = {arm: {} for arm in arms}
    for name, values in outcomes.items():
        if values.ndim == 2:
            for i, arm in enumerate(arms):
                by_arm[arm][name] = _spread(values[:, i])
    tests = {n.removeprefix("p "): _rejections(v) for n, v in outcomes.items() if n.startswith("p ")}
    return {
        "schema": SCHEMA,
        **spec.record,
        "alpha": ALPHA,
        "limits": [
            {"id": li.id, "region": li.region, "metric": li.metric, "limit_Gy": li.limit_Gy}
            for li in spec.protocol.limits
        ],
        "arms": by_arm,
        "tests": tests,
        "stopping": stopping_record(outcomes, tuple(arms), spec.subjects),
        "calibration": calibration_record(outcomes),
        "published": published_statements(spec, outcomes),
        "assumptions": [str(mark) for mark in spec.protocol.marks],
    }


def published_statements(spec: StudySpec, outcomes: Outcomes) -> list[dict[str, Any]]:
    """In which share of trials each published direction of the DUONEN interim analysis shows; [] for other arms."""
    arms = list(spec.protocol.arms)
    if spec.protocol.name != "duonen" or not {"A", "B", "C", "D"} <= set(arms):
        return []
    a = {arm: i for i, arm in enumerate(arms)}
    kidney, marrow = outcomes["kidneys true median Gy"], outcomes["red marrow true median Gy"]
    reduced, increased = outcomes["category reduced"], outcomes["category increased"]
    checks = {
        "reductions predominate in arm B": reduced[:, a["B"]] > 0.5,
        "reductions predominate in arm C": reduced[:, a["C"]] > 0.5,
        "increases predominate in arm D": increased[:, a["D"]] > 0.5,
        "highest median kidney dose in arm C": np.nanargmax(np.nan_to_num(kidney), axis=1) == a["C"],
        "highest median marrow dose in arm C": np.nanargmax(np.nan_to_num(marrow), axis=1) == a["C"],
        "median kidney dose of arm C above 23 Gy": kidney[:, a["C"]] > 23.0,
    }
    for analyte in STATISTIC_ANALYTES:
        checks[f"{analyte} decline correlated with marrow dose (p < 0.05)"] = _below(
            outcomes[f"p dose {analyte} effect"]
        )
        within = _below(outcomes[f"p category within arm {analyte}"])
        checks[f"{analyte} decline not correlated with category within arm"] = 1.0 - within
    return [{"statement": name, "share_of_trials": _known_mean(values)} for name, values in checks.items()]


def _below(p: FloatArray) -> FloatArray:
    """1 where a p-value is below `ALPHA`, NaN where there is none."""
    return np.where(np.isnan(p), np.nan, p < ALPHA)


def _known_mean(values: FloatArray) -> float | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else None


def _spread(values: FloatArray) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not known.size:
        return {"mean": None, "low": None, "high": None}
    low, high = np.quantile(known, [0.05, 0.95])
    return {"mean": six_digits(known.mean()), "low": six_digits(low), "high": six_digits(high)}


def _rejections(p: FloatArray) -> dict[str, float | int | None]:
    known = p[np.isfinite(p)]
    if not known.size:
        return {"rejected": None, "standard_error": None, "trials": 0}
    share = float(np.mean(known < ALPHA))
    return {
        "rejected": six_digits(share),
        "standard_error": six_digits(np.sqrt(share * (1.0 - share) / known.size)),
        "trials": int(known.size),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _tasks(spec: StudySpec) -> list[ChunkTask]:
    blocks = -(-spec.trials // spec.trials_per_block)
    size = BLOCKS_PER_CHUNK[spec.level]
    return [ChunkTask(spec, tuple(range(i, min(i + size, blocks)))) for i in range(0, blocks, size)]


def _joined(parts: list[Outcomes]) -> Outcomes:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _trials(done: Mapping[int, Outcomes]) -> int:
    return sum(len(outcomes["subjects"]) for outcomes in done.values())


def _finished(folder: Path, spec: StudySpec, count: int) -> dict[int, Outcomes]:
    """Chunks of an earlier, interrupted run of the same study."""
    path = _spec_path(folder)
    if not path.is_file():
        return {}
    if path.read_bytes() != _spec_bytes(spec):
        raise OutputError(f"{folder}: holds the parts of another study; choose another folder with --out")
    found = {}
    for index in range(count):
        part = _chunk_path(folder, index)
        if part.is_file():
            with np.load(part, allow_pickle=False) as stored:
                found[index] = {name: stored[name] for name in stored.files}
    return found


def _chunk_path(folder: Path, index: int) -> Path:
    return folder / "chunks" / f"chunk-{index:05d}.npz"


def _spec_path(folder: Path) -> Path:
    return folder / "chunks" / "study-spec.json"


def _spec_bytes(spec: StudySpec) -> bytes:
    return json.dumps(spec.record, indent=1, sort_keys=True).encode()


def _keep(folder: Path, spec: StudySpec, index: int, outcomes: Outcomes) -> None:
    if not _spec_path(folder).is_file():
        _write(_spec_path(folder), _spec_bytes(spec), folder)
    content = io.BytesIO()
    np.savez(content, **outcomes)  # type: ignore[arg-type]
    _write(_chunk_path(folder, index), content.getvalue(), folder)


def _write(path: Path, content: bytes, folder: Path) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror}); free space and run the same command again: "
            "finished parts are kept"
        ) from error

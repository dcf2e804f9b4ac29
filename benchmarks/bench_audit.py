"""Speed of the trial's store: verifying and replaying 100,000 audit rows, commits, readings of the trail.

Prints one JSON line. Run: python benchmarks/bench_audit.py [--rows 100000] [--postgresql URL] [--bursts 0]
--bursts N also kills a writing process N times and checks that nothing was lost (200 takes some minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lutetia.errors import LutetiaError
from lutetia.trial import SYSTEM, Change, Create, Study, Trial, audit
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.trial.records import Actor, Grant

BATCH = 10_000
MANAGER = Actor("dm", "DM", (Grant("data_manager"),))
BURST = """
import sys
from pathlib import Path
from lutetia.trial import SYSTEM, Change, Create, Trial

def change(reader):
    number = reader.next_number("jobs", "job_id")
    labs = [Create("labs", {"subject_id": f"S{number}", "sample_id": "1", "analyte": str(i)}) for i in range(5)]
    return Change("burst", [Create("jobs", {"job_id": number, "kind": "x"}), *labs], result=number)

trial = Trial.open(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    print(trial.commit(change, SYSTEM).result, flush=True)
"""


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fill(trial: Trial, rows: int) -> float:
    """Laboratory values in bulk until the trail has `rows` rows; returns rows per second."""
    subjects = [Create("subjects", {"subject_id": f"S{n:04d}", "site": f"{n % 5:02d}"}) for n in range(500)]
    trial.commit(Change("enrol", subjects), SYSTEM)
    start, done = time.perf_counter(), 0
    while (missing := rows - trial.head().sequence) > 0:
        count = min(BATCH, missing)
        values = [
            {"subject_id": f"S{n % 500:04d}", "sample_id": str(n), "analyte": "platelets", "value": "200",
             "taken_at": "2026-01-01T08:00:00+00:00", "unit": "10^9/L"}
            for n in range(done, done + count)
        ]  # fmt: skip
        trial.commit(Change("import", [Create("labs", v) for v in values]), SYSTEM)
        done += count
    return done / (time.perf_counter() - start)


def single_commit_s(trial: Trial, count: int = 200) -> float:
    """Mean seconds of a commit of one record, on the disk."""
    start = time.perf_counter()
    for n in range(count):
        trial.commit(Change("enter", [Create("vitals", {"subject_id": f"S{n:04d}", "taken_on": "2026-01-02"})]), SYSTEM)
    return (time.perf_counter() - start) / count


def measure(trial: Trial, rows: int) -> dict[str, float | int]:
    """All figures of one database."""
    found: dict[str, float | int] = {
        "bulk_rows_per_s": fill(trial, rows),
        "single_commit_ms": 1e3 * single_commit_s(trial),
    }
    with trial.read() as reader:
        found["rows"] = audit.head(reader)[0]
        found["verify_s"] = min(seconds(lambda: audit.verify(reader)) for _ in range(3))
        found["verify_records_s"] = seconds(lambda: audit.verify_data(reader))
        wanted = AuditFilter(subject_id="S0007")
        found["trail_of_a_subject_ms"] = 1e3 * min(
            seconds(lambda: audit_trail(reader, MANAGER, wanted)) for _ in range(5)
        )
        last = AuditFilter(table="labs", record=rows // 2)
        found["history_of_a_record_ms"] = 1e3 * min(
            seconds(lambda: audit_trail(reader, MANAGER, last)) for _ in range(5)
        )
    return found


def kill_bursts(folder: Path, bursts: int) -> dict[str, int]:
    """Kill a writer again and again; counts of lost, half stored and unverifiable states (all must be 0)."""
    delay, known = random.Random(1), 0
    counts = {"bursts": bursts, "lost": 0, "half": 0, "broken": 0}
    for _ in range(bursts):
        with subprocess.Popen([sys.executable, "-c", BURST, str(folder)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            first = int(writer.stdout.readline())
            time.sleep(delay.uniform(0.0, 0.15))
            writer.send_signal(signal.SIGKILL)
            announced = [first, *(int(line) for line in writer.stdout.read().split("\n")[:-1])]
        with Trial.open(folder) as trial, trial.read() as reader:
            jobs, labs = reader.count("jobs"), reader.count("labs")
            counts["lost"] += jobs < max([known, *announced])
            counts["half"] += labs != 5 * jobs
            try:
                audit.verify(reader)
            except LutetiaError:
                counts["broken"] += 1
            known = jobs
    return counts | {"commits": known}


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--postgresql", help="URL of an empty database to measure too")
    parser.add_argument("--bursts", type=int, default=0)
    given = parser.parse_args()
    result: dict[str, object] = {"benchmark": "audit", "cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as place:
        for kind, url in (("sqlite", None), ("postgresql", given.postgresql)):
            if kind == "sqlite" or url is not None:
                with Trial.create(Path(place) / kind, study=Study("B", "benchmark"), url=url) as trial:
                    result[kind] = measure(trial, given.rows)
        if given.bursts:
            Trial.create(Path(place) / "bursts", study=Study("B", "benchmark")).close()
            result["kill_9"] = kill_bursts(Path(place) / "bursts", given.bursts)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

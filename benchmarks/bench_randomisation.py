"""Parallel randomisation: 24 requests at once, 50 rounds, on SQLite and (if its programs are there) PostgreSQL.

Every slot has to be distinct, each stratum's arms in the order of its list, and no subject lost; the audit chain
verifies, and the revealed seed reproduces every allocation. Prints one JSON line.
Run: python benchmarks/bench_randomisation.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.enrolment import BLOCKS, START, actor, eligible, make_list, make_trial

from lutetia.trial import ManualClock, Trial
from lutetia.trial.audit import verify
from lutetia.trial.randomisation_blocks import block_list
from lutetia.trial.randomisation_list import allocations
from lutetia.trial.randomisation_reveal import replay_record
from lutetia.workflow.randomisation import Randomise, Reveal, randomise, reveal

REQUESTS, SEED = 24, bytes(range(32))


def run(folder: Path, url: str | None, rounds: int) -> dict[str, float | int]:
    """All rounds on one database; raises where an allocation is lost, doubled or out of order."""
    times: list[float] = []
    make_trial(folder, url=url, planned_n=REQUESTS * rounds).close()
    with Trial.open(folder, clock=ManualClock(START)) as trial:  # with the durability of a real trial
        make_list(trial, length=REQUESTS * rounds)
        with ThreadPoolExecutor(REQUESTS) as pool:
            for _ in range(rounds):
                subjects = [eligible(trial, site) for site in ("01", "02") * (REQUESTS // 2)]
                times += pool.map(lambda one: timed(trial, one), subjects)
        check(trial, REQUESTS * rounds)
        record = reveal(trial, actor("unmasked_statistician"), Reveal("benchmark"))
        replayed = replay_record(record, where="benchmark").allocations
    return {
        "allocations": REQUESTS * rounds, "replayed": replayed,
        "median_ms": round(1e3 * float(np.median(times)), 2), "p95_ms": round(1e3 * float(np.quantile(times, 0.95)), 2),
    }  # fmt: skip


def timed(trial: Trial, subject_id: str) -> float:
    """Seconds of one request, its waiting for the others included."""
    start = time.perf_counter()
    level = ("no", "yes")[int(subject_id[-1]) % 2]
    randomise(trial, actor("coordinator", subject_id[:2]), Randomise(subject_id, {"diabetes": level}))
    return time.perf_counter() - start


def check(trial: Trial, expected: int) -> None:
    """Distinct slots, list order, nothing lost, chain intact."""
    with trial.read() as reader:
        rows = allocations(reader, "R01")
        verify(reader)
        if reader.count("subjects", state="RANDOMISED") != expected:
            raise SystemExit("a subject was lost")
    if [row["slot"] for row in rows] != list(range(1, expected + 1)):
        raise SystemExit("slots are not distinct")
    by_stratum = defaultdict(list)
    for row in rows:
        by_stratum[row["stratum"]].append(row["arm"])
    for stratum, arms in by_stratum.items():
        if tuple(arms) != block_list(BLOCKS, SEED, stratum, length=len(arms)):
            raise SystemExit(f"{stratum}: not the order of the list")


@contextmanager
def postgresql() -> Iterator[str | None]:
    """URL of a throw-away cluster on a socket, with its usual durability; None where PostgreSQL is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    if not folders:
        yield None
        return
    programs, home = folders[-1], Path(tempfile.mkdtemp(prefix="lutetia-bench-pg-"))
    words: list[str] = []
    if os.geteuid() == 0:
        import pwd

        user = pwd.getpwnam("postgres")
        os.chown(home, user.pw_uid, user.pw_gid)
        words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    control = [*words, str(programs / "pg_ctl"), "-D", str(home / "data"), "-w"]
    try:
        make = [*words, str(programs / "initdb"), "-D", str(home / "data"), "-U", "lutetia", "-A", "trust"]
        subprocess.run(make, check=True, capture_output=True, cwd=home)
        settings = f"-c listen_addresses= -c unix_socket_directories={home} -c max_connections=120"
        start = [*control, "-l", str(home / "log"), "-o", settings, "start"]
        subprocess.run(start, check=True, capture_output=True, cwd=home)
        try:
            yield f"postgresql+psycopg://lutetia@/postgres?host={home}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    """Both databases."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    found: dict[str, object] = {"benchmark": "randomisation", "requests": REQUESTS, "rounds": rounds}
    with tempfile.TemporaryDirectory() as scratch:
        found["sqlite"] = run(Path(scratch) / "sqlite", None, rounds)
        with postgresql() as url:
            found["postgresql"] = None if url is None else run(Path(scratch) / "postgresql", url, rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

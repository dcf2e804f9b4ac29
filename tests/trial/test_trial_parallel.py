"""Many writers at once, and writers that are killed: nothing lost, nothing half stored, the chain intact."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lutetia.errors import StaleRecordError
from lutetia.trial import SYSTEM, Change, Create, Reader, Study, Trial, Update, audit

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


def numbered(reader: Reader) -> Change:
    found = reader.next_number("jobs", "job_id")
    return Change("queue", [Create("jobs", {"job_id": found, "kind": "plan"})], result=found)


def test_24_parallel_writers_follow_one_another_and_lose_nothing(trial: Trial) -> None:
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda _: trial.commit(numbered, SYSTEM).result, range(24 * 5)))
    assert sorted(found) == list(range(1, 24 * 5 + 1))
    with trial.read() as reader:
        audit.verify(reader)
        assert reader.count("jobs") == 24 * 5


def test_of_parallel_saves_of_one_form_exactly_one_is_kept(trial: Trial) -> None:
    trial.commit(numbered, SYSTEM)

    def save(worker: int) -> bool:
        try:
            trial.commit(Change("work", [Update("jobs", {"job_id": 1}, {"worker": f"w{worker}"}, 1)]), SYSTEM)
        except StaleRecordError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(save, range(8))) == 1


def test_separate_processes_write_in_turn_too(trial: Trial) -> None:
    command = [sys.executable, "-c", BURST, str(trial.folder)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(6)]
        assert lines[0] == "ready\n"
    for writer in writers:
        writer.kill()
        writer.communicate()
    with trial.read() as reader:
        numbers = [row["job_id"] for row in reader.records("jobs")]
        assert numbers == list(range(1, len(numbers) + 1))
        audit.verify(reader)


def kill_in_bursts(folder: Path, rounds: int, *, seed: int) -> int:
    """Kill a writing process again and again; returns how many commits it had announced in all."""
    delay, announced = random.Random(seed), 0
    for _ in range(rounds):
        command = [sys.executable, "-c", BURST, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            first = int(writer.stdout.readline())
            time.sleep(delay.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split("\n")
        assert first > announced
        announced = max([first, *(int(line) for line in lines[:-1])])  # a cut last line is no announcement
        with Trial.open(folder) as trial, trial.read() as reader:
            jobs, labs = reader.count("jobs"), reader.count("labs")
            assert announced <= jobs <= announced + 1, "a committed record was lost, or one appeared from nowhere"
            assert labs == 5 * jobs, "a change was stored by halves"
            announced = jobs
            audit.verify(reader)
    return announced


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kill_9_in_write_bursts_loses_no_committed_record_and_leaves_no_half_one(tmp_path: Path) -> None:
    Trial.create(tmp_path / "t", study=Study("X", "x")).close()
    assert kill_in_bursts(tmp_path / "t", 14, seed=1) >= 14


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kill_9_in_write_bursts_on_postgresql(tmp_path: Path, postgresql_url: Callable[[], str]) -> None:
    Trial.create(tmp_path / "t", study=Study("X", "x"), url=postgresql_url()).close()
    assert kill_in_bursts(tmp_path / "t", 6, seed=2) >= 6

"""Write bursts over HTTP against `lutetia serve`, which is killed in the middle; then what the trial still holds."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from lutetia.errors import LutetiaError
from lutetia.trial import audit, sessions
from lutetia.web.demonstration import PASSWORD, make_demonstration, open_demonstration

WRITERS = ("coordinator", "coordinator-02", "coordinator-03")
SITES = {"coordinator": "01", "coordinator-02": "02", "coordinator-03": "03"}
ANALYTES = ("platelets", "neutrophils", "leukocytes", "lymphocytes")


@dataclass
class Told:
    """What the server confirmed: subjects, and samples as (subject, sample number)."""

    subjects: list[str] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Tally:
    """Counts over all bursts; `lost`, `half` and `broken` must be 0."""

    bursts: int = 0
    confirmed: int = 0
    lost: int = 0
    half: int = 0
    broken: int = 0


def make(folder: Path) -> None:
    """A demonstration trial without subjects."""
    make_demonstration(folder).close()


def burst(folder: Path, delay_s: float, tally: Tally) -> None:
    """Serve, let three people write until the server is killed `delay_s` after the first answer, and look."""
    with open_demonstration(folder) as trial:
        tokens = {user: sessions.sign_in(trial, user, PASSWORD).token for user in WRITERS}
    told, first = Told(), threading.Event()
    command = [str(Path(sys.executable).with_name("lutetia")), "serve", "--data", str(folder), "--demo", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as server:
        try:
            port = _port(server)
            writers = [threading.Thread(target=_write, args=(port, u, t, told, first)) for u, t in tokens.items()]
            for writer in writers:
                writer.start()
            assert first.wait(240), "the server answered nobody"
            time.sleep(delay_s)
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # all its processes
        for writer in writers:
            writer.join()
    _look(folder, told, tally)


def bursts(folder: Path, count: int, *, seed: int = 1) -> Tally:
    """Kill a server `count` times at random moments of its work."""
    chance, tally = random.Random(seed), Tally()
    for _ in range(count):
        burst(folder, chance.uniform(0.0, 0.4), tally)
    return tally


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError("the server ended before it listened")


def _write(port: int, user: str, token: str, told: Told, first: threading.Event) -> None:
    """Enrol a subject, enter a sample of it, again and again, until nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(path: str, body: object) -> dict[str, str]:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        found: dict[str, str] = json.loads(answer.read())
        assert answer.status == 200, (answer.status, found)
        return found

    with contextlib.suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
        for number in range(10_000):
            subject = post("/api/subjects", {"site": SITES[user], "sex": "female", "age_years": 58})["subject_id"]
            told.subjects.append(subject)
            first.set()
            values = [{"analyte": a, "value": "200" if a == "platelets" else "4", "unit": "10^9/L"} for a in ANALYTES]
            moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - 60))
            post(f"/api/subjects/{subject}/labs", {"taken_at": moment, "sample_id": f"K{number}", "values": values})
            told.samples.append((subject, f"K{number}"))


def _look(folder: Path, told: Told, tally: Tally) -> None:
    """Everything that was confirmed is there, samples are whole, and the trail is unbroken and equals the records."""
    with open_demonstration(folder) as trial, trial.read() as reader:
        subjects = {row["subject_id"] for row in reader.records("subjects")}
        samples: dict[tuple[str, str], int] = {}
        for row in reader.records("labs"):
            key = row["subject_id"], row["sample_id"]
            samples[key] = samples.get(key, 0) + 1
        tally.bursts += 1
        tally.confirmed += len(told.subjects) + len(told.samples)
        tally.lost += sum(s not in subjects for s in told.subjects) + sum(s not in samples for s in told.samples)
        tally.half += sum(count != len(ANALYTES) for count in samples.values())
        try:
            audit.verify(reader)
            audit.verify_data(reader)
        except LutetiaError:
            tally.broken += 1

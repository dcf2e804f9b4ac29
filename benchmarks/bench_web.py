"""Speed of the web application: 20 people at once on a trial of 500 subjects and 50,000 laboratory values.

The server is a process of its own (`lutetia serve`); this process is the people, each a thread with its own connection,
on loopback. Two loads: every person asks for the next page as soon as the last has come (`busy`), and with pauses to
read between them (`reading`). Prints one JSON line.
Run: python benchmarks/bench_web.py [--subjects 500] [--samples 10] [--users 20] [--seconds 20] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.web.large_trial import add_courses

from lutetia.trial import sessions
from lutetia.web.demonstration import PASSWORD, PEOPLE, make_demonstration, open_demonstration

SITES = ("01", "02", "03", "04")
#: Kind of page → address; a kind is asked for in proportion to how often it stands here.
PAGES = {
    "overview": "/", "subjects": "/subjects", "subject": "/subjects/{subject}",
    "subject again": "/subjects/{subject}", "screening": "/subjects/{subject}/screening",
    "laboratory": "/subjects/{subject}/laboratory", "randomisation": "/subjects/{subject}/randomisation",
    "cycle": "/subjects/{subject}/cycles/1", "queries": "/queries", "audit": "/audit",
}  # fmt: skip
MEDIAN_MS, P95_MS = 200.0, 500.0


class Person:
    """One signed-in browser with a connection that stays open."""

    def __init__(self, port: int, token: str, site: str, subjects: list[str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.subjects = [s for s in subjects if f"-{site}-" in s]
        self.random = random.Random(token)
        self.headers = {"Cookie": f"lutetia={token}"}

    def get(self, path: str) -> int:
        """Status of an answer that was read to its end."""
        try:
            self.connection.request("GET", path, headers=self.headers)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError):  # the server ends idle connections
            self.connection.close()
            self.connection.request("GET", path, headers=self.headers)
            answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def visit(self) -> tuple[str, int, float]:
        """One page by chance: kind, status, milliseconds."""
        kind = self.random.choice(tuple(PAGES))
        path = PAGES[kind].format(subject=self.random.choice(self.subjects))
        start = time.perf_counter()
        status = self.get(path)
        return kind, status, 1e3 * (time.perf_counter() - start)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """`lutetia serve` on a free port; ended by its own number."""
    command = [str(Path(sys.executable).with_name("lutetia")), "serve", "--data", str(folder), "--demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, "the server ended"
                found = re.search(r"127\.0\.0\.1:(\d+)", line)
            yield int(found[1])
        finally:
            process.terminate()


def load(people: list[Person], *, seconds: float, pause_s: float) -> dict[str, list[float]]:
    """Milliseconds by kind of page while all people work at once."""
    found: dict[str, list[float]] = defaultdict(list)
    lock, end = threading.Lock(), time.perf_counter() + seconds

    def work(person: Person) -> None:
        while time.perf_counter() < end:
            if pause_s:
                time.sleep(person.random.uniform(0.5, 1.5) * pause_s)
            kind, status, ms = person.visit()
            assert status == 200, f"{kind}: {status}"
            with lock:
                found[kind].append(ms)

    threads = [threading.Thread(target=work, args=(p,)) for p in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def summary(found: dict[str, list[float]], seconds: float) -> dict[str, object]:
    """Median and 95th percentile, of all pages and by kind."""
    every = [ms for values in found.values() for ms in values]
    median, p95 = float(np.median(every)), float(np.quantile(every, 0.95))
    by_kind = {k: [round(float(np.median(v))), round(float(np.quantile(v, 0.95)))] for k, v in sorted(found.items())}
    return {"pages": len(every), "pages_per_s": round(len(every) / seconds, 1), "median_ms": round(median, 1),
            "p95_ms": round(p95, 1), "reached": median <= MEDIAN_MS and p95 <= P95_MS,
            "by_page_median_p95_ms": by_kind}  # fmt: skip


def measure(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    """All figures; the trial is made in the folder if there is none."""
    result: dict[str, object] = {}
    if not (folder / "trial.toml").exists():
        start = time.perf_counter()
        with make_demonstration(folder) as trial:
            add_courses(trial, subjects=given.subjects, samples=given.samples, sites=SITES)
        result["made_s"] = round(time.perf_counter() - start, 1)
    subjects = [f"DUO-{SITES[n % 4]}-{1001 + n:04d}" for n in range(given.subjects)]
    at_sites = [(user, site or "03") for user, _, role, site in PEOPLE if role not in ("board", "administrator")]
    chosen = [at_sites[n % len(at_sites)] for n in range(given.users)]
    with open_demonstration(folder) as trial:  # not through the server, which limits sign-ins from one address
        tokens = [sessions.sign_in(trial, user, PASSWORD).token for user, _ in chosen]
    with server(folder) as port:
        people = [Person(port, token, site, subjects) for token, (_, site) in zip(tokens, chosen, strict=True)]
        load(people, seconds=2.0, pause_s=0.0)
        alone = load(people[:1], seconds=min(5.0, given.seconds), pause_s=0.0)
        result["one_person"] = summary(alone, min(5.0, given.seconds))
        result["busy"] = summary(load(people, seconds=given.seconds, pause_s=0.0), given.seconds)
        result["reading"] = summary(load(people, seconds=given.seconds, pause_s=given.pause_s), given.seconds)
    return result


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=500)
    parser.add_argument("--samples", type=int, default=10, help="each of ten analytes")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pause-s", type=float, default=2.0, help="mean pause between pages of a reading person")
    parser.add_argument("--data", type=Path, help="folder of the trial, kept; else a temporary one")
    given = parser.parse_args()
    result: dict[str, object] = {
        "benchmark": "web", "cores": os.cpu_count(), "load_before": os.getloadavg()[0], "users": given.users,
        "subjects": given.subjects, "laboratory_values": 10 * given.samples * given.subjects,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        result |= measure(given.data or Path(place) / "trial", given)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

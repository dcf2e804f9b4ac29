"""Durability through HTTP: `lutetia serve` is killed with SIGKILL at random moments of write bursts of three people.

Prints one JSON line; `lost`, `half` and `broken` must be 0. Run: python benchmarks/bench_web_kill.py [--bursts 200]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.web.killed_server import bursts, make


def main() -> None:
    """Print the counts as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "trial"
        make(folder)
        counts = asdict(bursts(folder, given.bursts, seed=given.seed))
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"benchmark": "web_kill", "cores": os.cpu_count(), "seconds": seconds, **counts}))


if __name__ == "__main__":
    main()

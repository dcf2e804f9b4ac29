"""How the benchmark scripts time a piece of work."""

from __future__ import annotations

import time
from collections.abc import Callable


def best_s(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Shortest of several runs after one warm-up, seconds."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)

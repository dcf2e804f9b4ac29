"""Speed and memory of whole commands, each a process of its own: prints one JSON line.

- `help`: `lutetia --help` (limit 1 s).
- `tables`: `lutetia plan` of the example of tables, two cycles (limit 2 s).
- `images`: `lutetia plan` of one cycle of four SPECT/CT of 128³ voxels as DICOM, from folder to report (limit 15 s, and
  2 GB as the largest resident memory of the process).

`wall_s` is the least of several runs after one to warm up; `cpu_s` is the least user and system time of the process,
which other programs on the machine change less. `load` is the machine's mean number of running programs at the start:
with more than one, judge by `cpu_s` and by `wall_s` only where it keeps the limit. usage: bench_plan.py [--no-images]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from lutetia.core.geometry import axis_aligned_grid
from lutetia.phantom.case import write_image_case
from lutetia.phantom.example import example_course, labs_csv, write_table_example

COMMAND = [sys.executable, "-c", "from lutetia.cli import main; main()"]
LIMITS_S, MEMORY_GB = {"help": 1.0, "tables": 2.0, "images": 15.0}, 2.0
REPEATS = {"help": 5, "tables": 5, "images": 3}
SIZE, SPACING_mm = 128, 4.8


def one_run(arguments: list[str]) -> tuple[float, float, float]:
    """Wall time, processor time and largest resident memory (GB) of one command."""
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"lutetia {' '.join(arguments)}: ended with exit code {process.returncode}")
    # Linux counts kibibytes, macOS bytes.
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e9


def measure(name: str, arguments: list[str]) -> dict[str, float]:
    """Best of the runs of one command, after one to warm up."""
    one_run(arguments)
    runs = [one_run(arguments) for _ in range(REPEATS[name])]
    wall, processor, memory = zip(*runs, strict=True)
    return {
        "wall_s": round(min(wall), 2),
        "cpu_s": round(min(processor), 2),
        "memory_GB": round(max(memory), 2),
        "limit_s": LIMITS_S[name],
    }


def image_case(path: Path) -> Path:
    """The first cycle of the packaged example on a SPECT grid of 128³ voxels that covers the same body."""
    anatomy, options = example_course()[0]
    centre = options.grid.position_mm(tuple((n - 1) / 2 for n in options.grid.shape))
    x, y, z = (float(c) - 0.5 * (SIZE - 1) * SPACING_mm for c in centre)
    grid = axis_aligned_grid((SIZE, SIZE, SIZE), (SPACING_mm, SPACING_mm, SPACING_mm), origin_mm=(x, y, z))
    return write_image_case(anatomy, path, replace(options, grid=grid), labs=labs_csv())


def main() -> int:
    """Measure, print, and return 1 if a limit is missed."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        tables = write_table_example(root / "tables")
        found = {
            "help": measure("help", ["--help"]),
            "tables": measure("tables", ["plan", str(tables), "--out", str(root / "out")]),
        }
        if "--no-images" not in sys.argv[1:]:
            case = image_case(root / "images")
            found["images"] = measure("images", ["plan", str(case), "--out", str(root / "out2")])
    print(json.dumps({"benchmark": "plan", **found, "memory_limit_GB": MEMORY_GB, "load": round(load, 1)}))
    good = all(row["wall_s"] <= row["limit_s"] and row["memory_GB"] <= MEMORY_GB for row in found.values())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Accuracy of `lutetia plan` on a real patient's anatomy, with blur, noise and planted errors.

    python benchmarks/validation_patient15.py FOLDER        folder of the licensed voxel phantom patient15

Three imaged cases whose stated resolution is wrong by −10, 0 and +10 % and whose outlines are shifted by 2 mm. Prints
one JSON line with the largest error of each dose against its bound; exit code 1 where a bound does not hold.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.patient15 import read_patient15

from lutetia.phantom.case import CaseOptions
from lutetia.validation.images import accuracy_checks, planted_options


def main(folder: Path) -> int:
    """Run the cases and print the figures; returns the exit code."""
    anatomy = read_patient15(folder)
    checks = accuracy_checks("patient15", [(anatomy, options) for options in planted_options(CaseOptions())])
    holds = all(check.holds for check in checks)
    print(json.dumps({"study": "patient15", "holds": holds, "checks": [check.record() for check in checks]}))
    return 0 if holds else 1


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("error: expected one argument, the folder of the voxel phantom patient15")
    sys.exit(main(Path(sys.argv[1])))

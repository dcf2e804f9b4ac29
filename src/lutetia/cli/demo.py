"""`lutetia demo`: write the packaged example and plan its next cycle, to see the whole chain once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.plan import plan


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the example case is written.")] = Path("demo"),
) -> None:
    """Write the packaged example (virtual subject, DICOM) and run `lutetia plan` on it.

    Example: lutetia demo
    """
    from lutetia.phantom.example import write_example

    case = folder / "case"
    if not (case / "case.toml").is_file():
        print(f"Writing the example case (virtual subject) to {case} ...")
        write_example(case)
    print("Computing doses and the next activity ...\n")
    plan(case, out=folder / "out", draws=1000, seed=1, json=False)

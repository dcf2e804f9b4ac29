"""`lutetia example`: write the packaged example case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def example(
    case: Annotated[Path, typer.Argument(help="Folder to make; it must not exist, or be empty.")],
    seed: Annotated[int, typer.Option(help="Noise of scans and samples.")] = 1,
    tables: Annotated[bool, typer.Option("--tables", help="Two cycles as tables, without images.")] = False,
) -> None:
    """Write the packaged example: a virtual subject with four SPECT/CT as DICOM, and its true doses.

    Example: lutetia example my-case
    """
    from lutetia.phantom.example import write_example, write_table_example

    written = (write_table_example if tables else write_example)(case, seed=seed)
    print(f"Wrote {written}; next: lutetia plan {written}")

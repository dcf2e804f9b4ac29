"""`lutetia plan`: scans and samples of one subject → organ doses → proposal for the next cycle."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json, progress_line


def plan(
    case: Annotated[Path, typer.Argument(help="Case folder, or its case.toml.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the result and the report [CASE/out].")] = None,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Draws of the uncertain inputs.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws; the same seed gives the same bytes.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print result.json instead of the summary.")] = False,
    dicom: Annotated[
        Path | None,
        typer.Option(help="New folder for DICOM results: dose maps (RTDOSE), regions (SEG), organ doses (SR)."),
    ] = None,
) -> None:
    """Compute every cycle's organ doses and propose the activity of the next cycle.

    Example: lutetia plan cases/DUO-014 --out cases/DUO-014/out
    """
    from lutetia.plan.case import case_file
    from lutetia.plan.run import run_plan
    from lutetia.plan.summary import summary_lines
    from lutetia.plan.write import check_folder, write_outputs

    check_folder(out or case_file(case).parent / "out")
    if dicom is not None:
        from lutetia.imaging.writing.common import check_new_folder

        check_new_folder(dicom)
    with progress_line() as progress:
        planned = run_plan(case, draws=draws, seed=seed, progress=progress)
        progress("writing the report")
        folder = write_outputs(planned, out or planned.folder / "out")
        if dicom is not None:
            from lutetia.plan.dicom_export import export_dicom

            export_dicom(planned, dicom, made_at=datetime.now().astimezone(), progress=progress)
    if json:
        print_json(planned.result)
        return
    print("\n".join(summary_lines(planned.result)))
    print(f"\nReport: {folder / 'report.html'}\n        {folder / 'report.pdf'}\nResult: {folder / 'result.json'}")
    if dicom is not None:
        print(f"DICOM:  {dicom}")

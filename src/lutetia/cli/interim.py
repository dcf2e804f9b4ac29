"""`lutetia interim`: the interim safety analysis of a trial's snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json, progress_line


def interim(
    data: Annotated[Path, typer.Argument(help="Folder of the trial's tables with study.toml and snapshot.json.")],
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier analysis there is replaced.")] = Path(
        "interim"
    ),
    cut: Annotated[
        str | None, typer.Option(help="Last event date that counts, such as 2026-06-30 [the snapshot's].")
    ] = None,
    resamples: Annotated[int, typer.Option(min=200, max=1_000_000, help="Bootstrap resamples.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap; equal seeds give equal bytes.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print interim.json instead of the summary.")] = False,
) -> None:
    """Make the interim safety report: interim.json, closed and open report (HTML, PDF), analysis datasets (CSV).

    Example: lutetia interim DATA --out REPORT --cut 2026-06-30
    """
    from lutetia.dataset.folder import read_dataset
    from lutetia.safety.interim import check_out, run_interim

    check_out(out)
    with progress_line() as progress:
        found = run_interim(
            read_dataset(data), out=out, cut=cut, seed=seed, resamples=resamples, progress=progress
        )  # fmt: skip
    if json:
        print_json(found.record)
        return
    for finding in found.reported.findings:
        print(f"{finding.question} [{finding.status}; {finding.see}]\n  {finding.answer}")
    print(f"\nClosed report, by arm: {out / 'closed.html'}\n                       {out / 'closed.pdf'}")
    print(f"Open report, pooled:   {out / 'open.html'}\n                       {out / 'open.pdf'}")
    print(f"Every number:          {out / 'interim.json'}\nAnalysis datasets:     {out / 'adam'}")

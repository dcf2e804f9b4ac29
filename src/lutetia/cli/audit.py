"""`lutetia audit`: verify a trial's audit trail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json


def audit(
    action: Annotated[str, typer.Argument(help="verify: check the trail; head: print where it ends.")],
    data: Annotated[Path, typer.Argument(help="Folder of the trial.")],
    head: Annotated[
        str | None,
        typer.Option(help="Hash that a signed document, backup or earlier check shows; must be in the chain."),
    ] = None,
    records: Annotated[bool, typer.Option("--records", help="Also replay the trail and compare every record.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Verify the audit trail of a trial: every row, every body, and that a printed head is still in the chain.

    Example: lutetia audit verify DATA --head 5b1c…
    """
    from lutetia.errors import UnknownNameError
    from lutetia.trial.audit import verify, verify_data
    from lutetia.trial.store import Trial

    if action not in ("verify", "head"):
        raise UnknownNameError("action", action, ("verify", "head"), where="audit")
    with Trial.open(data) as trial, trial.read() as reader:
        if action == "head":
            end = trial.head()
            found = {"rows": end.sequence, "head": end.head}
        else:
            checked = verify(reader, head)
            found = {"rows": checked.rows, "head": checked.head}
            result = {"redacted": list(checked.redacted), "rows_after_head": checked.rows_after}
            compared = verify_data(reader) if records else None
    if action == "head":
        print_json(found) if json else print(f"{found['rows']} rows, head {found['head']}")
        return
    if json:
        print_json(found | result | {"records": compared})
        return
    print(f"{found['rows']} rows verify, head {found['head']}")
    if result["rows_after_head"] is not None:
        print(f"the given head is in the chain, {result['rows_after_head']} rows before its end")
    if result["redacted"]:
        print(f"redacted by two people: rows {', '.join(map(str, checked.redacted))}")
    if compared is not None:
        print(f"{compared} records are those that the trail tells")

"""The command line: `main` is the composition root and the one edge where exceptions become exit codes.

One file a command; a command's heavy layers are imported inside it, so that `lutetia --help` stays quick.
Exit codes: 0 done, 2 bad input with one message on standard error, 1 a fault of ours with a reference to the log.
"""

from __future__ import annotations

import sys

from lutetia.errors import LutetiaError


def main() -> None:
    """Run the command line and exit with the contract's codes."""
    from lutetia.cli.app import app
    from lutetia.cli.faults import record_fault

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        app()
    except LutetiaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: stopped by the user; nothing was written", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        reference = record_fault(error)
        kind = type(error).__name__
        print(f"error: a fault of Lutetia's ({kind}); please report it with {reference}", file=sys.stderr)
        sys.exit(1)

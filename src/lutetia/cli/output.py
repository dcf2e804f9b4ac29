"""How commands talk: JSON on request, a quiet progress line on terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def print_json(value: Any) -> None:
    """Print a result as JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False))


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """A function that shows the step under way on a terminal, and does nothing when piped."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update

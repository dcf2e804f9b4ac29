"""The validation figures as a page of Markdown."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lutetia.core.provenance import software
from lutetia.validation.checks import Check


def source_commit() -> str:
    """The commit of the source tree that runs, with "+" where it has changes; empty outside a git checkout."""
    place = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=place, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def validation_page(checks: Sequence[Check], *, commit: str = "") -> str:
    """A table of figures a study, with bounds; says first whether all hold, and on what they were run."""
    failed = sum(not check.holds for check in checks)
    state = "All figures lie within their bounds." if not failed else f"{failed} figures lie outside their bounds."
    version = software()["version"] + (f", commit {commit}" if commit else "")
    lines = ["# Validation figures", "", f"Printed by `lutetia validate`, version {version}. {state}", ""]
    for study in dict.fromkeys(check.study for check in checks):
        lines += [f"## {study}", "", "| figure | value | bound | holds |", "|---|---|---|---|"]
        for check in (c for c in checks if c.study == study):
            note = f" ({check.note})" if check.note else ""
            value = f"{check.value:.3g} {check.unit}".strip()
            lines.append(f"| {check.name}{note} | {value} | {check.bound} | {'yes' if check.holds else '**no**'} |")
        lines.append("")
    return "\n".join(lines)

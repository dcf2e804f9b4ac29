"""The validation figures as a page of Markdown with a picture a study."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lutetia.core.provenance import software
from lutetia.validation.checks import Check
from lutetia.validation.figures import study_figure
from lutetia.validation.notes import NOTES

PICTURES = "figures"


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


def write_page(path: Path, checks: Sequence[Check], *, commit: str = "") -> None:
    """Write the page and, in the folder `figures` beside it, one SVG a study."""
    folder = path.parent / PICTURES
    pictures = {}
    for study in dict.fromkeys(check.study for check in checks):
        if picture := study_figure([c for c in checks if c.study == study]):
            folder.mkdir(parents=True, exist_ok=True)
            pictures[study] = f"{PICTURES}/{_slug(study)}.svg"
            (path.parent / pictures[study]).write_bytes(picture)
    path.write_text(validation_page(checks, commit=commit, pictures=pictures), encoding="utf-8")


def validation_page(checks: Sequence[Check], *, commit: str = "", pictures: dict[str, str] | None = None) -> str:
    """A table of figures a study, with references and tolerances; says first whether all hold, and what they ran on.

    `pictures` holds the path of each study's picture, relative to the page.
    """
    version = software()["version"] + (f", commit {commit}" if commit else "")
    lines = ["# Validation figures", "", f"Printed by `lutetia validate`, version {version}. {summary(checks)}", ""]
    for study in dict.fromkeys(check.study for check in checks):
        lines += [f"## {study}", ""]
        if study in NOTES:
            lines += [NOTES[study], ""]
        if picture := (pictures or {}).get(study):
            lines += [f"![{study}: figures and their bounds]({picture})", ""]
        lines += _table([c for c in checks if c.study == study])
    return "\n".join(lines)


def summary(checks: Sequence[Check]) -> str:
    """Whether all figures lie within their bounds, and how many were not measured."""
    failed, absent = sum(c.fails for c in checks), sum(bool(c.not_run) for c in checks)
    state = f"{failed} figures lie outside their bounds." if failed else "All figures lie within their bounds."
    return state if not absent else f"{state} {absent} entries were NOT RUN; they prove nothing."


def _table(checks: Sequence[Check]) -> list[str]:
    if any(check.reference is not None for check in checks):
        head = ["| figure | ours | reference | difference | tolerance | holds |", "|---|---|---|---|---|---|"]
        return [*head, *(_compared_row(check) for check in checks), ""]
    head = ["| figure | value | bound | holds |", "|---|---|---|---|"]
    return [*head, *(_row(check) for check in checks), ""]


def _row(check: Check) -> str:
    value = "" if check.not_run else f"{check.value:.3g} {check.unit}".strip()
    return f"| {_name(check)} | {value} | {check.bound} | {_verdict(check)} |"


def _compared_row(check: Check) -> str:
    reference = "" if check.reference is None else f"{check.reference:.4g}"
    value = f"{check.value:.4g} {check.unit}".strip()
    return f"| {_name(check)} | {value} | {reference} | {check.difference} | {check.tolerance} | {_verdict(check)} |"


def _name(check: Check) -> str:
    note = check.not_run or check.note
    return f"{check.name} ({note})" if note else check.name


def _verdict(check: Check) -> str:
    return check.verdict if check.holds else f"**{check.verdict}**"


def _slug(study: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")

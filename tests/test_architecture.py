"""The layer law of docs/design/layers.md, checked on the syntax tree: imports go one way only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lutetia"
BASE = {"errors", "core"}
PHYSICS = BASE | {"nuclear", "kinetics", "dose"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "core": BASE,
    "nuclear": BASE,
    "imaging": BASE | {"nuclear"},
    "kinetics": BASE | {"nuclear"},
    "dose": PHYSICS,
    "clinical": BASE,
    "protocol": BASE | {"clinical"},
    "report": BASE,
    "phantom": BASE | {"nuclear", "imaging"},
    "plan": PHYSICS | {"imaging", "clinical", "protocol", "report"},
}
ALLOWED["dataset"] = BASE | {"clinical"}
ALLOWED["trial"] = BASE | {"clinical", "protocol", "dataset"}
ALLOWED["safety"] = BASE | {"clinical", "dataset", "report"}
ALLOWED["workflow"] = BASE | {"imaging", "clinical", "protocol", "report", "plan", "dataset", "trial", "safety"}
ALLOWED["simulate"] = set(ALLOWED)
ALLOWED["validation"] = set(ALLOWED)
ALLOWED["web"] = BASE | {"report", "workflow", "trial"}  # of trial: `queries` for reading
ALLOWED["node"] = BASE | {"imaging", "report", "workflow", "trial"}
ALLOWED["cli"] = set(ALLOWED) | {"cli"}


def modules() -> list[Path]:
    return sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def layer(path: Path) -> str:
    part = path.relative_to(SOURCE).parts[0]
    return part.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a module imports from lutetia; refuses relative imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{a.name}" for a in node.names} if node.module else set()
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] == "lutetia"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_module_imports_only_layers_below_it(path: Path) -> None:
    own = layer(path)
    assert own in ALLOWED, f"folder {own!r} is not a layer of the law"
    used = {name.split(".")[1] for name in imported(path)} - {"__version__"}
    assert used <= ALLOWED[own] | {own}, f"{own} may not import {sorted(used - ALLOWED[own] - {own})}"


def test_no_import_cycles_between_modules() -> None:
    names = {".".join(("lutetia", *p.relative_to(SOURCE).with_suffix("").parts)): p for p in modules()}
    edges = {}
    for name, path in names.items():
        prefixes = {
            ".".join(parts[:n]) for i in imported(path) if (parts := i.split(".")) for n in range(2, len(parts) + 1)
        }
        edges[name] = (prefixes & set(names)) - {name}
    while free := {name for name, targets in edges.items() if not targets & set(edges)}:
        edges = {name: targets for name, targets in edges.items() if name not in free}
    assert not edges, f"modules that import each other: {sorted(edges)}"

"""Shared rules of the tests: where the licensed phantom lies, and which Debian tools must be present in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the licensed voxel phantom; skips, saying so, on a machine that does not have it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the licensed phantom in ../shared/data is absent: tests against patient15 were NOT run")
    return folder


@pytest.fixture(scope="session")
def debian_tool() -> Callable[[str], str]:
    """Path of an external program; skips, saying so, when it is absent, and fails where tools are required."""

    def find(name: str) -> str:
        if path := shutil.which(name):
            return path
        if os.environ.get("LUTETIA_REQUIRE_TOOLS"):
            pytest.fail(f"{name} is required here and is not installed")
        pytest.skip(f"{name} is not installed: this check was NOT run")

    return find

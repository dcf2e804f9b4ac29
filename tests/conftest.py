"""Shared rules of the tests: where the licensed phantom lies, which Debian tools CI must have, both databases."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

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


def _server_program(name: str) -> str | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    return next((str(f / name) for f in folders if (f / name).exists()), shutil.which(name))


def _unprivileged() -> tuple[list[str], int | None, int | None]:
    """Words before a command that must not run as root, and whom its folder belongs to."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return [], None, None
    import pwd

    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return words, user.pw_uid, user.pw_gid


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a throw-away PostgreSQL cluster on a socket; skips, saying so, without one, and fails where required."""
    initdb, control = _server_program("initdb"), _server_program("pg_ctl")
    if initdb is None or control is None or importlib.util.find_spec("psycopg") is None:
        if os.environ.get("LUTETIA_REQUIRE_TOOLS"):
            pytest.fail("PostgreSQL (server programs and psycopg) is required here and is not installed")
        pytest.skip("PostgreSQL is not installed: the store was tested on SQLite only")
    words, uid, gid = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="lutetia-pg-"))
    if uid is not None and gid is not None:
        os.chown(folder, uid, gid)
    data, run = folder / "data", partial(subprocess.run, check=True, capture_output=True, cwd=folder)
    settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=120"
    try:
        run([*words, initdb, "-D", data, "-U", "lutetia", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        run([*words, control, "-D", data, "-w", "-l", folder / "log", "-o", settings, "start"])
        try:
            yield f"postgresql+psycopg://lutetia@/postgres?host={folder}"
        finally:
            run([*words, control, "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Callable[[], str]:
    """A function that makes a fresh, empty PostgreSQL schema and returns the URL that leads into it."""
    from sqlalchemy import create_engine

    def fresh() -> str:
        name = f"t{uuid4().hex[:12]}"
        engine = create_engine(postgresql_server)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        engine.dispose()
        return f"{postgresql_server}&options=-csearch_path%3D{name}"

    return fresh


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The `url` of `Trial.create`, once for SQLite (None) and once for an empty PostgreSQL schema."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgresql_url")()
    return url

"""`lutetia serve`: it answers on loopback, and refuses what would send passwords over a network unencrypted."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from lutetia.cli.serve import _listening, serve
from lutetia.errors import InputError, StorageError
from lutetia.web.demonstration import make_demonstration


def test_serve_makes_a_demonstration_answers_and_ends(tmp_path: Path) -> None:
    program = "from lutetia.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "serve",
        "--data",
        str(tmp_path / "t"),
        "--demo",
        "--port",
        "0",
        "--subjects",
        "2",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            lines = [server.stdout.readline() for _ in range(3)]
            found = re.search(r"http://127\.0\.0\.1:\d+/", lines[-1])
            assert found, lines
            assert "no real persons" in lines[1]
            with urllib.request.urlopen(found[0] + "health", timeout=20) as answer:
                assert answer.read() == b'{"status":"ok"}'
            with urllib.request.urlopen(found[0] + "sign-in", timeout=20) as answer:
                page = answer.read().decode()
            assert "Data-monitoring board" in page
            assert "demonstration only" in page
        finally:
            server.terminate()
            server.wait(timeout=20)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts processes in /proc")
def test_a_server_process_that_dies_is_replaced_and_none_outlives_the_first(tmp_path: Path) -> None:
    make_demonstration(tmp_path / "t").close()
    command = [str(Path(sys.executable).with_name("lutetia")), "serve", "--data", str(tmp_path / "t"), "--demo"]
    with subprocess.Popen([*command, "--port", "0", "--processes", "2"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline() + server.stdout.readline())
        assert found
        try:
            before = wait_for(lambda: serving(server.pid), lambda processes: len(processes) == 2)
            assert answers(found[0])
            os.kill(before[0], signal.SIGKILL)
            after = wait_for(lambda: serving(server.pid), lambda processes: len({*processes} - {before[0]}) == 2)
            assert answers(found[0])
        finally:
            server.kill()
    wait_for(lambda: [p for p in (*before, *after) if spawned(p)], lambda left: not left)


def serving(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children if spawned(int(child))]


def spawned(process: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def answers(address: str) -> bool:
    with urllib.request.urlopen(f"{address}health", timeout=60) as answer:
        return bool(answer.status == 200)


def wait_for(look: Callable[[], list[int]], reached: Callable[[list[int]], bool]) -> list[int]:
    end = time.monotonic() + 60
    while not reached(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_serve_refuses_addresses_that_others_reach_unless_a_tls_proxy_is_named(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--behind-tls-proxy"):
        serve(tmp_path, host=host)


def test_serve_without_a_trial_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="found no trial there"):
        serve(tmp_path)


def test_parts_of_an_answer_go_out_at_once() -> None:
    """The event loop switches the wait for acknowledgements off only on sockets that were made as TCP."""
    with _listening("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP

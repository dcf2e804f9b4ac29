"""`lutetia serve`: it answers on loopback, and refuses what would send passwords over a network unencrypted."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lutetia.cli.serve import _listening, serve
from lutetia.errors import InputError, StorageError


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

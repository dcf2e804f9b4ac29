"""Hashes of inputs: content and names count, order and place do not."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from lutetia import __version__
from lutetia.core.provenance import sha256_of_file, sha256_of_files, software


def folder_with(root: Path, **contents: str) -> list[Path]:
    root.mkdir()
    for name, text in contents.items():
        (root / name).write_text(text, encoding="utf-8")
    return [root / name for name in contents]


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"lutetium\r\n")
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"lutetium\r\n").hexdigest()


def test_order_repeats_and_place_of_the_folder_do_not_count(tmp_path: Path) -> None:
    a, b = folder_with(tmp_path / "one", a="1", b="2")
    found = sha256_of_files([a, b], tmp_path / "one")
    assert sha256_of_files([b, a, a], tmp_path / "one") == found
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    two = tmp_path / "two"
    assert sha256_of_files([two / "a", two / "b"], two) == found


def test_contents_and_names_count(tmp_path: Path) -> None:
    found = sha256_of_files(folder_with(tmp_path / "one", a="1", b="2"), tmp_path / "one")
    assert sha256_of_files(folder_with(tmp_path / "two", a="1", b="3"), tmp_path / "two") != found
    assert sha256_of_files(folder_with(tmp_path / "three", a="1", c="2"), tmp_path / "three") != found
    assert sha256_of_files(folder_with(tmp_path / "four", a="2", b="1"), tmp_path / "four") != found


def test_a_file_outside_the_folder_counts_by_its_name_and_not_by_its_path(tmp_path: Path) -> None:
    (inside,) = folder_with(tmp_path / "case", a="1")
    (first,) = folder_with(tmp_path / "x", protocol="p")
    (second,) = folder_with(tmp_path / "y", protocol="p")
    root = tmp_path / "case"
    assert sha256_of_files([inside, first], root) == sha256_of_files([inside, second], root)


def test_the_program_names_itself_and_its_version() -> None:
    assert software() == {"name": "lutetia", "version": __version__}

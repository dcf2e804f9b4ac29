"""Blobs by their content: whole or absent, once each, and noticed when altered."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from lutetia.errors import InputError, StorageError
from lutetia.trial.files import FileStore


def test_a_blob_lies_under_its_hash_once(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    digest = store.put(b"content")
    assert digest == hashlib.sha256(b"content").hexdigest()
    assert store.put(b"content") == digest
    assert store.get(digest) == b"content"
    assert store.digests() == (digest,)
    assert store.has(digest)
    assert not store.has("0" * 64)


def test_an_altered_or_missing_blob_is_named(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    digest = store.put(b"content")
    (tmp_path / digest[:2] / digest).write_bytes(b"contenT")
    with pytest.raises(StorageError, match=f"file {digest}: its content was altered"):
        store.get(digest)
    with pytest.raises(StorageError, match="cannot be read"):
        store.get("0" * 64)
    for name in ("../../etc/passwd", "G" * 64, "abc"):
        with pytest.raises(InputError, match="expected a SHA-256"):
            store.get(name)


def test_a_full_disk_leaves_no_part_of_a_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device; nothing was stored; free space"):
        FileStore(tmp_path).put(b"content")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

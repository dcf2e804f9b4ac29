"""Pictures of the slice viewer: stacks from the trial's files, PNG slices, both cached in memory.

Not here: drawing and orientation (`lutetia.report.figures.slice_stack`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from lutetia.report.figures.slice_stack import Stack, slice_png, unpack_stack

_STACKS = 6
_PICTURES_BYTES = 96 * 1024 * 1024
Key = tuple[str, str, int, str, int, bool]


@dataclass(slots=True)
class SliceCache:
    """The last stacks, and PNG slices up to a total size; safe between threads.

    Parameters
    ----------
    get
        Bytes of a stack by its SHA-256.
    """

    get: Callable[[str], bytes]
    _stacks: OrderedDict[str, Stack] = field(default_factory=OrderedDict)
    _pictures: OrderedDict[Key, bytes] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stack(self, sha256: str) -> Stack:
        """The stack with this hash, read once."""
        with self._lock:
            if (found := self._stacks.get(sha256)) is not None:
                self._stacks.move_to_end(sha256)
                return found
        made = unpack_stack(self.get(sha256))
        with self._lock:
            self._stacks[sha256] = made
            while len(self._stacks) > _STACKS:
                self._stacks.popitem(last=False)
        return made

    def picture(
        self, sha256: str, view: str, level: int, *, window: str, opacity_percent: int, outlines: bool
    ) -> bytes:
        """One slice as PNG, drawn once."""
        key = (sha256, view, level, window, opacity_percent, outlines)
        with self._lock:
            if (found := self._pictures.get(key)) is not None:
                self._pictures.move_to_end(key)
                return found
        png = slice_png(
            self.stack(sha256), view, level, window=window, opacity=opacity_percent / 100.0, outlines=outlines
        )
        with self._lock:
            if key not in self._pictures:
                self._pictures[key] = png
                self._size += len(png)
            while self._size > _PICTURES_BYTES:
                self._size -= len(self._pictures.popitem(last=False)[1])
        return png

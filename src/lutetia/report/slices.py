"""Images with region outlines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SliceImage:
    """A picture as PNG bytes, with its caption and what a person who cannot see it must know."""

    png: bytes
    caption: str
    alt: str

"""Draws of an allocation that anybody can repeat once the seed is revealed, and the hash that fixes it before.

The k-th draw of a stream is u = HMAC-SHA-256(seed, "stream/k") read as a number in [0, 1). The seed has 256 bits.
Before the first subject SHA-256(seed ‖ specification) is published; after the trial the seed is revealed, everybody can
check the hash and compute all draws again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator

from lutetia.errors import InputError

SEED_BYTES = 32


def new_seed() -> bytes:
    """256 bits from the operating system."""
    return secrets.token_bytes(SEED_BYTES)


def seed_of_hex(text: str, *, where: str = "seed") -> bytes:
    """A revealed seed, written as 64 hexadecimal digits.

    Raises
    ------
    InputError
        If the text is something else.
    """
    try:
        seed = bytes.fromhex(text.strip())
    except ValueError as error:
        raise InputError(f"{where}: found text that is not hexadecimal; give the 64 digits of the seed") from error
    if len(seed) != SEED_BYTES:
        raise InputError(f"{where}: found {len(seed)} bytes; expected {SEED_BYTES}, as 64 hexadecimal digits")
    return seed


def commitment(seed: bytes, specification: bytes) -> str:
    """SHA-256(seed ‖ specification) in hexadecimal: fixes both, and shows neither."""
    if len(seed) != SEED_BYTES:
        raise InputError(f"seed: found {len(seed)} bytes; expected {SEED_BYTES}")
    return hashlib.sha256(seed + specification).hexdigest()


def draw(seed: bytes, stream: str, k: int) -> float:
    """The k-th number of a stream, uniform in [0, 1): the first 53 bits of HMAC-SHA-256(seed, "stream/k")."""
    digest = hmac.digest(seed, f"{stream}/{k}".encode(), "sha256")
    return float((int.from_bytes(digest[:7], "big") >> 3) / (1 << 53))


def draws(seed: bytes, stream: str, start: int = 0) -> Iterator[float]:
    """Numbers `start`, `start` + 1, … of a stream, without end."""
    k = start
    while True:
        yield draw(seed, stream, k)
        k += 1

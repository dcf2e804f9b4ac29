"""Checks of a table that a person wrote: unknown keys, wrong types and numbers out of range, each with its place.

Every function returns the checked value or raises `ProtocolError` that says found / expected.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lutetia.errors import ProtocolError

_REQUIRED = object()


def known_keys(table: Mapping[str, Any], known: Collection[str], *, where: str) -> None:
    """Refuse keys that are not in `known`, naming the close ones or all."""
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
            hint = f"did you mean {', '.join(close)}?" if close else f"known keys: {', '.join(sorted(known))}"
            raise ProtocolError(f"{where}: unknown key {key!r}; {hint}")


def text(table: Mapping[str, Any], key: str, *, where: str, default: object = _REQUIRED) -> str:
    """A non-empty string."""
    value = _value(table, key, where, default)
    if not isinstance(value, str) or not value.strip():
        raise ProtocolError(f"{where}: {key}: found {value!r}; expected a text")
    return value


def word(table: Mapping[str, Any], key: str, *, known: Sequence[str], where: str, default: object = _REQUIRED) -> str:
    """One of the `known` words."""
    value = text(table, key, where=where, default=default)
    if value not in known:
        raise ProtocolError(f"{where}: {key}: found {value!r}; expected one of {', '.join(known)}")
    return value


def words(table: Mapping[str, Any], key: str, *, where: str, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """A list of strings (empty where the key is absent), each one of `known` where that is given."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ProtocolError(f"{where}: {key}: found {value!r}; expected a list of texts")
    for item in value:
        if known is not None and item not in known:
            raise ProtocolError(f"{where}: {key}: found {item!r}; expected words of {', '.join(known)}")
    return tuple(value)


def number(
    table: Mapping[str, Any],
    key: str,
    *,
    where: str,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> float:
    """A finite number, greater than `above`, not less than `at_least`, less than `below`."""
    return real(
        _value(table, key, where, _REQUIRED), where=f"{where}: {key}", above=above, at_least=at_least, below=below
    )


def optional_number(
    table: Mapping[str, Any],
    key: str,
    *,
    where: str,
    above: float | None = None,
    at_least: float | None = None,
) -> float | None:
    """Like `number`, None where the key is absent."""
    return None if key not in table else number(table, key, where=where, above=above, at_least=at_least)


def real(
    value: object, *, where: str, above: float | None = None, at_least: float | None = None, below: float | None = None
) -> float:
    """A finite number within bounds; booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProtocolError(f"{where}: found {value!r}; expected a number")
    if above is not None and value <= above:
        raise ProtocolError(f"{where}: found {value:g}; expected a number above {above:g}")
    if at_least is not None and value < at_least:
        raise ProtocolError(f"{where}: found {value:g}; expected {at_least:g} or more")
    if below is not None and value >= below:
        raise ProtocolError(f"{where}: found {value:g}; expected a number below {below:g}")
    return float(value)


def count(table: Mapping[str, Any], key: str, *, where: str) -> int:
    """A whole number of at least 1."""
    value = _value(table, key, where, _REQUIRED)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ProtocolError(f"{where}: {key}: found {value!r}; expected a whole number of at least 1")
    return value


def boolean(table: Mapping[str, Any], key: str, *, where: str, default: bool) -> bool:
    """true or false."""
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise ProtocolError(f"{where}: {key}: found {value!r}; expected true or false")
    return value


def numbers_by_name(
    table: Mapping[str, Any], key: str, *, where: str, above: float | None = None, at_least: float | None = None
) -> dict[str, float]:
    """A table of numbers by name, each above `above` and not less than `at_least`; empty where the key is absent."""
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise ProtocolError(f"{where}: {key}: found {value!r}; expected a table of numbers by name")
    return {
        str(name): real(v, where=f"{where}: {key}: {name}", above=above, at_least=at_least) for name, v in value.items()
    }


def _value(table: Mapping[str, Any], key: str, where: str, default: object) -> object:
    if key in table:
        return table[key]
    if default is _REQUIRED:
        raise ProtocolError(f"{where}: {key} is missing; add it")
    return default

"""Values as the store keeps them: one form per type, checked when they come in.

Here: types, dates, instants, finite numbers, printed names. Not here: ranges and plausibility (the form families of
`workflow`).
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lutetia.errors import InputError, UnknownNameError
from lutetia.trial.clock import day, instant, utc_text
from lutetia.trial.schema import NULLABLE_KEYS, TableSpec, canonical


def stored_values(spec: TableSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of some columns in the form that is stored; empty text is a missing value.

    Raises
    ------
    UnknownNameError
        For a column that the table does not have.
    InputError
        For a value of another type, a number that is not finite, a date or instant that is none.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{spec.name}.{name}"
        if name == "further":
            found[name] = _json(value, where) if value else None
        elif name not in spec.types:
            raise UnknownNameError("column", name, (*spec.names, "further"), where=spec.name)
        else:
            found[name] = _FORMS[spec.types[name]](value, where) if value is not None and value != "" else None
    return found


def require_keys(spec: TableSpec, values: Mapping[str, Any]) -> None:
    """Refuse a record that lacks part of its key.

    Raises
    ------
    InputError
        Naming the column.
    """
    for name in spec.keys:
        if values.get(name) is None and (spec.name, name) not in NULLABLE_KEYS:
            raise InputError(f"{spec.name}.{name}: found nothing; expected a value, because it names the record")


def require_text(value: str, where: str) -> None:
    """Refuse text that no database and no file can hold.

    Raises
    ------
    InputError
        For a zero byte, or half of a surrogate pair.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: found half a letter (a lone surrogate); expected printable text") from error
    if "\x00" in value:
        raise InputError(f"{where}: found a zero byte in the text; expected printable text")


def require_printed_name(value: str, where: str) -> None:
    """Refuse a name that would not be printed as it is: empty, or with letters that are not seen.

    Raises
    ------
    InputError
        For control characters, marks that turn the direction of writing, and whatever else leaves no ink.
    """
    if not value.strip():
        raise InputError(f"{where}: found none; expected the name as it is printed")
    if not value.isprintable():
        hidden = next(c for c in value if not c.isprintable())
        text = f"found a character that is not printed (U+{ord(hidden):04X}, {unicodedata.name(hidden, 'control')})"
        raise InputError(f"{where}: {text}; expected letters, spaces and punctuation only; type it again")


def printed_name_key(name: str) -> str:
    """What two names share that look the same in print: without case, width of letters and number of spaces."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def number_text(value: float) -> str:
    """A number as the exchange files hold it: the shortest text that reads back to the same value."""
    text = repr(float(value))
    return text.removesuffix(".0")


def _text(value: Any, where: str) -> str:
    name = where.rpartition(".")[2]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (int, float)):
        return number_text(_real(value, where))
    if not isinstance(value, str):
        raise InputError(f"{where}: found {type(value).__name__}; expected text")
    require_text(value, where)
    if name.endswith("_at"):
        return instant(value, where=where)
    return day(value, where=where) if name.endswith("_on") or name == "on" else value


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise InputError(f"{where}: found {value!r}; expected a whole number")
    return value


def _real(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
        raise InputError(f"{where}: found {value!r}; expected a finite number")
    return float(value)


def _json(value: Any, where: str) -> Any:
    try:
        text = canonical(value)
        require_text(text, where)
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: found a value that JSON does not have ({error})") from error


_FORMS: dict[str, Any] = {"text": _text, "int": _integer, "real": _real, "json": _json}

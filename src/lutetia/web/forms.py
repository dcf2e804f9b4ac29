"""Forms: the text that a person typed, the typed command that it means, and one message a field.

A form keeps what was typed, whatever happens to it. `Form.read` makes a frozen dataclass (a workflow's command) from
the fields' names and types; `Form.attempt` runs a use case and turns its refusal into a message on the form.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date, datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

from lutetia.core.clock import instants_of, within_years
from lutetia.errors import (
    AccessError,
    DuplicateRecordError,
    InputError,
    LockedRecordError,
    ProtocolError,
    ReasonRequiredError,
    SignatureError,
    TransitionError,
    TrialError,
    UnknownNameError,
)
from lutetia.trial.clock import local_text
from lutetia.web.texts import Texts

Command = TypeVar("Command")
Result = TypeVar("Result")
#: Refusals that a person corrects on the form itself; all others become a page of their own (`problems`).
CORRECTABLE = (
    InputError,
    LockedRecordError,
    ReasonRequiredError,
    DuplicateRecordError,
    TransitionError,
    SignatureError,
    ProtocolError,
    UnknownNameError,
)
_TEXT_LIMIT = 20_000


class _WrongEntryError(InputError):
    """One field does not hold what its type asks for; the text is ready for the person."""


@dataclass(slots=True)
class Form:
    """What was typed (or saved before), by field, and what is wrong with it.

    Parameters
    ----------
    texts, family
        A field's label in messages is the text `family.field`.
    zone
        Of local times; fields ending in `_at` are read in it.
    values
        Text (or several texts) by field.
    prefix
        Part of the inputs' `id`; see `named`.
    """

    texts: Texts
    family: str
    zone: ZoneInfo
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    prefix: str = ""

    def named(self, prefix: str) -> Form:
        """The same form with a name of its own, for pages where several forms have a field of one name."""
        return replace(self, prefix=prefix)

    def id(self, name: str) -> str:
        """The `id` of a field's input."""
        return f"f-{self.prefix}-{name}" if self.prefix else f"f-{name}"

    def value(self, name: str) -> str:
        """The text of a field, empty where there is none."""
        return next(iter(self.values.get(name, ())), "")

    def error(self, name: str) -> str:
        """The message of a field, empty where it is right."""
        return self.errors.get(name, "")

    def label(self, name: str) -> str:
        """The label of a field."""
        return self.texts.known(f"{self.family}.{name}", otherwise=name.replace("_", " "))

    def day(self, name: str) -> date | None:
        """The date in a field; None where it is blank, or wrong (then with a message)."""
        text = self.value(name).strip()
        try:
            return self._date(name, text) if text else None
        except _WrongEntryError as error:
            self.errors[name] = str(error)
            return None

    def read(self, command: type[Command], **given: Any) -> Command | None:
        """The command that the form means, or None with messages in `errors`.

        Parameters
        ----------
        command
            A dataclass; its field names are the names of the inputs. Types: str, int, float, bool, date, datetime,
            Literal, tuple[str, ...], and any of them or None. A blank optional field becomes its default.
        **given
            Fields that do not come from the form, such as the subject in the address.
        """
        found = dict(given)
        hints = _hints(cast(Hashable, command))
        for each in fields(command):  # type: ignore[arg-type]
            if each.name in given:
                continue
            try:
                value = self._field(each.name, hints[each.name])
            except _WrongEntryError as error:
                self.errors[each.name] = str(error)
                continue
            if value is not None:
                found[each.name] = value
            elif each.default is MISSING and each.default_factory is MISSING:
                if _optional(hints[each.name]):
                    found[each.name] = None
                else:
                    self.errors[each.name] = self.texts("form.missing", field=self.label(each.name))
        if self.errors:
            return None
        try:
            return command(**found)
        except CORRECTABLE as error:
            self.errors[""] = str(error)
            return None

    def attempt(self, verb: Callable[..., Result], *arguments: Any) -> Result | None:
        """Run a use case; a refusal that the person can correct becomes a message and None is returned."""
        try:
            return verb(*arguments)
        except CORRECTABLE as error:
            self.errors[""] = local_instants(str(error), self.zone)
        except (AccessError, TrialError) as error:
            # The bases themselves say what contradicts what; their special kinds have pages of their own.
            if type(error) not in (AccessError, TrialError):
                raise
            self.errors[""] = str(error)
        return None

    def _field(self, name: str, hint: Any) -> Any:
        kind = _without_none(hint)
        if get_origin(kind) is tuple:
            return tuple(v for v in self.values.get(name, ()) if v) or None
        if kind is bool:
            return self.value(name) in ("yes", "on", "true", "1")
        text = self.value(name).strip()
        if not text:
            return None
        if len(text) > _TEXT_LIMIT:
            raise self._wrong("too_long", name, count=len(text), limit=_TEXT_LIMIT)
        if get_origin(kind) is Literal:
            return self._literal(name, text, get_args(kind))
        reader = {int: self._int, float: self._float, date: self._date, datetime: self._moment}.get(kind)
        if reader is not None:
            return reader(name, text)
        return self._moment(name, text).isoformat() if name.endswith("_at") else text

    def _wrong(self, key: str, name: str, **values: object) -> _WrongEntryError:
        return _WrongEntryError(self.texts(f"form.{key}", field=self.label(name), **values))

    def _literal(self, name: str, text: str, offered: tuple[Any, ...]) -> Any:
        for value in offered:
            if str(value) == text:
                return value
        raise self._wrong("choose_one", name)

    def _int(self, name: str, text: str) -> int:
        try:
            return int(text)
        except ValueError as error:
            raise self._wrong("not_whole", name, found=text) from error

    def _float(self, name: str, text: str) -> float:
        """A number with decimal point; a comma is refused, because 3,700 means two things."""
        try:
            value = float(text)
        except ValueError as error:
            raise self._wrong("not_a_number", name, found=text) from error
        if "_" in text or not math.isfinite(value):
            raise self._wrong("not_a_number", name, found=text)
        return value

    def _date(self, name: str, text: str) -> date:
        try:
            return within_years(date.fromisoformat(text))
        except ValueError as error:
            raise self._wrong("not_a_date", name, found=text) from error

    def instants(self, name: str) -> tuple[datetime, ...]:
        """The two instants of a local time over which clocks go back, to choose from; empty for every other text."""
        try:
            moment = datetime.fromisoformat(self.value(name).strip())
        except ValueError:
            return ()
        found = () if moment.tzinfo is not None else instants_of(moment, self.zone)
        return found if len(found) == 2 else ()

    def chosen(self, name: str) -> datetime | None:
        """Which of `instants` was chosen: the field is sent once more, with offset."""
        texts = self.values.get(name, ())[1:]
        return next((m for m in self.instants(name) if m.isoformat(timespec="minutes") in texts), None)

    def _moment(self, name: str, text: str) -> datetime:
        """A local time with its offset; of two instants of one name one has to be chosen, and a day is no time."""
        try:
            moment = within_years(datetime.fromisoformat(text))
        except ValueError as error:
            raise self._wrong("not_a_moment", name, found=text) from error
        if len(text) <= len("2026-03-02"):
            raise self._wrong("not_a_moment", name, found=text)
        if moment.tzinfo is not None:
            return moment
        found = instants_of(moment, self.zone)
        chosen = found[0] if len(found) == 1 else self.chosen(name)
        if chosen is None:
            key = "two_such_times" if found else "no_such_time"
            raise self._wrong(key, name, found=moment.strftime("%Y-%m-%d %H:%M"), zone=self.zone.key)
        return chosen


def local_instants(text: str, zone: ZoneInfo) -> str:
    """A message with its stored instants, such as ``2026-03-02T08:30:00.123456+00:00``, as local times."""
    return _STORED.sub(lambda found: local_text(found[0], zone.key), text)


_STORED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def values_of(record: Mapping[str, Any], zone: ZoneInfo) -> dict[str, list[str]]:
    """A saved record as the text of a form; instants become local times, ``2026-03-02T09:30``.

    Of a local time that exists twice the chosen instant follows.
    """
    return {name: _written(name, value, zone) for name, value in record.items() if value is not None}


def _written(name: str, value: Any, zone: ZoneInfo) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if name.endswith("_at") and isinstance(value, str) and len(value) > 10:
        local = datetime.fromisoformat(value).astimezone(zone)
        naive = local.replace(tzinfo=None, fold=0)
        twice = len(instants_of(naive, zone)) == 2
        chosen = [local.isoformat(timespec="minutes")] if twice else []
        return [naive.isoformat(timespec="minutes"), *chosen]
    return [f"{value:.12g}" if isinstance(value, float) else str(value)]


@cache
def _hints(command: Hashable) -> dict[str, Any]:
    return get_type_hints(command)


def _optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _without_none(hint: Any) -> Any:
    if not _optional(hint):
        return hint
    kept = [part for part in get_args(hint) if part is not type(None)]
    return kept[0] if kept else str

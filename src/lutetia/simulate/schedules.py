"""Imaging schedules in words, such as ``4,24,72,168`` or ``madsen@72``, as measurements of virtual trials.

To add a single-time-point method: see `lutetia.simulate.single_point`.
"""

from __future__ import annotations

from dataclasses import replace

from lutetia.errors import InputError, UnknownNameError
from lutetia.simulate.population import Measurement
from lutetia.simulate.single_point import METHODS, OWN

SHORT = {"own": OWN}
_LONGEST_H = 336.0


def schedule(text: str, packaged: Measurement) -> Measurement:
    """The measurement with the scans of a schedule; everything else stays.

    Parameters
    ----------
    text
        Hours after the infusion with commas (two or more: every cycle is fitted), or METHOD@HOUR: one scan a cycle,
        evaluated by haenscheid, madsen, bayesian, or own (half-life of the first cycle, which has all packaged scans).
    packaged
        Errors, and the other times.

    Raises
    ------
    InputError
        For hours that are no numbers, not between 0 and 336 h, or fewer than two without a method.
    UnknownNameError
        For an unknown method.
    """
    method, _, hours = text.rpartition("@")
    if method:
        name = SHORT.get(method.strip(), method.strip())
        if name not in METHODS:
            raise UnknownNameError("single-time-point method", method, (*METHODS[:-1], *SHORT))
        found = _hours(hours, text)
        if len(found) != 1:
            raise InputError(f"schedule {text!r}: found {len(found)} hours; expected one after the @")
        return replace(packaged, single_point=name, single_hour=found[0])
    found = _hours(text, text)
    if len(found) < 2:
        raise InputError(
            f"schedule {text!r}: found one scan; expected two or more, or a method for one, such as madsen@72"
        )
    return replace(packaged, scan_hours=found)


def _hours(words: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in words.split(","))
    except ValueError as error:
        raise InputError(f"schedule {text!r}: expected hours such as 4,24,72,168 or madsen@72") from error
    if not all(0.0 < hour <= _LONGEST_H for hour in found) or list(found) != sorted(set(found)):
        raise InputError(
            f"schedule {text!r}: expected different hours in increasing order, above 0 and up to {_LONGEST_H:g}"
        )
    return found

"""Numbers as people read them: sensible digits, true minus, thin spaces, typeset nuclides. Units in, text out.

A value that could not be evaluated (None or not finite) is `NOT_EVALUABLE`, never 0. Every number is rounded to six
significant digits first, so that the last bits of a computation never change a document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from lutetia.core.numbers import six_digits
from lutetia.report.document import Inline, Span, plain

NOT_EVALUABLE = "not evaluable"
NO_CHANGE = "no change"
THIN = "\u202f"
MINUS = "\u2212"
_SYMBOL = "Ac|At|Cu|Ga|I|In|Lu|Pb|Sm|Tb|Y|Zr"
_RAISED = re.compile(
    rf"(?<![A-Za-z0-9-])(?:({_SYMBOL})-(\d{{2,3}}m?)|(\d{{2,3}}m?)({_SYMBOL})|10\^([-−]?\d+))(?![A-Za-z0-9])"
)
_THOUSANDS = re.compile(r"(?<![\w.,−-])(\d{4,})(?=\u00a0(?:GBq|MBq|Gy|mGy|mL|g|mm|h)(?![A-Za-z]))")
_MICRO = re.compile(r"(?<![A-Za-z])u(?=(?:mol|g|L)(?![A-Za-z]))")
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:GBq|MBq|Gy|mGy|mL|kg|g|mm|h|d|%)(?![A-Za-z]))")


def edge(value: float) -> float:
    """The value rounded to six significant digits: the form in which numbers enter a document."""
    return six_digits(value)


def known(value: object) -> float | None:
    """The value as a finite float rounded to six significant digits, or None where it is absent or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return edge(float(value))


def decimals(value: float, *, digits: int = 3, most: int = 3) -> int:
    """Decimal places that show `digits` significant digits, between 0 and `most`."""
    if value == 0.0:
        return min(1, most)
    return max(0, min(most, digits - 1 - math.floor(math.log10(abs(value)))))


def fixed(value: float, places: int) -> str:
    """The value with a fixed number of decimals, thin spaces between thousands and a true minus sign."""
    text = f"{edge(value):,.{places}f}".replace(",", THIN)
    return text.replace("-", "" if float(text.replace(THIN, "")) == 0.0 else MINUS)


def number(value: float | None, *, digits: int = 3, most: int = 3) -> str:
    """A number with about `digits` significant digits and at most `most` decimals."""
    finite = known(value)
    return NOT_EVALUABLE if finite is None else fixed(finite, decimals(finite, digits=digits, most=most))


def given_number(value: float | None) -> str:
    """A number that a person wrote, such as a limit: without trailing zeros."""
    finite = known(value)
    if finite is None:
        return NOT_EVALUABLE
    return fixed(finite, next((p for p in range(6) if edge(round(finite, p)) == finite), 6))


def with_unit(value: float | None, unit: str, *, digits: int = 3, most: int = 3) -> str:
    """A number and its unit; only the words where it is not evaluable."""
    text = number(value, digits=digits, most=most)
    return text if text == NOT_EVALUABLE else f"{text}{THIN}{unit}"


def with_sd(value: float | None, sd: float | None, *, most: int = 3) -> str:
    """Value ± standard deviation; both with the decimals that show two digits of the standard deviation."""
    finite, spread = known(value), known(sd)
    if finite is None:
        return NOT_EVALUABLE
    if spread is None or spread <= 0.0:
        return number(finite, most=most)
    places = min(decimals(spread, digits=2, most=most), decimals(finite, digits=4, most=most))
    return f"{fixed(finite, places)}{THIN}±{THIN}{fixed(spread, places)}"


def interval(bounds: Sequence[float | None] | None, *, most: int = 3) -> str:
    """An interval with equal decimals at both ends: 4.1–6.6, or −1 to 2 where a bound is negative."""
    ends = [known(b) for b in bounds] if bounds is not None and len(bounds) == 2 else [None]
    finite = [e for e in ends if e is not None]
    if len(finite) != 2:
        return NOT_EVALUABLE
    places = decimals(max(abs(e) for e in finite), most=most)
    low, high = (fixed(e, places) for e in finite)
    return f"{low} to {high}" if finite[0] < 0 else f"{low}–{high}"


def gigabecquerel(activity_MBq: float | None) -> str:
    """An activity in MBq as GBq with two decimals, three where two would change it."""
    finite = known(activity_MBq)
    if finite is None:
        return NOT_EVALUABLE
    exact = abs(finite / 10.0 - round(finite / 10.0)) < 1e-6
    return fixed(finite / 1000.0, 2 if exact else 3)


def probability(value: float | None) -> str:
    """A probability in whole percent; beyond 1 % and 99 % only as a bound, because draws cannot tell more."""
    finite = known(value)
    if finite is None:
        return NOT_EVALUABLE
    if finite < 0.01 or finite > 0.99:
        return f"<{THIN}1{THIN}%" if finite < 0.5 else f">{THIN}99{THIN}%"
    return f"{fixed(100.0 * finite, 0)}{THIN}%"


def percent(fraction: float | None) -> str:
    """A fraction in percent: whole numbers from 10 %, one decimal below."""
    finite = known(fraction)
    if finite is None:
        return NOT_EVALUABLE
    return f"{fixed(100.0 * finite, 0 if abs(finite) >= 0.0995 else 1)}{THIN}%"


def change(fraction: float | None) -> str:
    """A relative change in whole percent with its sign; "no change" below half a percent."""
    finite = known(fraction)
    if finite is None:
        return NOT_EVALUABLE
    if abs(finite) < 0.005:
        return NO_CHANGE
    return f"{'+' if finite > 0 else ''}{fixed(100.0 * finite, 0)}{THIN}%"


def nuclide(name: str) -> Inline:
    """A nuclide with raised mass number: ``Lu-177`` → ¹⁷⁷Lu. Other text is returned as it is."""
    return typeset(name)


def nuclide_text(name: str) -> str:
    """The same with Unicode superscripts, for figures and alternative texts."""
    return plain(typeset(name))


def typeset(text: str) -> Inline:
    """Inline text in which nuclides (``Lu-177`` or ``177Lu``) and powers of ten (``10^9``) are raised.

    Numbers are kept on one line with their units, with thin spaces between thousands; ``umol`` is written with µ.
    """
    spans: list[Span] = []
    position = 0
    text = _THOUSANDS.sub(lambda m: fixed(int(m[1]), 0), _BEFORE_UNIT.sub("\u00a0", _MICRO.sub("µ", text)))
    for match in _RAISED.finditer(text):
        symbol, mass, power = match[1] or match[4], match[2] or match[3], match[5]
        if match.start() > position:
            spans.append(Span(text[position : match.start()]))
        spans += [Span("10"), Span(power, raised=True)] if power else [Span(mass, raised=True), Span(symbol)]
        position = match.end()
    if position < len(text):
        spans.append(Span(text[position:]))
    return tuple(spans)


def unit(text: str) -> Inline:
    """A unit as people write it: ``10^9/L`` with a raised exponent, ``umol/L`` with µ."""
    spans: list[Span] = []
    for n, part in enumerate(re.split(r"\^([-−]?\d+)", _MICRO.sub("µ", text))):
        spans += [Span(part, raised=bool(n % 2))] if part else []
    return tuple(spans)


def typeset_text(text: str) -> str:
    """`typeset` as plain text with Unicode superscripts."""
    return plain(typeset(text))

"""Templates: one environment for all pages, with the words, addresses and filters that they use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lutetia.report.html import checked_svg
from lutetia.report.numbers import fixed, typeset_text
from lutetia.web import assets
from lutetia.web.texts import Texts

_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)")


def environment(words: Texts) -> Environment:
    """Jinja2 environment of one language; everything is escaped, and an unknown name is an error."""
    made = Environment(
        loader=PackageLoader("lutetia.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {
        "t": words,
        "plural": words.plural,
        "known": words.known,
        "language": words.language,
        "static": assets.address,
        "query_string": query_string,
    }
    made.filters |= {"figure": figure, "fixed": fixed, "moment_typed": moment_typed, "typeset": typeset}
    return made


def query_string(query: Mapping[str, Any], **changed: Any) -> str:
    """The query part of an address, with some values changed; empty ones are left out."""
    return urlencode({k: v for k, v in {**query, **changed}.items() if v not in (None, "")})


def typeset(text: object) -> str:
    """Text with raised mass numbers, µ and thin spaces: ``3700 MBq Lu-177`` → 3 700 MBq ¹⁷⁷Lu; none for None."""
    return "" if text is None else typeset_text(str(text))


def moment_typed(text: str) -> str:
    """A local time as people type it: ``2026-03-02T09:30`` → 2026-03-02 09:30; other text as it is."""
    return _MOMENT.sub(r"\1 \2", text)


def figure(svg: bytes) -> Markup:
    """A picture drawn by `lutetia.report.figures`, after a check that it holds drawing only."""
    return Markup(checked_svg(svg))

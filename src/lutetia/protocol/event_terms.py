"""Which analyte, or which other kind of toxicity, the term of an adverse event names, in any of its spellings.

Not here: what a kind of a grade does to the next cycle (`findings`). To add a spelling: a word in
`data/toxicity_terms.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_SPELLING = (("ae", "e"), ("oe", "e"), ("leuco", "leuko"), ("-", " "), ("/", " "))


def event_kinds(term: str) -> tuple[str, ...]:
    """Kinds of toxicity that a term names, such as ``platelets`` for "Thrombocytopaenia"; else the term itself.

    A term may name several: "Anaemia and thrombocytopenia".
    """
    spelled = _american(term)
    return tuple(kind for kind, words in _words().items() if any(word in spelled for word in words)) or (spelled,)


def _american(term: str) -> str:
    text = term.casefold()
    for old, new in _SPELLING:
        text = text.replace(old, new)
    return " ".join(text.split())


@cache
def _words() -> Mapping[str, tuple[str, ...]]:
    source = files("lutetia.protocol") / "data" / "toxicity_terms.toml"
    return {kind: tuple(words) for kind, words in tomllib.loads(source.read_text(encoding="utf-8")).items()}

"""Every word of the interface, by language; English here. To add Polish: a folder `pl` beside `en` with the same keys
and a line in `LANGUAGES` with its rule of plurals; a test compares the keys."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lutetia.errors import OutputError, UnknownNameError


def _english(count: int) -> str:
    return "one" if count == 1 else "other"


LANGUAGES: dict[str, Callable[[int], str]] = {"en": _english}


@dataclass(frozen=True, slots=True)
class Texts:
    """Words of one language by dotted key.

    Parameters
    ----------
    language
        A key of `LANGUAGES`.
    words
        Key → text; `{name}` in a text is filled from the call.
    """

    language: str
    words: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with values filled in.

        Raises
        ------
        UnknownNameError
            If no file has the key.
        """
        if (found := self.words.get(key)) is None:
            raise UnknownNameError("text", key, self.words, where=f"texts/{self.language}")
        return found.format(**values) if values else found

    def plural(self, key: str, count: int, **values: object) -> str:
        """The form of a text that the count needs: keys `key.one`, `key.other` (and what the language has more)."""
        return self(f"{key}.{LANGUAGES[self.language](count)}", count=count, **values)

    def known(self, key: str, *, otherwise: str) -> str:
        """The text of a key that data name (a role, a state), or the given words where no file has it."""
        return self.words.get(key, otherwise)


@cache
def texts(language: str = "en") -> Texts:
    """All words of a language, read once from `texts/<language>/*.toml`.

    Raises
    ------
    UnknownNameError
        If the language is unknown.
    OutputError
        If two files hold the same key.
    """
    if language not in LANGUAGES:
        raise UnknownNameError("language", language, LANGUAGES)
    words: dict[str, str] = {}
    folder = files("lutetia.web") / "texts" / language
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            for key, text in _flat(tomllib.loads(entry.read_text(encoding="utf-8"))).items():
                if key in words:
                    raise OutputError(f"texts/{language}/{entry.name}: {key!r} is in another file too; keep one")
                words[key] = text
    return Texts(language, words)


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: str(value)}
    return flat

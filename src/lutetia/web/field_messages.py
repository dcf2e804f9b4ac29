"""Messages of a use case beside the fields that they are about.

The checks of a form answer with one text, ``form: field: found …; field: found …``; here it is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from lutetia.web.forms import Form


def beside_fields(form: Form, names: Iterable[str]) -> None:
    """Move each part of the form's general message that names a field to that field; the rest stays general."""
    message = form.errors.pop("", "")
    known = sorted(names, key=len, reverse=True)
    # A field begins the message, after the form's name at most, or follows a colon, a semicolon or a new line.
    pattern = rf"(?:^(?:[\w ]+ )?|(?<=[;:]\s)|(?<=\n))({'|'.join(map(re.escape, known))}): "
    parts = re.split(pattern, message) if known else [message]
    head = parts[0].strip().rstrip(";:").strip()
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        words = text.strip().rstrip(";").strip()
        if not words:
            continue  # the name of the form itself, before the field
        form.errors[name] = f"{form.label(name)}: {_labelled(form, words, known)}"
    if len(parts) == 1:
        form.errors |= {"": _labelled(form, message, known)} if message else {}
    elif re.search(r"\bfound\b|\bexpected\b", head):
        form.errors[""] = _labelled(form, head, known)


def _labelled(form: Form, words: str, names: Sequence[str]) -> str:
    """The message with names of columns, such as ``started_on``, as the form labels them."""
    columns = [re.escape(name) for name in names if "_" in name]
    if not columns:
        return words
    return re.sub(rf"\b({'|'.join(columns)})\b", lambda found: f"“{form.label(found[1])}”", words)


def attempt_fields(form: Form, names: Iterable[str], verb: Callable[..., object], *arguments: object) -> bool:
    """Run a use case; a refusal becomes messages on the form, and False is returned."""
    form.attempt(verb, *arguments)
    if form.errors:
        beside_fields(form, names)
    return not form.errors

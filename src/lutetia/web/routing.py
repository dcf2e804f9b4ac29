"""What a route declares: its address, its handler, the right that it needs and where its site comes from.

Not here: the routes themselves (`routes`), the check (`context.guard`), who has which right (`lutetia.trial.access`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lutetia.errors import MissingRecordError
from lutetia.trial.reader import Reader

#: Nobody need be signed in (sign-in itself, health, static files).
PUBLIC = "public"
#: Any signed-in person.
SIGNED_IN = "signed in"
#: Any signed-in person, also before a password that the administrator gave was changed (changing it, signing out).
OWN_ACCOUNT = "own account"
#: Any signed-in person, also while the session is locked after a pause (unlock, sign out).
PAUSED = "paused"

SiteOf = Callable[[Reader, Mapping[str, Any]], str | None]


def any_site(reader: Reader, path: Mapping[str, Any]) -> None:
    """The right is needed at some site; the handler shows only what `Page.sites` permits."""


def site_of_subject(reader: Reader, path: Mapping[str, Any]) -> str:
    """The site of the subject in the address.

    Raises
    ------
    MissingRecordError
        If there is no such subject.
    """
    found = reader.find("subjects", {"subject_id": str(path["subject_id"])})
    if found is None:
        raise MissingRecordError(f"subject {path['subject_id']}: found none; expected a screened subject")
    return str(found["site"])


def site_of_query(reader: Reader, path: Mapping[str, Any]) -> str | None:
    """The site of the data query in the address.

    Raises
    ------
    MissingRecordError
        If there is no such query.
    """
    number = str(path["query_id"])
    found = reader.find("queries", {"query_id": int(number)}) if number.isdecimal() and len(number) < 10 else None
    if found is None:
        raise MissingRecordError(f"query {path['query_id']}: found none; expected an existing one")
    site: str | None = found["site"]
    return site


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the map of the site.

    Parameters
    ----------
    method, path
        As FastAPI writes them, e.g. ``GET`` and ``/subjects/{subject_id}``.
    handler
        The function that answers.
    action
        A right of `lutetia.trial.access.RIGHTS`, or `PUBLIC`, `SIGNED_IN`, `OWN_ACCOUNT`, `PAUSED`.
    site_of
        How the request names the site at which the right is needed.
    by_itself
        Whether an open page asks it again and again by itself, which keeps nobody's session awake.
    uploads
        Whether files come with it: its body may be large, and is read only from who may send it.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    action: str
    site_of: SiteOf = any_site
    by_itself: bool = False
    uploads: bool = False

    @property
    def is_api(self) -> bool:
        """Whether it is part of the JSON API."""
        return self.path.startswith("/api/")

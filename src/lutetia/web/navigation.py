"""The entries on the left. To add one: a line of `GROUPS`; it is shown to whom its action is permitted."""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.trial import access
from lutetia.trial.records import Actor
from lutetia.web.routing import SIGNED_IN
from lutetia.web.texts import Texts

#: Text key of the group → (text key, path, icon of templates/icons.html, action).
GROUPS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "navigation.trial": (
        ("navigation.overview", "/", "overview", SIGNED_IN),
        ("navigation.subjects", "/subjects", "people", "see_subject"),
        ("navigation.laboratory_import", "/laboratory/import", "upload", "enter_data"),
        ("cycles.nav_images", "/images", "image", "enter_data"),
        ("cycles.nav_batches", "/batches", "vial", "record_administration"),
        ("navigation.queries", "/queries", "query", "see_subject"),
    ),
    "navigation.analysis": (
        ("navigation.safety", "/safety", "chart", "open_report"),
        ("navigation.snapshots", "/snapshots", "lock", "open_report"),
        ("navigation.interim", "/interim", "print", "open_report"),
        ("navigation.exports", "/exports", "download", "export"),
        ("navigation.jobs", "/jobs", "clock", "see_subject"),
    ),
    "navigation.study": (
        ("navigation.documents", "/documents", "document", SIGNED_IN),
        ("randomisation_list.title", "/randomisation-list", "key", SIGNED_IN),
        ("navigation.audit", "/audit", "shield", "read_audit"),
        ("navigation.locks", "/locks", "lock", "lock"),
    ),
    "navigation.administration": (
        ("navigation.users", "/users", "key", "manage_users"),
        ("navigation.sites", "/sites", "site", "manage_users"),
    ),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One link."""

    title: str
    path: str
    icon: str
    current: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Links under a heading."""

    title: str
    entries: tuple[Entry, ...]


def groups(actor: Actor, words: Texts, path: str) -> tuple[Group, ...]:
    """What a person sees on the left, with the present page marked."""
    found = []
    for title, entries in GROUPS.items():
        shown = tuple(
            Entry(words(key), href, icon, _within(path, href))
            for key, href, icon, action in entries
            if action == SIGNED_IN or access.may(actor, action)
        )
        if shown:
            found.append(Group(words(title), shown))
    return tuple(found)


def _within(path: str, href: str) -> bool:
    return path == href if href == "/" else path == href or path.startswith(href + "/")

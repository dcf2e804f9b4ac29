"""What every page of one subject shares: who it is, how far the course is, and the parts of the subject's pages."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import PageContext
from lutetia.web.forms import Form
from lutetia.workflow.locks import open_locks

#: Part → (address behind the subject's, right that opening it needs).
PARTS: dict[str, tuple[str, str]] = {
    "course": ("", "see_subject"),
    "screening": ("/screening", "see_subject"),
    "randomisation": ("/randomisation", "see_subject"),
    "laboratory": ("/laboratory", "see_subject"),
    "vitals": ("/vitals", "see_subject"),
    "events": ("/adverse-events", "see_subject"),
    "deviations": ("/deviations", "see_subject"),
    "follow_up": ("/follow-up", "see_subject"),
    "records": ("/records", "see_subject"),
    "identity": ("/identity", "enter_data"),
}
#: Tone of the badge of each state of a subject.
TONES = {
    "SCREENING": "info", "ELIGIBLE": "info", "RANDOMISED": "info", "ON_TREATMENT": "ok", "CONSENT_WITHDRAWN": "warning",
    "LOST": "warning", "SCREEN_FAILED": "warning", "DEAD": "danger",
}  # fmt: skip


def subject_page(
    page: PageContext, subject_id: str, part: str, template: str, *, status: int = 200, **values: Any
) -> Response:
    """A page of one subject: head, parts and the template's own block."""
    subject = queries.subject(page.reader, page.actor, subject_id)
    site = subject["site"]
    parts = [
        (key, page.t(f"subjects.parts.{key}"), f"/subjects/{subject_id}{path}")
        for key, (path, action) in PARTS.items()
        if page.may(action, site)
    ]
    held = locked_whole(page, subject_id)
    return page.render(
        template, status=status, subject=subject, part=part, parts=parts, facts=_facts(page, subject),
        state_tone=TONES.get(subject["state"] or "", ""), locked=[k["level"] for k in held],
        held=lock_words(page, held[0]) if held else "", base=f"/subjects/{subject_id}",
        enters=page.may("enter_data", site) and not held, signs=page.may("sign_forms", site),
        masked=page.masked, **values,
    )  # fmt: skip


def locked_whole(page: PageContext, subject_id: str) -> list[Record]:
    """Locks that hold every form of a subject: its own, and that of the study."""
    return [lock for lock in open_locks(page.reader, subject_id) if lock["level"] != "form"]


def lock_words(page: PageContext, lock: Record) -> str:
    """What is locked since when and by whom, and how it is opened."""
    people = queries.people(page.reader)
    return page.t(
        f"locks.held_{lock['level']}", when=page.local(lock["locked_at"]),
        name=people.get(lock["locked_by"], lock["locked_by"]),
    )  # fmt: skip


def blank(page: PageContext, family: str, **values: str) -> Form:
    """A form that begins with given texts, whatever was sent."""
    return Form(page.t, family, page.zone, {name: [text] for name, text in values.items()})


def options(page: PageContext, family: str, names: tuple[str, ...] | list[str]) -> list[tuple[str, str]]:
    """Choices of a select: stored word and the words of the text `family.word`."""
    return [(name, page.t.known(f"{family}.{name}", otherwise=name.replace("_", " "))) for name in names]


def stratum_words(stored: str) -> str:
    """A stored stratum, ``site=01;diabetes=no``, as people read it beside the site: ``diabetes no``."""
    parts = [part.strip() for part in stored.split(";")]
    return ", ".join(part.replace("=", " ") for part in parts if not part.startswith("site="))


def _facts(page: PageContext, subject: Record) -> list[tuple[str, str]]:
    t = page.t
    age = subject["age_years"]
    facts = [
        (t("subjects.site"), subject["site"]),
        (t("subjects.sex"), t.known(f"subjects.sexes.{subject['sex']}", otherwise=subject["sex"] or "")),
        (t("subjects.age"), "" if age is None else t("subjects.years", age=f"{age:g}")),
        (t("subjects.randomised_on"), subject["randomised_on"] or ""),
        (t("subjects.stratum"), stratum_words(subject["stratum_true"] or "")),
        (t("subjects.protocol_version"), subject["protocol_version"] or ""),
    ]
    if not page.masked:
        facts.insert(3, (t("subjects.arm"), subject["arm"] or ""))
    return facts

"""The randomisation list: its published hash for everybody, its making, lengthening and end for the statistician.

No page says which arm stands where in the list, how many entries a stratum has left, or, but to who makes the list,
the sizes of its blocks: whoever knows them can guess the last arm of a block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from lutetia.errors import TrialError
from lutetia.trial.randomisation import SCHEMES
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.web.context import Page, PageContext
from lutetia.web.field_messages import attempt_fields
from lutetia.web.files import attachment
from lutetia.web.forms import Form
from lutetia.workflow import randomisation, randomisation_record
from lutetia.workflow.downloads import Download
from lutetia.workflow.study_setup import study_record

_PATH = "/randomisation-list"
#: How the checks of a specification begin, and the field that each is about.
_SUBJECTS = {
    "scheme": r"randomisation scheme\b", "block_sizes": r"found (no )?block size", "p_best": r"found p_best",
    "overall_weight": r"found an overall weight|no overall weight", "factors": r"found the factors",
    "length": r"^list: ", "ratio": r"found ratio|^ratio: ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListForm:
    """The plain fields of a new list; ratio, factors and block sizes are read apart."""

    scheme: str
    p_best: float = 0.8
    overall_weight: float = 1.0
    length: int | None = None


def show(page: Page) -> Response:
    """Hash and state of the list; the statistician also sees the forms."""
    return _show(page)


def generate(page: Page) -> Response:
    """Draw a seed, publish the hash and store the sealed list."""
    form, arms = page.form("randomisation_list"), _arms(page)
    ratio, factors, sizes = _ratio(form, arms), _factors(form), _sizes(form)
    sent = form.read(ListForm)
    if sent is not None:
        spec = RandomisationSpec(
            sent.scheme, arms, ratio, factors, sizes, p_best=sent.p_best, overall_weight=sent.overall_weight
        )
        form.attempt(randomisation.generate_list, page.trial, page.actor, randomisation.GenerateList(spec, sent.length))
        _beside(form, arms)
    if form.errors:
        return _show(page, made=form, status=422)
    return page.redirect(_PATH, notice="randomisation_list.generated")


def extend(page: Page) -> Response:
    """Add entries for new sites or longer strata."""
    form = page.form("randomisation_list")
    command = form.read(randomisation.ExtendList)
    if command is not None:
        form.attempt(randomisation.extend_list, page.trial, page.actor, command)
        _beside(form, ())
    if form.errors:
        return _show(page, extended=form, status=422)
    return page.redirect(_PATH, notice="randomisation_list.extended")


def reveal(page: Page) -> Response:
    """End the scheme and make its seed known."""
    form = page.form("randomisation_list")
    command = form.read(randomisation_record.Reveal)
    if command is None or not attempt_fields(
        form, ("reason",), randomisation_record.reveal, page.trial, page.actor, command
    ):
        return _show(page, ended=form, status=422)
    return page.redirect(_PATH, notice="randomisation_list.seed_revealed")


def download(page: Page) -> Response:
    """The record of the revealed seed, as `lutetia randomise replay` reads it."""
    record = randomisation_record.revealed_record(page.trial, page.actor)
    content = json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"
    name = f"{page.services.study.study_id}-randomisation-revealed.json"
    return attachment(Download(name, content), "application/json")


def _show(
    page: PageContext, *, made: Form | None = None, extended: Form | None = None, ended: Form | None = None,
    status: int = 200,
) -> Response:  # fmt: skip
    zone, arms = page.zone, _arms(page)
    first = {"scheme": ["blocks"], "factors": ["site"], "block_sizes": [f"{len(arms)}, {2 * len(arms)}"],
             "p_best": ["0.8"], "overall_weight": ["1"], **{f"ratio_{arm}": ["1"] for arm in arms}}  # fmt: skip
    empty, published = Form(page.t, "randomisation_list", zone), _published(page)
    return page.render(
        "randomisation_list/show.html", status=status, published=published, sizes=_sizes_of(page, published), arms=arms,
        schemes=[(name, f"{name}: {scheme.description}") for name, scheme in SCHEMES.items()],
        made=made or Form(page.t, "randomisation_list", zone, first), extended=extended or empty, ended=ended or empty,
        keeps=page.may("generate_list"), by_stratum={name: s.by_stratum for name, s in SCHEMES.items()},
    )  # fmt: skip


def _published(page: PageContext) -> randomisation.Published | None:
    try:
        return randomisation.published(page.trial)
    except TrialError:
        return None


def _sizes_of(page: PageContext, published: randomisation.Published | None) -> Sequence[int]:
    """Sizes of blocks, for who makes the list, or once the seed is revealed."""
    if published is None or published.kind != "blocks" or not page.may("generate_list"):
        return ()
    known: Sequence[int] | None = published.specification.get("block_sizes")
    return randomisation_record.block_sizes(page.trial, page.actor) if known is None else known


def _arms(page: PageContext) -> tuple[str, ...]:
    return tuple(study_record(page.reader)["settings"].get("arms", ()))


def _ratio(form: Form, arms: Sequence[str]) -> tuple[int, ...]:
    """One number an arm; a wrong one gets its message."""
    found = []
    for arm in arms:
        text, name = form.value(f"ratio_{arm}").strip(), f"ratio_{arm}"
        if text.isascii() and text.isdecimal() and len(text) < 4:
            found.append(int(text))
        else:
            form.errors[name] = form.texts("form.not_whole", field=_arm_label(form, arm), found=text)
    return tuple(found)


def _sizes(form: Form) -> tuple[int, ...]:
    parts = [part for part in re.split(r"[,;\s]+", form.value("block_sizes").strip()) if part]
    wrong = [part for part in parts if not (part.isascii() and part.isdecimal() and len(part) < 4)]
    if wrong:
        form.errors["block_sizes"] = form.texts("form.not_whole", field=form.label("block_sizes"), found=wrong[0])
        return ()
    return tuple(int(part) for part in parts)


def _factors(form: Form) -> tuple[Factor, ...]:
    """One factor a line, ``diabetes: no, yes``; without levels any value is taken."""
    found = []
    for line in form.value("factors").splitlines():
        name, _, levels = line.partition(":")
        if line.strip() and not re.fullmatch(r"\w+", name.strip()):
            form.errors["factors"] = form.texts("randomisation_list.factor_name", found=line.strip())
        elif line.strip():
            found.append(Factor(name.strip(), tuple(level.strip() for level in levels.split(",") if level.strip())))
    return tuple(found)


def _beside(form: Form, arms: Sequence[str]) -> None:
    """Move the refusal of a specification to the field that it is about."""
    message = form.errors.pop("", "")
    for name, pattern in _SUBJECTS.items():
        if re.search(pattern, message):
            form.errors[f"ratio_{arms[0]}" if name == "ratio" and arms else name] = message
            return
    form.errors |= {"": message} if message else {}


def _arm_label(form: Form, arm: str) -> str:
    return form.texts("randomisation_list.ratio_of", arm=arm)

"""Which next steps a cycle's page offers to a person: from its state and the person's rights, for showing only.

The use cases ask again for rights and states. To add a step: a line where its state is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import PageContext
from lutetia.web.pages.cycles_records import CycleRecords, Shown
from lutetia.workflow.course_records import lab_conditions
from lutetia.workflow.cycles import ENDED, TREATABLE, following_cycle, physicians_hold

Action = dict[str, Any]


def next_steps(page: PageContext, found: CycleRecords, shown: Shown | str | None) -> dict[str, Any]:
    """`main` steps as buttons, `more` ones as links, and a hint who has the next word."""
    state, site = found.cycle["state"], found.subject["site"]
    main: list[Action] = []
    more: list[Action] = []
    hint = ""
    hold = physicians_hold(page.reader, found.cycle)
    if hold is not None:
        main = [_link("lift", "primary")] if page.may("release", site) else []
        hint = page.t("cycles.held_by", name=hold.by, day=hold.on)
    elif state in ("PLANNED", "HELD") and page.may("enter_data", site):
        main = _to_assess(page, found)
    if state == "ASSESSED":
        main, more, hint = _assessed(page, found, shown)
    if state == "PRESCRIBED":
        main, more = _prescribed(page, found, shown)
    if state in ("GIVEN", "DOSED", "DOSE_MISSING"):
        main, more = _given(page, state, site)
    if state in ("PLANNED", "ASSESSED", "HELD", "PRESCRIBED"):
        more += _before_given(page, state, site)
    following = _following(page, found)
    if state in (*ENDED, "CLOSED"):
        main += following
    else:
        more += following
    return {"main": main, "more": more, "hint": hint or _hint(page, found, shown, main)}


def _to_assess(page: PageContext, found: CycleRecords) -> list[Action]:
    """The assessment; before it the laboratory values, where it lacks them."""
    subject_id = found.cycle["subject_id"]
    if not lab_conditions(page.reader, subject_id, datetime.fromisoformat(page.reader.now)):
        return [_post("assess", "primary")]
    labs = _link("labs", "primary") | {"href": f"/subjects/{subject_id}/laboratory/entry"}
    return [labs, _post("assess", "")]


def _assessed(
    page: PageContext, found: CycleRecords, shown: Shown | str | None
) -> tuple[list[Action], list[Action], str]:
    site = found.subject["site"]
    main: list[Action] = []
    more: list[Action] = []
    if not isinstance(shown, Shown):
        return [_post("assess", "primary")] if page.may("enter_data", site) else [], more, ""
    if shown.version is None:
        if page.may("propose", site) and shown.activities:
            main.append(_link("propose", "primary"))
        if page.may("enter_data", site):
            more.append(_post("assess", ""))
        return main, more, ""
    row = shown.rows[0]
    own = page.actor.user_id in (row["proposed_by"], row["override_by"])
    if shown.stale:
        return *_out_of_date(page, row, site), page.t("cycles.stale_hint")
    if page.may("release", site) and not own:
        main, more = _to_decide(row["state"], over=bool(shown.over))
    if page.may("propose", site):
        more.append(_link("withdraw", ""))
    return main, more, page.t("cycles.other_person") if own and page.may("release", site) else ""


def _out_of_date(page: PageContext, row: Record, site: str) -> tuple[list[Action], list[Action]]:
    """A signed proposal whose inputs changed makes room for a new one."""
    if page.may("propose", site):
        return [_link("withdraw", "primary")], []
    if page.may("release", site):
        return [_link("reject" if row["state"] == "PROPOSED" else "void", "primary")], []
    return [], []


def _to_decide(state: str, *, over: bool) -> tuple[list[Action], list[Action]]:
    if state == "OVERRIDE_PENDING":
        return [_link("approve", "primary")], [_link("void", "")]
    first = _link("override" if over else "release", "primary")
    return [first], [_link("lower", ""), _link("reject", "")]


def _prescribed(page: PageContext, found: CycleRecords, shown: Shown | str | None) -> tuple[list[Action], list[Action]]:
    site, more = found.subject["site"], []
    main = [_link("administration", "primary")] if page.may("record_administration", site) else []
    if page.may("release", site):
        if isinstance(shown, Shown) and shown.rows and page.actor.user_id != shown.rows[0]["proposed_by"]:
            more.append(_link("lower", ""))
        more.append(_link("void", ""))
    elif page.may("propose", site):
        more.append(_link("withdraw", ""))
    return main, more


def _following(page: PageContext, found: CycleRecords) -> list[Action]:
    """Planning the next cycle, from the last one."""
    if found.cycle["state"] in ("PLANNED", "ASSESSED", "HELD", "PRESCRIBED"):
        return []
    subject_id, site = found.cycle["subject_id"], found.subject["site"]
    every = queries.records(page.reader, page.actor, "cycles", subject_id=subject_id)
    if not page.may("enter_data", site) or any(int(c["cycle"]) > found.number for c in every):
        return []
    if found.subject["state"] not in TREATABLE or following_cycle(page.trial, page.reader, found.subject) is None:
        return []
    return [_link("plan", "") | {"href": f"/subjects/{subject_id}/cycles/new"}]


def _given(page: PageContext, state: str, site: str) -> tuple[list[Action], list[Action]]:
    main: list[Action] = []
    more: list[Action] = []
    if page.may("propose", site):
        if state == "GIVEN":
            main, more = [_link("dosimetry", "primary")], [_link("dosimetry/missing", "")]
        elif state == "DOSED":
            more = [_link("dosimetry", "") | {"key": "dosimetry_again"}]
    if state in ("DOSED", "DOSE_MISSING") and page.may("enter_data", site):
        main.append(_post("close", ""))
    if page.may("record_administration", site):
        more.append(_link("administration/correct", ""))
    return main, more


def _before_given(page: PageContext, state: str, site: str) -> list[Action]:
    found = [_link("move", "")] if page.may("enter_data", site) else []
    if page.may("release", site):
        found += [_link("hold", "")] if state == "ASSESSED" else []
        found += [_link("withhold", ""), _link("cancel", "")]
    return found


def _hint(page: PageContext, found: CycleRecords, shown: Shown | str | None, main: list[Action]) -> str:
    if main:
        return ""
    state = found.cycle["state"]
    if state == "ASSESSED" and isinstance(shown, Shown) and shown.version is not None:
        state = shown.rows[0]["state"]
    return page.t.known(f"cycles.waits_for.{state}", otherwise="")


def _link(step: str, tone: str) -> Action:
    return {"key": step.replace("/", "_"), "step": step, "tone": tone, "post": False}


def _post(step: str, tone: str) -> Action:
    return {"key": step, "step": step, "tone": tone, "post": True}

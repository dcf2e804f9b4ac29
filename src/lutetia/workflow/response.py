"""Tumour assessments: lesions, the response by RECIST 1.1 that they bear out, and the response that the reader gives.

The baseline is the last assessment up to the day of the first administration. A reader may decide otherwise than the
lesions say, with a reason; where no physician entered it, a query asks.
Not here: the rules of RECIST (`lutetia.clinical.recist`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lutetia.clinical.recist import FINDINGS as FINDINGS
from lutetia.clinical.recist import Derived, Lesion, baseline_doubts, derive_response, sum_of_diameters
from lutetia.errors import InputError
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Remove, Update
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import given_cycles, local_day, refuse_after_death, subject_of
from lutetia.workflow.edits import allowed_subject, local_now, query_edits, required_text
from lutetia.workflow.entry_checks import SoftFinding, check_form

BASELINE = "baseline"
RECIST = "recist_1_1"


@dataclass(frozen=True, slots=True)
class LesionSize:
    """One lesion of an assessment; target lesions have a diameter, 0 when gone.

    `kind` is target, target_node, non_target, non_target_node or new; of a node the diameter is the short axis.
    `finding` of a non-target lesion is gone, present or worse (unequivocal progression), empty when not evaluated.
    """

    lesion: str
    region: str
    kind: str
    diameter_mm: float | None = None
    finding: str = ""


@dataclass(frozen=True, slots=True)
class RecordResponse:
    """A tumour assessment: the reader's overall response, and the lesions that it rests on.

    `reason` says why the response is another one than the lesions bear out, or why a stored assessment changes;
    `version` is that of the stored assessment that the person saw; None or 0 for a new one.
    """

    subject_id: str
    assessed_on: str
    method: str
    response: str
    progression: str
    lesions: Sequence[LesionSize] = ()
    reason: str = ""
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Suggested:
    """What the lesions of an assessment say: `category` empty where they say nothing, then `why` not.

    `doubts` are what does not fit the criteria; `derived` is None for a baseline.
    """

    category: str
    why: str
    doubts: tuple[str, ...]
    sum_mm: float | None
    derived: Derived | None


def record_response(trial: Trial, actor: Actor, command: RecordResponse) -> Receipt:
    """Store a tumour assessment, or new values of a stored one.

    Raises
    ------
    InputError
        For values that cannot be, a progression that contradicts the response, lesions that contradict the baseline,
        or a response that the lesions do not bear out and no reason for it.
    StaleRecordError
        If somebody changed the stored assessment meanwhile.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        values, lesions = _checked(reader, command)
        found = _suggested(reader, command.subject_id, values["assessed_on"], values["method"], lesions)
        differs = bool(found.category) and found.category != values["response"]
        reason = _reason(command, found.category) if differs else ""
        key = {"subject_id": command.subject_id, "assessed_on": values["assessed_on"]}
        further = {"derived": found.category, "reason": reason} if found.category else None
        edits = _assessment_edits(reader, command, key, {**values, "further": further})
        edits += _lesion_edits(reader, key, lesions) + _progression_edits(reader, key, values["response"])
        findings = [SoftFinding("response", f"{doubt}; is it right?") for doubt in found.doubts]
        if differs and not access.may(actor, "sign_forms", subject["site"]):
            text = f"response {values['response']}, but the lesions say {found.category} by RECIST 1.1 ({reason})"
            findings.append(SoftFinding("response", f"{text}; does a physician agree?"))
        edits += query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"], table="responses",
                             values=key)  # fmt: skip
        return Change("record_response", edits)

    return trial.commit(change, actor, command.reason.strip() or None)


def suggest_response(trial: Trial, actor: Actor, command: RecordResponse) -> Suggested:
    """What the lesions of an assessment say, before it is stored; the response of the command is not looked at.

    Raises
    ------
    InputError
        For lesions that cannot be, or contradict the baseline.
    """
    allowed_subject(trial, actor, "see_subject", command.subject_id)
    with trial.read() as reader:
        lesions = _checked_lesions(reader, command, command.assessed_on)
        return _suggested(reader, command.subject_id, command.assessed_on, command.method, lesions)


def assessment_sums(rows: Sequence[Record]) -> dict[str, float]:
    """Sum of the target lesions of each assessment in mm; one of which a target was not measured is left out."""
    by_day = _by_day(rows)
    found = {day: sum_of_diameters(own, {x.name for x in own if x.kind == "target"}) for day, own in by_day.items()}
    return {day: total for day, total in found.items() if total is not None}


def _checked(reader: Reader, command: RecordResponse) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    entered = {n: getattr(command, n) for n in ("assessed_on", "method", "response", "progression")}
    values = check_form("responses", entered, now=local_now(reader, command.subject_id), where="response").values
    refuse_after_death(reader, command.subject_id, values["assessed_on"], "response: assessed_on")
    if (values["response"] == "PD") != (values["progression"] == "yes"):
        raise InputError("response: PD and progression go together; correct one of them")
    return values, _checked_lesions(reader, command, values["assessed_on"])


def _checked_lesions(reader: Reader, command: RecordResponse, assessed_on: str) -> list[dict[str, Any]]:
    rows = [_lesion_row(reader, command.subject_id, assessed_on, size) for size in command.lesions]
    names = [row["lesion"] for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"lesion {name}: stands {names.count(name)} times; give each lesion a name of its own")
    return rows


def _lesion_row(reader: Reader, subject_id: str, assessed_on: str, size: LesionSize) -> dict[str, Any]:
    entered = {n: getattr(size, n) for n in ("lesion", "region", "kind", "diameter_mm")}
    where = f"lesion {size.lesion}"
    form = {"assessed_on": assessed_on, **entered}
    values = check_form("lesions", form, now=local_now(reader, subject_id), where=where).values
    target = values["kind"] in ("target", "target_node")
    if target and values["diameter_mm"] is None:
        raise InputError(f"{where}: diameter_mm: is missing; a target lesion needs it, 0 when it is gone")
    if size.finding and (target or values["kind"] == "new" or size.finding not in FINDINGS):
        raise InputError(f"{where}: finding: found {size.finding!r}; expected one of {', '.join(FINDINGS)} of a "
                         "non-target lesion, nothing of others")  # fmt: skip
    return {"subject_id": subject_id, **values, "further": {"finding": size.finding} if size.finding else None}


def _suggested(
    reader: Reader, subject_id: str, assessed_on: str, method: str, rows: Sequence[Mapping[str, Any]]
) -> Suggested:
    now = [_lesion(row) for row in rows]
    total = sum_of_diameters(now, {x.name for x in now if x.kind == "target"})
    earlier = {day: own for day, own in _by_day(reader.records("lesions", subject_id=subject_id)).items()
               if day < assessed_on}  # fmt: skip
    if method != RECIST or not now:
        return Suggested("", "no lesions by RECIST 1.1", (), total, None)
    start = _first_day(reader, subject_id)
    if (start is None and not earlier) or (start is not None and assessed_on <= start):
        return Suggested(BASELINE, "", baseline_doubts(now), total, None)
    days = sorted(day for day in earlier if start is None or day <= start)
    if not days:
        return Suggested("", f"no assessment up to the first administration on {start}", (), total, None)
    first = days[0] if start is None else days[-1]
    baseline = earlier.pop(first)
    _same_lesions(now, baseline, first)
    derived = derive_response(now, baseline=baseline, between=[own for day, own in earlier.items() if day > first])
    return Suggested(derived.category, "", (), derived.sum_mm, derived)


def _same_lesions(now: Sequence[Lesion], baseline: Sequence[Lesion], on: str) -> None:
    """Refuse target and non-target lesions that the baseline does not have, and new ones that it has."""
    known = {x.name: x for x in baseline}
    for one in now:
        then = known.get(one.name)
        if one.kind == "new" and then is not None:
            raise InputError(f"lesion {one.name}: found new, but the baseline of {on} has it; give the new one a name")
        if one.kind != "new" and (then is None or (then.kind, then.node) != (one.kind, one.node)):
            was = "is not there" if then is None else f"is {_kind_words(then)}"
            raise InputError(
                f"lesion {one.name}: found {_kind_words(one)}, but at the baseline of {on} it {was}; enter a lesion "
                "that appeared since as new, or correct the baseline"
            )


def _kind_words(lesion: Lesion) -> str:
    return f"{lesion.kind.replace('_', '-')}{' lymph node' if lesion.node else ''}"


def _reason(command: RecordResponse, derived: str) -> str:
    if not command.reason.strip():
        raise InputError(
            f"response: found {command.response}, but the lesions say {derived} by RECIST 1.1; correct one of them, or "
            "give the reason of the reader's decision"
        )
    return required_text(command.reason, "reason")


def _assessment_edits(
    reader: Reader, command: RecordResponse, key: Mapping[str, Any], values: Mapping[str, Any]
) -> list[Edit]:
    stored = reader.find("responses", key)
    if stored is None or not command.version:
        return [Create("responses", {**key, **values})]
    return [Update("responses", int(stored["record_id"]), {k: v for k, v in values.items() if k not in key},
                   command.version)]  # fmt: skip


def _lesion_edits(reader: Reader, key: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Edit]:
    stored = {row["lesion"]: row for row in reader.records("lesions", **key)}
    edits: list[Edit] = []
    for row in rows:
        old = stored.pop(row["lesion"], None)
        new = {name: value for name, value in row.items() if name not in (*key, "lesion")}
        edits.append(Create("lesions", row) if old is None else Update("lesions", int(old["record_id"]), new))
    return [*edits, *(Remove("lesions", int(row["record_id"])) for row in stored.values())]


def _progression_edits(reader: Reader, key: Mapping[str, Any], response: str) -> list[Edit]:
    """The first progression is an event of the subject's course; it goes where it was entered by mistake."""
    found = reader.records("disposition", subject_id=key["subject_id"], event="progressed")
    event = {"subject_id": key["subject_id"], "event": "progressed", "on": key["assessed_on"]}
    if response == "PD":
        return [] if found else [Create("disposition", event)]
    return [Remove("disposition", int(row["record_id"])) for row in found if row["on"] == key["assessed_on"]]


def _first_day(reader: Reader, subject_id: str) -> str | None:
    given = given_cycles(reader, subject_id)
    return local_day(reader, subject_of(reader, subject_id)["site"], given[0].start) if given else None


def _by_day(rows: Sequence[Record]) -> dict[str, list[Lesion]]:
    found: dict[str, list[Lesion]] = {}
    for row in rows:
        found.setdefault(str(row["assessed_on"]), []).append(_lesion(row))
    return found


def _lesion(row: Mapping[str, Any]) -> Lesion:
    kind = str(row["kind"] or "")
    finding = str((row.get("further") or {}).get("finding", ""))
    size = None if row["diameter_mm"] is None else float(row["diameter_mm"])
    region = str(row["region"] or "")
    return Lesion(str(row["lesion"]), kind.removesuffix("_node"), kind.endswith("_node"), size, finding, region)

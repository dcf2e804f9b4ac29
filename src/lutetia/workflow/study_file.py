"""`study.toml` of a new or amended trial, checked whole before anything is made (keys: docs/reference/study.md).

Here: the shape of the file, and that it agrees with its protocol. What the protocol says (cycles, arms, limits) may be
left out and is filled in. To add a key: one field of a model below, and a line in docs/reference/study.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError, field_validator

from lutetia.clinical.ctcae import VERSIONS
from lutetia.core.clock import time_zone
from lutetia.errors import InputError
from lutetia.plan.case import NuclideName
from lutetia.protocol.profile import packaged_protocols, parse_protocol, read_protocol
from lutetia.protocol.records import Arm, Limit, Protocol
from lutetia.safety.events import monitor_analytes
from lutetia.safety.study import read_study
from lutetia.trial import Study
from lutetia.trial.sessions import IDLE_MINUTES, SESSION_HOURS, SETTING_MOST
from lutetia.workflow.study_text import toml_text

SCHEMA = "lutetia.study/1"
PROTOCOL_FILE, STUDY_FILE = "protocol.toml", "study.toml"
#: Bytes; a study file is a page of text.
MAX_BYTES = 1_000_000

_SOME, _SHA256, _ITEM, _ID = r"\S", r"^[0-9a-f]{64}$", r"^[a-z][a-z0-9_]{0,63}$", r"^\w[\w .-]{0,63}$"
_PATTERNS = {
    _SOME: "a text",
    _SHA256: "a SHA-256 of 64 digits (0-9, a-f)",
    _ITEM: "a short name of lower-case letters, digits and _, such as blood_counts",
    _ID: "a name of at most 64 letters, digits, spaces, dots and hyphens",
}

Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
YesNo = Annotated[bool, Strict()]
Words = Annotated[str, Field(min_length=1, max_length=500, pattern=_SOME)]


def _zone(name: str) -> str:
    try:
        return str(time_zone(name, where="timezone"))
    except InputError:
        raise ValueError(f"found {name!r}; expected an IANA time zone such as 'Europe/Warsaw'") from None


def _ctcae(version: str) -> str:
    if version not in VERSIONS:
        raise ValueError(f"found {version!r}; expected one of {', '.join(VERSIONS)}")
    return version


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProtocolChoice(_Strict):
    """Which protocol: a file beside the study file, or the name of a packaged one."""

    file: str | None = None
    name: str | None = None
    version: str | None = None
    sha256: Annotated[str, Field(pattern=_SHA256)] | None = None


class VisitRow(_Strict):
    """A visit: `baseline` before the first infusion, every other after the infusion of its cycle."""

    name: Words
    window_days: tuple[Annotated[Whole, Field(ge=-365, le=3650)], Annotated[Whole, Field(ge=-365, le=3650)]]
    target_day: Number | None = None

    @field_validator("window_days")
    @classmethod
    def _in_order(cls, window: tuple[int, int]) -> tuple[int, int]:
        if window[0] > window[1]:
            raise ValueError(f"found {list(window)}; expected two whole days, first ≤ last")
        return window


class MonitorRow(_Strict):
    """A Bayesian stopping rule per arm: P(rate > p0) ≥ tau stops."""

    id: Words
    event: Words
    within_days: Annotated[Whole, Field(gt=0, le=3650)] = 56
    p0: Annotated[Number, Field(gt=0, lt=1)]
    tau: Annotated[Number, Field(gt=0, lt=1)]
    prior_ess: Annotated[Number, Field(gt=0, le=1000)] = 2.0
    looks: tuple[Annotated[Whole, Field(ge=1)], ...] = ()


class ChecklistRow(_Strict):
    """A line of the eligibility checklist."""

    item: Annotated[str, Field(pattern=_ITEM)]
    text: Words
    required: Literal["yes", "no"] = "yes"


class StudyTable(_Strict):
    """The whole file."""

    schema_: Annotated[Literal["lutetia.study/1"], Field(alias="schema")]
    id: Annotated[str, Field(pattern=_ID)] | None = None
    title: Words
    planned_n: Annotated[Whole, Field(ge=1, le=100_000)]
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    ctcae: Annotated[str, AfterValidator(_ctcae)] = "5.0"
    coding_version: str = "terms only, not coded"
    cycle_window_days: Annotated[Whole, Field(ge=0, le=60)] = 7
    label_MBq: dict[NuclideName, Annotated[Number, Field(gt=0, le=100_000)]] = {"Lu-177": 7400.0}
    idle_minutes: Annotated[Number, Field(gt=0, le=SETTING_MOST["idle_minutes"])] = float(IDLE_MINUTES)
    session_hours: Annotated[Number, Field(gt=0, le=SETTING_MOST["session_hours"])] = float(SESSION_HOURS)
    interim_needs_lock: YesNo = False
    reports: YesNo = True
    draws: Annotated[Whole, Field(ge=2, le=100_000)] = 1000
    seed: Annotated[Whole, Field(ge=0)] = 1
    simulated: YesNo = False
    protocol: ProtocolChoice
    cycles: Whole | None = None
    interval_weeks: Number | None = None
    category: dict[str, Any] | None = None
    arms: dict[str, Any] | None = None
    limits: tuple[dict[str, Any], ...] | None = None
    visits: tuple[VisitRow, ...] = ()
    monitors: tuple[MonitorRow, ...] = ()
    checklist: tuple[ChecklistRow, ...] = ()

    @field_validator("visits", "monitors", "checklist")
    @classmethod
    def _named_once(cls, rows: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [getattr(row, "item", None) or getattr(row, "id", None) or row.name for row in rows]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{repeated[0]!r} is named twice; expected once")
        return rows


@dataclass(frozen=True, slots=True)
class StudyFile:
    """A checked study: its settings with what the protocol adds, its files by name, and what is allowed but unwise."""

    settings: dict[str, Any]
    protocol: Protocol
    files: dict[str, bytes]
    warnings: tuple[str, ...]

    def study(self, identifier: str) -> Study:
        """The study to make a trial of; `identifier` is its id where the file gives none."""
        study_id = str(self.settings.get("id") or identifier)
        return Study(
            study_id, self.settings["title"], self.protocol.name, self.protocol.version,
            {**self.settings, "id": study_id}, self.files,
        )  # fmt: skip


def template() -> str:
    """A study file to be completed: every setting with a comment, as docs/reference/study.md shows it."""
    return (files("lutetia.workflow") / "data" / "study.toml").read_text(encoding="utf-8")


def read_study_file(path: Path) -> StudyFile:
    """A checked study file and the protocol that it names.

    Raises
    ------
    InputError, ProtocolError, UnknownNameError
        With the place, what was found, what is expected and what to do; all problems of the file in one message.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a study file (TOML)") from error
    table = study_table(content, where=path.name)
    return checked_study(table, _protocol_of(table, path), where=path.name, content=content)


def study_table(content: bytes, *, where: str = STUDY_FILE) -> dict[str, Any]:
    """The table of a study file, with every key of the right kind.

    Raises
    ------
    InputError
        Naming all problems of the file.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{where}: found {len(content)} bytes; expected at most {MAX_BYTES}; it is no study file")
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: cannot be read as TOML ({error}); correct it there") from error
    check_table(table, where=where)
    return table


def is_study_file(content: bytes) -> bool:
    """Whether a file says of itself that it is a study file, of whatever schema."""
    return re.search(rb"(?m)^\s*schema\s*=\s*[\"']lutetia\.study/", content) is not None


def check_table(table: Mapping[str, Any], *, where: str) -> None:
    """Refuse settings with an unknown key, or a value of another kind or out of range.

    Raises
    ------
    InputError
        Naming all problems.
    """
    if table.get("schema") != SCHEMA:
        raise InputError(
            f'{where}: schema: found {table.get("schema")!r}; expected schema = "{SCHEMA}" on a first line'
        )
    try:
        StudyTable.model_validate(dict(table))
    except ValidationError as error:
        lines = [explained(item) for item in error.errors(include_url=False)]
        head = f"{where}: " if len(lines) == 1 else f"{where}: {len(lines)} problems\n  "
        raise InputError(head + "\n  ".join(lines)) from error


def odd_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Top keys of stored settings that no trial would be made with now, each with what is wrong and what holds."""
    try:
        StudyTable.model_validate(dict(settings))
    except ValidationError as error:
        found = error.errors(include_url=False)
        return {str(item["loc"][0]): explained(item) for item in found if not _harmless(item)}
    return {}


def _harmless(item: Mapping[str, Any]) -> bool:
    """Whether a problem changes nothing: a key that nobody reads, or a whole key that is absent."""
    return item["type"] == "extra_forbidden" or (item["type"] == "missing" and len(item["loc"]) == 1)


def sound_settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Stored settings without the odd ones, so that their defaults hold."""
    odd = odd_settings(settings or {})
    return {name: value for name, value in (settings or {}).items() if name not in odd}


def start_notes(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What the keeper of a trial reads when it is opened: settings that are odd or unknown, and what holds instead."""
    known = {field.alias or name: field for name, field in StudyTable.model_fields.items()}
    found = dict(settings or {})
    notes = [f"{text}; {_instead(known[name])}" for name, text in odd_settings(found).items() if name in known]
    notes += [
        f"{name}: is no setting and does nothing; known: {', '.join(known)}" for name in found if name not in known
    ]
    return tuple(f"settings of the study: {note}" for note in notes)


def checked_study(
    table: Mapping[str, Any], protocol_content: bytes, *, where: str = STUDY_FILE, content: bytes | None = None
) -> StudyFile:
    """Settings completed from their protocol, which they may not contradict.

    Parameters
    ----------
    content
        The study file as it was written; it is kept where nothing has to be added to it.

    Raises
    ------
    InputError, ProtocolError
        If the protocol is faulty, or the settings say otherwise than it does.
    """
    protocol = parse_protocol(protocol_content, where=f"{where}: protocol")
    own = protocol_settings(protocol)
    _agree(table, own, where=where, protocol=protocol)
    settings = {**table, **own}
    read = read_study(tomllib.loads(toml_text(settings)))
    for monitor in read.monitors:
        monitor_analytes(monitor)
    kept = content if content is not None and settings == dict(table) else toml_text(settings).encode()
    return StudyFile(settings, protocol, {STUDY_FILE: kept, PROTOCOL_FILE: protocol_content}, _warnings(settings))


def protocol_settings(protocol: Protocol) -> dict[str, Any]:
    """The part of the settings that comes from the protocol file."""
    found: dict[str, Any] = {
        "cycles": protocol.cycles,
        "interval_weeks": protocol.interval_weeks or 8.0,  # assumption where the protocol states none
        "protocol": {
            "file": PROTOCOL_FILE, "name": protocol.name, "version": protocol.version, "sha256": protocol.sha256,
        },
        "category": {"reference": protocol.category_reference, "tolerance": protocol.category_tolerance},
        "arms": {arm.name: _arm(arm) for arm in protocol.arms.values()},
        "limits": [_limit(limit) for limit in protocol.limits],
    }  # fmt: skip
    return found


def protocol_bytes(name: str) -> bytes:
    """The file of a packaged protocol by its name, or the file at a path.

    Raises
    ------
    ProtocolError, UnknownNameError
        If there is none, or it is no protocol.
    """
    if name in packaged_protocols():
        return (files("lutetia.protocol") / "versions" / f"{name}.toml").read_bytes()
    read_protocol(name)  # the clear message for an unknown name or an unreadable file
    return Path(name).read_bytes()


def explained(item: Mapping[str, Any]) -> str:
    """One problem of pydantic in words: place, found, expected."""
    where = _place(item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key; known here: {', '.join(_known_keys(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"{where}: found nothing; add it"
    if isinstance(cause := item.get("ctx", {}).get("error"), ValueError):
        return f"{where}: {cause}"
    shown = "" if isinstance(item.get("input"), dict | list) else f"found {item.get('input')!r}; "
    return f"{where}: {shown}{_expected(item)}"


def _expected(item: Mapping[str, Any]) -> str:
    if item["type"] == "string_pattern_mismatch":
        return f"expected {_PATTERNS[item['ctx']['pattern']]}"
    if item["type"] == "string_too_short":
        return "expected a text"
    return str(item["msg"]).replace("Input should be", "expected").replace("String should have", "expected")


def _place(location: tuple[int | str, ...]) -> str:
    parts: list[str] = []
    for step in location:
        if isinstance(step, int) and parts:
            parts[-1] = f"{parts[-1]} {step + 1}"
        elif step != "[key]":
            parts.append(str(step))
    return ": ".join(parts)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "protocol": ProtocolChoice, "visits": VisitRow, "monitors": MonitorRow, "checklist": ChecklistRow,
    }  # fmt: skip
    model = tables[str(location[0])] if location else StudyTable
    return [field.alias or name for name, field in model.model_fields.items()]


def _instead(field: Any) -> str:
    if field.is_required() or field.default in (None, ()):
        return "it is taken as absent; amend the study (lutetia trial DATA --study FILE --reason WHY)"
    return f"{field.default!r} holds instead; amend the study (lutetia trial DATA --study FILE --reason WHY)"


def _protocol_of(table: Mapping[str, Any], path: Path) -> bytes:
    """The file that the study names beside it; a packaged protocol of that name (and hash) where there is none."""
    chosen: dict[str, str] = table["protocol"]
    if (file := chosen.get("file")) is not None:
        if Path(file).name != file or not file.endswith(".toml") or file == STUDY_FILE:
            raise InputError(f"{path.name}: protocol: file: found {file!r}; expected a .toml file beside {path.name}")
        if (beside := path.parent / file).is_file():
            return beside.read_bytes()
        name = chosen.get("name", "")
        if name in packaged_protocols() and chosen.get("sha256") == read_protocol(name).sha256:
            return protocol_bytes(name)
        raise InputError(
            f"{path.name}: protocol: file: found no {file} beside it; put the protocol file there, or leave `file` out "
            f"and give the name of a packaged protocol: {', '.join(packaged_protocols())}"
        )
    if chosen.get("name") not in packaged_protocols():
        raise InputError(
            f"{path.name}: protocol: name: found {chosen.get('name')!r}; expected a packaged protocol "
            f"({', '.join(packaged_protocols())}), or `file` for one of your own"
        )
    return protocol_bytes(chosen["name"])


def _agree(table: Mapping[str, Any], own: Mapping[str, Any], *, where: str, protocol: Protocol) -> None:
    """Refuse what is given in both and differs."""
    said = f"protocol {protocol.name} {protocol.version}"
    for key, given in table["protocol"].items():
        if key != "file" and given != own["protocol"][key]:
            text = f"{where}: protocol: {key}: found {given!r}; the protocol file says {own['protocol'][key]!r}"
            raise InputError(f"{text}; correct it or leave it out")
    if "arms" in table and (differ := sorted(set(table["arms"]) ^ set(own["arms"]))):
        text = f"{where}: arms: found {', '.join(table['arms'])}; {said} has {', '.join(own['arms'])}"
        raise InputError(f"{text}; they differ in {', '.join(differ)}; leave `arms` out, the protocol gives them")
    for key in ("cycles", "interval_weeks", "category", "arms", "limits"):
        if key in table and table[key] != own[key]:
            found = table[key] if isinstance(table[key], int | float) else "other values"
            expected = own[key] if isinstance(own[key], int | float) else "others"
            text = f"{where}: {key}: found {found}; {said} has {expected}"
            raise InputError(f"{text}; leave `{key}` out, the protocol gives it, or correct the protocol file")


def _warnings(settings: Mapping[str, Any]) -> tuple[str, ...]:
    absent = {
        "timezone": "no `timezone`: times are shown in UTC where a site has no zone of its own",
        "checklist": "no [[checklist]]: no physician can confirm eligibility and nobody can be randomised until an "
        "amendment adds one",
        "visits": "no [[visits]]: no visit is planned before or after a cycle",
        "monitors": "no [[monitors]]: no stopping rule is watched",
    }
    return tuple(text for key, text in absent.items() if not settings.get(key) and not settings.get("simulated"))


def _arm(arm: Arm) -> dict[str, Any]:
    found: dict[str, Any] = {"description": arm.description, "base_MBq": dict(arm.base_MBq)}
    return found | ({"variable": arm.variable} if arm.variable else {})


def _limit(limit: Limit) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": limit.id, "region": limit.region, "metric": limit.metric, "limit_Gy": limit.limit_Gy, "kind": limit.kind,
    }  # fmt: skip
    return found | ({"method": limit.method} if limit.method else {})

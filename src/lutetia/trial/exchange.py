"""The CSV folder of the exchange format, out of a trial and into one; both ways through reading and the write gateway.

Numbers leave as the shortest text that reads back alike, columns that the schema does not have lie in `further` and
come out again as columns. A masked person's folder has empty tables and emptied columns where `masking` hides them.
Not here: the lossless form with trail and signatures (`exporting`), a snapshot's record (`workflow`).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from lutetia.core.provenance import software
from lutetia.dataset.folder import STUDY, Dataset, Row, read_dataset, write_dataset
from lutetia.dataset.tables import TABLES
from lutetia.errors import InputError, LutetiaError
from lutetia.trial import audit
from lutetia.trial.access import masked, require
from lutetia.trial.files import FileStore
from lutetia.trial.masked_view import masked_view, seen_records
from lutetia.trial.masking import HIDDEN
from lutetia.trial.reader import Reader
from lutetia.trial.records import SYSTEM, Actor, Change, Create, Edit, Event, Receipt
from lutetia.trial.schema import TableSpec, canonical, exchange_tables
from lutetia.trial.states import PRESCRIPTION_OPEN
from lutetia.trial.store import Study, Trial, emptied_on_failure
from lutetia.trial.values import number_text

_FILES = ".toml"
_BESIDE = "further_"  # before the name of a value in `further` that a column has too
#: Events of a subject's disposition that tell its state; of several on one day the first here.
_STATE_OF_EVENT = {
    "died": "DEAD", "withdrew": "CONSENT_WITHDRAWN", "lost": "LOST", "completed": "COMPLETED",
    "treatment_ended": "FOLLOW_UP", "randomised": "RANDOMISED", "screen_failed": "SCREEN_FAILED",
    "eligible": "ELIGIBLE",
}  # fmt: skip


def dataset_tables(reader: Reader, *, hide: bool = False) -> dict[str, list[Row]]:
    """Every table of the exchange format as rows of text; `hide` masks them."""
    return {spec.name: _rows(reader, spec, hide=hide) for spec in exchange_tables()}


def study_files(reader: Reader, files: FileStore) -> dict[str, bytes]:
    """The study's own files by name: `study.toml`, the protocol.

    Raises
    ------
    InputError
        If the trial was made without `study.toml`.
    """
    stored: dict[str, str] = reader.records("study")[0]["files"] or {}
    if STUDY not in stored:
        raise InputError(f"export: the trial holds no {STUDY}; expected one; create the trial with its study file")
    return {name: files.get(sha) for name, sha in stored.items()}


def export_dataset(
    trial: Trial, actor: Actor, folder: Path, *, identifier: str | None = None, cut_at: str | None = None
) -> str:
    """Write the CSV folder as this person may see it; the export is recorded. Returns the snapshot's SHA-256.

    Parameters
    ----------
    identifier
        The snapshot's id; default: the study with the trail's length, as far as the person sees it.
    cut_at
        Date of the cut, where there is one.

    Raises
    ------
    AccessDeniedError
        If the person may not export.
    """
    require(actor, "export")
    hide = masked(actor, "export")
    trial.commit(Change("export", [Event({"kind": "csv folder", "masked": hide})]), actor)
    with trial.read() as reader:
        sequence, head = audit.head(reader)
        length = masked_view(reader).place(sequence) if hide else sequence
        study = reader.records("study")[0]
        tables = dataset_tables(reader, hide=hide)
        files = study_files(reader, trial.files)
        record = {
            "schema": "lutetia.snapshot/1", "id": identifier or f"{study['study_id']}-{length}", "cut_at": cut_at,
            "extracted_at": reader.now, "audit_head": head, "masked": hide, "software": software(),
            "simulated": study["demonstration"] == "yes",
        }  # fmt: skip
    return write_dataset(folder, tables, files=files, snapshot=record)


def import_dataset(trial: Trial, actor: Actor, data: Dataset) -> Receipt:
    """Store every row of a dataset as a new record: all of them or none.

    Raises
    ------
    InputError
        Naming table, row and column of a value that does not fit.
    DuplicateRecordError
        If a record of that key exists.
    """
    edits = [*_missing_sites(trial, data), *_records(data)]
    return trial.commit(Change("import_dataset", edits), actor)


def create_from_dataset(folder: Path, source: Path, *, url: str | None = None, **options: Any) -> Trial:
    """Make a trial from a CSV folder: its study, its files, its rows.

    Parameters
    ----------
    options
        `demonstration`, `clock` and `authenticator` of `Trial.create`. Simulated data make a demonstration trial.
    """
    data = read_dataset(source)
    names = [Path(entry["name"]).name for entry in data.snapshot["files"] if entry["name"].endswith(_FILES)]
    simulated = bool(data.study.get("simulated") or data.snapshot.get("simulated"))
    options = {"demonstration": simulated} | options
    study = study_of({name: (source / name).read_bytes() for name in names}, identifier=source.resolve().name)
    with emptied_on_failure(folder):
        trial = Trial.create(folder, study=study, url=url, **options)
        try:
            import_dataset(trial, SYSTEM, data)
        except BaseException:
            trial.close()
            raise
    return trial


def study_of(files: Mapping[str, bytes], *, identifier: str) -> Study:
    """A study from its files, of which one is `study.toml`.

    Raises
    ------
    InputError
        If that is missing or no TOML.
    """
    try:
        found = tomllib.loads(files[STUDY].decode("utf-8"))
    except KeyError as error:
        raise InputError(f"study: found no {STUDY}; expected it beside the tables") from error
    except ValueError as error:
        raise InputError(f"{STUDY}: cannot be read ({error}); expected TOML") from error
    protocol = found.get("protocol")
    named = protocol if isinstance(protocol, dict) else {"name": protocol or ""}
    name, version = str(named.get("name", named.get("file", ""))), str(named.get("version", ""))
    return Study(str(found.get("id", identifier)), str(found.get("title", identifier)), name, version, found, files)


def _rows(reader: Reader, spec: TableSpec, *, hide: bool) -> list[Row]:
    in_order = sorted(reader.records(spec.name), key=itemgetter("record_id"))
    shown = seen_records(reader, spec.name, in_order, masked=hide)
    return [_text_row(record, TABLES[spec.name].names) for record in shown]


def _text_row(record: Mapping[str, Any], names: Sequence[str]) -> Row:
    row = {name: _text(record.get(name)) for name in names}
    further = record.get("further")
    if isinstance(further, dict):
        row |= {_BESIDE + name if name in row else name: _text(value) for name, value in further.items()}
    return row


def _text(value: Any) -> str:
    if value is None or value == HIDDEN:
        return ""
    if isinstance(value, dict | list):
        return canonical(value)
    return number_text(value) if isinstance(value, float) else str(value)


def _missing_sites(trial: Trial, data: Dataset) -> list[Edit]:
    with trial.read() as reader:
        known = {row["site"] for row in reader.records("sites")}
    named = sorted({row["site"] for row in data.tables["subjects"] if row.get("site")} - known)
    zone = str(data.study.get("timezone") or "UTC")
    return [
        Create("sites", {"site": site, "name": f"Centre {site}", "timezone": zone, "state": "open"}) for site in named
    ]


def _records(data: Dataset) -> list[Edit]:
    states = _subject_states(data)
    edits: list[Edit] = []
    for spec in exchange_tables():
        for number, row in enumerate(data.tables[spec.name], start=1):
            try:
                values = _typed_row(spec, row)
            except (ValueError, LutetiaError) as error:
                raise InputError(f"{spec.name}.csv, row {number}: {error}") from error
            if spec.name == "prescriptions":
                values |= _without_inputs(values)
            if spec.name == "subjects":
                values |= {"state": states.get(row["subject_id"], "SCREENING")}
            edits.append(Create(spec.name, values))
    return edits


def _without_inputs(values: Mapping[str, Any]) -> dict[str, str]:
    """An open prescription that came without the facts it rests on cannot be checked, so it is VOID."""
    if values.get("state") not in PRESCRIPTION_OPEN or isinstance((values.get("further") or {}).get("facts"), dict):
        return {}
    return {"state": "VOID", "void_reason": "imported without the facts that it rests on"}


def _typed_row(spec: TableSpec, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {}
    beyond = {name: value for name, value in row.items() if name not in spec.types and value}
    further = {name.removeprefix(_BESIDE): _value(text) for name, text in beyond.items()}
    for name, text in row.items():
        if name in spec.types and text:
            values[name] = _CONVERT[spec.types[name]](text)
    return values | ({"further": further} if further else {})


def _value(text: str) -> Any:
    """A list or an object that a cell holds as JSON; every other text as it is."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _subject_states(data: Dataset) -> dict[str, str]:
    """The state after the last event by date, except that nothing follows a death."""
    order = list(_STATE_OF_EVENT)
    randomised = {row["subject_id"]: row["randomised_on"] for row in data.tables["subjects"] if row["randomised_on"]}
    last = {subject: (False, on, -order.index("randomised")) for subject, on in randomised.items()}
    for row in data.tables["disposition"]:
        if (event := row["event"]) in _STATE_OF_EVENT:
            place = (event == "died", row["on"], -order.index(event))
            last[row["subject_id"]] = max(place, last.get(row["subject_id"], place))
    found_again = {
        row["subject_id"]
        for row in data.tables["disposition"]
        if row["event"] == "last_contact" and row["on"] > last.get(row["subject_id"], (False, "9", 0))[1]
    }
    given = {row["subject_id"] for row in data.tables["administrations"]}
    states = {subject: _STATE_OF_EVENT[order[-place]] for subject, (_, _, place) in last.items()}
    later = {s: "FOLLOW_UP" for s in found_again if states.get(s) == "LOST"}
    return {s: "ON_TREATMENT" if state == "RANDOMISED" and s in given else state for s, state in states.items()} | later


_CONVERT: dict[str, Any] = {"text": str, "int": int, "real": float}

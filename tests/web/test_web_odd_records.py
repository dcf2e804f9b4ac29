"""A stored record that is odd or nearly empty takes no page down: it is shown, or listed as not understood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.web.browsing import Browser, person
from tests.web.subject_trial import TREATED, add_treated

from lutetia.errors import LutetiaError
from lutetia.trial import SYSTEM, Change, Create, Trial
from lutetia.trial.schema import SCHEMA, TableSpec
from lutetia.web.routes_subjects import SUBJECT_ROUTES

#: Tables of a subject that entry, import or a restored copy can fill with anything.
TABLES = [spec for spec in SCHEMA.values() if "subject_id" in spec.names and spec.lockable and spec.name != "subjects"]
ODD = "odd ☃ <b>&amp;"


def value_of(spec: TableSpec, name: str, subject_id: str) -> Any:
    """Something that the store takes for a column and no form would have sent."""
    if name == "subject_id":
        return subject_id
    if name == "site":
        return "01"
    kind = spec.types[name]
    if kind != "text":
        return {"int": -7, "real": -1e300, "json": ["odd", {"odd": None}]}[kind]
    if name in ("on", "cut_at") or name.endswith(("_on", "_at")):
        return "1901-01-01" if name == "on" or name.endswith("_on") else "1901-01-01T00:00:00.000001+00:00"
    return ODD


def rows_of(spec: TableSpec, subject_id: str) -> list[dict[str, Any]]:
    """A record with nothing but its name, and one with odd words everywhere."""
    full = {name: value_of(spec, name, subject_id) for name in spec.names}
    bare = {name: full[name] for name in spec.keys}
    bare |= {name: "002" for name in spec.keys[1:] if bare[name] == ODD}
    return [full, bare | {"subject_id": subject_id}]


def pages_of(trial: Trial, spec: TableSpec, subject_id: str) -> list[str]:
    """All pages of the subject that need no further name, those of the odd records, and the lists that show them."""
    paths = [r.path for r in SUBJECT_ROUTES if r.method == "GET" and r.path.startswith("/subjects/{")]
    own = [p.replace("{subject_id}", subject_id) for p in paths if p.count("{") == 1]
    base = f"/subjects/{subject_id}"
    with trial.read() as reader:
        records = [
            f"{base}/records/{spec.name}/{r['record_id']}" for r in reader.records(spec.name, subject_id=subject_id)
        ]
    named = [p.replace("{subject_id}", subject_id).replace("{ae_id}", "002").replace("{deviation_id}", "002")
             for p in paths if "{ae_id}" in p or "{deviation_id}" in p]  # fmt: skip
    return [
        *own,
        *named,
        *records,
        f"{base}/records?table={spec.name}",
        "/",
        "/subjects",
        "/queries",
        f"{base}/cycles/1",
    ]


@pytest.mark.parametrize("spec", TABLES, ids=lambda spec: spec.name)
def test_pages_stand_whatever_is_stored(treated: Trial, browser_of: Callable[[str], Browser], spec: TableSpec) -> None:
    add_treated(treated, subject_id := f"DUO-01-5{TABLES.index(spec):02d}")
    stored = 0
    for row in rows_of(spec, subject_id):
        try:
            treated.commit(Change("odd", [Create(spec.name, row)]), SYSTEM)
            stored += 1
        except LutetiaError:
            continue  # the store itself does not take it
    assert stored, "neither record could be stored"
    found = {}
    for user in ("physician", "masked_statistician"):
        for path in pages_of(treated, spec, subject_id):
            answer = browser_of(person(user)).get(path)
            if answer.status_code not in (200, 403, 404):
                found[user, path] = answer.status_code
    assert not found
    assert TREATED in browser_of(person("coordinator")).get("/subjects").text

"""Listings: which subjects they name, and what is never left out silently."""

from __future__ import annotations

from pathlib import Path

from tests.support.small_trial import Row, dose, given, labs, rows, subject, trial

from lutetia.report.document import Heading, Table, plain
from lutetia.safety.context import Context, derive_context
from lutetia.safety.interim import make_interim
from lutetia.safety.listings import LISTINGS, Listing, derive_listings, listings
from lutetia.safety.methods import derive_methods


def context(path: Path, **more: list[Row]) -> Context:
    """Three subjects: one over a limit with an override, one dead, one with a missing dose."""
    tables = {
        "subjects": [subject("S1", "B"), subject("S2", "A"), subject("S3", "A")],
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=3700.0, Y_90=3700.0), *given("S2", 1, "2026-01-12", Lu_177=7400.0),
            *given("S3", 1, "2026-01-12", Lu_177=7400.0),
        ],
        "doses": [
            *dose("S1", 1, "kidneys", Lu_177=4.0, Y_90=21.0, total=25.0), *dose("S2", 1, "kidneys", total=3.0),
            *dose("S3", 1, "kidneys", total=None),
        ],
        "prescriptions": [
            {"subject_id": "S1", "cycle": "1", "version": "1", "nuclide": n, "state": "ADMINISTERED",
             "base_MBq": "3700", "prescribed_MBq": "3700", "override_by": "second", "override_reason": "agreed",
             "bound_by": "kidneys"}
            for n in ("Lu-177", "Y-90")
        ],
        "disposition": rows("subject_id event on reason\nS2 died 2026-03-01 progression"),
        "labs": labs(
            "S2", "platelets", {"2026-01-05": 200, "2026-01-26": 40, "2026-02-02": 30}, unit="10^9/L", lln="150"
        ),
    }  # fmt: skip
    return derive_context(trial(path, tables | more), resamples=200)


def by_id(found: Context) -> dict[str, Listing]:
    return {listing.id: listing for listing in derive_listings(found)}


def test_each_listing_names_its_subjects(tmp_path: Path) -> None:
    found = by_id(context(tmp_path))
    assert [row[0] for row in found["L1"].rows] == ["S2"]
    assert found["L1"].rows[0][3:6] == ("3", "30.0 10^9/L", "21")
    assert [row[:4] for row in found["L4"].rows] == [("S1", "B", "1", "Lu-177 3.70, Y-90 3.70")]
    assert [row[0] for row in found["L5"].rows] == ["S1"]
    assert found["L6"].rows == (("S2", "A", "2026-03-01", "48", "48", "progression"),)
    assert [row[0] for row in found["L7"].rows] == ["S3"]


def test_an_empty_listing_says_none(tmp_path: Path) -> None:
    blocks = listings(context(tmp_path, disposition=[]))
    titles = [plain(b.text) for b in blocks if isinstance(b, Heading)]
    assert any(title.startswith("L6") for title in titles)
    assert len([b for b in blocks if isinstance(b, Heading | Table)]) == len(LISTINGS)


def test_rows_that_are_not_used_stand_with_their_reason_and_those_after_the_cut_in_the_file(tmp_path: Path) -> None:
    stranger = given("NOBODY", 1, "2026-01-12", Lu_177=1.0)
    late = labs("S2", "platelets", {"2027-01-03": 100}, unit="10^9/L", lln="150")
    found = context(tmp_path, administrations=[*given("S2", 1, "2026-01-12", Lu_177=7400.0), *stranger], labs=late)
    unused = by_id(found)["L9"]
    own = [row for row in unused.rows if row[0] == "administrations.csv"]
    assert own == [("administrations.csv", "unknown subject", "NOBODY", "1", "3")]
    assert "after the data cut" in unused.note
    assert not any(row[0] == "labs.csv" for row in unused.rows)


def test_every_row_that_is_not_used_is_in_the_file_of_listed_rows(tmp_path: Path) -> None:
    from lutetia.dataset.folder import read_dataset

    context(tmp_path, labs=labs("S2", "platelets", {"2027-01-03": 100}, unit="10^9/L", lln="150"))
    found = make_interim(read_dataset(tmp_path / "data"), resamples=200)
    listed = found.files["listed_rows.csv"].decode().splitlines()
    assert listed[0] == "table,row,key,reason,found"
    assert len(listed) - 1 == sum(row["listed"] for row in found.record["rows"])
    assert any(line.startswith("labs,2,") for line in listed)


def test_methods_of_the_open_report_name_no_arm_and_no_size(tmp_path: Path) -> None:
    found = context(tmp_path)
    methods = derive_methods(found, {})
    lines = "\n".join(line for _, lines in methods.pooled({"T1"}).sections() for line in lines)
    assert "ITT" not in lines
    assert "arm A" not in lines
    assert "Analysis sets" not in lines

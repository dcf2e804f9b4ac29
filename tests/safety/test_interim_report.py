"""The interim analysis end to end: same bytes, every number traceable, open report without small numbers, bad input."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import jsonschema
import pytest
from pypdf import PdfReader

from lutetia.dataset.folder import Dataset, Row, read_dataset
from lutetia.errors import InputError, OutputError
from lutetia.protocol.profile import read_protocol
from lutetia.report.document import texts
from lutetia.safety.catalogue import OPEN, TABLES
from lutetia.safety.cells import expand, pooled
from lutetia.safety.context import derive_context
from lutetia.safety.figure_catalogue import FIGURES
from lutetia.safety.findings import FINDINGS
from lutetia.safety.interim import Interim, analyse, interim_record, make_interim, run_interim
from lutetia.safety.reading import read_trial
from lutetia.safety.report import Reported, closed_document, open_document
from lutetia.safety.suppression import SMALLEST_SHOWN, suppress_small
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.population import read_population
from lutetia.simulate.trial_folder import write_trial

SUBJECTS, RESAMPLES = 12, 300
KERNEL = "Nehalem"  # beside that of this process, which newer processors choose by themselves
Tables = dict[str, list[Row]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trial = simulate_trial(
        read_protocol("duonen"), subjects=SUBJECTS, seed=5, level="analytic", effect="planted",
        population=read_population(None),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("interim") / "data"
    write_trial(trial, path)
    return path


@pytest.fixture(scope="module")
def interim(folder: Path) -> Interim:
    return make_interim(read_dataset(folder), resamples=RESAMPLES)


def pages(pdf: bytes) -> list[str]:
    return [re.sub(r"\s+", " ", page.extract_text()) for page in PdfReader(io.BytesIO(pdf)).pages]


@pytest.mark.requirement(34)
def test_the_same_snapshot_gives_the_same_bytes_on_two_runs_and_under_two_linear_algebra_kernels(
    folder: Path, interim: Interim, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from lutetia.dataset.folder import read_dataset; "
        "from lutetia.safety.interim import run_interim; "
        f"run_interim(read_dataset(Path(sys.argv[1])), out=Path(sys.argv[2]), resamples={RESAMPLES})"
    )
    environment = {**os.environ, "OPENBLAS_CORETYPE": KERNEL}
    subprocess.run([sys.executable, "-c", script, str(folder), str(tmp_path / "out")], env=environment, check=True)
    written = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert written.keys() == interim.files.keys()
    assert [name for name, path in written.items() if path.read_bytes() != interim.files[name]] == []


@pytest.mark.requirement(39)
@pytest.mark.parametrize("name", ["closed", "open"])
def test_every_page_names_data_cut_snapshot_software_and_protocol(interim: Interim, name: str) -> None:
    record = interim.record
    for number, page in enumerate(pages(interim.files[f"{name}.pdf"]), start=1):
        assert record["snapshot_sha256"] in page.replace(" ", ""), number
        assert record["data_cut"][:10] in page, number
        assert f"lutetia {record['software']['version']}" in page, number
        assert f"protocol duonen {record['protocol']['version']}" in page, number
    assert record["snapshot_sha256"] in interim.files[f"{name}.html"].decode()


def test_all_tables_figures_and_listings_of_the_catalogue_are_in_the_closed_report(interim: Interim) -> None:
    text = "\n".join(texts(closed_document(interim.reported)))
    wanted = [*TABLES, *FIGURES, *(f"L{n}" for n in range(1, 11))]
    assert [name for name in wanted if f"{name}\u2002" not in text] == []
    assert {f"T{n}" for n in range(1, 16)} <= set(TABLES)
    assert {f"F{n}" for n in range(1, 14)} == set(FIGURES)


def test_the_first_page_answers_the_published_sentences_one_by_one(interim: Interim) -> None:
    keys = [finding.key for finding in interim.reported.findings]
    assert keys == ["modifications", "doses", "over limits", "declines", "association", "category", "renal", "hepatic",
                    "toxicity", "stopping"]  # fmt: skip
    assert len(keys) == len(FINDINGS)
    first = pages(interim.files["closed.pdf"])[0]
    assert all(finding.question in first for finding in interim.reported.findings)


def test_a_number_can_be_computed_again_from_the_rows_that_it_names(folder: Path, interim: Interim) -> None:
    rows = read_dataset(folder).tables["doses"]
    cells = [c for c in interim.record["cells"] if c["table"] == "T6" and c["statistic"] == "median"]
    cells = [c for c in cells if c["column"] == "absorbed_dose_Gy" and c["value"] is not None and c["n"] > 1]
    assert len(cells) > 4
    for cell in cells:
        own = [rows[number - 2] for number in expand(cell["source_rows"])["doses"]]
        if any(row["basis"] == "missing" for row in own):
            continue
        sums: dict[str, float] = {}
        for row in own:
            sums[row["subject_id"]] = sums.get(row["subject_id"], 0.0) + float(row["absorbed_dose_Gy"])
        assert len(sums) == cell["n"]
        assert median(sums.values()) == pytest.approx(cell["value"], rel=1e-5), cell["row"]


def test_every_cell_is_complete_and_names_its_table_row_and_column(interim: Interim) -> None:
    tables = {t["id"]: t for t in interim.record["tables"]}
    for cell in interim.record["cells"]:
        table = tables[cell["table"]]
        assert cell["row"] in {r["key"] for r in table["rows"]}
        assert cell["column"] in {c["key"] for c in table["columns"]}
        assert cell["value"] is None or isinstance(cell["value"], int | float | str)
    assert json.loads(interim.files["interim.json"])["schema"] == "lutetia.interim/1"


def test_rows_read_are_rows_used_and_rows_listed(interim: Interim) -> None:
    assert all(row["read"] == row["used"] + row["listed"] for row in interim.record["rows"])


@pytest.mark.requirement(47)
def test_the_open_report_reveals_no_arm_and_no_small_number(interim: Interim) -> None:
    document = open_document(interim.reported)
    text = "\n".join(texts(document))
    assert not re.search(r"\b[Aa]rm [A-D]\b|177Lu|90Y|Lu-177|Y-90", text)
    for name in OPEN:
        table = suppress_small(pooled(interim.reported.tables[name]))
        counts = [c.value for c in table.cells if c.statistic in ("count", "events", "subjects")]
        assert not [v for v in counts if isinstance(v, int) and 0 < v < SMALLEST_SHOWN], name
    assert not re.search(r"SIM-\d+", text)
    assert "labs.csv" in text
    assert not re.search(r"(administrations|doses|prescriptions|forecasts|truth)\.csv", text), "one row a nuclide"


def test_the_methods_name_every_statistic_that_was_run_with_its_resamples(interim: Interim) -> None:
    lines = [line for _, lines in interim.reported.methods.sections() for line in lines]
    text = "\n".join(lines)
    for words in ("Kruskal–Wallis", "Wilcoxon signed-rank", "Clopper–Pearson", "random subject", "HC3", "Spearman",
                  f"{RESAMPLES} bootstrap resamples", "beta-binomial", "Holm"):  # fmt: skip
        assert words in text, words


def test_the_cut_moves_events_and_is_refused_after_the_snapshot(folder: Path) -> None:
    dataset = read_dataset(folder)
    early = read_trial(dataset, "2025-08-31")
    assert len(early["administrations"]) < len(dataset.tables["administrations"])
    with pytest.raises(InputError, match="after the snapshot was extracted"):
        make_interim(dataset, cut="2099-01-01")


def test_a_folder_with_something_else_is_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("not ours")
    with pytest.raises(OutputError, match="choose another one"):
        run_interim(read_dataset(folder), out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def without(*names: str) -> Callable[[Tables], Tables]:
    return lambda tables: tables | {name: [] for name in names}


def one_subject_left_in_arm_a(tables: Tables) -> Tables:
    others = [row["subject_id"] for row in tables["subjects"] if row["arm"] == "A"][1:]
    return {name: [r for r in rows if r.get("subject_id") not in others] for name, rows in tables.items()}


def nobody_treated(tables: Tables) -> Tables:
    return tables | {"administrations": []}


def one_never_treated(tables: Tables) -> Tables:
    first = tables["administrations"][0]["subject_id"]
    return tables | {"administrations": [r for r in tables["administrations"] if r["subject_id"] != first]}


def all_values_equal(tables: Tables) -> Tables:
    labs = [{**row, "value": "5", "lln": "", "uln": ""} for row in tables["labs"]]
    return one_never_treated(tables | {"labs": labs})


def no_arm(tables: Tables) -> Tables:
    return tables | {"subjects": [{**row, "arm": "", "randomised_on": ""} for row in tables["subjects"]]}


def confused(tables: Tables) -> Tables:
    """Unknown analytes and units, duplicates, dates out of order, strangers."""
    labs = tables["labs"]
    labs = [{**labs[0], "analyte": "unobtainium"}, {**labs[1], "unit": "furlong"}, *labs[2:], dict(labs[5])]
    events = [{**row, "ended_on": "2020-01-01"} for row in tables["adverse_events"]]
    stranger = {**tables["administrations"][0], "subject_id": "NOBODY"}
    return tables | {"labs": labs, "adverse_events": events, "administrations": [*tables["administrations"], stranger]}


DAMAGE: dict[str, Callable[[Tables], Tables]] = {
    "no adverse events, disposition, forecasts or deviations": without(
        "adverse_events", "disposition", "forecasts", "deviations", "baseline", "vitals"
    ),
    "no laboratory values": without("labs"),
    "no doses and no prescriptions": without("doses", "prescriptions"),
    "one subject in an arm": one_subject_left_in_arm_a,
    "nobody treated": nobody_treated,
    "all values equal, no limits of normal, one subject never treated": all_values_equal,
    "nobody randomised": no_arm,
    "unknown names, duplicates, strangers": confused,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    trial = simulate_trial(
        read_protocol("duonen"), subjects=5, seed=5, level="analytic", effect="planted",
        population=read_population(None),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("small") / "data"
    write_trial(trial, path)
    return read_dataset(path)


def analysed(dataset: Dataset, change: Callable[[Tables], Tables]) -> Reported:
    tables = change({name: list(rows) for name, rows in dataset.tables.items()})
    changed = replace(dataset, tables={name: tuple(rows) for name, rows in tables.items()})
    return analyse(derive_context(read_trial(changed), resamples=200))


@pytest.mark.parametrize("name", DAMAGE)
def test_poor_data_end_in_reports_that_say_what_is_not_estimable(small: Dataset, name: str) -> None:
    reported = analysed(small, DAMAGE[name])
    assert set(TABLES) <= set(reported.tables)
    assert len(list(texts(closed_document(reported)))) > 100
    assert len(list(texts(open_document(reported)))) > 20
    counts = reported.context.data.accounting.counts
    assert all(c.read == c.used + c.listed for c in counts)
    json.dumps(interim_record(reported), allow_nan=False)


def test_interim_json_obeys_its_schema(interim: Interim) -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas/interim.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(interim.files["interim.json"]), schema)

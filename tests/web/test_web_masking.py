"""No masked person finds an arm: every page, the API, the trail and exports are read and searched for odd values.

The courses hold values that occur nowhere else (`CANARIES`), nuclides among them, and every subject has an arm. An
unmasked person finds them on the same pages, so that a search that finds nothing means something.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.crawling import browser_of, crawl, routed
from tests.web.large_trial import CANARIES, add_courses

from lutetia.trial import Trial
from lutetia.web.demonstration import PASSWORD, make_demonstration

MASKED = ("masked-statistician", "administrator", "board")
OPEN_EYES = "data-manager"
#: An arm in its context: "Arm B", "arm": "B", >B< in a cell; a lone letter elsewhere is no arm.
ARM = re.compile(r"""(?i:\barm)\W{0,12}["'> ]\s*[ABCD]\b|"arm":\s*"[ABCD]"|<td[^>]*>\s*[ABCD]\s*</td>""")


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with make_demonstration(tmp_path_factory.mktemp("masking") / "trial") as trial:
        add_courses(trial, subjects=2, samples=1, cycles=2, sites=("01", "02"))
        yield trial


def addresses(trial: Trial) -> list[str]:
    """Every GET address of the map with things that exist."""
    with trial.read() as reader:
        subjects = [row["subject_id"] for row in reader.records("subjects")]
        records = {name: reader.records(name)[0]["record_id"] for name in ("subjects", "administrations", "deviations")}
    known = {"cycle": "1", "site": "01", "query_id": "1", "user_id": "physicist", "ae_id": "1", "deviation_id": "001",
             "column": "arm", "table": "subjects", "record": str(records["subjects"]), "view": "axial", "level": "1",
             "path": "mark.svg"}  # fmt: skip
    found = [path for subject in subjects[:2] for path in routed(subject, known)]
    found += [path.replace("/cycles/1", "/cycles/2") for path in found]
    found += [f"/audit/field/{t}/{n}/{c}" for t, n, c in (("administrations", records["administrations"], "nuclide"),
              ("deviations", records["deviations"], "description"))]  # fmt: skip
    found += [f"/audit?subject={s}" for s in subjects] + ["/audit?table=doses", "/audit?page=2", "/subjects?text=DUO"]
    return list(dict.fromkeys(found))


def canaries(text: str) -> list[str]:
    """Odd values in a text; hashes and times of day, which may look like one, are left out."""
    bare = re.sub(r"[0-9a-f]{64}|\d\d:\d\d:\d\d(\.\d+)?|\?v=[0-9a-f]+", "", text)
    return [c for c in CANARIES if re.search(rf"(?<![\d.\w]){re.escape(c)}", bare)]


def told(text: str) -> list[str]:
    """Odd values and arms in a text."""
    return canaries(text) + [m[0] for m in ARM.finditer(text)]


@pytest.mark.requirement(10)
@pytest.mark.requirement(22)
@pytest.mark.parametrize("user", MASKED)
def test_a_masked_person_finds_no_arm_nuclide_activity_or_dose_on_any_page(user: str, demonstration: Trial) -> None:
    browser = browser_of(demonstration, user, PASSWORD)
    pages = crawl(browser, addresses(demonstration))
    assert sum(status == 200 for status, _ in pages.values()) > 10
    assert not [path for path, (status, _) in pages.items() if status >= 500]
    leaks = {path: found for path, (_, text) in pages.items() if (found := told(text))}
    assert not leaks


@pytest.mark.requirement(10)
def test_an_unmasked_person_finds_them_so_that_the_search_is_one(demonstration: Trial) -> None:
    browser = browser_of(demonstration, OPEN_EYES, PASSWORD)
    pages = crawl(browser, addresses(demonstration))
    assert not [path for path, (status, _) in pages.items() if status >= 500]
    seen = {canary for _, text in pages.values() for canary in told(text)}
    assert {"KANAR", "Lu-177", "Y-90"} <= seen
    assert any(ARM.search(text) for _, text in pages.values())
    assert seen & {"13.5791", "13.6"}
    assert seen & {"6173.9", "6.17", "6.174"}


@pytest.mark.requirement(10)
def test_what_a_masked_person_exports_holds_no_arm(demonstration: Trial, tmp_path: Path) -> None:
    browser = browser_of(demonstration, "masked-statistician", PASSWORD)
    browser.get("/exports")
    answer = browser.post("/exports/data")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        texts = {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}
    assert any(name.endswith("subjects.csv") for name in texts)
    texts = {
        name: text for name, text in texts.items() if not name.endswith(".toml")
    }  # protocol and plan name no subject
    for name, text in texts.items():
        assert not canaries(text), name
    subjects = next(text for name, text in texts.items() if name.endswith("subjects.csv"))
    assert not re.search(r",[ABCD](,|$)", subjects, flags=re.M)
    assert browser.post("/exports/trial").status_code == 403

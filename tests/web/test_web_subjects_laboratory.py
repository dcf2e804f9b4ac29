"""Laboratory values in the browser: entry with grades at once, remembered units and limits, import with a dry run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from tests.web.browsing import Browser, person
from tests.web.subject_trial import TREATED, beside, hidden, sent, words

from lutetia.trial import SYSTEM, Change, Create, Trial, Update
from lutetia.web.field_messages import beside_fields
from lutetia.web.forms import Form
from lutetia.web.texts import texts
from lutetia.workflow.missing import MISSING_CODES

NewBrowser = Callable[[str], Browser]
BASE = f"/subjects/{TREATED}/laboratory"
HEAD = "subject_id,sample_id,analyte,taken_at,value,unit,lln,uln"


def labs(treated: Trial, **where: Any) -> list[dict[str, Any]]:
    with treated.read() as reader:
        return reader.records("labs", subject_id=TREATED, **where)


def value_of(page: str, name: str) -> str:
    found = re.search(rf'<input id="f-{name}"[^>]* value="([^"]*)"', page)
    assert found, name
    return found[1]


def upload(browser: Browser, content: str | bytes, name: str = "labs.csv") -> httpx.Response:
    browser.get("/laboratory/import")
    file = {"file": (name, content if isinstance(content, bytes) else content.encode(), "text/csv")}
    return browser.client.post("/laboratory/import/preview", data={"csrf": browser.csrf}, files=file)


def table(*rows: str) -> str:
    return "\n".join((HEAD, *rows)) + "\n"


def test_the_entry_form_remembers_units_and_limits_and_can_be_filled_with_the_keyboard(site: Browser) -> None:
    page = site.get(f"{BASE}/entry").text
    assert value_of(page, "unit_platelets") == "10⁹/L"
    assert value_of(page, "lln_platelets") == "150"
    assert value_of(page, "uln_platelets") == "400"
    assert value_of(page, "value_platelets") == ""
    assert value_of(page, "unit_creatinine") == "µmol/L"
    assert value_of(page, "lln_creatinine") == ""
    assert re.search(r'<input id="f-value_haemoglobin"[^>]* autofocus', page), "the first value has the cursor"
    rows = re.findall(r"<tr>\s*<th scope=\"row\"><label for=\"f-value_(\w+)\">", page)
    assert rows[0] == "haemoglobin"
    assert len(rows) == len(set(rows)) > 10, "one row an analyte"
    assert "js/entry.js" in page
    assert "tabindex" not in page.split("<table", 1)[1].split("</table>", 1)[0], "nothing is taken out of the tab order"


def test_a_value_shows_its_grade_at_once_and_stores_nothing(treated: Trial, site: Browser) -> None:
    page = site.get(f"{BASE}/entry").text
    assert f'hx-post="{BASE}/grade?analyte=platelets"' in page
    assert 'hx-target="#grade-platelets"' in page
    before = len(labs(treated))
    fields = {"taken_at": "2026-03-01T08:00", "value_platelets": "44", "unit_platelets": "10^9/L",
              "lln_platelets": "150", "uln_platelets": "400"}  # fmt: skip
    ask = f"{BASE}/grade?analyte=platelets"
    assert words(site.post(ask, fields).text) == "grade 3"
    assert words(site.post(ask, {**fields, "value_platelets": "231"}).text) == "grade 0"
    assert "expected a number" in words(site.post(ask, {**fields, "value_platelets": "4x"}).text)
    assert "check its unit" in words(site.post(ask, {**fields, "value_platelets": "44000"}).text)
    assert words(site.post(ask, {**fields, "value_platelets": ""}).text) == ""
    assert site.post(f"{BASE}/grade?analyte=gold", fields).status_code == 200
    assert len(labs(treated)) == before


@pytest.mark.requirement(31)
def test_a_sample_is_stored_and_a_wrong_value_is_named_beside_it(treated: Trial, site: Browser) -> None:
    fields = {"taken_at": "2026-03-01T08:00", "value_platelets": "88", "unit_platelets": "10^9/L",
              "value_haemoglobin": "11,9", "unit_haemoglobin": "g/dL", "value_alt": "<5",
              "unit_alt": "U/L"}  # fmt: skip
    wrong = sent(site, f"{BASE}/entry", fields)
    assert wrong.status_code == 422
    assert "with a decimal point" in beside(wrong.text, "value_haemoglobin")
    assert "row" not in beside(wrong.text, "value_haemoglobin")
    assert value_of(wrong.text, "value_platelets") == "88", "what was typed stays"
    assert not labs(treated, analyte="haemoglobin")
    stored = sent(site, f"{BASE}/entry", fields | {"value_haemoglobin": "11.9", "lln_haemoglobin": "12"})
    assert "The sample was saved" in stored.text
    row = labs(treated, analyte="haemoglobin")[0]
    assert (row["value"], row["unit"], row["taken_at"]) == ("11.9", "g/dL", "2026-03-01T07:00:00+00:00")
    assert labs(treated, analyte="alt")[0]["qualifier"] == "<"
    assert "11.9" in words(site.get(BASE).text)
    future = sent(site, f"{BASE}/entry", fields | {"taken_at": "2026-04-01T08:00", "value_haemoglobin": "11.9"})
    assert "in the future; it is now 2026-03-02 09:00" in beside(future.text, "taken_at")
    nothing = sent(site, f"{BASE}/entry", {"taken_at": "2026-03-01T08:00"})
    assert nothing.status_code == 422
    assert "enter at least one" in words(nothing.text)


@pytest.mark.requirement(4)
def test_a_stored_value_changes_only_with_a_reason(treated: Trial, site: Browser) -> None:
    page = site.get(f"{BASE}/entry?sample=S2").text
    assert value_of(page, "value_platelets") == "96"
    fields = {"taken_at": "2026-02-23T09:00", "sample_id": "S2", "value_platelets": "69",
              "unit_platelets": "10^9/L", "lln_platelets": "150", "uln_platelets": "400"}  # fmt: skip
    refused = sent(site, f"{BASE}/entry", fields, page=f"{BASE}/entry?sample=S2")
    assert refused.status_code == 422
    assert 'name="reason"' in refused.text
    assert labs(treated, sample_id="S2")[0]["value"] == "96"
    opened = f"{BASE}/entry?sample=S2"
    assert "was saved" in sent(site, f"{BASE}/entry", fields | {"reason": "typing error"}, page=opened).text
    assert labs(treated, sample_id="S2")[0]["value"] == "69"
    emptied = sent(site, f"{BASE}/entry", fields | {"value_platelets": "", "reason": "no such value"}, page=opened)
    assert emptied.status_code == 422, "a stored value is not forgotten by emptying its field"
    assert "is missing; enter it, or one of not done" in beside(emptied.text, "value_platelets")


def test_of_two_people_in_one_sample_the_second_sees_both_versions_and_goes_on_with_the_own(
    treated: Trial, site: Browser, browser_of: NewBrowser
) -> None:
    other, path = browser_of(person("physicist")), f"{BASE}/entry"
    first = {"taken_at": "2026-02-27T08:00", "value_platelets": "91", "unit_platelets": "10⁹/L",
             "lln_platelets": "150", "uln_platelets": "400"}  # fmt: skip
    blank = {k: v for k, v in hidden(other.get(path).text).items() if k != "csrf"}
    assert "was saved" in sent(site, path, first).text
    second = first | {"value_platelets": "19", "value_alt": "30", "unit_alt": "U/L", "reason": "read again"}
    stale = other.post(path, {**blank, **second})
    assert stale.status_code == 409
    assert "Platelets" in words(stale.text).title()
    for expected in ("19 10⁹/L (150–400)", "91 10⁹/L (150–400)", "Saved by Person coordinator"):
        assert expected in words(stale.text), expected
    assert [r["value"] for r in labs(treated, taken_at="2026-02-27T07:00:00+00:00")] == ["91"]
    back = {k: v for k, v in hidden(stale.text).items() if k != "csrf"}
    again = other.post(path, back)
    assert again.status_code == 200
    assert (value_of(again.text, "value_platelets"), value_of(again.text, "value_alt")) == ("19", "30")
    assert len(labs(treated, taken_at="2026-02-27T07:00:00+00:00")) == 1, "nothing is saved on the way back"
    kept = {k: v for k, v in hidden(again.text).items() if k != "csrf"}
    done = other.post(path, {**kept, **second, "sample_id": value_of(again.text, "sample_id")})
    assert "was saved" in done.text
    stored = {r["analyte"]: r["value"] for r in labs(treated, taken_at="2026-02-27T07:00:00+00:00")}
    assert stored == {"platelets": "19", "alt": "30"}


def test_a_sample_of_which_only_the_day_is_known_keeps_it(treated: Trial, site: Browser) -> None:
    day = {"subject_id": TREATED, "sample_id": "D1", "taken_at": "2026-01-20", "unit": "g/L"}
    treated.commit(Change("day", [Create("labs", day | {"analyte": "albumin", "value": "40"})]), SYSTEM)
    opened = f"{BASE}/entry?sample=D1"
    page = site.get(opened).text
    assert "Only the day is known" in page
    fields = {"taken_at": value_of(page, "taken_at"), "sample_id": "D1", "value_albumin": "41",
              "unit_albumin": "g/L", "reason": "typing error"}  # fmt: skip
    assert "was saved" in sent(site, f"{BASE}/entry", fields, page=opened).text
    assert [(r["taken_at"], r["value"]) for r in labs(treated, sample_id="D1")] == [("2026-01-20", "41")]


def test_of_a_time_over_which_clocks_go_back_the_form_asks_which_one(treated: Trial, site: Browser) -> None:
    fields = {"taken_at": "2025-10-26T02:30", "value_alt": "30", "unit_alt": "U/L"}
    asked = sent(site, f"{BASE}/entry", fields)
    assert asked.status_code == 422
    assert "exists twice in Europe/Warsaw" in beside(asked.text, "taken_at")
    offered = re.findall(r'<option value="(2025-10-26[^"]*)"', asked.text)
    assert offered == ["2025-10-26T02:30+02:00", "2025-10-26T02:30+01:00"]
    assert "was saved" in sent(site, f"{BASE}/entry", fields | {"taken_at": [fields["taken_at"], offered[1]]}).text
    row = labs(treated, taken_at="2025-10-26T01:30:00+00:00")[0]
    again = site.get(f"{BASE}/entry?sample={row['sample_id']}").text
    assert f'value="{offered[1]}" selected' in again
    skipped = sent(site, f"{BASE}/entry", fields | {"taken_at": "2025-03-30T02:30"})
    assert "does not exist in Europe/Warsaw" in beside(skipped.text, "taken_at")


def test_a_stored_row_that_is_not_understood_is_listed_and_the_pages_stand(treated: Trial, site: Browser) -> None:
    odd = {"subject_id": TREATED, "sample_id": "S2", "taken_at": "2026-02-23T08:00:00+00:00", "value": "3"}
    rows = [Create("labs", odd | {"analyte": "plankton", "unit": "g/L"}),
            Create("labs", odd | {"analyte": "ast", "unit": "10^9/L"})]  # fmt: skip
    treated.commit(Change("odd", rows), SYSTEM)
    page = words(site.get(BASE).text)
    assert "Stored rows that are not understood" in page
    assert "unknown analyte" in page
    for path in (f"/subjects/{TREATED}", f"{BASE}/entry?sample=S2", f"/subjects/{TREATED}/cycles/1"):
        assert site.get(path).status_code == 200, path


@pytest.mark.requirement(33)
@pytest.mark.parametrize("code", MISSING_CODES[:3])
def test_a_missing_value_is_stored_with_one_of_the_codes(code: str, treated: Trial, site: Browser) -> None:
    day = f"2026-02-1{MISSING_CODES.index(code)}"
    sent(site, f"{BASE}/entry", {"taken_at": f"{day}T08:00", "missing_ast": code})
    row = next(r for r in labs(treated, analyte="ast") if r["taken_at"].startswith(day))
    assert (row["value"], row["missing_reason"]) == (None, code)
    assert code in words(site.get(BASE).text)
    assert code in words(site.get(f"/subjects/{TREATED}").text), "among the missing values of the subject page"


def test_an_import_says_row_by_row_what_would_happen_and_then_stores_it(treated: Trial, site: Browser) -> None:
    content = table(
        f"{TREATED},N1,Hb,2026-02-25T08:00:00,11.9,g/dL,12,15",
        f"{TREATED},N1,PLT,2026-02-25T08:00:00,48,10^9/L,150,400",
        f"{TREATED},N1,ALT,2026-02-25T08:00:00,x12,U/L,,",
        "DUO-02-001,N1,ALT,2026-02-25T08:00:00,12,U/L,,",
        f"{TREATED},S0,platelets,2026-01-05T08:00:00+00:00,213,10^9/L,150,400",
        f"{TREATED},S1,platelets,2026-02-02T08:00:00+00:00,44,10^9/L,150,400",
    )
    preview = upload(site, content)
    assert preview.status_code == 200
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", preview.text.split("<tbody>")[1], re.DOTALL)]
    assert [r.split()[:2] for r in rows] == [["4", "refused"], ["5", "refused"], ["6", "changed"], ["2", "new"],
                                             ["3", "new"], ["7", "stored"]]  # fmt: skip
    assert "x12" in rows[0]
    assert "another site" in rows[1]
    assert "stored is &#39;231&#39;, found &#39;213&#39;; a change needs a reason" in rows[2]
    assert re.search(r"48 10⁹/L 2026-02-25 08:00 3", rows[4]), "grade of the new value"
    assert not labs(treated, sample_id="N1"), "a dry run stores nothing"
    kept = re.search(r"<textarea name=\"content\"[^>]*>\n(.*?)</textarea>", preview.text, re.DOTALL)
    assert kept
    assert kept[1] == content
    form = {"file_name": "labs.csv", "content": content}
    assert site.post("/laboratory/import", form).status_code == 422, "neither reason nor leave to skip"
    assert not labs(treated, sample_id="N1")
    unticked = site.post("/laboratory/import", {**form, "reason": "corrected report"})
    assert unticked.status_code == 422
    beside = unticked.text.partition('name="skip_refused"')[2].partition("</form>")[0]
    assert "2 rows are refused. Tick this box to store the others without them" in beside
    stored = site.post("/laboratory/import", {**form, "reason": "corrected report", "skip_refused": "yes"})
    assert stored.status_code == 200
    assert re.search(r"New 2 Changes of stored values 1 Left out 2", words(stored.text))
    assert labs(treated, sample_id="S0")[0]["value"] == "213"
    assert {r["analyte"] for r in labs(treated, sample_id="N1")} == {"haemoglobin", "platelets"}


def test_a_table_is_looked_at_again_when_a_stored_value_changed_since_its_dry_run(
    treated: Trial, site: Browser
) -> None:
    content = table(f"{TREATED},S1,platelets,2026-02-02T08:00:00+00:00,47,10^9/L,150,400")
    form = {"content": content, "file_name": "labs.csv", "reason": "corrected report"}
    seen = hidden(upload(site, content).text)["seen"]
    change = Update("labs", {"subject_id": TREATED, "sample_id": "S1", "analyte": "platelets"}, {"value": "45"})
    treated.commit(Change("other", [change]), SYSTEM, "read again")
    stale = site.post("/laboratory/import", {**form, "seen": seen})
    assert stale.status_code == 409
    assert "stored values changed since the dry run" in words(stale.text)
    assert "stored is &#39;45&#39;, found &#39;47&#39;" in stale.text
    assert labs(treated, sample_id="S1")[0]["value"] == "45"
    again = site.post("/laboratory/import", {**form, "seen": hidden(stale.text)["seen"]})
    assert again.status_code == 200
    assert labs(treated, sample_id="S1")[0]["value"] == "47"


def test_a_table_of_many_rows_is_previewed_and_stored_whole(treated: Trial, browser_of: NewBrowser) -> None:
    site = browser_of(person("coordinator"))
    padding = "x" * 900  # a column that nobody needs makes the table larger than a field of a form usually may be
    rows = [f"{TREATED},M{n},ALT,2026-02-0{1 + n % 9}T08:00:00,{20 + n % 9},U/L,,35,{padding}" for n in range(1300)]
    content = "\n".join((f"{HEAD},remark", *rows)) + "\n"
    assert len(content) > 1024 * 1024
    preview = upload(site, content)
    assert "Store 1300 rows" in preview.text
    kept = re.search(r"<textarea name=\"content\"[^>]*>\n(.*?)</textarea>", preview.text, re.DOTALL)
    assert kept
    stored = site.post("/laboratory/import", {"file_name": "labs.csv", "content": kept[1]})
    assert stored.status_code == 200, words(stored.text)
    assert len([r for r in labs(treated, analyte="alt") if r["sample_id"][0] == "M"]) == 1300
    one = upload(site, table(f"{TREATED},M1x,ALT,2026-02-01T08:00:00,20,U/L,,35"))
    assert "Store 1 row<" in one.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("subject_id;analyte\nA;b\n", "separated by"),
        ("subject_id,analyte\nA,b\n", "is missing"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (HEAD + "\n", "found a header and no row"),
    ],
)
def test_a_file_that_is_no_table_is_refused_beside_its_field(
    content: str | bytes, message: str, browser_of: NewBrowser
) -> None:
    answer = upload(browser_of(person("coordinator")), content)
    assert answer.status_code == 422
    assert message in beside(answer.text, "file")


def test_an_import_without_a_file_asks_for_one(site: Browser) -> None:
    site.get("/laboratory/import")
    answer = site.post("/laboratory/import/preview")
    assert answer.status_code == 422
    assert "File: fill this in" in words(answer.text) or "CSV file: fill this in" in words(answer.text)


def test_messages_go_to_the_fields_that_they_name_and_the_rest_stays_general() -> None:
    def spread(message: str) -> dict[str, str]:
        form = Form(texts(), "vitals", ZoneInfo("UTC"), errors={"": message})
        beside_fields(form, ("weight_kg", "ecog", "on"))
        return form.errors

    both = spread("vitals: weight_kg: found 999; expected 20 to 350; check the unit; ecog: found 7; expected 0 to 5")
    assert both == {"weight_kg": "Weight: found 999; expected 20 to 350; check the unit",
                    "ecog": "ECOG status: found 7; expected 0 to 5"}  # fmt: skip
    assert spread("vitals ecog: found 'x'") == {"ecog": "ECOG status: found 'x'"}
    general = "subject DUO-01-001: found 2026-01-01, before the last administration on 2026-02-01; correct the day"
    assert spread(general) == {"": general}
    assert spread("a reason: is needed") == {"": "a reason: is needed"}

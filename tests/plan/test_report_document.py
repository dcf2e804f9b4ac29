"""The report of every kind of result: what stands on page 1, what is never said, numbers that the result holds."""

from __future__ import annotations

import copy
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader
from tests.plan.sample_results import SAMPLES, Result

from lutetia.plan.report import INTENDED_USE, plan_document
from lutetia.report import numbers
from lutetia.report.document import Callout, Document, KeyFigures, SignatureBlock, Table, plain, texts, walk
from lutetia.report.html import render_html
from lutetia.report.pdf import render_pdf

EVERY = pytest.mark.parametrize("name", SAMPLES)


@cache
def document(name: str) -> Document:
    return plan_document(SAMPLES[name]())


@cache
def pages(name: str) -> tuple[str, ...]:
    found = PdfReader(io.BytesIO(render_pdf(document(name)))).pages
    return tuple(squeezed(p.extract_text()) for p in found)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def blocks(name: str, kind: type) -> list[Any]:
    return [b for b in walk(document(name).blocks) if isinstance(b, kind)]


def key_figures(name: str) -> dict[str, str]:
    items = blocks(name, KeyFigures)[0].items
    return {plain(k.label): " ".join([plain(k.value), k.unit, *map(plain, k.details)]) for k in items}


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


NUMBER = re.compile(r"\d+(?:\.\d+)?")


def tokens(text: str) -> set[str]:
    """Unsigned numbers of a text."""
    return set(NUMBER.findall(text.replace(numbers.THIN, "").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))))


def shown_forms(result: Result) -> set[str]:
    """Every way in which a number of the result may be shown, and the few numbers that belong to the words."""
    forms = {"95", "1", "99", "0"}
    base, proposed = (result["prescription"].get(k) or {} for k in ("base_MBq", "activities_MBq"))
    changes = [proposed[n] / base[n] - 1.0 for n in proposed if base.get(n)]
    for leaf in [*leaves(result), *changes]:
        if isinstance(leaf, str):
            forms |= tokens(leaf)
        elif isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
            shown = [numbers.number(leaf), numbers.given_number(leaf), numbers.gigabecquerel(leaf)]
            shown += [numbers.percent(leaf), numbers.probability(leaf), numbers.change(leaf)]
            shown += [numbers.fixed(leaf, places) for places in range(4)]
            forms |= {t for s in shown for t in tokens(s)}
    forms |= {str(len(result["prescription"].get("conditions") or ())), str(len(result["cycles"]))}
    return forms | {
        str(sum(len(e["curve"]["time_h"]) for e in r["nuclides"].values() if "curve" in e))
        for c in result["cycles"]
        for r in c["regions"]
    }


@EVERY
def test_every_number_of_the_report_is_a_number_of_the_result(name: str) -> None:
    result = SAMPLES[name]()
    shown = {t for text in texts(plan_document(result)) for t in tokens(text)}
    assert shown
    assert shown <= shown_forms(result)


@EVERY
def test_two_reports_of_one_result_have_the_same_bytes(name: str) -> None:
    first, second = (plan_document(SAMPLES[name]()) for _ in range(2))
    assert render_html(first) == render_html(second)
    assert render_pdf(first) == render_pdf(second)


def test_another_process_writes_the_same_bytes() -> None:
    code = (
        "import hashlib; from lutetia.plan.report import plan_document; from lutetia.report.html import render_html\n"
        "from lutetia.report.pdf import render_pdf; from tests.plan.sample_results import SAMPLES\n"
        "d = plan_document(SAMPLES['arm_b_ok']()); h = hashlib.sha256(render_html(d).encode() + render_pdf(d))\n"
        "import sys; sys.stdout.write(h.hexdigest())"
    )
    root = Path(__file__).parents[2]
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@EVERY
def test_every_page_says_what_it_is_for(name: str) -> None:
    assert INTENDED_USE.startswith("For research and trial use under a protocol")
    for number, page in enumerate(pages(name), start=1):
        assert squeezed(INTENDED_USE) in page
        assert f"page{number}of{len(pages(name))}" in page
    assert INTENDED_USE in render_html(document(name))


@EVERY
def test_page_one_holds_state_proposal_limits_conditions_and_signatures(name: str) -> None:
    first = pages(name)[0]
    prescription = SAMPLES[name]()["prescription"]
    assert f"STATE:{prescription['state']}" in first
    for activity in (prescription["activities_MBq"] or {}).values():
        assert numbers.gigabecquerel(activity) in first
    assert "Kidneys23Gy" in first
    assert "P(over)" in first
    for condition in prescription["conditions"]:
        assert squeezed(condition) in first
    assert "Medicalphysicist" in first
    assert "Dateandtime" in first


@EVERY
def test_no_page_one_spills_onto_a_second(name: str) -> None:
    assert "Dateandtime" not in "".join(pages(name)[1:])


@EVERY
def test_every_character_has_a_glyph_in_the_packaged_fonts(name: str) -> None:
    fonts = files("lutetia.report") / "fonts"
    used = {c for text in texts(document(name)) for c in text} - {"\u00ad", "\n"}
    for font in ("Inter-Regular.otf", "Inter-SemiBold.otf", "Inter-Regular.subset.woff"):
        held = TTFont(io.BytesIO((fonts / font).read_bytes())).getBestCmap()
        assert {c for c in used if ord(c) not in held} == set()


def test_first_line_warnings_come_before_everything_else() -> None:
    first = document("arm_b_ok").blocks[0]
    assert isinstance(first, Callout)
    assert first.label == "Read first"
    assert "left kidney" in plain(first.title)


def test_the_proposal_is_compared_with_base_and_with_the_previous_cycle() -> None:
    figures = key_figures("arm_b_ok")
    assert figures["⁹⁰Y"] == squeezed_join(
        "1.90 GBq reduced: −49 % against base 3.70 GBq −36 % against the previous cycle"
    )
    assert figures["¹⁷⁷Lu"].startswith("3.70 GBq fixed: equals base 3.70 GBq")
    assert figures["Set by"] == "Kidneys 23 Gy  soft limit"
    assert figures["Signature"].startswith("Not yet signable")


def squeezed_join(text: str) -> str:
    return text.replace(" %", f"{numbers.THIN}%")


@pytest.mark.parametrize("name", ["stop", "held", "complete", "infeasible_hard"])
def test_where_nothing_is_proposed_no_activity_is_shown_as_a_proposal(name: str) -> None:
    assert "GBq" not in " ".join(key_figures(name).values())
    assert "Proposal" not in plain(document(name).title)
    assert "nothing" in " ".join(plain(c.title) for c in blocks(name, Callout)).lower() or name == "complete"
    assert len(blocks(name, SignatureBlock)[0].people) == 2


@pytest.mark.parametrize("state", ["INFEASIBLE", "STOP"])
def test_an_activity_over_a_limit_needs_two_physicians_and_says_so(state: str) -> None:
    result = SAMPLES["arm_c_infeasible"]()
    result["prescription"]["state"] = state
    built = plan_document(result)
    words = " ".join(texts(built))
    assert "over a limit" in words
    assert "not a recommendation" in words
    people = [plain(p.role) for b in walk(built.blocks) if isinstance(b, SignatureBlock) for p in b.people]
    assert people == ["Medical physicist", "Physician", "Second physician"]
    assert plain(built.title) == "Decision for cycle 3"


def test_an_unknown_state_is_never_presented_as_a_proposal() -> None:
    result = SAMPLES["arm_b_ok"]()
    result["prescription"]["state"] = "NEW"
    callouts = [b for b in plan_document(result).blocks if isinstance(b, Callout)]
    assert "do not treat" in plain(callouts[1].body[0])


def test_page_one_says_each_reason_once_and_the_full_decision_follows() -> None:
    first, rest = pages("spoken")[0], "".join(pages("spoken")[1:])
    assert first.count(squeezed("he bounds are kidneys 1900 MBq")) == 1
    assert first.count(squeezed("lower measured dose per MBq")) == 1
    assert "WhynotmoreThebounds" in first
    assert squeezed("23 Gy absorbed dose, soft") not in first
    assert squeezed("23 Gy absorbed dose, soft") in rest
    assert squeezed("What would change it: a lower") in rest
    assert squeezed("Decided as of 2026-05-02 08:10 +02:00") in rest


def test_one_cap_belongs_to_the_variable_nuclide() -> None:
    html = render_html(document("spoken"))
    assert html.count("cap 5.55") == 1
    assert html.count(">base 3.70<") == 2


def test_that_nothing_is_proposed_is_not_a_condition_to_tick() -> None:
    result = SAMPLES["stop"]()
    result["prescription"]["conditions"] = ["nothing is proposed (state STOP)", "laboratory values: none given"]
    words = list(texts(plan_document(result)))
    assert "Laboratory values: none given" in words
    assert not [w for w in words if w.startswith("Nothing is proposed (state")]
    assert "1 condition open, listed below" in words


def test_an_illustrative_protocol_and_the_input_uncertainties_are_named() -> None:
    words = " ".join(texts(document("spoken")))
    assert "duonen (illustrative)" in words
    assert "Calibration 4 %" in words


def test_a_fixed_arm_that_is_likely_to_pass_an_advisory_limit_says_so() -> None:
    result = SAMPLES["arm_b_ok"]()
    result["limits"][0] |= {"kind": "advisory", "probability_over_end_of_course": 0.83}
    state = [b for b in plan_document(result).blocks if isinstance(b, Callout)][1]
    assert state.severity == "warning"
    assert (
        plain(state.body[0]) == f"Kidneys 23 Gy is likely to be passed (83{numbers.THIN}%); it is advisory in this arm."
    )


def test_a_limit_without_dose_is_not_evaluable_and_never_zero() -> None:
    row = next(r for t in blocks("marrow_missing", Table) for r in t.rows if plain(r[0]).startswith("Red marrow 2 Gy"))
    assert [plain(c) for c in row[1:]] == ["not evaluable", "not evaluable", "–", "not evaluable", "–", "–"]


@EVERY
def test_no_value_is_printed_as_none_or_nan(name: str) -> None:
    words = " ".join(texts(document(name)))
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", words.replace("None were given", "").replace("None.", ""))


def test_assumptions_warnings_and_provenance_are_listed() -> None:
    words = " ".join(texts(document("arm_b_ok")))
    for part in (
        "allocation = even",
        "3f1c9e0c7b2b4f9a2f46a7f0d1c3e58b",
        "registration moved",
        "same peptide",
        "lutetia 0.1.0",
    ):
        assert part in words


def test_assumptions_of_other_arms_are_left_out() -> None:
    words = " ".join(texts(document("arm_b_ok")))
    assert "arms.B.base_MBq" in words
    assert "arms.C" not in words


def test_one_warning_in_many_places_is_one_line() -> None:
    result = SAMPLES["arm_b_ok"]()
    places = [f"cycle {n}, {region}" for n in (1, 2) for region in ("liver", "spleen")]
    result["warnings"] = [{"message": "shared", "where": w, "severity": "note", "code": "c"} for w in places]
    result["cycles"][0]["regions"][3]["warnings"] = [{"message": "shared", "where": "liver", "severity": "note"}]
    words = list(texts(plan_document(result)))
    assert words.count("Shared") == 1
    assert "Cycles 1 and 2: liver, spleen" in words


def test_a_sum_over_cycles_keeps_to_its_method_only_where_there_are_several() -> None:
    result = SAMPLES["arm_b_ok"]()
    result["cycles"][1]["regions"][3]["method"] = "entered"
    result["cumulative"][3]["method"] = "segmented; entered"
    table = next(
        b
        for b in walk(plan_document(result).blocks)
        if isinstance(b, Table) and plain(b.caption) == "Absorbed dose by cycle"
    )
    cells = {plain(row[0]): [plain(c) for c in row[1:3]] for row in table.rows}
    doses = [c["regions"][3]["absorbed_dose_Gy"] for c in result["cycles"]]
    assert cells["Liver"] == [numbers.number(d) for d in doses]
    assert cells["Red marrow blood"] != cells["Red marrow image L2–L4"]


def test_intervals_are_found_under_both_spellings() -> None:
    result = SAMPLES["arm_b_ok"]()
    for limit in result["limits"]:
        for horizon in ("after_cycle", "end_of_course"):
            limit[f"predicted_{horizon}_interval_Gy"] = limit.pop(f"interval_{horizon}_Gy")
    assert list(texts(plan_document(result))) == list(texts(document("arm_b_ok")))


def test_a_ready_proposal_says_that_it_is_ready() -> None:
    result = SAMPLES["arm_b_ok"]()
    result["prescription"] |= {"signable": True, "conditions": []}
    assert "ready to be signed" in " ".join(texts(plan_document(result)))


def test_hostile_words_of_a_case_stay_words() -> None:
    result = copy.deepcopy(SAMPLES["arm_b_ok"]())
    evil = '"><script>alert(1)</script>#panic("x")'
    result["subject"]["id"] = evil
    result["protocol"]["name"] = evil
    result["warnings"] = [evil, {"message": evil, "where": evil, "severity": "first-line", "code": "x"}]
    result["prescription"]["reasons"] = [evil]
    for region in result["cycles"][0]["regions"][3:5]:
        region["region"] = region["method"] = evil
    built = plan_document(result)
    assert "<script" not in render_html(built).lower()
    text = "".join(squeezed(p.extract_text()) for p in PdfReader(io.BytesIO(render_pdf(built))).pages)
    assert '#panic("x")' in text


@pytest.mark.parametrize(
    "path",
    ["subject", "protocol", "cycles", "cumulative", "limits", "prescription", "warnings", "software", "labs", "seed"],
)
def test_a_missing_part_does_not_break_the_report(path: str) -> None:
    result = SAMPLES["arm_b_ok"]()
    del result[path]
    built = plan_document(result)
    assert render_html(built)
    assert render_pdf(built).startswith(b"%PDF")

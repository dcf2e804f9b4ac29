"""Laboratory rows, units and the baseline."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from lutetia.clinical.analytes import analytes, canonical_analyte, canonical_unit, convert
from lutetia.clinical.labs import baseline, check_values, read_rows
from lutetia.errors import InputError, UnitError, UnknownNameError


def row(**changes: str) -> dict[str, str]:
    plain = {"analyte": "creatinine", "taken_at": "2026-02-03T08:15:00+01:00", "value": "1.0", "unit": "mg/dL"}
    return {**plain, **changes}


def test_the_thirteen_analytes_of_the_exchange_format_are_known() -> None:
    names = "haemoglobin platelets leukocytes neutrophils lymphocytes creatinine alt ast alp ggt bilirubin albumin inr"
    assert set(analytes()) == set(names.split())


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "expected"),
    [
        ("haemoglobin", "12.3", "g/dL", "123"),
        ("haemoglobin", "123", "g/l", "123"),
        ("haemoglobin", "7.5", "mmol/L", "120.855"),
        ("platelets", "150", "10^9/L", "150"),
        ("platelets", "150", "x10E9/L", "150"),
        ("platelets", "150", "10*9/L", "150"),
        ("platelets", "150", "10⁹/L", "150"),
        ("platelets", "150", "G/L", "150"),
        ("platelets", "150", "10^3/µL", "150"),
        ("platelets", "150", "K/uL", "150"),
        ("platelets", "150000", "/µL", "150"),
        ("neutrophils", "1500", "/mm3", "1.5"),
        ("lymphocytes", "800", "cells/µL", "0.8"),
        ("creatinine", "1.0", "mg/dL", "88.42"),
        ("creatinine", "88", "µmol/L", "88"),
        ("creatinine", "88", "μmol/l", "88"),
        ("bilirubin", "1", "mg/dL", "17.104"),
        ("albumin", "3.5", "g/dL", "35"),
        ("alt", "0.5", "µkat/L", "30"),
        ("alt", "30", "IU/L", "30"),
        ("inr", "1.1", "", "1.1"),
    ],
)
def test_a_unit_is_recognised_and_converted_exactly(analyte: str, value: str, unit: str, expected: str) -> None:
    assert convert(analyte, Decimal(value), unit) == Decimal(expected)


def test_grams_and_giga_are_not_confused() -> None:
    assert canonical_unit("g/L") == "g/L"
    assert canonical_unit("G/L") == "10^9/L"
    with pytest.raises(UnitError, match="haemoglobin: found unit 'G/L'; expected one of g/L, g/dL, mmol/L"):
        convert("haemoglobin", Decimal(120), "G/L")


def test_aliases_of_analytes_are_accepted_and_others_refused() -> None:
    assert canonical_analyte("Hgb") == "haemoglobin"
    assert canonical_analyte("SGPT") == "alt"
    with pytest.raises(UnknownNameError, match="unknown analyte 'sodium'"):
        canonical_analyte("sodium")


def test_limits_of_normal_are_converted_with_their_row() -> None:
    (value,) = read_rows([row(lln="0.5", uln="1.1")], "labs.csv")
    assert (value.value, value.unit) == (Decimal("88.420"), "umol/L")
    assert (value.lln, value.uln) == (Decimal("44.210"), Decimal("97.262"))


def test_a_value_below_quantification_counts_half_and_says_so() -> None:
    (value,) = read_rows([row(qualifier="<", value="10", unit="umol/L")], "labs.csv")
    assert (value.value, value.qualifier) == (Decimal(5), "<")
    assert value.reported == "< 10 umol/L"


def test_an_empty_value_is_missing() -> None:
    (value,) = read_rows([row(value="", missing_reason="clotted")], "labs.csv")
    assert (value.value, value.missing_reason) == (None, "clotted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"analyte": "sodium"}, "labs.csv row 2: unknown analyte 'sodium'"),
        ({"unit": "mg/L"}, "labs.csv row 2: creatinine: found unit 'mg/L'; expected one of umol/L, mg/dL"),
        ({"value": "1,0"}, "labs.csv row 2: value: found '1,0'; expected a number with a decimal point"),
        ({"value": "-1"}, "labs.csv row 2: value: found '-1'; expected a number ≥ 0"),
        ({"value": "NaN"}, "labs.csv row 2: value: found 'NaN'; expected a number ≥ 0"),
        ({"taken_at": "3.2.2026"}, "labs.csv row 2: taken_at: found '3.2.2026'; expected a time"),
        ({"taken_at": "2026-02-03T08:15:00"}, "labs.csv row 2: taken_at: found a time without offset"),
        ({"qualifier": "~"}, "labs.csv row 2: qualifier: found '~'"),
        ({"lln": "2", "uln": "1"}, "labs.csv row 2: found lln 2 not below uln 1"),
        (
            {"value": "70", "unit": "umol/L", "lln": "0.5", "uln": "1.1"},
            "labs.csv row 2: uln: found 1.1 umol/L for creatinine; expected 50 to 200 umol/L; are the limits of normal",
        ),
    ],
)
def test_a_bad_row_is_refused_with_its_number_and_reason(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_rows([row(**changes)], "labs.csv")
    assert message in str(caught.value)


def test_all_bad_rows_are_listed_at_once() -> None:
    rows = [row(value="x"), row(sample_id="2"), row(unit="stone")]
    with pytest.raises(InputError) as caught:
        read_rows(rows, "labs.csv")
    assert "row 2" in str(caught.value)
    assert "row 4" in str(caught.value)


def test_the_same_sample_twice_and_a_missing_column_are_refused() -> None:
    with pytest.raises(InputError, match="row 3: creatinine of the same sample stands in row 2"):
        read_rows([row(), row(value="2")], "labs.csv")
    incomplete = row()
    del incomplete["unit"]
    with pytest.raises(InputError, match="the column 'unit' is missing"):
        read_rows([incomplete], "labs.csv")


def test_a_zone_serves_times_without_offset() -> None:
    (value,) = read_rows([row(taken_at="2026-02-03T08:15:00")], "labs.csv", zone=ZoneInfo("Europe/Warsaw"))
    assert value.taken_at == datetime(2026, 2, 3, 7, 15, tzinfo=UTC)


def test_an_implausible_value_is_a_doubt() -> None:
    values = read_rows([row(analyte="haemoglobin", value="12", unit="g/L"), row()], "labs.csv")
    (doubt,) = check_values(values)
    assert "haemoglobin 12 g/L is outside 30 to 250; check its unit" in doubt.message


def test_the_baseline_is_the_last_value_before_the_first_administration() -> None:
    start = datetime(2026, 2, 3, 9, 0, tzinfo=UTC)
    times = ["2026-01-01T08:00:00Z", "2026-01-20T08:00:00Z", "2026-02-03T08:00:00Z", "2026-02-03T10:00:00Z"]
    values = read_rows([row(taken_at=t, value=str(i + 1)) for i, t in enumerate(times)], "labs.csv")
    found = baseline(values, "creatinine", first_start=start)
    assert found is not None
    assert found.taken_at.hour == 8
    assert baseline(values[:1], "creatinine", first_start=start) is None
    dated = read_rows([row(taken_at="2026-02-03", value="9")], "labs.csv", zone=ZoneInfo("UTC"))
    assert baseline(dated, "creatinine", first_start=start) == dated[0]


STEPS = {
    "creatinine": ("62", "106"), "platelets": ("150", "400"), "leukocytes": ("4", "10"), "neutrophils": ("1.8", "7.5"),
    "lymphocytes": ("1", "4"), "haemoglobin": ("120", "160"), "alt": ("5", "45"), "ast": ("5", "40"),
    "alp": ("40", "130"), "ggt": ("5", "60"), "bilirubin": ("3", "21"), "albumin": ("35", "52"),
}  # fmt: skip


@pytest.mark.parametrize("analyte", STEPS)
def test_limits_of_normal_of_another_unit_are_refused_in_either_direction(analyte: str) -> None:
    known = analytes()[analyte]
    lln, uln = map(Decimal, STEPS[analyte])
    plain = row(analyte=analyte, value=str(known.plausible[1]), unit=known.unit)
    assert len(read_rows([plain | {"lln": str(lln), "uln": str(uln)}], "labs.csv")) == 1
    for factor in {f for f in known.factors.values() if f != 1}:
        for scale in (factor, 1 / factor):
            wrong = plain | {"lln": f"{lln * scale:.6f}", "uln": f"{uln * scale:.6f}"}
            with pytest.raises(InputError, match="in another unit than the value"):
                read_rows([wrong], "labs.csv")

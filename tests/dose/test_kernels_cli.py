"""Commands `kernel` and `s-value`: the keys that other programs rely on, and refusals."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from lutetia.cli.kernel import kernel
from lutetia.cli.s_value import s_value
from lutetia.errors import InputError, LutetiaError

app = typer.Typer()
app.command("kernel")(kernel)
app.command("s-value")(s_value)


def answer(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def test_s_value_of_a_sphere_has_value_and_method() -> None:
    found = answer("s-value", "--nuclide", "Y-90", "--sphere-mass-g", "10")
    assert found["Gy_per_MBq_h"] == pytest.approx(0.0455, rel=0.01)
    assert "sphere" in str(found["method"])


def test_s_value_of_an_organ_takes_its_mass() -> None:
    organ = ("s-value", "--nuclide", "Lu-177", "--sex", "male", "--source", "kidneys", "--target", "kidneys")
    reference, lighter = answer(*organ), answer(*organ, "--mass-g", "155")
    assert float(str(lighter["Gy_per_MBq_h"])) == pytest.approx(2 * float(str(reference["Gy_per_MBq_h"])), rel=0.02)


def test_kernel_prints_one_octant_and_where_the_energy_goes() -> None:
    found = answer("kernel", "--nuclide", "177Lu", "--voxel-mm", "4.8", "4.8", "4.8", "--size", "2")
    energy = found["energy_MeV_per_decay"]
    assert isinstance(energy, dict)
    assert isinstance(found["values"], list)
    parts = sum(value for name, value in energy.items() if name != "emitted")
    assert parts == pytest.approx(energy["emitted"], rel=1e-5)
    assert len(found["values"]) == 27
    assert found["unit"] == "Gy/(MBq h)"


def test_tables_for_people_show_the_same_first_value() -> None:
    text = CliRunner().invoke(app, ["kernel", "--nuclide", "Y-90", "--voxel-mm", "4", "4", "4", "--size", "1"]).stdout
    assert "beyond kernel" in text
    assert text.count("0   0   0") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("s-value", "--nuclide", "Y-90"),
        ("s-value", "--nuclide", "Y-90", "--sphere-mass-g", "10", "--sex", "male"),
        ("s-value", "--nuclide", "Y-90", "--sex", "male", "--source", "liver"),
        ("kernel", "--nuclide", "Y-90", "--voxel-mm", "4", "4", "4", "--size", "-1"),
    ],
)
def test_incomplete_questions_are_refused_with_what_to_give(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, InputError)
    assert "give" in str(result.exception) or "expected" in str(result.exception)


@pytest.mark.parametrize("nuclide", ["Lu-999", "nothing"])
def test_unknown_nuclides_are_refused(nuclide: str) -> None:
    result = CliRunner().invoke(app, ["kernel", "--nuclide", nuclide, "--voxel-mm", "4", "4", "4"])
    assert isinstance(result.exception, LutetiaError)
    assert nuclide in str(result.exception)

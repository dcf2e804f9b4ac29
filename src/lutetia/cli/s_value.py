"""`lutetia s-value`: dose per time-integrated activity of a sphere or of an organ of a reference adult."""

from __future__ import annotations

from typing import Annotated

import typer

from lutetia.cli.output import print_json
from lutetia.core.numbers import six_digits
from lutetia.errors import InputError


def s_value(
    nuclide: Annotated[str, typer.Option(help="Nuclide, such as Lu-177 or Y-90.")],
    sphere_mass_g: Annotated[float | None, typer.Option(help="Mass of a sphere, g.", show_default=False)] = None,
    sex: Annotated[str | None, typer.Option(help="Reference adult: female or male.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Region that holds the activity.", show_default=False)] = None,
    target: Annotated[str | None, typer.Option(help="Region that takes the dose.", show_default=False)] = None,
    mass_g: Annotated[
        float | None, typer.Option(help="Mass of the target instead of the reference mass, g.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """S-value in Gy per MBq·h of time-integrated activity, with its method.

    Example: lutetia s-value --nuclide Y-90 --sphere-mass-g 10 --json

    Example: lutetia s-value --nuclide Lu-177 --sex male --source kidneys --target kidneys --mass-g 292
    """
    value, method = _compute(nuclide, sphere_mass_g, (sex, source, target), mass_g)
    if json:
        print_json({"Gy_per_MBq_h": six_digits(value), "method": method})
    else:
        print(f"{value:.5g} Gy/(MBq h)  ({method})")


def _compute(
    nuclide: str, sphere_mass_g: float | None, organ: tuple[str | None, str | None, str | None], mass_g: float | None
) -> tuple[float, str]:
    from lutetia.dose.s_values import organ_s_value, sphere_s_value

    sex, source, target = organ
    if sphere_mass_g is not None:
        if mass_g is not None or any(organ):
            raise InputError("s-value: found a sphere together with an organ; give one of them")
        return float(sphere_s_value(nuclide, sphere_mass_g)), "point kernel in sphere, unit density"
    if sex is None or source is None or target is None:
        raise InputError("s-value: found no sphere and no organ; give --sphere-mass-g, or --sex, --source and --target")
    result = organ_s_value(nuclide, source, target, sex, mass_g)
    return float(result.Gy_per_MBq_h), result.method

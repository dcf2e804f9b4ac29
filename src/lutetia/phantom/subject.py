"""Virtual subjects: organs as ellipsoids with tissue, density and true kinetics.

Masses are near the reference adults of ICRP Publication 89 (kidneys 275 g, liver 1400 g, spleen 130 g in women);
positions, shapes and kinetics are assumptions. To add an organ: one row in `reference_woman`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lutetia.core.draws import stream
from lutetia.core.regions import density_g_per_mL
from lutetia.errors import UnknownNameError
from lutetia.phantom.biology import Biology, biological_rate_per_h, two_phase, washout
from lutetia.phantom.shapes import Ellipsoid, Vector

Sex = Literal["female", "male"]


@dataclass(frozen=True, slots=True)
class Organ:
    """One source region: canonical name, shape, CT number, true biology, and the organ that it lies in, if any."""

    region: str
    shape: Ellipsoid
    hounsfield: float
    biology: Biology
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """The trunk: an elliptical cylinder along z; half-widths at z = 0, and the true biology of the rest of the body."""

    half_width_mm: float
    half_depth_mm: float
    mass_g: float
    remainder: Biology


@dataclass(frozen=True, slots=True)
class Subject:
    """A virtual subject whose activities and doses are known."""

    name: str
    sex: Sex
    age_years: float
    height_cm: float
    weight_kg: float
    hematocrit: float
    body: Body
    organs: tuple[Organ, ...]
    blood_per_mL: Biology

    def organ(self, region: str) -> Organ:
        """The organ of that canonical name."""
        for organ in self.organs:
            if organ.region == region:
                return organ
        raise UnknownNameError("organ of the subject", region, [o.region for o in self.organs])

    def volume_mL(self, region: str) -> float:
        """Volume of an organ without what lies inside it."""
        enclosed = sum(o.shape.volume_mL for o in self.organs if o.inside == region)
        return self.organ(region).shape.volume_mL - enclosed

    def mass_g(self, region: str) -> float:
        """Volume × density of the tissue (`core.regions`)."""
        return self.volume_mL(region) * density_g_per_mL(region)

    def whole_body(self) -> Biology:
        """Sum of all organs and the remainder: fraction of the administered activity in the body."""
        parts = [o.biology for o in self.organs] + [self.body.remainder]
        return Biology(
            tuple(c for p in parts for c in p.coefficient), tuple(r for p in parts for r in p.biological_rate_per_h)
        )


def reference_woman() -> Subject:
    """The packaged subject: organs of a reference woman, three tumours, lumbar spine.

    Expected for 177Lu: kidneys 0.41, liver 0.26, spleen 1.1, marrow (blood method) about 0.015 Gy/GBq.
    """
    organs = (
        Organ("left kidney", Ellipsoid((64.0, 44.0, 14.0), (27.5, 23.5, 50.0)), 35.0, _kidney(0.0088, 53.0)),
        Organ("right kidney", Ellipsoid((-63.0, 44.0, 0.0), (26.5, 23.0, 49.0)), 35.0, _kidney(0.0084, 51.0)),
        Organ("liver", Ellipsoid((-70.0, -22.0, 84.0), (90.0, 59.0, 61.0)), 58.0, _liver(0.048, 66.0)),
        Organ("spleen", Ellipsoid((112.0, 34.0, 88.0), (24.0, 40.0, 36.0)), 50.0, _spleen(0.0210, 67.0)),
        Organ("tumour 1", Ellipsoid((42.0, -38.0, 42.0), (16.0, 15.0, 15.0)), 45.0, _tumour(0.0065, 88.0)),
        Organ("tumour 2", Ellipsoid((-35.0, -25.0, 75.0), (12.0, 12.0, 12.0)), 42.0, _tumour(0.0018, 80.0), "liver"),
        Organ("tumour 3", Ellipsoid((18.0, -40.0, -30.0), (17.0, 14.0, 13.0)), 45.0, _tumour(0.0042, 92.0)),
        *(_vertebra(level) for level in ("L1", "L2", "L3", "L4", "L5")),
    )
    body = Body(172.0, 112.0, 65_000.0, _remainder(organs))
    blood = Biology((8.5e-5, 1.10e-5, 8.0e-7), tuple(biological_rate_per_h(t) for t in (0.75, 5.0, 42.0)))
    return Subject("reference woman", "female", 58.0, 165.0, 68.0, 0.38, body, organs, blood)


def random_subject(seed: int) -> Subject:
    """A subject with varied organ sizes, positions and kinetics, for validation; the same seed gives the same one."""
    base = reference_woman()
    generator = stream(seed, "phantom", "subject")
    organs = tuple(_varied(o, generator) for o in base.organs)
    blood = base.blood_per_mL.scaled(float(np.exp(0.25 * generator.standard_normal())))
    body = replace(base.body, remainder=_remainder(organs))
    return replace(base, name=f"random subject {seed}", organs=organs, blood_per_mL=blood, body=body)


def _varied(organ: Organ, generator: np.random.Generator) -> Organ:
    """Sizes ±6 % an axis (downwards where organs touch), uptake ±30 %, clearance half-life ±20 % (log-sd)."""
    stretch = np.exp(-np.abs(0.06 * generator.standard_normal(3)))
    uptake = float(np.exp(0.3 * generator.standard_normal()))
    slower = float(np.exp(0.2 * generator.standard_normal()))
    axes: Vector = tuple(float(a * s) for a, s in zip(organ.shape.semi_axes_mm, stretch, strict=True))  # type: ignore[assignment]
    rates = tuple(rate / slower for rate in organ.biology.biological_rate_per_h)
    shape = replace(organ.shape, semi_axes_mm=axes)
    return replace(organ, shape=shape, biology=Biology(organ.biology.scaled(uptake).coefficient, rates))


def _kidney(fraction: float, effective_half_life_h: float) -> Biology:
    return washout(fraction, effective_half_life_h, uptake_half_time_h=0.6)


def _liver(fraction: float, effective_half_life_h: float) -> Biology:
    return two_phase(fraction, effective_half_life_h, fast_share=0.12, fast_half_life_h=8.0)


def _spleen(fraction: float, effective_half_life_h: float) -> Biology:
    return washout(fraction, effective_half_life_h, uptake_half_time_h=0.5)


def _tumour(fraction: float, effective_half_life_h: float) -> Biology:
    return washout(fraction, effective_half_life_h, uptake_half_time_h=1.5)


def _vertebra(level: str) -> Organ:
    number = int(level[1])
    shape = Ellipsoid((0.0, 34.0 - 1.5 * abs(number - 3) ** 2, 34.0 * (2 - number)), (25.0, 19.0, 15.0))
    return Organ(f"vertebra {level}", shape, 190.0, two_phase(0.0009, 50.0, fast_share=0.6, fast_half_life_h=6.0))


def _remainder(organs: tuple[Organ, ...]) -> Biology:
    """Rest of the body: at t = 0 everything that is not yet in an organ; mostly excreted within a day."""
    rates = tuple(biological_rate_per_h(t) for t in (2.4, 14.0, 55.0))
    in_organs = sum(c for o in organs for c in o.biology.coefficient)
    return Biology((1.0 - 0.21 - 0.038 - in_organs, 0.21, 0.038), rates)

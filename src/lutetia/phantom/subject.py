"""Virtual subjects: organs as ellipsoids with tissue, density and true kinetics.

Masses are near the reference adults of ICRP Publication 89 (kidneys 275 g, liver 1400 g, spleen 130 g in women);
positions, shapes and kinetics are assumptions. To add an organ: one row in `reference_woman`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lutetia.core.draws import stream
from lutetia.core.regions import density_g_per_mL, is_tumour
from lutetia.errors import UnknownNameError
from lutetia.phantom.biology import Biology, biological_rate_per_h, two_phase, washout
from lutetia.phantom.shapes import Ellipsoid, FloatArray, Vector

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


def second_cycle_of(subject: Subject) -> Subject:
    """The same subject eight weeks later: kidneys clear 3 % slower, tumours take up 12 % less, spleen 5 % less.

    Anatomy and blood stay; the changes are assumptions, so that no dose of the second cycle follows from the first.
    """
    organs = tuple(replace(o, biology=_drifted(o)) for o in subject.organs)
    return replace(subject, organs=organs, body=replace(subject.body, remainder=_remainder(organs)))


def _drifted(organ: Organ) -> Biology:
    if organ.region.endswith("kidney"):
        return organ.biology.slower(1.03)
    if is_tumour(organ.region):
        return organ.biology.scaled(0.88)
    return organ.biology.scaled(0.95) if organ.region == "spleen" else organ.biology


def random_subject(seed: int) -> Subject:
    """A subject with varied organ sizes, positions and kinetics, for validation; the same seed gives the same one."""
    base = reference_woman()
    generator = stream(seed, "phantom", "subject")
    organs = list(base.organs)
    for n, organ in enumerate(base.organs):
        organs[n] = _fitted(_varied(organ, generator), n, organs, base.body)
    blood = base.blood_per_mL.scaled(float(np.exp(0.25 * generator.standard_normal())))
    body = replace(base.body, remainder=_remainder(tuple(organs)))
    return replace(base, name=f"random subject {seed}", organs=tuple(organs), blood_per_mL=blood, body=body)


def _varied(organ: Organ, generator: np.random.Generator) -> Organ:
    """Log-sd of size 6 % (tumours 15 %) in all axes and 3 % in each, of uptake 30 %, of biological clearance 20 %.

    Positions have a standard deviation of 5 mm an axis; vertebrae keep shape and position. All assumptions.
    """
    size, stretch, shift = generator.standard_normal(), generator.standard_normal(3), generator.standard_normal(3)
    uptake = float(np.exp(0.3 * generator.standard_normal()))
    biology = organ.biology.scaled(uptake).slower(float(np.exp(0.2 * generator.standard_normal())))
    if organ.region.startswith("vertebra"):
        return replace(organ, biology=biology)
    factors = np.exp((0.15 if is_tumour(organ.region) else 0.06) * size + 0.03 * stretch)
    axes: Vector = tuple(float(a * f) for a, f in zip(organ.shape.semi_axes_mm, factors, strict=True))  # type: ignore[assignment]
    centre: Vector = tuple(float(c + 5.0 * d) for c, d in zip(organ.shape.centre_mm, shift, strict=True))  # type: ignore[assignment]
    return replace(organ, shape=Ellipsoid(centre, axes), biology=biology)


def _fitted(organ: Organ, place: int, organs: list[Organ], body: Body) -> Organ:
    """The organ with as much of its varied shape as the others and the skin leave room for.

    `organs[place]` is its present shape, which fits: the others are those already varied and those yet to be.
    """
    present, wanted = organs[place].shape, organ.shape
    others = organs[:place] + organs[place + 1 :]
    for share in (1.0, 0.75, 0.5, 0.25):
        shape = present.towards(wanted, share)
        if _has_room(replace(organ, shape=shape), others, body):
            return replace(organ, shape=shape)
    return replace(organ, shape=present)


def _has_room(organ: Organ, others: list[Organ], body: Body) -> bool:
    """Whether it lies within the body, overlaps no other organ, and holds, or lies within, what it should."""
    half_widths = np.array([body.half_width_mm, body.half_depth_mm])
    surface = organ.shape.surface_mm()
    if (np.linalg.norm(surface[:, :2] / half_widths, axis=1) > 0.95).any():
        return False
    return all(_apart(organ, surface, other) for other in others)


def _apart(organ: Organ, surface: FloatArray, other: Organ) -> bool:
    if organ.inside == other.region:
        return bool(other.shape.contains(surface).all())
    theirs = other.shape.surface_mm()
    if other.inside == organ.region:
        return bool(organ.shape.contains(theirs).all())
    return not (other.shape.contains(surface).any() or organ.shape.contains(theirs).any())


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

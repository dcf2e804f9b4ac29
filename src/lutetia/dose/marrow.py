"""Absorbed dose to the red marrow by the blood method and by the image method, side by side.

D = ã_RM · m_RM · S(RM←RM) + Ã_RoB · S(RM←RoB) + Σ_o Ã_o · S(RM←o), with ã_RM the time-integrated activity per gram of
marrow: from blood (`blood`) or from lumbar vertebrae (`image`). The two differ by a factor of 2.5–6 in published
patients; they are never mixed in one sum, and a limit names its method. No BED is defined for marrow.

Not here: blood and whole-body curve fits (`lutetia.kinetics.blood`); constants (`lutetia.dose.marrow_model`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lutetia.core.chain import Doubt, NuclideDose, OrganDose
from lutetia.core.draws import Estimate, FloatArray, combine, exact
from lutetia.dose.marrow_model import (
    MarrowFactors,
    MarrowRatio,
    Sex,
    marrow_model,
    marrow_table,
    red_marrow_to_blood_ratio,
)
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide

BLOOD, IMAGE = "blood", "image"
REGION = "red marrow"
_ORGANS_IN_REMAINDER_TABLE = {"kidneys", "left kidney", "right kidney", "liver", "spleen"}
_TOLERATED_EXCESS = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class MarrowSource:
    """Time-integrated activity of one nuclide in one cycle, as far as the marrow sees it.

    Parameters
    ----------
    concentration_MBq_h_per_mL
        Scalar Estimate, per mL of blood (blood method) or of drawn vertebra, not recovery-corrected (image method).
    whole_body_MBq_h
        From whole-body measurements only, never from the activity in a field of view; None if not measured.
    organs_MBq_h
        By canonical region; kidneys either as the pair or as single kidneys.
    """

    nuclide: str
    basis: str
    administered_MBq: float
    concentration_MBq_h_per_mL: Estimate
    whole_body_MBq_h: Estimate | None = None
    organs_MBq_h: Mapping[str, Estimate] = field(default_factory=dict)
    model: str = ""
    effective_half_life_h: float | None = None
    extrapolated_fraction: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MarrowDose:
    """Marrow dose of one cycle by one method.

    `dose` holds what was measured or predicted. Where the whole body was not measured it lacks the remainder and is too
    low; `upper` then holds the same dose with the largest possible remainder. A check that must never be too low uses
    `for_limit`; one that uses `dose` has to forbid an increase of the activity.
    `terms_Gy` gives each contribution by nuclide: "self", "remainder", and organs by name.
    """

    dose: OrganDose
    upper: OrganDose | None
    terms_Gy: Mapping[str, Mapping[str, Estimate]]

    @property
    def for_limit(self) -> OrganDose:
        """The dose that is never too low: the upper bound where the remainder is not known."""
        return self.dose if self.upper is None else self.upper


def marrow_concentration_from_blood(blood_MBq_h_per_mL: ArrayLike, ratio: ArrayLike) -> FloatArray:
    """ã_RM = RMBLR · C̃_blood / ρ_blood, MBq·h per gram of marrow; C̃ per mL, ρ_blood = 1.06 g/mL."""
    density = float(marrow_table()["blood"]["density_g_per_mL"])
    blood = np.asarray(blood_MBq_h_per_mL, dtype=np.float64)
    return np.asarray(blood * np.asarray(ratio, dtype=np.float64) / density)


def marrow_concentration_from_vertebrae(
    vertebra_MBq_h_per_mL: ArrayLike, recovery: ArrayLike, marrow_g_per_mL: ArrayLike
) -> FloatArray:
    """ã_RM = C̃_vertebra / (recovery · grams of marrow per mL of vertebra), MBq·h per gram of marrow."""
    vertebra = np.asarray(vertebra_MBq_h_per_mL, dtype=np.float64)
    marrow = np.asarray(recovery, dtype=np.float64) * np.asarray(marrow_g_per_mL, dtype=np.float64)
    return np.asarray(vertebra / marrow)


def whole_body_bound_MBq_h(administered_MBq: ArrayLike, nuclide_name: str) -> FloatArray:
    """Largest possible time-integrated activity of the body, A_administered / λ_physical: nothing is excreted."""
    return np.asarray(np.asarray(administered_MBq, dtype=np.float64) / nuclide(nuclide_name).decay_constant_per_h)


def remainder_MBq_h(whole_body_MBq_h: ArrayLike, *parts_MBq_h: ArrayLike) -> FloatArray:
    """Ã_RoB = Ã_WB − Σ Ã_o − Ã_RM, not below zero; shapes broadcast."""
    total = np.asarray(whole_body_MBq_h, dtype=np.float64)
    return np.asarray(np.maximum(total - sum(np.asarray(p, dtype=np.float64) for p in parts_MBq_h), 0.0))


def blood_method(
    sources: Sequence[MarrowSource],
    sex: Sex,
    factors: MarrowFactors,
    *,
    ratio: MarrowRatio | None = None,
    cross_Gy_per_MBq_h: Mapping[str, Mapping[str, float]] | None = None,
    body_mass_g: float | None = None,
) -> MarrowDose:
    """Red-marrow dose with the marrow's activity taken from blood.

    Parameters
    ----------
    sources
        One for each nuclide of the cycle, concentration per mL of blood.
    sex
        Selects the S-value phantom.
    factors
        Shared uncertainty factors of the subject (`marrow_factors`).
    ratio
        From `red_marrow_to_blood_ratio`; 1 if not given.
    cross_Gy_per_MBq_h
        S(RM←organ) by nuclide, then organ. An organ without one stays in the remainder.
    body_mass_g
        Scales S(RM←remainder); see `marrow_model`.
    """
    chosen = ratio or red_marrow_to_blood_ratio()

    def per_gram_of(blood: FloatArray, factor: FloatArray) -> FloatArray:
        return marrow_concentration_from_blood(blood, chosen.value * factor)

    per_gram = [combine(per_gram_of, source.concentration_MBq_h_per_mL, factors.ratio) for source in sources]
    label = f"blood ({chosen.name})"
    return _assemble(BLOOD, label, sources, per_gram, sex, factors, cross_Gy_per_MBq_h or {}, body_mass_g)


def image_method(
    sources: Sequence[MarrowSource],
    sex: Sex,
    factors: MarrowFactors,
    *,
    recovery: float | None = None,
    marrow_g_per_mL: float | None = None,
    cross_Gy_per_MBq_h: Mapping[str, Mapping[str, float]] | None = None,
    body_mass_g: float | None = None,
) -> MarrowDose:
    """Red-marrow dose with the marrow's activity taken from drawn lumbar vertebrae (L2–L4).

    Parameters are those of `blood_method`, and `recovery` (default 0.78; give 1 if the images are already corrected)
    and `marrow_g_per_mL` (default 0.60, an assumption) of `marrow_concentration_from_vertebrae`.
    """
    table = marrow_table()["image"]
    rc = _positive("vertebral recovery", table["recovery"] if recovery is None else recovery)
    fraction = _positive("marrow per mL", table["marrow_g_per_mL"] if marrow_g_per_mL is None else marrow_g_per_mL)

    def per_gram_of(vertebra: FloatArray, of_recovery: FloatArray, of_density: FloatArray) -> FloatArray:
        return marrow_concentration_from_vertebrae(vertebra, rc * of_recovery, fraction * of_density)

    per_gram = [
        combine(per_gram_of, source.concentration_MBq_h_per_mL, factors.recovery, factors.marrow_density)
        for source in sources
    ]
    label = f"image (vertebrae, recovery {rc:g}, {fraction:g} g marrow per mL)"
    return _assemble(IMAGE, label, sources, per_gram, sex, factors, cross_Gy_per_MBq_h or {}, body_mass_g)


def compare_methods(blood: OrganDose, image: OrganDose) -> tuple[float, Doubt]:
    """Ratio image/blood of the dose values, and a note that sets it beside the published pairs.

    Raises
    ------
    PhysicsError
        If the two are not one blood and one image dose, or the blood dose is not positive.
    """
    if (blood.method, image.method) != (BLOOD, IMAGE) or not blood.absorbed_dose_Gy.value > 0:
        raise PhysicsError(
            f"marrow methods: found {blood.method!r} and {image.method!r}; expected blood (dose > 0), then image"
        )
    ratio = float(image.absorbed_dose_Gy.value / blood.absorbed_dose_Gy.value)
    pair = marrow_table()["published_pair"]
    published = np.divide(pair["vertebrae_Gy_per_GBq"], pair["blood_Gy_per_GBq"])
    low, middle, high = published.min(), float(np.median(published)), published.max()
    severity: Literal["note", "warning"] = "note" if low <= ratio <= high else "warning"
    text = (
        f"the image method gives {ratio:.1f} × the blood method "
        f"(published patients: median {middle:.1f}, range {low:.1f}–{high:.1f}); the two are not interchangeable"
    )
    return ratio, Doubt("marrow-methods-differ", text, REGION, severity)


def _assemble(
    method: str,
    label: str,
    sources: Sequence[MarrowSource],
    per_gram: Sequence[Estimate],
    sex: Sex,
    factors: MarrowFactors,
    cross: Mapping[str, Mapping[str, float]],
    body_mass_g: float | None,
) -> MarrowDose:
    """All terms of all nuclides, as a value without and, where needed, a bound with the unknown remainder."""
    if not sources:
        raise PhysicsError("red marrow: found no nuclide; expected at least one")
    parts = [
        _nuclide_terms(source, gram, sex, factors, cross.get(source.nuclide, {}), body_mass_g)
        for source, gram in zip(sources, per_gram, strict=True)
    ]
    doubts = tuple(dict.fromkeys(d for part in parts for d in part.doubts))
    known = _organ_dose(method, label, sources, [part.known for part in parts], parts, doubts)
    upper = None
    if any(part.bound is not None for part in parts):
        filled = [part.known if part.bound is None else part.known | {"remainder": part.bound} for part in parts]
        upper = _organ_dose(method, f"{label}, upper bound", sources, filled, parts, doubts)
        warning = _bound_doubt(known.absorbed_dose_Gy, upper.absorbed_dose_Gy)
        known, upper = _with_doubt(known, warning), _with_doubt(upper, warning)
    return MarrowDose(known, upper, {s.nuclide: p.known for s, p in zip(sources, parts, strict=True)})


@dataclass(frozen=True, slots=True, eq=False)
class _Terms:
    known: dict[str, Estimate]
    bound: Estimate | None
    note: str
    doubts: tuple[Doubt, ...]


def _nuclide_terms(
    source: MarrowSource,
    per_gram: Estimate,
    sex: Sex,
    factors: MarrowFactors,
    cross: Mapping[str, float],
    body_mass_g: float | None,
) -> _Terms:
    """Dose contributions of one nuclide; organs without S(RM←organ) stay in the remainder."""
    _refuse_double_kidneys(source.organs_MBq_h)
    apart = {o: activity for o, activity in source.organs_MBq_h.items() if o in cross}
    model = marrow_model(
        source.nuclide, sex, organs_removed=bool(_ORGANS_IN_REMAINDER_TABLE & set(apart)), body_mass_g=body_mass_g
    )
    own = _scaled(per_gram, model.marrow_mass_g)
    known = {"self": _dose(own, model.self_Gy_per_MBq_h, factors)}
    known |= {organ: _dose(activity, cross[organ], factors) for organ, activity in apart.items()}
    doubts = [
        Doubt("marrow-organ-in-remainder", f"no S-value red marrow ← {organ}: counted in the remainder", REGION, "note")
        for organ in source.organs_MBq_h
        if organ not in cross
    ]
    if model.nuclide == "Y-90":
        doubts.append(Doubt("marrow-remainder-model", f"{model.nuclide}: {model.remainder_note}", REGION, "note"))
    bound_MBq_h = whole_body_bound_MBq_h(source.administered_MBq, source.nuclide)
    if source.whole_body_MBq_h is None:
        body = exact(bound_MBq_h, len(per_gram.draws))
        rest = combine(remainder_MBq_h, body, own, *apart.values())
        return _Terms(known, _dose(rest, model.remainder_Gy_per_MBq_h, factors), model.remainder_note, tuple(doubts))
    rest = combine(remainder_MBq_h, source.whole_body_MBq_h, own, *apart.values())
    known["remainder"] = _dose(rest, model.remainder_Gy_per_MBq_h, factors)
    doubts += _whole_body_doubts(source, float(rest.value), float(bound_MBq_h))
    return _Terms(known, None, model.remainder_note, tuple(doubts))


def _whole_body_doubts(source: MarrowSource, remainder: float, bound: float) -> list[Doubt]:
    found: list[Doubt] = []
    assert source.whole_body_MBq_h is not None
    whole = float(source.whole_body_MBq_h.value)
    if whole > bound * (1.0 + _TOLERATED_EXCESS):
        text = (
            f"{source.nuclide}: the whole-body curve holds {whole:.4g} MBq·h, more than physical decay of the "
            f"administered activity allows ({bound:.4g} MBq·h); check the whole-body measurements"
        )
        found.append(Doubt("whole-body-above-administered", text, REGION, "first-line"))
    if remainder <= 0.0:
        text = (
            f"{source.nuclide}: the organs hold more activity than the whole-body curve, so the remainder is taken as "
            "zero; check the whole-body measurements"
        )
        found.append(Doubt("whole-body-below-organs", text, REGION, "first-line"))
    return found


def _organ_dose(
    method: str,
    label: str,
    sources: Sequence[MarrowSource],
    terms: Sequence[Mapping[str, Estimate]],
    parts: Sequence[_Terms],
    doubts: tuple[Doubt, ...],
) -> OrganDose:
    """The record of one method: doses of each nuclide and their sum."""
    doses = tuple(
        NuclideDose(
            nuclide=source.nuclide,
            basis=source.basis,
            model=source.model,
            absorbed_dose_Gy=_sum(term.values()),
            administered_MBq=source.administered_MBq,
            effective_half_life_h=source.effective_half_life_h,
            extrapolated_fraction=source.extrapolated_fraction,
            method=_method_text(label, term, part),
        )
        for source, term, part in zip(sources, terms, parts, strict=True)
    )
    return OrganDose(REGION, method, doses, _sum(d.absorbed_dose_Gy for d in doses), doubts=doubts)


def _method_text(label: str, term: Mapping[str, Estimate], part: _Terms) -> str:
    organs = [name for name in term if name not in ("self", "remainder")]
    added = ["self", *(["organs " + ", ".join(organs)] if organs else [])]
    if "remainder" not in term:
        return f"{label}: {' + '.join(added)}; remainder of body not measured, not included"
    kind = "remainder from whole body" if part.bound is None else "remainder bound (administered, no excretion)"
    return f"{label}: {' + '.join([*added, kind])}; {part.note}"


def _bound_doubt(known: Estimate, upper: Estimate) -> Doubt:
    low, high = float(known.value), float(upper.value)
    text = (
        f"whole body not measured: the marrow dose is {low:.3g} Gy without the remainder of the body, and at most "
        f"{high:.3g} Gy with it (nothing excreted, all activity outside the organs); whole-body measurements decide"
    )
    return Doubt("marrow-remainder-bound", text, REGION, "first-line")


def _refuse_double_kidneys(organs: Mapping[str, Estimate]) -> None:
    if "kidneys" in organs and {"left kidney", "right kidney"} & set(organs):
        raise PhysicsError("red marrow: found the kidney pair and a single kidney as sources; give one or the other")


def _dose(activity_MBq_h: Estimate, s_Gy_per_MBq_h: float, factors: MarrowFactors) -> Estimate:
    return combine(lambda a, f: np.asarray(a * s_Gy_per_MBq_h * f), activity_MBq_h, factors.s_value)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.draws * factor)


def _sum(estimates: Iterable[Estimate]) -> Estimate:
    items = list(estimates)
    return combine(lambda *arrays: np.asarray(sum(arrays)), *items)


def _with_doubt(dose: OrganDose, doubt: Doubt) -> OrganDose:
    return replace(dose, doubts=(*dose.doubts, doubt))


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise PhysicsError(f"{name}: found {value}; expected a value > 0")
    return float(value)

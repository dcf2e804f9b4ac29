"""True absorbed doses of a virtual subject, computed without `lutetia.dose`: an independent check of it.

Self-dose of electrons: the share that leaves a convex body follows from the mean overlap of the body with itself,
shifted by r: γ(r) = ⟨1 − ¾ s r + (s r)³/16⟩ over directions, s = |(u_x/a, u_y/b, u_z/c)| for an ellipsoid, averaged
over the dose-point kernel, of which only the moments ⟨r⟩ and ⟨r³⟩ enter. Photons: rays from sampled points with a
point kernel of Berger build-up whose integral over infinite water is one. Errors of the photon part are some per
cent of a contribution of one to four per cent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import stream
from lutetia.nuclear.nuclides import nuclide
from lutetia.phantom.shapes import Ellipsoid
from lutetia.phantom.subject import Subject

FloatArray = NDArray[np.float64]
GY_G_PER_MEV = 1.602176634e-10
DECAYS_PER_MBQ_H = 3.6e9
RAYS = 20_000

# ⟨r⟩ in mm and ⟨r³⟩ in mm³ of the electron dose-point kernel in soft tissue. 90Y: moments of the voxel S values of
# Lanconelli et al. 2012 (Phys Med Biol 57:517), own evaluation. 177Lu: their 2.21 mm table less its photon part, own
# evaluation, rounded (assumption; it matters at 0.1 % of a kidney's dose).
ELECTRON_MOMENTS: dict[str, tuple[float, float]] = {"Lu-177": (0.28, 0.1), "Y-90": (2.60, 50.0)}


@dataclass(frozen=True, slots=True)
class PhotonLine:
    """Energy per decay and the water coefficients at that energy, per mm."""

    energy_MeV_per_decay: float
    attenuation_per_mm: float
    absorption_per_mm: float


# 177Lu: 208 keV 11.0 %, 113 keV 6.4 %, K x rays near 57 keV 5.5 % (ICRP 107); water μ and μ_en interpolated in the
# NIST tables of mass attenuation coefficients. 90Y has no photon line that matters; bremsstrahlung is left out.
PHOTONS: dict[str, tuple[PhotonLine, ...]] = {
    "Lu-177": (
        PhotonLine(0.2084 * 0.110 + 0.0018, 0.01355, 0.00298),
        PhotonLine(0.1130 * 0.064, 0.01654, 0.00262),
        PhotonLine(0.0032, 0.02110, 0.00345),
    ),
    "Y-90": (),
}
BUILD_UP_D = 0.35  # assumption: Berger's D; C follows from conservation of energy


@dataclass(frozen=True, slots=True)
class TrueDose:
    """Absorbed dose of one region from one nuclide: by itself, by other regions, and the sum."""

    region: str
    nuclide: str
    mass_g: float
    time_integrated_activity_MBq_h: float
    self_Gy: float
    cross_Gy: float

    @property
    def absorbed_dose_Gy(self) -> float:
        """Self-dose plus cross-dose."""
        return self.self_Gy + self.cross_Gy


def electron_self_fraction(shape: Ellipsoid, nuclide_name: str) -> float:
    """Share of the electron energy of a uniformly filled ellipsoid that stays in it: 1 − ¾⟨s⟩⟨r⟩ + ⟨s³⟩⟨r³⟩/16."""
    first, third = ELECTRON_MOMENTS[nuclide_name]
    s = np.linalg.norm(_directions() / np.asarray(shape.semi_axes_mm), axis=1)
    return float(1.0 - 0.75 * s.mean() * first + (s**3).mean() * third / 16.0)


def photon_fraction(source: Ellipsoid, target: Ellipsoid, line: PhotonLine) -> float:
    """Share of a line's energy, emitted in the source, that is absorbed in the target (all water-like)."""
    start = np.asarray(source.centre_mm) + _ball() * np.asarray(source.semi_axes_mm)
    axes = np.asarray(target.semi_axes_mm)
    p, d = (start - np.asarray(target.centre_mm)) / axes, _directions() / axes
    a, b, c = (d * d).sum(1), (p * d).sum(1), (p * p).sum(1) - 1.0
    root = np.sqrt(np.clip(b * b - a * c, 0.0, None))
    enter, leave = np.clip((-b - root) / a, 0.0, None), np.clip((-b + root) / a, 0.0, None)
    return float((absorbed_within(leave, line) - absorbed_within(enter, line)).mean())


def build_up_c(line: PhotonLine) -> float:
    """Berger's C, such that all energy is absorbed in infinite water: (μ/μ_en − 1)(1 − D)²."""
    return (line.attenuation_per_mm / line.absorption_per_mm - 1.0) * (1.0 - BUILD_UP_D) ** 2


def absorbed_within(r_mm: FloatArray, line: PhotonLine) -> FloatArray:
    """Share absorbed up to r: ∫₀^r μ_en e^{−μ r'} (1 + C μ r' e^{D μ r'}) dr', which tends to 1."""
    d, x = 1.0 - BUILD_UP_D, line.attenuation_per_mm * r_mm
    direct = 1.0 - np.exp(-x)
    scattered = build_up_c(line) * (1.0 - np.exp(-d * x) * (1.0 + d * x)) / (d * d)
    return np.asarray(line.absorption_per_mm / line.attenuation_per_mm * (direct + scattered))


def true_doses(subject: Subject, nuclide_name: str, administered_MBq: float) -> list[TrueDose]:
    """Absorbed dose of every organ from all organs and the rest of the body.

    D(t) = Σ_s Ã_s · Σ_radiation E · φ(t←s) / m_t.  An organ that lies inside another gives the electrons that leave
    it to the outer one, and receives from it by reciprocity (m φ symmetric); elsewhere electrons do not cross.
    """
    energy = _energy_matrix_MeV(subject, nuclide_name)
    rows = []
    for t, organ in enumerate(subject.organs):
        mass = subject.mass_g(organ.region)
        gray = [
            e * o.biology.time_integrated_activity_MBq_h(nuclide_name, administered_MBq) * _gray_per_MeV(mass)
            for e, o in zip(energy[t, :-1], subject.organs, strict=True)
        ]
        rest = subject.body.remainder.time_integrated_activity_MBq_h(nuclide_name, administered_MBq)
        other = sum(g for s, g in enumerate(gray) if s != t) + rest * energy[t, -1] * _gray_per_MeV(mass)
        own = organ.biology.time_integrated_activity_MBq_h(nuclide_name, administered_MBq)
        rows.append(TrueDose(organ.region, nuclide_name, mass, own, gray[t], other))
    return rows


def _gray_per_MeV(mass_g: float) -> float:
    return DECAYS_PER_MBQ_H * GY_G_PER_MEV / mass_g


@lru_cache(maxsize=8)
def _energy_matrix_MeV(subject: Subject, nuclide_name: str) -> FloatArray:
    """Energy absorbed in organ t per decay in source s, shape (organ, organ + 1); the last source is the remainder."""
    energy = _photon_matrix_MeV(subject, nuclide_name)
    energy[:, :-1] += nuclide(nuclide_name).electron_MeV * _electron_matrix(subject, nuclide_name)
    energy.setflags(write=False)
    return energy


def _electron_matrix(subject: Subject, nuclide_name: str) -> FloatArray:
    """Electron absorbed fractions φ(t←s), shape (organ, organ): self, and between an organ and what lies in it."""
    phi = np.diag([electron_self_fraction(o.shape, nuclide_name) for o in subject.organs])
    names = [o.region for o in subject.organs]
    for s, organ in enumerate(subject.organs):
        if organ.inside is None:
            continue
        outer, leak = names.index(organ.inside), 1.0 - phi[s, s]
        phi[outer, s] = leak
        phi[s, outer] = leak * organ.shape.volume_mL / subject.volume_mL(organ.inside)
    for t, organ in enumerate(subject.organs):
        inner = [o for o in subject.organs if o.inside == organ.region]
        if inner:  # energy balance of the filled ellipsoid: V φ = own·φ_own + Σ (2·v·leak + v·φ_v)
            lost = sum(o.shape.volume_mL * (2.0 - phi[names.index(o.region), names.index(o.region)]) for o in inner)
            phi[t, t] = (organ.shape.volume_mL * phi[t, t] - lost) / subject.volume_mL(organ.region)
    return np.asarray(phi)


def _photon_matrix_MeV(subject: Subject, nuclide_name: str) -> FloatArray:
    """Photon energy absorbed per decay, shape (organ, organ + 1), with reciprocity from the smaller of two bodies."""
    n = len(subject.organs)
    energy = np.zeros((n, n + 1))
    shapes, body = [o.shape for o in subject.organs], _body_shape(subject)
    volume = np.array([s.volume_mL for s in shapes])
    for line in PHOTONS[nuclide_name]:
        exchange = np.zeros((n, n))  # volume × fraction, symmetric
        for small, large in combinations_with_replacement(np.argsort(volume, kind="stable"), 2):
            value = photon_fraction(shapes[small], shapes[large], line) * volume[small]
            exchange[small, large] = exchange[large, small] = value
        whole = np.array([photon_fraction(s, body, line) for s in shapes])
        hollow = _hollowed(subject, exchange)
        own = np.array([subject.volume_mL(o.region) for o in subject.organs])
        rest_mL = subject.body.mass_g / 1.04
        remainder = np.clip(whole - hollow.sum(axis=0), 0.0, None) * own / rest_mL
        energy += line.energy_MeV_per_decay * np.column_stack([hollow, remainder])
    return energy


def _hollowed(subject: Subject, exchange: FloatArray) -> FloatArray:
    """Absorbed fractions between organs without their inclusions, from the symmetric V φ of the full ellipsoids.

    Taking body i out of body o subtracts row and column i from row and column o.
    """
    exchange, names = exchange.copy(), [o.region for o in subject.organs]
    for i, organ in enumerate(subject.organs):
        if organ.inside is not None:
            o = names.index(organ.inside)
            exchange[o, :] -= exchange[i, :]
            exchange[:, o] -= exchange[:, i]
    own = np.array([subject.volume_mL(o.region) for o in subject.organs])
    return np.asarray(exchange / own[None, :])


def _body_shape(subject: Subject) -> Ellipsoid:
    return Ellipsoid((0.0, 0.0, 60.0), (subject.body.half_width_mm, subject.body.half_depth_mm, 450.0))


@cache
def _directions() -> FloatArray:
    """Isotropic unit vectors, shape (ray, 3)."""
    vectors = stream(1, "truth", "directions").standard_normal((RAYS // 2, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.concatenate([vectors, -vectors])


@cache
def _ball() -> FloatArray:
    """Points uniform in the unit ball, shape (ray, 3)."""
    generator = stream(1, "truth", "points")
    vectors = generator.standard_normal((RAYS, 3))
    radius = generator.uniform(0.0, 1.0, RAYS) ** (1.0 / 3.0)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * radius[:, None])


# Red marrow to itself, and to it from the rest of the body without red marrow, kidneys, liver and spleen, mGy/(MBq s),
# reference phantoms of OLINDA 2.2 with masses of ICRP 89. The 90Y remainder term assumes activity on bone.
MARROW_S: dict[tuple[str, str], tuple[float, float]] = {
    ("Lu-177", "female"): (1.49e-5, 1.0825e-7),
    ("Lu-177", "male"): (1.15e-5, 9.3079e-8),
    ("Y-90", "female"): (7.30e-5, 6.6498e-7),
    ("Y-90", "male"): (5.61e-5, 5.7802e-7),
}
# 177Lu photons of organs to red marrow, mGy/(MBq s): Monte Carlo in the voxel adults of ICRP 110 (OpenDose) to the
# spongiosa of each bone, weighted with its share of marrow (ICRP 70). Bremsstrahlung of 90Y is left out (below 1 %).
MARROW_FROM_ORGAN: dict[str, dict[str, float]] = {
    "female": {"kidney": 7.11e-08, "liver": 7.14e-08, "spleen": 6.43e-08},
    "male": {"kidney": 5.47e-08, "liver": 4.99e-08, "spleen": 5.36e-08},
}
MARROW_MASS_G = {"female": 900.0, "male": 1170.0}
BLOOD_DENSITY_G_PER_ML = 1.06
GY_PER_MBQ_H = 3.6  # mGy/(MBq s) → Gy/(MBq h)


def true_marrow_dose(subject: Subject, nuclide_name: str, administered_MBq: float) -> TrueDose:
    """Red marrow dose by the definition of the blood method, with the true curves and a marrow-to-blood ratio of 1.

    D = (C̃_blood/ρ) m_RM S(RM←RM) + Σ Ã_organ S(RM←organ) + (Ã_whole body − Σ Ã_organ − Ã_RM) S(RM←rest); a convention,
    not a transport calculation.
    """
    own_s, rest_s = (GY_PER_MBQ_H * s for s in MARROW_S[nuclide_name, subject.sex])
    mass = MARROW_MASS_G[subject.sex]
    blood = subject.blood_per_mL.time_integrated_activity_MBq_h(nuclide_name, administered_MBq)
    marrow = blood / BLOOD_DENSITY_G_PER_ML * mass
    whole = subject.whole_body().time_integrated_activity_MBq_h(nuclide_name, administered_MBq)
    table = MARROW_FROM_ORGAN[subject.sex]
    held = {
        kind: sum(
            organ.biology.time_integrated_activity_MBq_h(nuclide_name, administered_MBq)
            for organ in subject.organs
            if organ.region.split()[-1] == kind
        )
        for kind in table
    }
    photons = sum(held[kind] * GY_PER_MBQ_H * s for kind, s in table.items()) if nuclide_name == "Lu-177" else 0.0
    others = photons + (whole - marrow - sum(held.values())) * rest_s
    return TrueDose("red marrow", nuclide_name, mass, marrow, marrow * own_s, others)


def kidney_pair(doses: list[TrueDose]) -> TrueDose:
    """The pair of kidneys: energies and masses of the two added."""
    both = [d for d in doses if d.region in ("left kidney", "right kidney")]
    mass = sum(d.mass_g for d in both)
    return TrueDose(
        "kidneys",
        both[0].nuclide,
        mass,
        sum(d.time_integrated_activity_MBq_h for d in both),
        sum(d.self_Gy * d.mass_g for d in both) / mass,
        sum(d.cross_Gy * d.mass_g for d in both) / mass,
    )

"""Builds ``src/lutetia/nuclear/data/nuclides.toml`` from ICRP Publication 107 (as carried by ``icrp107-database``).

Lines that carry little energy are merged into groups that keep the number and the energy of the emissions, so that the
file holds what dosimetry needs and not the publication's tables. Beta endpoints: end of the ICRP-107 spectrum less the
level fed (branches below 0.1 %: from their mean energy).

Run in an environment with the package's extra ``nuclides``::

    python builders/build_nuclides.py > src/lutetia/nuclear/data/nuclides.toml
"""

from __future__ import annotations

import math

from lutetia.nuclear.icrp107 import read_icrp107

U1 = "unique first-forbidden"
# endpoint keV, emissions per decay, charge of the daughter (negative: positron), shape
BETAS: dict[str, list[tuple[float, float, int, str]]] = {
    "Lu-177": [
        (176.5, 0.122057, 72, ""),
        (248.1, 0.000530249, 72, ""),
        (384.85, 0.0910428, 72, ""),
        (497.8, 0.78637, 72, ""),
    ],
    "Y-90": [(93.9, 1.4e-8, 40, ""), (519.4, 0.000115, 40, U1), (2280.1, 0.999885, 40, U1)],
    "Ga-68": [(243.2, 2.58003e-6, -30, ""), (821.8, 0.0119001, -30, ""), (1899.1, 0.877209, -30, "")],
    "Cu-64": [(578.7, 0.39, 30, ""), (653.1, 0.174083, -28, "")],
    "In-111": [],
    "I-131": [
        (247.9, 0.0209057, 54, ""),
        (303.9, 0.00648077, 54, ""),
        (333.8, 0.0723736, 54, ""),
        (606.3, 0.894964, 54, ""),
        (629.7, 0.000497755, 54, ""),
        (806.87, 0.00477845, 54, U1),
    ],
    "Tb-161": [
        (42.9, 0.000634393, 66, ""),
        (141.7, 9.91239e-5, 66, ""),
        (174.9, 0.0003281, 66, ""),
        (226.1, 0.000644306, 66, ""),
        (420.4, 0.000115975, 66, ""),
        (461.3, 0.254749, 66, ""),
        (518.5, 0.644306, 66, ""),
        (567.45, 0.049562, 66, ""),
        (593.1, 0.049562, 66, ""),
    ],
}
HEADER = """# Nuclear decay data of the first-class nuclides, one table each. The one home of these constants.
# source: ICRP Publication 107 (2008), Ann. ICRP 38(3); per decay, parent only. Rebuilt by builders/build_nuclides.py.
# licence: numerical facts; weak lines are merged into groups, no table of the publication is reproduced.
# betas: [endpoint keV, per decay, charge of the daughter (negative: positron), shape]; lines: [keV, per decay]
schema = "lutetia.nuclides/2"
"""


def grouped(lines: tuple[tuple[float, float], ...], share: float) -> list[tuple[float, float]]:
    """Lines that carry more than `share` of the energy, and groups (factors of 2 in energy) of all others."""
    total = sum(e * n for e, n in lines)
    strong = [(e, n) for e, n in lines if e * n > share * total]
    groups: dict[int, list[tuple[float, float]]] = {}
    for e, n in lines:
        if e * n <= share * total:
            groups.setdefault(math.floor(math.log2(e)), []).append((e, n))
    merged = [(sum(e * n for e, n in g) / sum(n for _, n in g), sum(n for _, n in g)) for g in groups.values()]
    return sorted(strong + [m for m in merged if m[0] * m[1] > 1e-6 * total])


def rows(lines: list[tuple[float, float]]) -> str:
    return "[" + ", ".join(f"[{e * 1e3:.6g}, {n:.5g}]" for e, n in lines) + "]"


def main() -> None:
    """Print the file."""
    print(HEADER, end="")
    for name, betas in BETAS.items():
        data = read_icrp107(name)
        print(f"\n[{name}]\nhalf_life_h = {data.half_life_h:.6g}")
        print(f"electron_keV = {data.electron_MeV * 1e3:.6g}\nphoton_keV = {data.photon_MeV * 1e3:.6g}")
        print(f"beta_keV = {data.beta_MeV * 1e3:.6g}\nmass_number = {data.mass_number}")
        text = ", ".join(f'[{q:g}, {n:g}, {z}, "{shape or "allowed"}"]' for q, n, z, shape in betas)
        print(f"betas = [{text}]")
        print(f"electrons = {rows(grouped(data.electrons, 0.004))}\nphotons = {rows(grouped(data.photons, 0.002))}")


if __name__ == "__main__":
    main()

"""Builds ``src/lutetia/dose/data/organ_shapes.csv``: self-overlap of stylised organs, by sampling.

Equations of the adult of MIRD Pamphlet No. 5 Revised (W. S. Snyder, M. R. Ford, G. G. Warner, 1978), cm. For each
distance: points drawn uniformly in the organ are moved by that distance in random directions; the share that stays
inside is the self-overlap.

    python builders/build_organ_shapes.py > src/lutetia/dose/data/organ_shapes.csv
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lutetia.dose.stylised import ORGANS

SAMPLES = 400_000
U = np.concatenate([np.linspace(0.0, 1.0, 41), np.linspace(1.0, 6.0, 51)[1:]])


def overlap(organ: str, random: np.random.Generator) -> NDArray[np.float64]:
    """γ on the grid `U`."""
    body = ORGANS[organ]
    points = body.sample(SAMPLES, random)
    a = (3 * body.volume_mL / (4 * np.pi)) ** (1 / 3)
    cosine, phi = random.uniform(-1, 1, len(points)), random.uniform(0, 2 * np.pi, len(points))
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    return np.array([body.contains(points + u * a * direction).mean() for u in U])


def main() -> None:
    """Print the table."""
    names = {"kidney": "left kidney", "liver": "liver", "spleen": "spleen"}
    print("# source: sampled from the organ equations of MIRD Pamphlet No. 5 Revised (1978); Apache-2.0")
    print("# builder: builders/build_organ_shapes.py")
    print("# u: distance / radius of the sphere of equal volume; columns: chance that both ends are inside")
    print(",".join(["u", *names]))
    columns = [overlap(organ, np.random.default_rng(5)) for organ in names.values()]
    for u, *values in zip(U, *columns, strict=True):
        print(",".join([f"{u:.4g}", *(f"{v:.5f}" for v in values)]))


if __name__ == "__main__":
    main()

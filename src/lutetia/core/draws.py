"""Named random streams and quantities that carry draws of their uncertainty.

What is shared is drawn from one named stream: `stream(seed, subject, "calibration")` gives the same numbers to every
scan, organ and nuclide, so that shared errors stay correlated to the end of the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Random generator that depends on the seed and on the names only, never on the order of calls."""
    text = "\x1f".join([str(int(seed)), *(str(n) for n in names)])
    key = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence([int(k) for k in key]))


def normals(generator: np.random.Generator, size: int | tuple[int, ...]) -> FloatArray:
    """Stratified standard normal draws: along the first axis every value is one of the mid-quantiles, shuffled.

    The sample median is 0 and the sample spread is that of the distribution whatever the seed, so that a median or a
    tail probability over 1,000 draws carries far less noise than with independent draws. `size` is (draw, ...).
    """
    shape = (size,) if isinstance(size, int) else size
    scores = np.broadcast_to(_mid_quantiles(shape[0]).reshape(-1, *[1] * (len(shape) - 1)), shape)
    return generator.permuted(scores, axis=0)


@lru_cache(maxsize=16)
def _mid_quantiles(count: int) -> FloatArray:
    """Standard normal quantiles of (i + ½)/count, shape (count,)."""
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count)], dtype=np.float64)
    scores.setflags(write=False)
    return scores


def lognormal_factors(
    generator: np.random.Generator, relative_sd: ArrayLike, size: int | tuple[int, ...]
) -> FloatArray:
    """Positive factors with median 1 and the given relative standard deviation, shape `size` = (draw, ...)."""
    cv = np.asarray(relative_sd, dtype=np.float64)
    if not (np.isfinite(cv).all() and (cv >= 0).all()):
        raise PhysicsError(f"relative standard deviation: found {cv.tolist()}; expected finite values ≥ 0")
    # CV² = exp(σ²) − 1 does not depend on the median of a lognormal distribution.
    return np.exp(np.sqrt(np.log1p(cv**2)) * normals(generator, size))


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A quantity with its uncertainty: the value at nominal inputs and draws of it.

    Parameters
    ----------
    value
        Shape (...): computed from the nominal inputs.
    draws
        Shape (draw, ...): the same computation on drawn inputs.
    """

    value: FloatArray
    draws: FloatArray

    def __post_init__(self) -> None:
        value, draws = np.asarray(self.value, dtype=np.float64), np.asarray(self.draws, dtype=np.float64)
        if draws.ndim != value.ndim + 1 or draws.shape[1:] != value.shape:
            raise PhysicsError(f"estimate: found draws of shape {draws.shape} for a value of shape {value.shape}")
        for name, array in (("value", value), ("draws", draws)):
            array = array.view()
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def sd(self) -> FloatArray:
        """Standard deviation over the draws, shape (...)."""
        return np.asarray(self.draws.std(axis=0, ddof=1 if len(self.draws) > 1 else 0))

    @property
    def interval(self) -> FloatArray:
        """Central 95 % interval over the draws, shape (2, ...)."""
        return np.asarray(np.quantile(self.draws, [0.025, 0.975], axis=0))


def combine(function: Callable[..., FloatArray], *estimates: Estimate) -> Estimate:
    """Apply one array function to the values and to the draws of its arguments: Estimate in, Estimate out."""
    return Estimate(function(*(e.value for e in estimates)), function(*(e.draws for e in estimates)))


def exact(value: ArrayLike, draws: int) -> Estimate:
    """An `Estimate` without uncertainty."""
    array = np.asarray(value, dtype=np.float64)
    return Estimate(array, np.broadcast_to(array, (draws, *array.shape)))

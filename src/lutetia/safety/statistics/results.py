"""What every statistic returns, and the checks that all of them begin with.

A statistic is either a record with `n`, `method` and `warnings`, or a `NotEstimable` with the reason. Nothing is
rounded here; documents round to six significant digits at their edge (`lutetia.core.numbers`).
Not here: any statistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class NotEstimable:
    """A statistic that the data cannot carry: why, on how many values, by which method it was sought."""

    reason: str
    n: int = 0
    method: str = ""

    def __str__(self) -> str:
        return f"not estimable: {self.reason}"


@dataclass(frozen=True, slots=True)
class Result:
    """One estimate.

    Parameters
    ----------
    quantity
        What is estimated, in words.
    estimate
        Its value.
    low, high
        Ends of the interval; None where there is none (a warning says why).
    p
        Two-sided p-value of "no effect"; None where nothing is tested.
    n
        Number of subjects, pairs or values used.
    method
        Name of the method, as a methods section would print it.
    p_adjusted
        The p-value after Holm's adjustment within its family, where there is one.
    """

    quantity: str
    estimate: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    method: str
    statistic: float | None = None
    df: float | None = None
    p_adjusted: float | None = None
    level: float = LEVEL
    warnings: tuple[str, ...] = ()


def interval_of(result: Result) -> tuple[float, float]:
    """Both ends of an interval that must exist.

    Raises
    ------
    InputError
        For a result without an interval.
    """
    if result.low is None or result.high is None:
        raise InputError(f"{result.quantity}: found no interval; expected one ({'; '.join(result.warnings)})")
    return result.low, result.high


def values_of(values: ArrayLike, what: str) -> tuple[FloatArray, tuple[str, ...]]:
    """Finite values as floats, and a warning with the number of values left out.

    Raises
    ------
    InputError
        For anything but a one-dimensional array.
    """
    array = column(values, what)
    finite = np.isfinite(array)
    return array[finite], missing_warning(int((~finite).sum()), what)


def missing_warning(count: int, what: str) -> tuple[str, ...]:
    """A warning about values left out; empty for none."""
    return (f"{what}: {count} missing value{'s' if count > 1 else ''} left out",) if count else ()


def column(values: ArrayLike, what: str) -> FloatArray:
    """A one-dimensional array of floats.

    Raises
    ------
    InputError
        For another shape, or for text.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what}: found values that are not numbers ({error}); expected an array of numbers"
        ) from error
    if array.ndim != 1:
        raise InputError(f"{what}: found an array of shape {array.shape}; expected one dimension")
    return array


def finite_or_none(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def check_one_each(subject: IntArray, label: NDArray[np.generic], what: str) -> None:
    """Refuse rows that give one subject two labels.

    Raises
    ------
    InputError
        With the number of such subjects.
    """
    pairs = len(set(zip(subject.tolist(), label.tolist(), strict=True)))
    if extra := pairs - len(set(subject.tolist())):
        raise InputError(
            f"{what}: found {extra} subject{'s' if extra > 1 else ''} with more than one; expected one each"
        )


def labels_of(
    values: Sequence[object] | NDArray[np.generic], what: str, length: int
) -> tuple[NDArray[np.str_], IntArray]:
    """Sorted names of groups, and the index of every row's name.

    Raises
    ------
    InputError
        For another number of rows than `length`.
    """
    texts = np.array([str(v) for v in values], dtype=np.str_)
    if texts.shape != (length,):
        raise InputError(f"{what}: found {len(texts)} rows; expected {length}, one for every value")
    names, index = np.unique(texts, return_inverse=True)
    return names, index.astype(np.int64)


def columns(arrays: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """One-dimensional arrays of one length.

    Raises
    ------
    InputError
        For arrays of different lengths.
    """
    found = {name: column(values, name) for name, values in arrays.items()}
    sizes = {name: len(array) for name, array in found.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"arrays of different lengths: found {sizes}; expected one row a subject in each")
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: p₍ᵢ₎ → max over j ≤ i of min(1, (m − j + 1)·p₍ⱼ₎).

    References
    ----------
    Holm S., Scand J Statist 1979;6:65–70.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted

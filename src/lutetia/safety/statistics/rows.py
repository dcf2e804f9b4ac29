"""Complete rows of two variables by arm, in an order that does not depend on how they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutetia.errors import InputError
from lutetia.safety.statistics.results import FloatArray, IntArray, columns, labels_of, missing_warning


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Complete rows sorted by arm, dose and response: nothing depends on the order in which rows came."""

    x: FloatArray
    y: FloatArray
    arm: IntArray
    names: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def sizes(self) -> IntArray:
        return np.bincount(self.arm, minlength=len(self.names))


def complete_rows(
    x: ArrayLike, y: ArrayLike, arm: Sequence[object], *, subject: Sequence[object] | None = None
) -> Rows:
    """Rows in which both variables are known; groups are arms, or subjects of an arm where subjects are named.

    Raises
    ------
    InputError
        For columns of different lengths.
    """
    found = columns({"x": x, "y": y})
    names = [str(a) for a in arm]
    if subject is not None:
        if len(subject) != len(names):
            raise InputError(f"subjects: found {len(subject)} rows; expected {len(names)}")
        names = [f"{a}\x1f{s}" for a, s in zip(names, subject, strict=True)]
    labels, index = labels_of(names, "arm", len(found["x"]))
    use = np.isfinite(found["x"]) & np.isfinite(found["y"])
    kept, place = np.unique(index[use], return_inverse=True)
    a, b = found["x"][use], found["y"][use]
    order = np.lexsort((b, a, place))
    warnings = missing_warning(int((~use).sum()), "rows")
    return Rows(a[order], b[order], place[order].astype(np.int64), tuple(labels[kept].tolist()), warnings)

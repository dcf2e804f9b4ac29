"""Addresses of the slice viewer that nobody links to: another plane, slice, window or layer is an answer, no fault."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.web.browsing import Browser, person

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.report.figures.slice_stack import make_stack, pack_stack
from lutetia.trial import SYSTEM, Change, Create, Trial

PATH = "/subjects/DUO-01-001/cycles/1/slices"


@pytest.fixture(scope="module")
def stack(trial: Trial) -> str:
    """SHA-256 of a kept stack of 12 axial, 10 coronal and 14 sagittal slices."""
    grid = axis_aligned_grid((12, 10, 14), (5.0, 4.0, 4.0))
    made = make_stack(Volume(np.ones(grid.shape, dtype=np.float32), grid, "MBq_per_mL"), None, [])
    digest = trial.files.put(pack_stack(made))
    key = {"attachment_id": "A1", "subject_id": "DUO-01-001", "cycle": 1, "kind": "slice_stack", "name": "SPECT"}
    trial.commit(Change("test", [Create("attachments", {**key, "sha256": digest, "state": "kept"})]), SYSTEM)
    return digest


@pytest.mark.parametrize(
    ("rest", "status", "words"),
    [
        ("axial/0.png", 200, ""),
        ("axial/11.png", 200, ""),
        ("axial/12.png", 422, "expected 0 to 11"),
        ("axial/-1.png", 422, "expected 0 to 11"),
        ("coronal/10.png", 422, "expected 0 to 9"),
        ("sagittal/99999999999999999999.png", 422, "expected 0 to 13"),
        ("axial/one.png", 404, ""),
        ("oblique/1.png", 422, "axial, coronal, sagittal"),
        ("axial/1.png?window=brain", 422, "soft tissue"),
        ("axial/1.png?opacity=101", 422, "expected 0 to 100"),
        ("axial/1.png?opacity=much", 422, "much"),
        ("axial/1.png?opacity=-5", 422, "-5"),
        ("axial/1.png?opacity=0&outlines=no", 200, ""),
    ],
)
def test_what_a_stack_does_not_have_is_refused_with_what_it_has(
    new_browser: Callable[..., Browser], stack: str, rest: str, status: int, words: str
) -> None:
    answer = new_browser(person("physicist")).get(f"{PATH}/{stack}/{rest}")
    assert answer.status_code == status
    if words:
        assert words in answer.text

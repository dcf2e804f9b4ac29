"""What a case can be measured of: anything that shows activity, CT and regions in a position, and knows its doses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.phantom.shapes import Motion
from lutetia.phantom.subject import Subject
from lutetia.phantom.truth import TrueDose, kidney_pair, true_doses, true_marrow_dose
from lutetia.phantom.voxels import render_activity, render_ct, render_masks


class Anatomy(Protocol):
    """A body in the scanner. `subject` gives identity, blood and whole-body curves."""

    @property
    def subject(self) -> Subject:
        """Identity and the curves of blood and whole body."""

    def activity(self, grid: Grid, motion: Motion, *, time_h: float, administered_MBq: float) -> Volume:
        """True 177Lu concentration at a time after administration, MBq/mL."""

    def ct(self, grid: Grid, motion: Motion, *, seed: int) -> Volume:
        """CT in HU."""

    def masks(self, grid: Grid, motion: Motion) -> list[RegionMask]:
        """Outlines of the regions."""

    def doses(self, nuclide_name: str, administered_MBq: float) -> list[TrueDose]:
        """True absorbed doses, with the kidney pair and the red marrow."""


@dataclass(frozen=True, slots=True)
class EllipsoidAnatomy:
    """The ellipsoid subjects of this package."""

    subject: Subject

    def activity(self, grid: Grid, motion: Motion, *, time_h: float, administered_MBq: float) -> Volume:
        """Every organ with its own activity, the rest of the body with the remainder."""
        parts = {o.region: o.biology for o in self.subject.organs} | {"remainder": self.subject.body.remainder}
        activity = {name: float(b.activity_MBq(time_h, "Lu-177", administered_MBq)) for name, b in parts.items()}
        return render_activity(self.subject, grid, activity, motion=motion)

    def ct(self, grid: Grid, motion: Motion, *, seed: int) -> Volume:
        """CT with texture and noise."""
        return render_ct(self.subject, grid, motion, seed=seed)

    def masks(self, grid: Grid, motion: Motion) -> list[RegionMask]:
        """Fractional masks of all organs."""
        return render_masks(self.subject, grid, motion)

    def doses(self, nuclide_name: str, administered_MBq: float) -> list[TrueDose]:
        """All organs, the kidney pair and the red marrow."""
        organs = true_doses(self.subject, nuclide_name, administered_MBq)
        marrow = true_marrow_dose(self.subject, nuclide_name, administered_MBq)
        return [*organs, kidney_pair(organs), marrow]

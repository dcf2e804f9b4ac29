"""Slice stacks of an imaged cycle for the slice viewer: the drawn scan, and the dose map of each nuclide, on the CT.

A picture never decides whether doses are stored: a map that cannot be made is left out, with the reason. Not here: the
maps (`lutetia.plan.dose_maps`), drawing (`lutetia.report.figures.slice_stack`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lutetia.core.volume import Volume
from lutetia.errors import LutetiaError, PhysicsError
from lutetia.imaging.ct import read_ct
from lutetia.imaging.resample import resample_volume
from lutetia.plan.cycle_images import CycleImages
from lutetia.plan.dose_maps import AIR_HU, dose_maps
from lutetia.report.figures.slice_stack import make_stack, pack_stack
from lutetia.trial.files import FileStore
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor, Create, Edit, Update

KIND = "slice_stack"
SUPERSEDED = "superseded"
MEDIA = "application/x-npz"
#: Assumption: above this number of voxels maps would need more than about 2 GB, and no dose map is made.
LARGEST_VOXELS = 16_000_000


@dataclass(frozen=True, slots=True)
class Pictures:
    """Stored stacks (name, SHA-256, bytes), and reasons why others are absent."""

    stacks: tuple[tuple[str, str, int], ...] = ()
    absent: tuple[str, ...] = ()


def store_pictures(files: FileStore, images: CycleImages | None) -> Pictures:
    """Pack the stacks of a cycle into the trial's files, one at a time so that only one is in memory.

    Nothing is recorded: `picture_edits` names the files once the doses are stored.
    """
    if images is None:
        return Pictures()
    stored: list[tuple[str, str, int]] = []
    try:
        ct, regions = _background(images), [region.mask() for region in images.on_spect]
        for name, overlay in _overlays(images):
            content = pack_stack(make_stack(overlay, ct, regions))
            stored.append((name, files.put(content), len(content)))
    except LutetiaError as error:
        return Pictures(tuple(stored), (str(error),))
    return Pictures(tuple(stored))


def picture_edits(reader: Reader, actor: Actor, subject_id: str, cycle: int, pictures: Pictures) -> list[Edit]:
    """Attachments of a new result of a cycle; those of the result before it are superseded."""
    key = {"subject_id": subject_id, "cycle": cycle, "kind": KIND}
    before = reader.records("attachments", **key)
    edits: list[Edit] = [
        Update("attachments", int(r["record_id"]), {"state": SUPERSEDED}) for r in before if r["state"] != SUPERSEDED
    ]
    for number, (name, digest, _) in enumerate(pictures.stacks, start=len(before) + 1):
        values = {**key, "attachment_id": f"{subject_id}-{cycle}-slices-{number:02d}", "sha256": digest,
                  "name": name, "media_type": MEDIA, "added_by": actor.user_id, "added_at": reader.now,
                  "state": "kept"}  # fmt: skip
        edits.append(Create("attachments", values))
    return edits


def picture_files(pictures: Pictures) -> Mapping[str, tuple[str, int, str]]:
    """Hash → name, size and media type, as `lutetia.workflow.edits.file_edits` takes them."""
    return {digest: (f"{name}.npz", size, MEDIA) for name, digest, size in pictures.stacks}


def _background(images: CycleImages) -> Volume | None:
    """The CT on the grid of the drawn SPECT; what it does not show is air."""
    if images.ct is None:
        return None
    ct = read_ct(images.ct, where=f"cycle {images.number}, CT").volume
    return resample_volume(ct, images.scans[images.drawn_on].activity.grid, fill=AIR_HU)


def _overlays(images: CycleImages) -> Iterator[tuple[str, Volume]]:
    drawn = images.scans[images.drawn_on]
    yield f"{images.nuclide} activity at {drawn.time_h:.0f} h", drawn.activity
    if drawn.activity.values.size > LARGEST_VOXELS:
        raise PhysicsError(
            f"dose maps: found {drawn.activity.values.size} voxels; expected at most {LARGEST_VOXELS}; none was made"
        )
    doses, _ = dose_maps(images)
    for name in sorted(doses):
        yield f"Absorbed dose of {name}", doses[name].dose

"""Which function does which kind of background job. To add one: a line here."""

from __future__ import annotations

from lutetia.workflow import dosimetry, interim
from lutetia.workflow.jobs import Handler

JOB_KINDS: dict[str, Handler] = {
    dosimetry.KIND: dosimetry.compute_doses,
    interim.KIND: interim.compute_interim,
}

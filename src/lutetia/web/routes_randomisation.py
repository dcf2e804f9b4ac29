"""Routes of the randomisation list and of a cross-over; the columns as in `routes`.

The published hash is for everybody who is signed in; sizes of blocks and probabilities are for who makes the list.
"""

from __future__ import annotations

from lutetia.web.pages import randomisation, randomisation_list
from lutetia.web.routing import SIGNED_IN, Route, site_of_subject

_CROSS_OVER = "/subjects/{subject_id}/randomisation/cross-over"

RANDOMISATION_ROUTES: tuple[Route, ...] = (
    Route("GET", "/randomisation-list", randomisation_list.show, SIGNED_IN),
    Route("POST", "/randomisation-list", randomisation_list.generate, "generate_list"),
    Route("POST", "/randomisation-list/extend", randomisation_list.extend, "generate_list"),
    Route("POST", "/randomisation-list/reveal", randomisation_list.reveal, "generate_list"),
    Route("GET", "/randomisation-list/revealed.json", randomisation_list.download, "generate_list"),
    Route("GET", _CROSS_OVER, randomisation.cross_over_form, "record_administration", site_of_subject),
    Route("POST", _CROSS_OVER, randomisation.record_cross_over, "record_administration", site_of_subject),
)

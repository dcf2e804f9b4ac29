"""The reference page of the JSON API is what the server says of itself."""

from __future__ import annotations

import os
from pathlib import Path

from tests.web.api_reference import reference

from lutetia.trial import Trial
from lutetia.web.app import create_app
from lutetia.web.routes import ROUTES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_the_reference_page_of_the_api_is_made_from_its_description(trial: Trial) -> None:
    made = reference(create_app(trial).openapi())
    if os.environ.get("LUTETIA_RENEW_API"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, "run scripts/api-reference"
    for route in ROUTES:
        assert not route.is_api or f"### `{route.method} {route.path}`" in made

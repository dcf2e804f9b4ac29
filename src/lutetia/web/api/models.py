"""What the models of the API share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Given(BaseModel):
    """What a program sends: a field that is not known is refused, since a misspelt one would be lost without a word."""

    model_config = ConfigDict(extra="forbid")

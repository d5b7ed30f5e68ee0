"""What must not change for now."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pdoperator.api.model import ApiModel
from pdoperator.api.periods import DateTime


class PausedRole(StrEnum):
    """A serving role."""

    PREFILL = "Prefill"
    DECODE = "Decode"


class Direction(StrEnum):
    """A direction of change."""

    UP = "Up"
    DOWN = "Down"


class Pause(ApiModel):
    """No change of a role in a direction, until it is over. What is left out means all: `{}` holds everything."""

    role: Annotated[PausedRole | None, Field(description="Both roles if absent.")] = None
    direction: Annotated[Direction | None, Field(description="Both directions if absent.")] = None
    until: Annotated[DateTime | None, Field(description="Until it is removed if absent.")] = None

"""What a user knows of the future: events that raise the load, and bounds that hold at certain times."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pdoperator.api.model import ApiModel, rules
from pdoperator.api.periods import PERIOD_RULES, Period


class CalendarEntry(Period):
    """An event that raises the load; what the forecast expects counts where it is more."""

    model_config = {
        "json_schema_extra": rules(
            *PERIOD_RULES,
            (
                "has(self.factor) != has(self.floor)",
                "an event takes either factor or floor; give one of them",
            ),
        )
    }

    factor: Annotated[
        float | None, Field(ge=1, le=100, description="The load just before the event is multiplied by this.")
    ] = None
    floor: Annotated[
        float | None, Field(ge=0.001, le=1e6, description="Requests per second that come at least.")
    ] = None


class ScheduledReplicas(ApiModel):
    """Bounds of one role; what is left out is as the role has it."""

    min_replicas: Annotated[int | None, Field(ge=1, le=1000, description="Never fewer meanwhile.")] = None
    max_replicas: Annotated[int | None, Field(ge=1, le=1000, description="Never more meanwhile.")] = None


class Schedule(Period):
    """Bounds that take the place of a role's own during the period; the first schedule that applies counts."""

    prefill: ScheduledReplicas = ScheduledReplicas()
    decode: ScheduledReplicas = ScheduledReplicas()

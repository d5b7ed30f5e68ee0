"""Periods of time in a spec: once, between two date-times, or again and again, between two times of day."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pdoperator.api.model import ApiModel, rules
from pdoperator.api.units import DATE_TIME, TIME_OF_DAY

Moment = Annotated[str, Field(pattern=f"^({TIME_OF_DAY}|{DATE_TIME})$", max_length=40)]
DateTime = Annotated[str, Field(json_schema_extra={"format": "date-time"}, max_length=40)]


class Day(StrEnum):
    """Day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


PERIOD_RULES = (
    (
        "self.from.contains('T') == self.to.contains('T')",
        "from and to must be of the same kind; give two times of day such as 09:00,"
        " or two date-times such as 2026-01-31T09:00:00Z",
    ),
    (
        "self.from.contains('T') != self.to.contains('T')"
        " || (self.from.contains('T') ? timestamp(self.from) < timestamp(self.to) : self.from != self.to)",
        "from must be before to; change one of them (times of day may span midnight, but not be the same)",
    ),
    (
        "!self.from.contains('T') || (self.days.size() == 0 && self.timeZone == 'UTC')",
        "days and timeZone belong to times of day; remove them, as a date-time carries its own offset",
    ),
)


class Period(ApiModel):
    """From a moment until before another. Times of day come back daily, or on `days`; to <= from ends the day after."""

    model_config = {"json_schema_extra": rules(*PERIOD_RULES)}

    from_: Annotated[Moment, Field(alias="from", description="Time of day (09:00) or RFC 3339 date-time.")]
    to: Annotated[Moment, Field(description="Of the same kind; not part of the period.")]
    days: Annotated[
        list[Day], Field(max_length=7, description="Days on which a time of day begins; every day if empty.")
    ] = []
    time_zone: Annotated[
        str, Field(min_length=1, max_length=64, description="IANA name of the zone of times of day.")
    ] = "UTC"

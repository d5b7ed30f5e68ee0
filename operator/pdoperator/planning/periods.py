"""Periods of a spec on the line of time. Times of day are looked up in their zone; none is read from a clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pdoperator.api import periods
from pdoperator.api.units import epoch_s

Span = tuple[float, float]  # seconds since the epoch: from, until before


class Period(Protocol):
    """Once or again and again."""

    def first(self, start_s: float, end_s: float) -> Span | None:
        """The first occurrence of which some lies between `start_s` and `end_s`, both included."""

    def covers(self, at_s: float) -> bool:
        """Whether `at_s` lies in it."""


@dataclass(frozen=True, slots=True)
class Once:
    """One period."""

    start_s: float
    end_s: float

    def first(self, start_s: float, end_s: float) -> Span | None:
        """The period, if some of it lies between."""
        return (self.start_s, self.end_s) if self.start_s <= end_s and start_s < self.end_s else None

    def covers(self, at_s: float) -> bool:
        """Whether `at_s` lies in it."""
        return self.start_s <= at_s < self.end_s


@dataclass(frozen=True, slots=True)
class Daily:
    """The same hours on some days of the week (0: Monday); `end` at or before `start` is on the day after."""

    start: time
    end: time
    weekdays: frozenset[int]
    zone: tzinfo

    def first(self, start_s: float, end_s: float) -> Span | None:
        """The first occurrence of which some lies between."""
        day = datetime.fromtimestamp(start_s, self.zone).date() - timedelta(days=1)
        last = datetime.fromtimestamp(end_s, self.zone).date()
        while day <= last:
            span = self._on(day)
            if day.weekday() in self.weekdays and span[0] <= end_s and start_s < span[1]:
                return span
            day += timedelta(days=1)
        return None

    def covers(self, at_s: float) -> bool:
        """Whether `at_s` lies in an occurrence."""
        return self.first(at_s, at_s) is not None

    def _on(self, day: date) -> Span:
        until = day + timedelta(days=self.end <= self.start)
        start, end = (
            datetime.combine(day, self.start, self.zone),
            datetime.combine(until, self.end, self.zone),
        )
        return start.timestamp(), end.timestamp()


def period(given: periods.Period, field: str) -> Period:
    """A period of a spec. Raises ValueError that names the field and the fix."""
    try:
        if "T" in given.from_:
            return Once(epoch_s(given.from_), epoch_s(given.to))
        days = [list(periods.Day).index(day) for day in given.days]
        return Daily(
            start=time.fromisoformat(given.from_),
            end=time.fromisoformat(given.to),
            weekdays=frozenset(days or range(7)),
            zone=ZoneInfo(given.time_zone),
        )
    except ZoneInfoNotFoundError:
        raise ValueError(
            f"{field}.timeZone: no time zone {given.time_zone!r}; give an IANA name such as Europe/Berlin"
        ) from None
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None

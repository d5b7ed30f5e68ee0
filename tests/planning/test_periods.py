"""Periods of a spec on the line of time."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.api import periods
from pdoperator.api.units import epoch_s
from pdoperator.planning.periods import Period, period


def of(start: str, end: str, **more: Any) -> Period:
    return period(periods.Period.model_validate({"from": start, "to": end, **more}), "spec.x")


@pytest.mark.parametrize(
    ("given", "at", "covered"),
    [
        pytest.param(of("09:00", "17:00"), "2026-01-30T09:00:00Z", True, id="its beginning"),
        pytest.param(of("09:00", "17:00"), "2026-01-30T08:59:59Z", False, id="just before"),
        pytest.param(of("09:00", "17:00"), "2026-01-30T17:00:00Z", False, id="its end is not part of it"),
        pytest.param(of("22:00", "06:00"), "2026-01-30T23:30:00Z", True, id="past midnight, before"),
        pytest.param(of("22:00", "06:00"), "2026-01-30T05:59:59Z", True, id="past midnight, after"),
        pytest.param(of("22:00", "06:00"), "2026-01-30T12:00:00Z", False, id="past midnight, at noon"),
        pytest.param(
            of("22:00", "06:00", days=["Fri"]), "2026-01-31T05:00:00Z", True, id="it began on its day: Friday"
        ),
        pytest.param(
            of("22:00", "06:00", days=["Fri"]), "2026-01-30T05:00:00Z", False, id="that would be Thursday's"
        ),
        pytest.param(
            of("09:00", "10:00", timeZone="Europe/Berlin"), "2026-01-30T08:30:00Z", True, id="winter time"
        ),
        pytest.param(
            of("09:00", "10:00", timeZone="Europe/Berlin"), "2026-07-30T07:30:00Z", True, id="summer time"
        ),
        pytest.param(
            of("2026-01-30T09:00:00Z", "2026-01-31T09:00:00+01:00"), "2026-01-31T07:59:59Z", True, id="once"
        ),
        pytest.param(
            of("2026-01-30T09:00:00Z", "2026-01-31T09:00:00+01:00"), "2026-01-31T08:00:00Z", False, id="over"
        ),
    ],
)
def test_a_moment_lies_in_a_period_or_not(given: Period, at: str, covered: bool) -> None:
    assert given.covers(epoch_s(at)) is covered


def test_the_first_occurrence_between_two_moments() -> None:
    start_s = epoch_s("2026-01-30T08:00:00Z")
    nine, five = epoch_s("2026-01-30T09:00:00Z"), epoch_s("2026-01-30T17:00:00Z")
    assert of("09:00", "17:00").first(start_s, start_s + 3599) is None
    assert of("09:00", "17:00").first(start_s, start_s + 3600) == (nine, five)
    saturday = of("09:00", "17:00", days=["Sat"])
    assert saturday.first(start_s, start_s + 2 * 86400) == (nine + 86400, five + 86400)


@pytest.mark.parametrize(
    ("start", "end", "more", "message"),
    [
        ("09:00", "10:00", {"timeZone": "Mars/Olympus"}, r"spec\.x\.timeZone: no time zone 'Mars/Olympus'"),
        ("2026-02-30T09:00:00Z", "2026-03-01T09:00:00Z", {}, r"spec\.x: day is out of range"),
    ],
)
def test_what_the_api_server_cannot_see_is_refused_by_name_of_its_field(
    start: str, end: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        of(start, end, **more)

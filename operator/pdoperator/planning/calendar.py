"""What the calendar of a spec adds to the forecast: loads that a person knows of before they come."""

from __future__ import annotations

from dataclasses import replace

from pdoperator.api import defaults
from pdoperator.forecast.demand import DemandHistory
from pdoperator.forecast.forecasted import Forecasted
from pdoperator.planning.decision import History, SeenEvent
from pdoperator.planning.horizon import lead_time_s
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings

MODEL = "Calendar"  # what a forecast is called that a calendar has raised


def near_events(settings: PlanSettings, observation: Observation, history: History) -> tuple[SeenEvent, ...]:
    """The events that an engine asked for now would meet, each with the load before it.

    An event that is first seen when it has begun is not told of: its load is already in what is observed.
    """
    now_s, known = observation.at_s, {event.start_s: event for event in history.events}
    seen: dict[float, SeenEvent] = {}
    for event in settings.calendar:
        span = event.period.first(now_s, now_s + lead_time_s(settings, observation))
        if span is None or not event.factor:
            continue
        start_s = span[0]
        if start_s in known:
            seen[start_s] = known[start_s]
        elif start_s > now_s and history.demand.samples:
            seen[start_s] = SeenEvent(start_s, _recent_rps(history.demand))
    return tuple(seen.values())


def known_rps(settings: PlanSettings, observation: Observation, history: History) -> float:
    """The rate that the calendar foresees within the lead time at the most; 0 where it foresees nothing."""
    if not settings.calendar:
        return 0.0
    now_s, lead_s = observation.at_s, lead_time_s(settings, observation)
    before = {event.start_s: event.rate_rps for event in history.events}
    foreseen = 0.0
    for event in settings.calendar:
        span = event.period.first(now_s, now_s + lead_s)
        if span is not None:
            foreseen = max(foreseen, event.floor_rps, event.factor * before.get(span[0], 0.0))
    return foreseen


def raised(ahead: Forecasted, foreseen_rps: float) -> Forecasted:
    """The forecast, or the calendar's rate where that is more."""
    if foreseen_rps <= ahead.demand.rate_rps:
        return ahead
    note = f"{ahead.model} expects {ahead.demand.rate_rps:.1f} req/s"
    return replace(ahead, demand=replace(ahead.demand, rate_rps=foreseen_rps), model=MODEL, note=note)


def _recent_rps(demand: DemandHistory) -> float:
    newest_s = demand.samples[-1].at_s
    rates = [s.demand.rate_rps for s in demand.samples if s.at_s > newest_s - defaults.BEFORE_EVENT_S]
    return sum(rates) / len(rates)

"""Engines that were given up, and what can be had meanwhile."""

from __future__ import annotations

from pdoperator.api import defaults
from pdoperator.api.names import State
from pdoperator.api.reasons import Reason
from pdoperator.cluster.events import Event
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.planning.settings import Limits
from pdoperator.planning.starting import obtainable, overdue, start_deadline_s, waits_for_s


class Shortage:
    """Of one service. It is not kept across restarts: the next operator gives the same engine up by its age."""

    def __init__(self) -> None:
        self._limits: Limits | None = None
        self._until_s = 0.0
        self._since_s = 0.0
        self._given_up: set[str] = set()

    def look(self, observation: Observation, limits: Limits) -> list[Event]:
        """Give up what is past its deadline; an Event for each. Any: the plan is to be made again."""
        deadline_s = start_deadline_s(observation.startup_p90_s)
        late = overdue(observation.engines, observation.at_s, deadline_s, self._since_s)
        fresh = [engine for engine in late if engine.name not in self._given_up]
        self._given_up = {engine.name for engine in late}
        if fresh:
            # On top of what another pool lacks already.
            self._limits = obtainable(self.limits(limits, observation.at_s), observation.engines, late)
            self._until_s = observation.at_s + defaults.UNAVAILABLE_S
        return [_event(engine, observation.at_s) for engine in fresh]

    def limits(self, limits: Limits, now_s: float) -> Limits:
        """The limits to plan with now."""
        if self._limits is None or now_s >= self._until_s:
            return limits
        return self._limits

    def forget(self, now_s: float) -> None:
        """The spec was edited: whatever kept an engine from starting may be over; each has its time anew."""
        self._limits = None
        self._since_s = now_s
        self._given_up = set()


def _event(engine: EngineView, now_s: float) -> Event:
    waited = f"{waits_for_s(engine, now_s):.0f} s"
    unready = "was not ready" if engine.state is State.WARMING else "was not ready again"
    what = unready if engine.scheduled else "found no node"
    text = (
        f"{engine.name} {what} after {waited} and is given up; its GPUs count as not to be had for"
        f" {defaults.UNAVAILABLE_S / 60:.0f} min, and the plan is made again"
    )
    return Event(Reason.ENGINE_GIVEN_UP, text, warning=True)

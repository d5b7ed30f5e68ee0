"""GPU-hours of one service: what it holds, from pod made to pod gone, start-up and drain included."""

from __future__ import annotations

from pdoperator.cluster.store import Key
from pdoperator.controller.metrics import Metrics
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import Limits
from pdoperator.planning.starting import cost_of


class Ledger:
    """Counts between looks; what happened while nobody looked is counted as the fleet was then found."""

    def __init__(self, metrics: Metrics, key: Key) -> None:
        self._metrics = metrics
        self._key = key
        self._looked_s: float | None = None

    def note(self, observation: Observation, limits: Limits) -> None:
        """Add what the fleet has held since the last look, by the role that each engine has now."""
        since_s = observation.at_s if self._looked_s is None else self._looked_s
        self._looked_s = observation.at_s
        for engine in observation.engines:
            held_s = observation.at_s - max(since_s, engine.created_s)
            if engine.scheduled and held_s > 0:
                hours = held_s / 3600 * cost_of(engine.pool, limits)
                self._metrics.gpu_hours.labels(*self._key, engine.role.value).inc(hours)

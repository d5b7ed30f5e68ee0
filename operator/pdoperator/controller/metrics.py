"""The operator's own metrics."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pdoperator.api.names import Role
from pdoperator.api.reasons import Bottleneck
from pdoperator.api.values import SERVING_ROLES, Missing, Value
from pdoperator.cluster.store import Key
from pdoperator.controller.conditions import facts
from pdoperator.controller.signals_told import signals
from pdoperator.controller.situation import Situation
from pdoperator.controller.status import role_statuses
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decision import Decision
from pdoperator.planning.observation import Observation

_SERVICE = ("namespace", "service")
_FORECASTS_KEPT = 1000  # of those that are not due yet; a tick of 5 s and a horizon of an hour make 720


class Metrics:
    """Series of one operator process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"pdoperator_{name}", about, (*_SERVICE, *labels), registry=registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"pdoperator_{name}", about, (*_SERVICE, *labels), registry=registry)

        self._desired = gauge("desired_replicas", "Engines decided on.", "role")
        self._ready = gauge("ready_replicas", "Engines ready in their role.", "role")
        self._draining = gauge("draining_replicas", "Engines that finish what they have.", "role")
        self._startup = gauge("startup_seconds", "Pod made to engine ready.", "role", "quantile")
        self._condition = gauge("condition", "1 while a condition is True, 0 while it is False.", "type")
        self._signal = gauge(
            "signal_fresh", "1 while a signal is fresh, 0 while it is old or missing.", "signal"
        )
        self._bottleneck = gauge("bottleneck", "1 for the side that limits the service now.", "bottleneck")
        self._demand = gauge("demand_requests_per_second", "Requests admitted.")
        self._tokens = gauge("demand_tokens_per_second", "Tokens admitted and expected of them.", "kind")
        self._forecast = gauge("forecast_requests_per_second", "Demand forecast, at its horizon.")
        self._horizon = gauge("forecast_horizon_seconds", "How far ahead the forecast looks.")
        self._due = gauge("forecast_due_requests_per_second", "Demand of now, as it was forecast for now.")
        self._skill = gauge("forecast_skill", "Share of the best simple forecast's loss that was avoided.")
        self.gpu_hours = counter("gpu_hours", "GPUs times hours, from pod made to pod gone.", "role")
        self.judged = counter("requests_judged", "Requests that count for the targets.")
        self.missed = counter("requests_missed", "Those of them that missed a target.")
        self.decisions = counter("decisions", "Decisions by reason.", "reason")
        self.events = counter("events", "Events by reason.", "reason")
        self.failures = counter("tick_failures", "Ticks that failed.")
        self.tick_seconds = Histogram(
            "pdoperator_tick_seconds", "Duration of a tick of one service.", registry=registry
        )
        self.leader = Gauge("pdoperator_leader", "1 while this process holds the Lease.", registry=registry)
        self._of_services = [
            self._desired, self._ready, self._draining, self._startup, self._condition, self._signal,
            self._bottleneck, self._demand, self._tokens, self._forecast, self._horizon, self._due, self._skill,
            self.gpu_hours, self.judged, self.missed, self.decisions, self.events, self.failures,
        ]  # fmt: skip
        self._forecasts: dict[Key, deque[tuple[float, float]]] = {}

    def show(self, key: Key, situation: Situation) -> None:
        """What a service is like now."""
        roles = role_statuses(situation)
        for role in SERVING_ROLES:
            self._desired.labels(*key, role.value).set(situation.target[role])
            self._ready.labels(*key, role.value).set(roles[role].ready)
            self._draining.labels(*key, role.value).set(roles[role].draining)
            for quantile, seconds in _start_times(situation, role):
                self._startup.labels(*key, role.value, quantile).set(seconds)
        for fact in facts(situation, roles):
            if fact.status is not None:
                self._condition.labels(*key, fact.type.value).set(fact.status)

    def decided(self, key: Key, decision: Decision, seen: Observation) -> None:
        """What was decided, and what was seen then."""
        self.decisions.labels(*key, decision.reason.value).inc()
        for side in Bottleneck:
            self._bottleneck.labels(*key, side.value).set(side is decision.bottleneck)
        for signal in signals(seen):
            self._signal.labels(*key, signal.name).set(signal.state == "Fresh")
        self._show_demand(key, seen.demand)
        self._show_forecast(key, decision, seen.at_s)
        if isinstance(seen.slo, Value):
            self.judged.labels(*key).inc(seen.slo.x.ended)
            self.missed.labels(*key).inc(seen.slo.x.missed)

    def forget(self, key: Key) -> None:
        """A service is gone; so are its series."""
        self._forecasts.pop(key, None)
        for series in self._of_services:
            series.remove_by_labels({"namespace": key[0], "service": key[1]})

    def _show_demand(self, key: Key, demand: Value[Demand | None] | Missing) -> None:
        """A demand that is not known has no value: a gap in a graph, not a zero."""
        if isinstance(demand, Missing):
            self._demand.remove_by_labels({"namespace": key[0], "service": key[1]})
            self._tokens.remove_by_labels({"namespace": key[0], "service": key[1]})
            return
        seen = demand.x
        self._demand.labels(*key).set(seen.rate_rps if seen else 0.0)
        self._tokens.labels(*key, "input").set(seen.rate_rps * seen.isl_tokens if seen else 0.0)
        self._tokens.labels(*key, "output").set(seen.rate_rps * seen.osl_tokens if seen else 0.0)

    def _show_forecast(self, key: Key, decision: Decision, now_s: float) -> None:
        """The forecast for its horizon, and the newest of those whose horizon has come."""
        waiting = self._forecasts.setdefault(key, deque(maxlen=_FORECASTS_KEPT))
        ahead = decision.forecast
        if ahead is not None:
            self._forecast.labels(*key).set(ahead.demand.rate_rps)
            self._horizon.labels(*key).set(ahead.horizon_s)
            waiting.append((now_s + ahead.horizon_s, ahead.demand.rate_rps))
            if ahead.skill is not None:
                self._skill.labels(*key).set(ahead.skill)
        while waiting and waiting[0][0] <= now_s:
            self._due.labels(*key).set(waiting.popleft()[1])


def _start_times(situation: Situation, role: Role) -> Iterator[tuple[str, float]]:
    times = situation.startups[role]
    if times.p50_s is not None:
        yield "0.5", times.p50_s
    if times.p90_s is not None:
        yield "0.9", times.p90_s

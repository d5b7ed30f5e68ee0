"""The operator's own metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pdoperator.api.values import SERVING_ROLES, PerRole
from pdoperator.cluster.store import Key


class Metrics:
    """Series of one operator process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        service = ("namespace", "service")
        self._desired = Gauge(
            "pdoperator_desired_replicas", "Engines decided on.", (*service, "role"), registry=self.registry
        )
        self._ready = Gauge(
            "pdoperator_ready_replicas",
            "Engines ready in their role.",
            (*service, "role"),
            registry=self.registry,
        )
        self.decisions = Counter(
            "pdoperator_decisions_total", "Decisions by reason.", (*service, "reason"), registry=self.registry
        )
        self.events = Counter(
            "pdoperator_events_total", "Events by reason.", (*service, "reason"), registry=self.registry
        )
        self.failures = Counter(
            "pdoperator_tick_failures_total", "Ticks that failed.", service, registry=self.registry
        )
        self.tick_seconds = Histogram(
            "pdoperator_tick_seconds", "Duration of a tick of one service.", registry=self.registry
        )
        self.leader = Gauge(
            "pdoperator_leader", "1 while this process holds the Lease.", registry=self.registry
        )

    def sizes(self, key: Key, desired: PerRole[int], ready: PerRole[int]) -> None:
        """Desired and ready engines of a service."""
        for role in SERVING_ROLES:
            self._desired.labels(*key, role.value).set(desired[role])
            self._ready.labels(*key, role.value).set(ready[role])

    def forget(self, key: Key) -> None:
        """A service is gone; so are its series."""
        of_it = {"namespace": key[0], "service": key[1]}
        for series in (self._desired, self._ready, self.decisions, self.events, self.failures):
            series.remove_by_labels(of_it)

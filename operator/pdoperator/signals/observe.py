"""Pods and their metrics to an Observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import aiohttp

from pdoperator.api import names
from pdoperator.api.names import Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.signals.demand_window import DemandWindow, Interval, RouterCounts
from pdoperator.signals.engine_metrics import EngineReading
from pdoperator.signals.engine_window import EngineInterval, EngineWindow
from pdoperator.signals.pods import PodView
from pdoperator.signals.readings import Direct, Source
from pdoperator.signals.router_metrics import RouterReading
from pdoperator.signals.startup import StartUps

NO_ROUTER = "no router is ready"
_BETWEEN = "the interval has not ended"
_NOT_SCRAPED = Missing("scraped at decisions and while it drains")


class ServiceScraper:
    """Reads the pods of one service from its `source`; keeps the previous counters. One call at a time."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.direct = Direct(session)
        self.source: Source = self.direct
        self.startups = StartUps()
        self._window = DemandWindow()
        self._engines = EngineWindow()
        self._busy_s: float | None = None  # when the service was last not known to be idle

    async def observe(
        self, engines: Sequence[PodView], routers: Sequence[PodView], now_s: float, *, end_interval: bool
    ) -> Observation:
        """What is known at `now_s`. `end_interval`: what came is counted since the last call with it; else Missing.

        Routers are read every time, engines at the end of an interval and while they drain. Never raises for a pod:
        what cannot be read is Missing.
        """
        asked = [pod for pod in engines if _leaving(pod) or (end_interval and _running(pod))]
        readings = await self.source.read(routers, asked)
        table = _RoutingTable(routers, readings.routers)
        came = self._came(routers, table, now_s, end_interval)
        over_engines = (
            self._over_engines(engines, readings.engines, now_s) if end_interval else EngineInterval()
        )
        return Observation(
            at_s=now_s,
            engines=tuple(
                _engine(pod, table, readings.engines.get(pod.name, _NOT_SCRAPED)) for pod in engines
            ),
            demand=_with_hits(came, over_engines),
            tpot_s=came.tpot_s,
            idle_for_s=now_s - (now_s if self._busy_s is None else self._busy_s),
            ttft_s=came.ttft_s,
            slo=came.slo,
            startup_p90_s=self.startups.quantile(0.9),
            transfers=over_engines.transfers,
            prefix_hit=over_engines.prefix_hit,
            prefill_times=over_engines.prefill_times,
            unread=table.unread,
        )

    def _came(self, routers: Sequence[PodView], table: _RoutingTable, now_s: float, end: bool) -> Interval:
        created = {pod.name: pod.created_s for pod in routers}
        read = {
            name: RouterCounts(created[name], now_s - reading.age_s, reading.x.counts)
            for name, reading in table.read.items()
        }
        came = self._window.update(read, now_s, complete=not table.unread)
        if came is not False or table.any_outstanding:
            self._busy_s = now_s
        return self._window.close(now_s, table.unread) if end else Interval.unknown(_BETWEEN)

    def _over_engines(
        self,
        engines: Sequence[PodView],
        readings: Mapping[str, Value[EngineReading] | Missing],
        now_s: float,
    ) -> EngineInterval:
        counts = {name: r.x.counts for name, r in readings.items() if isinstance(r, Value)}
        self.startups.see(engines, {name: c.transfers for name, c in counts.items()}, now_s)
        prefilling = {pod.name for pod in engines if pod.role is Role.PREFILL and pod.name in counts}
        return self._engines.close(counts, prefilling, now_s)


def _with_hits(came: Interval, engines: EngineInterval) -> Value[Demand | None] | Missing:
    """The demand with its prefix hits. Not known they count as none, which asks for more prefill, never less."""
    demand, hits = came.demand, engines.prefix_hit
    if isinstance(demand, Missing) or demand.x is None or isinstance(hits, Missing):
        return demand
    return Value(replace(demand.x, prefix_hit=hits.x), demand.age_s)


class _RoutingTable:
    """All routers' readings together."""

    def __init__(
        self, routers: Sequence[PodView], readings: Mapping[str, Value[RouterReading] | Missing]
    ) -> None:
        self.read = {name: r for name, r in readings.items() if isinstance(r, Value)}
        self._age_s = max((reading.age_s for reading in self.read.values()), default=0.0)
        self._serving = [pod.name for pod in routers if pod.ready and not pod.deleting]
        self.unread = self._why_unread(readings)

    def _why_unread(self, readings: Mapping[str, Value[RouterReading] | Missing]) -> str:
        """Empty when every router that serves was read."""
        if not self._serving:
            return NO_ROUTER
        for name in self._serving:
            reading = readings.get(name, Missing("it has no address"))
            if isinstance(reading, Missing):
                return f"router {name}: {reading.why}"
        return ""

    @property
    def any_outstanding(self) -> bool:
        return any(n.prefill + n.decode for r in self.read.values() for n in r.x.outstanding.values())

    def outstanding(self, engine: str) -> Value[PerRole[int]] | Missing:
        """Over all routers, those that are ending included as far as they answer."""
        if self.unread:
            return Missing(self.unread)
        counts = [r.x.outstanding[engine] for r in self.read.values() if engine in r.x.outstanding]
        return Value(PerRole(sum(c.prefill for c in counts), sum(c.decode for c in counts)), self._age_s)

    def exporting(self, engine: str) -> Value[int] | Missing:
        """Prefills whose KV the engine keeps for any router."""
        if self.unread:
            return Missing(self.unread)
        return Value(sum(r.x.exports.get(engine, 0) for r in self.read.values()), self._age_s)

    def role(self, engine: str) -> Role | None:
        """The role under which every serving router has the engine."""
        if self.unread:
            return None
        roles = {self.read[name].x.roles.get(engine) for name in self._serving}
        return roles.pop() if len(roles) == 1 else None


def _leaving(pod: PodView) -> bool:
    return bool(pod.ip) and pod.state is State.DRAINING and not pod.deleting


def _running(pod: PodView) -> bool:
    return bool(pod.ip) and pod.ready and not pod.deleting


def _queues(
    reading: Value[EngineReading] | Missing,
) -> tuple[Value[float] | Missing, Value[float] | Missing, Value[float] | Missing]:
    """Running, waiting and KV use."""
    if isinstance(reading, Missing):
        return reading, reading, reading
    seen, age_s = reading.x, reading.age_s
    kv_use = seen.kv_use if isinstance(seen.kv_use, Missing) else Value(seen.kv_use.x, age_s)
    return Value(seen.running, age_s), Value(seen.waiting, age_s), kv_use


def _engine(pod: PodView, table: _RoutingTable, reading: Value[EngineReading] | Missing) -> EngineView:
    running, waiting, kv_use = _queues(reading)
    return EngineView(
        name=pod.name,
        pool=pod.pool,
        role=pod.role,
        state=pod.state,
        ready=pod.ready,
        deleting=pod.deleting,
        revision=pod.labels.get(names.LABEL_REVISION, ""),
        created_s=pod.created_s,
        outstanding=table.outstanding(pod.name),
        routed_role=table.role(pod.name),
        flip_started_s=pod.time_s(names.ANNOTATION_FLIP_STARTED),
        drain_started_s=pod.time_s(names.ANNOTATION_DRAIN_STARTED),
        removing=pod.removing,
        running=running,
        waiting=waiting,
        kv_use=kv_use,
        exporting=table.exporting(pod.name),
        scheduled=pod.scheduled_s is not None,
        node=pod.node,
        ready_s=pod.ready_s,
        unready_s=pod.unready_s,
    )

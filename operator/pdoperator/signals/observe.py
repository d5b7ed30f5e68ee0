"""Pods and their metrics to an Observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aiohttp

from pdoperator.api import names
from pdoperator.api.names import Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.signals import engine_metrics
from pdoperator.signals.demand_window import DemandWindow, Interval, RouterCounts
from pdoperator.signals.pods import PodView
from pdoperator.signals.router_metrics import RouterReading, read_router
from pdoperator.signals.scrape import metrics_url, scrape_all

_BETWEEN = Missing("the interval has not ended")


class ServiceScraper:
    """Scrapes the pods of one service; keeps the routers' previous counters. One call at a time."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._window = DemandWindow()
        self._busy_s: float | None = None  # when the service was last not known to be idle

    async def observe(
        self, engines: Sequence[PodView], routers: Sequence[PodView], now_s: float, *, end_interval: bool
    ) -> Observation:
        """What is known at `now_s`. `end_interval`: demand is that since the last call with it; else it is Missing.

        Routers are read every time, engines only while they drain. Never raises for a pod: what cannot be read is
        Missing.
        """
        router_urls = {pod.name: metrics_url(pod.ip, names.ROUTER_PORT) for pod in routers if pod.ip}
        engine_urls = {pod.name: metrics_url(pod.ip, names.ENGINE_PORT) for pod in engines if _leaving(pod)}
        texts = await scrape_all(self._session, router_urls | engine_urls)
        readings = {name: _reading(texts[name]) for name in router_urls}
        table = _RoutingTable(routers, readings)
        interval = self._interval(routers, table, now_s, end_interval)
        return Observation(
            at_s=now_s,
            engines=tuple(_engine(pod, table, texts.get(pod.name)) for pod in engines),
            demand=interval.demand,
            tpot_s=interval.tpot_s,
            idle_for_s=now_s - (now_s if self._busy_s is None else self._busy_s),
        )

    def _interval(
        self, routers: Sequence[PodView], table: _RoutingTable, now_s: float, end: bool
    ) -> Interval:
        created = {pod.name: pod.created_s for pod in routers}
        read = {name: RouterCounts(created[name], reading.counts) for name, reading in table.read.items()}
        came = self._window.update(read, now_s, complete=not table.unread)
        if came is not False or table.any_outstanding:
            self._busy_s = now_s
        return self._window.close(now_s, table.unread) if end else Interval(_BETWEEN, _BETWEEN)


class _RoutingTable:
    """All routers' readings together."""

    def __init__(self, routers: Sequence[PodView], readings: Mapping[str, RouterReading | Missing]) -> None:
        self.read = {name: r for name, r in readings.items() if not isinstance(r, Missing)}
        self._serving = [pod.name for pod in routers if pod.ready and not pod.deleting]
        self.unread = self._why_unread(readings)

    def _why_unread(self, readings: Mapping[str, RouterReading | Missing]) -> str:
        """Empty when every router that serves was read."""
        if not self._serving:
            return "no router is ready"
        for name in self._serving:
            reading = readings.get(name, Missing("it has no address"))
            if isinstance(reading, Missing):
                return f"router {name}: {reading.why}"
        return ""

    @property
    def any_outstanding(self) -> bool:
        return any(n.prefill + n.decode for r in self.read.values() for n in r.outstanding.values())

    def outstanding(self, engine: str) -> Value[PerRole[int]] | Missing:
        """Over all routers, those that are ending included as far as they answer."""
        if self.unread:
            return Missing(self.unread)
        counts = [r.outstanding[engine] for r in self.read.values() if engine in r.outstanding]
        return Value(PerRole(sum(c.prefill for c in counts), sum(c.decode for c in counts)))

    def role(self, engine: str) -> Role | None:
        """The role under which every serving router has the engine."""
        if self.unread:
            return None
        roles = {self.read[name].roles.get(engine) for name in self._serving}
        return roles.pop() if len(roles) == 1 else None


def _leaving(pod: PodView) -> bool:
    return bool(pod.ip) and pod.state is State.DRAINING and not pod.deleting


def _reading(text: Value[str] | Missing) -> RouterReading | Missing:
    if isinstance(text, Missing):
        return text
    try:
        return read_router(text.x)
    except ValueError as failure:
        return Missing(str(failure))


def _engine(pod: PodView, table: _RoutingTable, text: Value[str] | Missing | None) -> EngineView:
    idle: Value[bool] | Missing
    if text is None:
        idle = Missing("scraped only while it drains")
    else:
        idle = text if isinstance(text, Missing) else engine_metrics.idle(text.x)
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
        idle=idle,
        flip_started_s=pod.time_s(names.ANNOTATION_FLIP_STARTED),
        drain_started_s=pod.time_s(names.ANNOTATION_DRAIN_STARTED),
        removing=pod.removing,
    )

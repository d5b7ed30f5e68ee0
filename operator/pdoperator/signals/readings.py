"""Where the readings of pods come from: one interface, two sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import aiohttp

from pdoperator.api import names
from pdoperator.api.values import Missing, Value
from pdoperator.signals.engine_metrics import EngineReading, read_engine
from pdoperator.signals.pods import PodView
from pdoperator.signals.router_metrics import RouterReading, read_router
from pdoperator.signals.scrape import metrics_url, scrape_all

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings by pod name, each with its age; a pod that is not named was not asked."""

    routers: Mapping[str, Value[RouterReading] | Missing] = field(default_factory=dict)
    engines: Mapping[str, Value[EngineReading] | Missing] = field(default_factory=dict)


class Source(Protocol):
    """Reads pods that are alive. Never raises for one: what cannot be read is Missing."""

    async def read(self, routers: Sequence[PodView], engines: Sequence[PodView]) -> Readings:
        """Readings of these pods."""
        ...


class Direct:
    """The pods' own /metrics."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def read(self, routers: Sequence[PodView], engines: Sequence[PodView]) -> Readings:
        """One scrape each, all at once."""
        router_urls = {pod.name: metrics_url(pod.ip, names.ROUTER_PORT) for pod in routers if pod.ip}
        engine_urls = {pod.name: metrics_url(pod.ip, names.ENGINE_PORT) for pod in engines if pod.ip}
        texts = await scrape_all(self._session, router_urls | engine_urls)
        return Readings(
            {name: _parsed(read_router, texts[name]) for name in router_urls},
            {name: _parsed(read_engine, texts[name]) for name in engine_urls},
        )


def _parsed(parse: Callable[[str], R], text: Value[str] | Missing) -> Value[R] | Missing:
    if isinstance(text, Missing):
        return text
    try:
        return Value(parse(text.x), text.age_s)
    except ValueError as failure:
        return Missing(str(failure))

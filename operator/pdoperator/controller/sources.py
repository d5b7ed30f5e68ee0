"""Where a service's signals come from: chosen by its spec, tried out before it is relied on."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pdoperator.api import defaults
from pdoperator.cluster.store import Key
from pdoperator.controller.plan import Plan
from pdoperator.controller.remembered import Past
from pdoperator.signals.observe import ServiceScraper
from pdoperator.signals.pods import PodView
from pdoperator.signals.prometheus import FromPrometheus

TRY_AGAIN_S = 60.0  # a source that did not pass is tried this often


class Sources:
    """Sets the scraper's source, and knows what is wrong with it."""

    def __init__(self, scraper: ServiceScraper, key: Key) -> None:
        self._scraper = scraper
        self._key = key
        self._prometheus: FromPrometheus | None = None
        self._passed = True
        self._tried_at = float("-inf")
        self.problems: Sequence[str] = ()

    def choose(self, plan: Plan) -> None:
        """The source that the plan names; one that is new has yet to pass."""
        wanted = plan.spec.autoscaling.metrics.prometheus
        if wanted == (self._prometheus.settings if self._prometheus else None):
            return
        self._prometheus = None if wanted is None else FromPrometheus(wanted, *self._key)
        self._scraper.source = self._prometheus or self._scraper.direct
        self._passed, self.problems, self._tried_at = wanted is None, (), float("-inf")

    async def try_out(self, routers: Sequence[PodView], engines: Sequence[PodView]) -> None:
        """Run the queries of a source that has not passed; it has once a router is ready and nothing is missing."""
        source = self._prometheus
        if source is None or self._passed or time.monotonic() - self._tried_at < TRY_AGAIN_S:
            return
        self.problems = await source.preflight(routers, engines)
        if any(router.ready for router in routers):
            self._tried_at = time.monotonic()
            self._passed = not self.problems

    async def past(self, plan: Plan) -> Past:
        """What the source knows of the demand before our time; nothing without one. Raises PrometheusError."""
        if self._prometheus is None:
            return Past()
        step_s, now_s = plan.settings.interval_s, time.time()
        return Past(
            await self._prometheus.demand(now_s - plan.settings.window * step_s, now_s, step_s),
            await self._prometheus.demand(now_s - defaults.BACKFILL_S, now_s, defaults.BACKFILL_STEP_S),
        )

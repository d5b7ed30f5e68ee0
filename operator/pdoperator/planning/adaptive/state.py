"""What Adaptive remembers from tick to tick."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

from pdoperator.api import defaults
from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import Demand
from pdoperator.forecast.load_forecast import LoadForecast

_SMOOTHED = ("isl_tokens", "osl_tokens", "prefix_hit")


@dataclass(frozen=True, slots=True)
class AdaptiveState:
    """Loads in busy engines, of both roles together and of each; the shape of requests, smoothed; the last flip."""

    total: LoadForecast
    roles: PerRole[LoadForecast]
    shape: Demand | None = None
    flipped_s: float = -math.inf

    @classmethod
    def empty(cls, interval_s: float) -> AdaptiveState:
        """Before the first tick."""
        return cls(LoadForecast.empty(interval_s), PerRole.of(lambda _: LoadForecast.empty(interval_s)))

    def with_shape(self, demand: Demand, interval_s: float) -> AdaptiveState:
        """With the shape of the newest interval: few requests come in one, so what it does not average is smoothed."""
        old = self.shape
        if old is None:
            return replace(self, shape=demand)
        new = 1 - math.exp(-interval_s / defaults.SHAPE_S)
        smooth = {
            name: getattr(old, name) + new * (getattr(demand, name) - getattr(old, name))
            for name in _SMOOTHED
        }
        return replace(self, shape=replace(demand, **smooth))

    def with_load(self, at_s: float, busy: PerRole[float] | None) -> AdaptiveState:
        """With the engines that the newest interval kept busy; None: that is not known."""
        total = None if busy is None else busy.prefill + busy.decode
        return replace(
            self,
            total=self.total.observe(at_s, total),
            roles=PerRole.of(
                lambda role: self.roles[role].observe(at_s, None if busy is None else busy[role])
            ),
        )

    def to_texts(self) -> dict[str, str]:
        """Loads as forecast writes them, the shape as JSON; nothing before the first request."""
        if self.shape is None:
            return {}
        return {
            "total": self.total.to_text(),
            **{role.value: load.to_text() for role, load in self.roles.items()},
            "shape": json.dumps(asdict(self.shape)),
        }

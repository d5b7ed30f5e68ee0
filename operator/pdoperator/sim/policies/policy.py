"""What the policies have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from pdoperator.api.values import PerRole
from pdoperator.planning.observation import Observation
from pdoperator.sim.scenario import RouterOptions


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """Requests per second that were expected for the time `for_s` of the replay."""

    for_s: float
    rate_rps: float


@dataclass(slots=True)
class PolicyBase(ABC):
    """Decides every `interval_s` simulated seconds; an object serves one replay, for it may remember.

    `target` is what it asked for last, at first the fleet it starts with. Without `shared_pool` a role changes by
    stopping one engine and starting another. An aggregated fleet is one without prefill engines. `forecasts` is for
    the report.
    """

    name: str
    interval_s: float
    target: PerRole[int]
    shared_pool: bool = False
    router: RouterOptions = field(default_factory=RouterOptions)
    forecasts: list[ForecastPoint] = field(default_factory=list)

    def decide(self, seen: Observation) -> PerRole[int]:
        """Engines by role from now on."""
        self.target = self.choose(seen)
        return self.target

    @abstractmethod
    def choose(self, seen: Observation) -> PerRole[int]:
        """What to ask for; `self.target` to leave it as it is."""

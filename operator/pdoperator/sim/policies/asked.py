"""What can be reached from the first fleet if more engines are asked for at one moment, all of them at once.

They serve a start-up time later. Who asks later, or for one after the other, has fewer meanwhile: where the best of
these settings misses by far, the start is what limits everybody. It is a bound but for flips in between, with moment
and splits chosen in hindsight; no candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api.values import PerRole, total
from pdoperator.planning.observation import Observation
from pdoperator.planning.split import in_proportion
from pdoperator.sim.policies.policy import PolicyBase


@dataclass(slots=True, kw_only=True)
class Asked(PolicyBase):
    """Asks at `at_s` for `fleet`; while that starts (`startup_s`) its engines have the roles of the first ones."""

    fleet: PerRole[int]
    at_s: float
    startup_s: float

    def choose(self, seen: Observation) -> PerRole[int]:
        """The first fleet, as many engines as were asked for in its proportion, or the fleet."""
        if seen.at_s < self.at_s:
            return self.target
        if seen.at_s >= self.at_s + self.startup_s:
            return self.fleet
        engines = total(self.fleet)
        prefill = in_proportion(engines, self.target)
        return PerRole(prefill, engines - prefill)

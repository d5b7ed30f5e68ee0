"""Policies that know the trace: what perfect knowledge would cost. They are bounds, not candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api.values import PerRole
from pdoperator.planning.observation import Observation
from pdoperator.sim.policies.policy import PolicyBase
from pdoperator.sim.policies.work import Work


@dataclass(slots=True, kw_only=True)
class Oracle(PolicyBase):
    """Engines for the true work of the windows that begin within `lead_s`, each role loaded to `load`.

    With no lead and engines that start at once it is the clairvoyant bound; with the start-up time as lead it is
    foresight: as many engines as the busiest of those windows needs, split as the present one asks for.
    """

    work: Work
    load: PerRole[float]
    lead_s: float = 0.0
    aggregated: bool = False

    def choose(self, seen: Observation) -> PerRole[int]:
        """The fleet for now."""
        first, last = self.work.at(seen.at_s), self.work.at(seen.at_s + self.lead_s)
        if self.aggregated:
            return PerRole(0, max(self._together(i) for i in range(first, last + 1)))
        now = self._needed(first)
        most = max(n.prefill + n.decode for n in map(self._needed, range(first, last + 1)))
        spare = most - now.prefill - now.decode
        prefill = now.prefill + round(spare * now.prefill / (now.prefill + now.decode))
        return PerRole(prefill, most - prefill)

    def _needed(self, window: int) -> PerRole[int]:
        work = self.work
        return PerRole(
            _engines(work.prefill[window] / self.load.prefill),
            _engines(work.decode[window] / self.load.decode),
        )

    def _together(self, window: int) -> int:
        return _engines(
            self.work.prefill[window] / self.load.prefill + self.work.decode[window] / self.load.decode
        )


def _engines(busy: float) -> int:
    return max(1, math.ceil(busy))

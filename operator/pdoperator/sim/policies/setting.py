"""What a policy is made for: trace, scenario, targets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pdoperator.api.values import PerRole
from pdoperator.forecast.demand import Demand
from pdoperator.sim.scenario import Scenario
from pdoperator.sim.traffic.trace import Trace


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy is made for. Only bounds read the trace's future; others know its means, as `first` does."""

    name: str
    trace: Trace
    scenario: Scenario
    percentile: int
    before: Trace | None = None  # earlier days of the same traffic

    @property
    def first(self) -> PerRole[int]:
        """The fleet that policies start from."""
        return self.scenario.first

    @property
    def engines(self) -> int:
        """The same in all."""
        return self.first.prefill + self.first.decode

    @property
    def usual(self) -> Demand:
        """The trace's mean demand, which `first` is made for."""
        trace = self.trace
        return Demand(
            len(trace) / trace.span_s,
            float(trace.input_tokens.mean()),
            float(trace.output_tokens.mean()),
            prefix_hit=float(trace.cached_tokens.sum() / trace.input_tokens.sum()),
        )

    @property
    def budget(self) -> int | None:
        """The GPU budget in engines."""
        gpus = self.scenario.gpu_budget
        return None if gpus is None else gpus // self.scenario.profile.gpus_per_replica

    def least(self, share: float) -> int:
        """A minimum for policies that shrink when signals are quiet: a share of the smaller of the first pools."""
        return max(1, math.ceil(share * min(self.first.prefill, self.first.decode)))

"""What the simulated router has counted, as the operator reads it of a real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pdoperator.api.values import Missing, Value
from pdoperator.forecast.demand import Demand
from pdoperator.signals.counters import ByLength
from pdoperator.signals.demand_window import DemandWindow, Interval, RouterCounts
from pdoperator.signals.router_metrics import Counts
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.answers import generated_by_position

_ROUTER = "router"


@dataclass(slots=True)
class Counted:
    """The operator's own window over a router that is there from time 0, and the hits of the engines' prefix caches."""

    _window: DemandWindow = field(default_factory=DemandWindow)
    _generated: NDArray[np.float64] = field(default_factory=lambda: np.zeros(k.CLASSES))
    _inputs: tuple[float, float] = (
        0.0,
        0.0,
    )  # tokens admitted, those of them that were cached, when last read

    def __post_init__(self) -> None:
        self._read(Counts(), 0.0)
        self._window.close(0.0, unread="")

    def interval(self, state: k.State, params: k.Params, now_s: float) -> Interval:
        """What came since the last call."""
        # What an engine was generating when it failed is not forgotten.
        self._generated = np.maximum(self._generated, generated_by_position(state, params, now_s))
        self._read(self._counts(state), now_s)
        came = self._window.close(now_s, unread="")
        return replace(came, demand=_with_hits(came.demand, self._hit(state.counts)))

    def _read(self, counts: Counts, now_s: float) -> None:
        self._window.update({_ROUTER: RouterCounts(0.0, now_s, counts)}, now_s, complete=True)

    def _hit(self, counts: NDArray[np.float64]) -> float:
        inputs, cached = float(counts[k.ISL_SUM]), float(counts[k.CACHED_SUM])
        before, self._inputs = self._inputs, (inputs, cached)
        return (cached - before[1]) / (inputs - before[0]) if inputs > before[0] else 0.0

    def _counts(self, state: k.State) -> Counts:
        by, (ended, ended_tokens) = state.counts.tolist(), state.lengths[: k.ENDED_POSITIONS].tolist()
        return Counts(
            admitted=by[k.ADMITTED],
            input_tokens=by[k.ENDED_ISL_SUM],
            inputs=by[k.SERVED],
            output_tokens=by[k.OSL_SUM],
            outputs=by[k.SERVED],
            tpot_s=by[k.TPOT_SUM],
            tpots=by[k.TPOT_COUNT],
            ttft_s=by[k.TTFT_SUM],
            ttfts=by[k.SERVED],
            sized=by[k.ADMITTED],
            sized_tokens=by[k.ISL_SUM],
            sized_squares=by[k.ISL_SQUARES],
            output_squares=by[k.OSL_SQUARES],
            token_products=by[k.PRODUCT_SUM],
            products=by[k.SERVED],
            judged=by[k.ENDED],
            within_slo=by[k.ENDED] - by[k.MISSED],
            ended=ByLength(tuple(ended)),
            ended_tokens=ByLength(tuple(ended_tokens)),
            generated=ByLength(tuple(self._generated.tolist())),
        )


def _with_hits(demand: Value[Demand | None] | Missing, hit: float) -> Value[Demand | None] | Missing:
    if isinstance(demand, Missing) or demand.x is None:
        return demand
    return Value(replace(demand.x, prefix_hit=hit))

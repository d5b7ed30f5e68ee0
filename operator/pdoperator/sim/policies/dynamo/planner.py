"""NVIDIA Dynamo's planner (ai-dynamo 1.5.1), driven tick by tick; run by the Python of an environment that has it.

JSON lines. In, first what it is built from (`Dynamo.configuration`), then a line every TICK_S simulated seconds
(`Dynamo._told`). Out, a line for each tick: `{"engines": [prefill, decode] or null, "rate_rps": … or null}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from dynamo.common.forward_pass_metrics import (
    ForwardPassMetrics,
    QueuedRequestMetrics,
    ScheduledRequestMetrics,
)
from dynamo.planner.config.planner_config import PlannerConfig
from dynamo.planner.core.types import (
    EngineCapabilities,
    FpmObservations,
    PlannerEffects,
    TickInput,
    TrafficObservation,
    WorkerCapabilities,
    WorkerCounts,
)
from dynamo.planner.plugins.clock import VirtualClock
from dynamo.planner.plugins.orchestrator.engine_adapter import OrchestratorEngineAdapter

Told = dict[str, Any]


class Planner:
    """The planner and the traffic that it has not asked for yet."""

    def __init__(self, built: Told) -> None:
        engine = EngineCapabilities(**built["engine"])
        config = PlannerConfig.model_validate(built["config"])
        self._throughput_s = config.throughput_adjustment_interval_seconds
        self._adapter = OrchestratorEngineAdapter(
            config, WorkerCapabilities(prefill=engine, decode=engine), clock=VirtualClock()
        )
        self._next = self._adapter.initial_tick(0.0)
        self._traffic: list[Told] = []

    async def warm(self, built: Told) -> None:
        """Performance models from samples, then one throughput interval of the mean load: without it there is no floor.

        During that interval the planner is told of no engine's steps, so it leaves the fleet as it is.
        """
        await self._adapter.bootstrap_from_fpms(
            prefill_fpms=[_prefill(one) for one in built["prefill_samples"]],
            decode_fpms=[_decode(one) for one in built["decode_samples"]],
        )
        while self._next.at_s <= self._throughput_s:
            await self.tick(built["warm"])

    async def tick(self, told: Told) -> PlannerEffects:
        """What it decides at its next tick."""
        tick = self._next
        self._traffic.append(told["traffic"])
        counts = WorkerCounts(
            ready_num_prefill=told["ready"][0],
            ready_num_decode=told["ready"][1],
            expected_num_prefill=told["expected"][0],
            expected_num_decode=told["expected"][1],
        )
        effects = await self._adapter.tick(
            tick,
            TickInput(
                now_s=tick.at_s,
                traffic=self._since_asked() if tick.need_traffic_metrics else None,
                worker_counts=counts,
                fpm_observations=FpmObservations(
                    prefill={(one["name"], 0): _prefill(one) for one in told["prefill"]},
                    decode={(one["name"], 0): _decode(one) for one in told["decode"]},
                )
                if tick.need_worker_fpm
                else None,
            ),
        )
        self._next = effects.next_tick
        return effects

    async def answer(self, told: Told) -> Told:
        """The line that answers a tick."""
        effects = await self.tick(told)
        scale, expected = effects.scale_to, effects.diagnostics.predicted_num_req
        return {
            "engines": None
            if scale is None
            else [
                told["expected"][i] if count is None else count
                for i, count in enumerate((scale.num_prefill, scale.num_decode))
            ],
            "rate_rps": None if expected is None else expected / self._throughput_s,
        }

    def _since_asked(self) -> TrafficObservation:
        traffic, self._traffic = self._traffic, []
        requests = sum(one["requests"] for one in traffic)

        def mean(key: str) -> float:
            return sum(one["requests"] * one[key] for one in traffic) / requests if requests else 0.0

        return TrafficObservation(
            duration_s=sum(one["duration_s"] for one in traffic),
            num_req=requests,
            isl=mean("isl_tokens"),
            osl=mean("osl_tokens"),
            kv_hit_rate=mean("prefix_hit"),
        )


def _prefill(one: Told) -> ForwardPassMetrics:
    return ForwardPassMetrics(
        worker_id=one["name"],
        wall_time=one["step_s"],
        scheduled_requests=ScheduledRequestMetrics(
            num_prefill_requests=one["requests"], sum_prefill_tokens=one["tokens"]
        ),
        queued_requests=QueuedRequestMetrics(
            num_prefill_requests=one["queued"], sum_prefill_tokens=one["queued_tokens"]
        ),
    )


def _decode(one: Told) -> ForwardPassMetrics:
    return ForwardPassMetrics(
        worker_id=one["name"],
        wall_time=one["step_s"],
        scheduled_requests=ScheduledRequestMetrics(
            num_decode_requests=one["requests"], sum_decode_kv_tokens=one["tokens"]
        ),
        queued_requests=QueuedRequestMetrics(
            num_decode_requests=one["queued"], sum_decode_kv_tokens=one["queued_tokens"]
        ),
    )


async def main() -> None:
    """Answer until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    built = json.loads(sys.stdin.readline())
    planner = Planner(built)
    await planner.warm(built)
    for line in sys.stdin:
        print(json.dumps(await planner.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    asyncio.run(main())

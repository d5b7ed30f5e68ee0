"""A trace through simulated engines under a policy: the loop of one service, in simulated time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pdoperator.api import defaults
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.observation import EngineView, Observation
from pdoperator.planning.settings import Limits, RoleLimits
from pdoperator.planning.steps import next_steps
from pdoperator.sim.counted import Counted
from pdoperator.sim.fleet import Fleet, counts, pools_of
from pdoperator.sim.kernel import state as k
from pdoperator.sim.kernel.run import run_until
from pdoperator.sim.scenario import LocalPrefill, RouterOptions, Scenario
from pdoperator.sim.traffic.trace import Trace

# A trace's last requests get this long; who has not finished by then has failed (the router's own limit).
LAST_REQUESTS_S = 600.0


class Policy(Protocol):
    """Who decides. `shared_pool`: engines change their role in seconds, else one stops and another starts.

    The cheapest thing to do for an aggregated fleet is a target without prefill engines.
    """

    name: str
    interval_s: float
    shared_pool: bool
    router: RouterOptions

    def decide(self, seen: Observation) -> PerRole[int]:
        """The target for now; called every `interval_s` simulated seconds."""
        ...


@dataclass(frozen=True, slots=True)
class FleetSeries:
    """Engines at each decision; all arrays of one length."""

    t_s: NDArray[np.float64]
    prefill_ready: NDArray[np.int32]
    prefill_starting: NDArray[np.int32]
    prefill_draining: NDArray[np.int32]
    decode_ready: NDArray[np.int32]
    decode_starting: NDArray[np.int32]
    decode_draining: NDArray[np.int32]
    target_prefill: NDArray[np.int32]
    target_decode: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a replay. Latencies by request, NaN where there was none; engine time up to the trace's end."""

    trace: Trace
    scenario: Scenario
    policy: str
    ttft_s: NDArray[np.float32]
    tpot_s: NDArray[np.float32]
    finished: NDArray[np.bool_]
    finish_s: NDArray[np.float64]
    fleet: FleetSeries
    engine_seconds: float
    busy_seconds: float
    flips: int
    scale_events: int
    settle_s: NDArray[np.float64]
    preemptions: int
    local_prefills: int
    wall_s: float


def params_of(scenario: Scenario, router: RouterOptions) -> k.Params:
    """A scenario as the compiled loop takes it."""
    profile = scenario.profile
    return k.Params(
        itl_a=profile.itl.a,
        pass_s=profile.pass_s,
        latency_s=profile.latency_s,
        ttft_b=profile.ttft.b,
        ttft_c=profile.ttft.c,
        itl_b=profile.itl.b,
        itl_c=profile.itl.c,
        kv_tokens=profile.kv_tokens,
        max_batch=profile.max_batch,
        batched_tokens=router.chunk_tokens or profile.batched_tokens,
        transfer_s_per_token=profile.transfer_s_per_token,
        ttft_s=scenario.ttft_s,
        late_s=defaults.LATE_SHARE * scenario.ttft_s,
        deferral_s=router.deferral_s,
        tpot_s=scenario.tpot_s,
        local=list(LocalPrefill).index(router.local_prefill),
    )


def replay(
    trace: Trace, scenario: Scenario, policy: Policy, progress: Callable[[float], None] | None = None
) -> Outcome:
    """Run it. `progress` gets the share of the trace that has been played, now and then."""
    return _Replay(trace, scenario, policy).run(progress)


class _Replay:
    """One run: the compiled loop between the moments at which the operator, a pod or a failure does something."""

    def __init__(self, trace: Trace, scenario: Scenario, policy: Policy) -> None:
        self._trace, self._scenario, self._policy = trace, scenario, policy
        self._params = params_of(scenario, policy.router)
        self._state = k.new_state(
            trace.arrival_s,
            trace.input_tokens,
            trace.output_tokens,
            trace.cached_tokens,
            scenario.max_engines,
            scenario.profile.max_batch,
        )
        self._fleet = Fleet(
            scenario,
            self._state,
            self._params,
            dict(pools_of(scenario.first, policy.shared_pool)),
            np.random.default_rng(scenario.seed),
        )
        self._limits = _limits(scenario)
        self._target = scenario.first
        self._series: list[tuple[float, ...]] = []
        self._scale_events = 0
        self._last_arrival_s = -math.inf
        self._admitted = 0.0
        self._counted = Counted()

    def run(self, progress: Callable[[float], None] | None) -> Outcome:
        began = time.perf_counter()
        span_s = self._trace.span_s
        failures = sorted(f.at_s for f in self._scenario.failures)
        self._fleet.start(self._scenario.first)
        now_s, decide_at_s, act_at_s = 0.0, self._policy.interval_s, math.inf
        while not self._over(now_s):
            pod_s = self._fleet.next_event_s(now_s)
            failure_s = failures[0] if failures else math.inf
            now_s = min(decide_at_s, act_at_s, pod_s, failure_s, span_s + LAST_REQUESTS_S)
            run_until(self._state, self._params, now_s)
            if now_s >= failure_s:
                self._fleet.fail_one(failures.pop(0))
            self._fleet.settle(now_s)
            views = self._fleet.views(now_s)
            if now_s >= decide_at_s:
                decide_at_s += self._policy.interval_s
                self._decide(views, now_s)
                if progress is not None:
                    progress(min(1.0, now_s / span_s))
            busy = self._act(views, now_s)
            act_at_s = now_s + defaults.STEP_PERIOD_S if busy else math.inf
        return self._outcome(span_s, time.perf_counter() - began)

    def _over(self, now_s: float) -> bool:
        cursors = self._state.cursors
        done = cursors[k.NEXT_ARRIVAL] >= len(self._trace) and cursors[k.OUTSTANDING] == 0
        return bool(done) or now_s >= self._trace.span_s + LAST_REQUESTS_S

    def _decide(self, views: tuple[EngineView, ...], now_s: float) -> None:
        target = self._policy.decide(self._observe(views, now_s))
        self._scale_events += target != self._target
        self._target = target
        sizes = [n for _, *three in counts(views) for n in three]
        self._series.append((now_s, *sizes, target.prefill, target.decode))

    def _act(self, views: tuple[EngineView, ...], now_s: float) -> bool:
        """Take the steps towards the target. True while something is under way."""
        steps = next_steps(self._target, views, self._fleet.replicas, now_s, self._limits)
        if steps:
            self._fleet.apply(steps, now_s)
            return True
        settled = sum(view.usable and view.flip_started_s is None for view in views)
        return not settled == len(self._fleet.pods) == sum(self._fleet.replicas.values())

    def _observe(self, views: tuple[EngineView, ...], now_s: float) -> Observation:
        admitted = float(self._state.counts[k.ADMITTED])
        if admitted > self._admitted:
            self._admitted, self._last_arrival_s = admitted, now_s
        came = self._counted.interval(self._state, self._params, now_s)
        startup_s = self._fleet.startup_p90_s()
        return Observation(
            at_s=now_s,
            engines=views,
            demand=came.demand,
            tpot_s=came.tpot_s,
            idle_for_s=now_s - max(0.0, self._last_arrival_s),
            ttft_s=came.ttft_s,
            slo=came.slo,
            startup_p90_s=Missing("none started yet") if startup_s is None else Value(startup_s),
        )

    def _outcome(self, span_s: float, wall_s: float) -> Outcome:
        requests = self._state.requests
        finished = requests["state"] == k.FINISHED
        ttft_s = requests["first_s"] - requests["arrival_s"] + self._params.latency_s
        tokens = requests["osl"] - 1  # after the first
        decoded_s = requests["finish_s"] - requests["first_s"]
        tpot_s = np.where(tokens > 0, decoded_s / np.maximum(1, tokens), 0.0)
        series = np.array(self._series).reshape(-1, 9)
        columns = [series[:, i].astype(np.int32) for i in range(1, 9)]
        return Outcome(
            trace=self._trace,
            scenario=self._scenario,
            policy=self._policy.name,
            ttft_s=ttft_s.astype(np.float32),
            tpot_s=np.where(finished, tpot_s, np.nan).astype(np.float32),
            finished=finished,
            finish_s=np.where(finished, requests["finish_s"], np.nan),
            fleet=FleetSeries(series[:, 0], *columns),
            engine_seconds=self._fleet.engine_seconds(span_s),
            busy_seconds=float(self._state.engines["busy_s"].sum()),
            flips=self._fleet.flips,
            scale_events=self._scale_events,
            settle_s=np.array(self._fleet.settled_s),
            preemptions=int(self._state.counts[k.PREEMPTED]),
            local_prefills=int(self._state.counts[k.LOCAL_PREFILLS]),
            wall_s=wall_s,
        )


def _limits(scenario: Scenario) -> Limits:
    gpus = scenario.profile.gpus_per_replica
    role = RoleLimits(0, scenario.max_engines, 1, gpus)
    return Limits(PerRole.of(lambda _: role), scenario.gpu_budget)

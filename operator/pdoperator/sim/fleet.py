"""The engine pods of a replay: created, started, flipped, drained, gone, by the steps that the operator takes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pdoperator.api import defaults
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import PerRole, Value
from pdoperator.planning.decision import (
    CancelDrain,
    ConfirmFlip,
    Remove,
    ScaleTo,
    SetRole,
    StartDrain,
    Step,
)
from pdoperator.planning.observation import EngineView
from pdoperator.sim.kernel import run as kernel
from pdoperator.sim.kernel import state as kernel_state
from pdoperator.sim.kernel.steps import kv_at
from pdoperator.sim.scenario import Scenario

# A pod that is deleted holds its GPU for the preStop hook and the teardown of vLLM's workers (10 to 14 s, measured)...
TEARDOWN_S = defaults.PRESTOP_S + 12.0
# ... and one that still has requests for as long as vLLM's own drain may take.
LAST_DRAIN_S = TEARDOWN_S + defaults.ENGINE_SHUTDOWN_TIMEOUT_S
STARTUPS_KEPT = 20


@dataclass(slots=True)
class Pod:
    """One engine pod, on a slot of the compiled loop while it is there."""

    name: str
    slot: int
    pool: Pool
    created_s: float
    ready_s: float
    role: Role = Role.BOTH
    state: State = State.WARMING
    routed_from_s: float = math.inf  # when the router has its newest role
    flip_started_s: float | None = None
    drain_started_s: float | None = None
    removing: bool = False
    deleted_s: float = math.inf  # when its ReplicaSet deleted it

    @property
    def kept(self) -> bool:
        """Not deleted."""
        return self.deleted_s == math.inf


@dataclass(slots=True)
class Fleet:
    """Pods by name. `replicas` is what the Deployments ask for, by pool."""

    scenario: Scenario
    state: kernel_state.State
    params: kernel_state.Params
    replicas: dict[str, int]
    random: np.random.Generator
    pods: dict[str, Pod] = field(default_factory=dict)
    flips: int = 0
    settled_s: list[float] = field(default_factory=list)
    lifetimes_s: list[tuple[float, float]] = field(default_factory=list)  # of those that are gone
    startups_s: deque[float] = field(default_factory=lambda: deque(maxlen=STARTUPS_KEPT))
    _made: int = 0
    _free: list[int] = field(default_factory=list)

    def start(self, first: PerRole[int]) -> None:
        """The fleet at time 0: ready, in its roles."""
        self._reconcile(0.0)
        pods = list(self.pods.values())
        for i, pod in enumerate(pods):
            pod.ready_s = pod.routed_from_s = 0.0
            pod.state = State.SERVING
            prefill = pod.pool is Pool.PREFILL or (pod.pool is Pool.SHARED and i < first.prefill)
            pod.role = Role.PREFILL if prefill else Role.DECODE
        self.settle(0.0)

    def next_event_s(self, now_s: float) -> float:
        """When the next pod becomes ready, gets its new role at the router, or is gone."""
        times = (
            t
            for pod in self.pods.values()
            for t in (
                pod.ready_s,
                pod.routed_from_s,
                pod.deleted_s + TEARDOWN_S,
                pod.deleted_s + LAST_DRAIN_S,
            )
        )
        return min((t for t in times if t > now_s), default=math.inf)

    def settle(self, now_s: float) -> None:
        """Tell the router what it knows by now; let go what has been deleted and has ended."""
        serving, role = self.state.engines["serving"], self.state.engines["role"]
        for pod in self.pods.values():
            serving[pod.slot] = (
                pod.ready_s <= now_s
                and pod.state is State.SERVING
                and pod.routed_from_s <= now_s
                and not pod.removing
            )
            role[pod.slot] = kernel_state.PREFILL if pod.role is Role.PREFILL else kernel_state.DECODE
        ended = [pod for pod in self.pods.values() if self._has_ended(pod, now_s)]
        for pod in ended:
            self._gone(pod, now_s)
        if ended:
            self._reconcile(now_s)

    def apply(self, steps: list[Step], now_s: float) -> None:
        """Carry out the steps as the operator's actuator does."""
        for step in steps:
            match step:
                case ScaleTo():
                    self.replicas.update(step.replicas)
                case SetRole():
                    self._set_role(self.pods[step.engine], step.role, step.flip, now_s)
                case ConfirmFlip():
                    self.pods[step.engine].flip_started_s = None
                    self.flips += 1
                    self.settled_s.append(step.seconds)
                case StartDrain():
                    pod = self.pods[step.engine]
                    pod.state, pod.drain_started_s, pod.flip_started_s = State.DRAINING, now_s, None
                case CancelDrain():
                    pod = self.pods[step.engine]
                    pod.state, pod.drain_started_s, pod.removing = step.state, None, False
                case Remove():
                    pod = self.pods[step.engine]
                    pod.removing = True
                    self.replicas[pod.pool.value] -= 1
        self._reconcile(now_s)
        self.settle(now_s)

    def fail_one(self, now_s: float) -> None:
        """Lose a serving engine; its ReplicaSet starts another."""
        serving = [pod for pod in self.pods.values() if self.state.engines["serving"][pod.slot]]
        if serving:
            self._gone(serving[int(self.random.integers(len(serving)))], now_s)
            self._reconcile(now_s)

    def views(self, now_s: float) -> tuple[EngineView, ...]:
        """The pods as the operator observes them."""
        busy = self._readings(now_s)
        return tuple(_view(pod, busy[pod.slot], now_s) for pod in self.pods.values() if pod.kept)

    def _readings(self, now_s: float) -> list[_Reading]:
        """What each slot's engine reports. Read by column: a record at a time costs more than all else here."""
        used = int(self.state.cursors[kernel_state.SLOTS])
        engines, queues = self.state.engines[:used], self.state.queues[:used]["count"]
        kv_use = [kv_at(self.state, self.params, e, now_s) / self.params.kv_tokens for e in range(used)]
        columns = (engines["serving"], engines["batch"], engines["exports"], queues)
        return [_Reading(*row) for row in zip(*(column.tolist() for column in columns), kv_use, strict=True)]

    def engine_seconds(self, until_s: float) -> float:
        """From created to gone, over all pods, up to `until_s`."""
        alive = ((pod.created_s, until_s) for pod in self.pods.values())
        return sum(max(0.0, min(b, until_s) - a) for a, b in (*self.lifetimes_s, *alive))

    def startup_p90_s(self) -> float | None:
        """Of the newest engines that were started; None before the first."""
        return float(np.quantile(np.array(self.startups_s), 0.9)) if self.startups_s else None

    def _set_role(self, pod: Pod, role: Role, flip: bool, now_s: float) -> None:
        pod.role, pod.state = role, State.SERVING
        pod.flip_started_s = now_s if flip else None
        pod.routed_from_s = now_s + (self.scenario.flip_s if flip else 0.0)

    def _reconcile(self, now_s: float) -> None:
        """Each Deployment's ReplicaSet: as many pods as asked for."""
        for pool, wanted in self.replicas.items():
            mine = [p for p in self.pods.values() if p.pool.value == pool and p.kept]
            for _ in range(wanted - len(mine)):
                self._create(Pool(pool), now_s)
            for pod in sorted(mine, key=lambda p: _deletion_order(p, now_s))[: max(0, len(mine) - wanted)]:
                pod.deleted_s, pod.removing = now_s, True

    def _create(self, pool: Pool, now_s: float) -> None:
        scenario = self.scenario
        gpus, budget = scenario.profile.gpus_per_replica, scenario.gpu_budget
        if len(self.pods) == scenario.max_engines or (budget and (len(self.pods) + 1) * gpus > budget):
            return  # no node has room: it stays pending
        slot = self._free.pop() if self._free else int(self.state.cursors[kernel_state.SLOTS])
        if slot == self.state.cursors[kernel_state.SLOTS]:
            self.state.cursors[kernel_state.SLOTS] += 1
        self._made += 1
        startup_s = self._startup_s(pool)
        pod = Pod(f"engine-{self._made}", slot, pool, now_s, now_s + startup_s)
        if now_s > 0:
            self.startups_s.append(startup_s)
        self.pods[pod.name] = pod
        engine = self.state.engines[slot]
        engine["alive"], engine["serving"] = True, False
        engine["link_out_free_s"] = engine["link_in_free_s"] = now_s

    def _startup_s(self, pool: Pool) -> float:
        mean_s, cv = self.scenario.startup_s, self.scenario.startup_cv
        if pool is Pool.DECODE and self.scenario.decode_startup_s is not None:
            mean_s = self.scenario.decode_startup_s
        if mean_s == 0 or cv == 0:
            return mean_s
        sigma = math.sqrt(math.log1p(cv**2))
        return float(self.random.lognormal(math.log(mean_s) - sigma**2 / 2, sigma))

    def _has_ended(self, pod: Pod, now_s: float) -> bool:
        """Whether a deleted pod is gone by now; one that never was ready goes at once."""
        if pod.kept:
            return False
        if pod.ready_s > pod.deleted_s or now_s >= pod.deleted_s + LAST_DRAIN_S:
            return True
        return now_s >= pod.deleted_s + TEARDOWN_S and bool(kernel.is_empty(self.state, pod.slot))

    def _gone(self, pod: Pod, now_s: float) -> None:
        kernel.kill(self.state, self.params, pod.slot, now_s)
        del self.pods[pod.name]
        self._free.append(pod.slot)
        self.lifetimes_s.append((pod.created_s, now_s))


class _Reading(NamedTuple):
    """Of one engine: whether it is routed to, its batch, exports, the length of each queue, the share of KV in use."""

    serving: bool
    batch: int
    exports: int
    queued: list[int]
    kv_use: float


def _view(pod: Pod, reading: _Reading, now_s: float) -> EngineView:
    prompts, deferred, rooms, links, joins = reading.queued
    return EngineView(
        name=pod.name,
        pool=pod.pool,
        role=pod.role,
        state=pod.state,
        ready=pod.ready_s <= now_s,
        deleting=False,
        revision="",
        created_s=pod.created_s,
        outstanding=Value(PerRole(prompts + deferred, reading.batch + joins + links + rooms)),
        routed_role=pod.role if reading.serving else None,
        flip_started_s=pod.flip_started_s,
        drain_started_s=pod.drain_started_s,
        removing=pod.removing,
        running=Value(float(reading.batch)),
        waiting=Value(float(prompts + deferred + rooms)),
        kv_use=Value(reading.kv_use),
        exporting=Value(reading.exports),
        ready_s=pod.ready_s,
    )


def _deletion_order(pod: Pod, now_s: float) -> tuple[bool, bool, float]:
    """What a ReplicaSet deletes first: not ready, then marked by pod-deletion-cost, then the youngest."""
    return pod.ready_s <= now_s, not pod.removing, -pod.created_s


def counts(views: tuple[EngineView, ...]) -> Iterator[tuple[Role, int, int, int]]:
    """By serving role: ready, starting (all those without a role yet count as decode), draining."""
    for role in (Role.PREFILL, Role.DECODE):
        mine = [v for v in views if v.role is role or (role is Role.DECODE and v.role is Role.BOTH)]
        yield (
            role,
            sum(v.usable for v in mine),
            sum(not v.ready for v in mine),
            sum(v.state is State.DRAINING for v in mine),
        )


def pools_of(first: PerRole[int], shared: bool) -> Mapping[str, int]:
    """Replicas of the Deployments at the beginning."""
    if shared:
        return {Pool.SHARED.value: first.prefill + first.decode}
    both = {Pool.PREFILL.value: first.prefill, Pool.DECODE.value: first.decode}
    return {pool: count for pool, count in both.items() if count}

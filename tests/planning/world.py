"""A tiny cluster for `next_steps`: pods, routers' readings, and a ReplicaSet that deletes in Kubernetes' order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.planning.decision import CancelDrain, ConfirmFlip, Remove, ScaleTo, SetRole, StartDrain, Step
from pdoperator.planning.observation import EngineView

TERMINATION_S = 3


@dataclass
class Pod:
    name: str
    pool: Pool
    role: Role
    created_s: float
    ready_at_s: float
    state: State = State.WARMING
    work: dict[Role, int] = field(default_factory=lambda: {Role.PREFILL: 0, Role.DECODE: 0})
    hangs: bool = False  # its work never ends
    flip_started_s: float | None = None
    drain_started_s: float | None = None
    removing: bool = False
    may_go: bool = False  # the last removal of it was allowed: empty, timed out or not ready
    deleted_at_s: float | None = None


class World:
    """Time goes in steps of a second. `random` decides start-up times, load, restarts and readings that fail."""

    def __init__(self, random: Random, replicas: Mapping[str, int]) -> None:
        self.random = random
        self.now_s = 1000.0
        self.replicas = dict(replicas)
        self.pods: dict[str, Pod] = {}
        self.calm = False
        self.created = 0
        self.wrongly_deleted: list[str] = []
        self.replica_sets()

    def ready(self, pod: Pod) -> bool:
        return pod.deleted_at_s is None and pod.ready_at_s <= self.now_s

    def active(self, pool: str) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.pool.value == pool and pod.deleted_at_s is None]

    def replica_sets(self) -> None:
        for pool, wanted in self.replicas.items():
            active = self.active(pool)
            for _ in range(wanted - len(active)):
                self._create(Pool(pool))
            # Kubernetes: not ready before ready, then the lower deletion cost, then the younger.
            ranked = sorted(
                active, key=lambda pod: (self.ready(pod), not pod.removing, -pod.created_s, pod.name)
            )
            for pod in ranked[: max(0, len(active) - wanted)]:
                if self.ready(pod) and not pod.may_go:
                    self.wrongly_deleted.append(pod.name)
                pod.deleted_at_s = self.now_s

    def _create(self, pool: Pool) -> None:
        self.created += 1
        role = Role.BOTH if pool is Pool.SHARED else Role(pool.value)
        name = f"e{self.created}"
        self.pods[name] = Pod(name, pool, role, self.now_s, self.now_s + self.random.randint(1, 8))

    def pass_second(self) -> None:
        self.now_s += 1
        gone = [
            p.name
            for p in self.pods.values()
            if p.deleted_at_s and self.now_s - p.deleted_at_s > TERMINATION_S
        ]
        for name in gone:
            del self.pods[name]
        for pod in self.pods.values():
            self._work(pod)
            if not self.calm and self.ready(pod) and self.random.random() < 0.02:
                pod.ready_at_s = self.now_s + self.random.randint(1, 20)  # its container restarts
        self.replica_sets()

    def _work(self, pod: Pod) -> None:
        pod.hangs = pod.hangs and not self.calm
        for role in pod.work:
            if pod.work[role] and not pod.hangs and self.random.random() < 0.5:
                pod.work[role] -= 1
        if self.ready(pod) and pod.state is State.SERVING and pod.role is not Role.BOTH and not self.calm:
            pod.work[pod.role] += self.random.randint(0, 1)
            pod.hangs = pod.hangs or self.random.random() < 0.01

    def views(self) -> list[EngineView]:
        return [self._view(pod) for pod in self.pods.values()]

    def _view(self, pod: Pod) -> EngineView:
        blind = not self.calm and self.random.random() < 0.1
        away = Missing("not read this time")
        heard = self.calm or self.random.random() < 0.7
        return EngineView(
            name=pod.name,
            pool=pod.pool,
            role=pod.role,
            state=pod.state,
            ready=self.ready(pod),
            deleting=pod.deleted_at_s is not None,
            revision="r1",
            created_s=pod.created_s,
            outstanding=away if blind else Value(PerRole(pod.work[Role.PREFILL], pod.work[Role.DECODE])),
            routed_role=pod.role if heard else None,
            running=away if blind else Value(float(sum(pod.work.values()))),
            waiting=away if blind else Value(0.0),
            kv_use=away if blind else Value(float(any(pod.work.values()))),
            exporting=away if blind else Value(0),
            flip_started_s=pod.flip_started_s,
            drain_started_s=pod.drain_started_s,
            removing=pod.removing,
        )

    def take(self, steps: list[Step]) -> None:
        """Carries steps out; unless it is calm the operator may die anywhere, even within a step."""
        for step in steps:
            if not self.calm and self.random.random() < 0.05:
                return
            self._take(step)

    def _take(self, step: Step) -> None:
        if isinstance(step, ScaleTo):
            self.replicas.update(step.replicas)
            return
        pod = self.pods[step.engine]
        match step:
            case SetRole():
                pod.role, pod.state = step.role, State.SERVING
                pod.flip_started_s = self.now_s if step.flip else None
            case ConfirmFlip():
                pod.flip_started_s = None
            case StartDrain():
                pod.state, pod.drain_started_s, pod.flip_started_s = State.DRAINING, self.now_s, None
            case CancelDrain():
                pod.state, pod.drain_started_s, pod.removing, pod.may_go = step.state, None, False, False
            case Remove():
                pod.removing = True
                pod.may_go = step.timed_out or not any(pod.work.values()) or not self.ready(pod)
                if self.calm or self.random.random() > 0.1:
                    self.replicas[pod.pool.value] -= 1

"""Steps to calls: labels on pods, replicas of Deployments. Every step can be repeated, none depends on memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pdoperator.api import names
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.reasons import Reason
from pdoperator.api.spec import Spec
from pdoperator.cluster.events import Event
from pdoperator.cluster.kube import DEPLOYMENTS, PODS, Kube, KubeError
from pdoperator.cluster.store import Key, Store
from pdoperator.planning.decision import (
    CancelDrain,
    ConfirmFlip,
    Remove,
    ScaleTo,
    SetRole,
    StartDrain,
    Step,
)
from pdoperator.workload.pairing import pools
from pdoperator.workload.render import Owner, engine_deployments

# Lower than any cost that people give, so that the ReplicaSet takes this pod and no other.
VICTIM_COST = "-1000000"


@dataclass(frozen=True, slots=True)
class Actuator:
    """Carries out the steps of one service; `tell` gets the Event of each that is worth one."""

    kube: Kube
    store: Store
    owner: Owner
    spec: Spec
    now: datetime
    tell: Callable[[Event], None]

    async def execute(self, steps: Sequence[Step]) -> None:
        """Do the steps in their order. Raises KubeError at the first that fails; the rest comes round again.

        A step on a pod that is gone is left out: the next look at the fleet sees what that means.
        """
        for step in steps:
            try:
                event = await self._do(step)
            except KubeError as error:
                if error.status != 404:
                    raise
                continue
            if event is not None:
                self.tell(event)

    async def _do(self, step: Step) -> Event | None:
        match step:
            case ScaleTo():
                await self._scale(step)
            case SetRole():
                await self._set_role(step)
            case ConfirmFlip():
                return await self._confirm_flip(step)
            case StartDrain():
                await self._start_drain(step.engine)
            case CancelDrain():
                await self._cancel_drain(step)
            case Remove():
                return await self._remove(step)
        return None

    async def _scale(self, step: ScaleTo) -> None:
        wanted = {Pool(pool): count for pool, count in step.replicas.items()}
        for body in engine_deployments(self.owner, self.spec, wanted):
            self.store.written(DEPLOYMENTS, await self.kube.apply(body))
        for pool in sorted(set(wanted) - set(pools(self.spec))):
            await self._scale_left_over(pool, wanted[pool])

    async def _scale_left_over(self, pool: Pool, replicas: int) -> None:
        """A pool that the spec no longer has is not rendered any more: only its size is changed."""
        name = names.engine_deployment(self.owner.name, pool)
        body = {"spec": {"replicas": replicas}}
        self.store.written(DEPLOYMENTS, await self.kube.patch(DEPLOYMENTS, self.owner.namespace, name, body))

    async def _set_role(self, step: SetRole) -> None:
        started = self._stamp() if step.flip else None
        await self._patch(
            step.engine,
            labels={names.LABEL_ROLE: step.role.value, names.LABEL_STATE: State.SERVING.value},
            annotations={names.ANNOTATION_FLIP_STARTED: started},
        )

    async def _confirm_flip(self, step: ConfirmFlip) -> Event:
        await self._patch(step.engine, annotations={names.ANNOTATION_FLIP_STARTED: None})
        before = Role.DECODE if step.role is Role.PREFILL else Role.PREFILL
        text = f"{step.engine}: {before} to {step.role} in {step.seconds:.1f} s"
        if step.timed_out:
            return Event(Reason.FLIP_TIMEOUT, f"{text} and not yet confirmed by every router", warning=True)
        return Event(Reason.ROLE_FLIPPED, text)

    async def _start_drain(self, engine: str) -> None:
        await self._patch(
            engine,
            labels={names.LABEL_STATE: State.DRAINING.value},
            annotations={
                names.ANNOTATION_DRAIN_STARTED: self._stamp(),
                names.ANNOTATION_FLIP_STARTED: None,
            },
        )

    async def _cancel_drain(self, step: CancelDrain) -> None:
        await self._patch(
            step.engine,
            labels={names.LABEL_STATE: step.state.value},
            annotations={names.ANNOTATION_DRAIN_STARTED: None, names.ANNOTATION_DELETION_COST: None},
        )

    async def _remove(self, step: Remove) -> Event:
        await self._patch(step.engine, annotations={names.ANNOTATION_DELETION_COST: VICTIM_COST})
        await self._lower(step.engine)
        if step.timed_out:
            text = f"{step.engine} still had work after {step.seconds:.0f} s; it is deleted and finishes what it can"
            return Event(Reason.DRAIN_TIMEOUT, text, warning=True)
        if not step.seconds:
            return Event(Reason.ENGINE_DRAINED, f"{step.engine} had not started to serve and is deleted")
        return Event(Reason.ENGINE_DRAINED, f"{step.engine} drained in {step.seconds:.1f} s")

    async def _lower(self, engine: str) -> None:
        """One replica less for the engine's pool. Counted from our own last write, however late the watch is."""
        pool = self._pool_of(engine)
        deployments = self.store.deployments(self._key)
        deployment = deployments.get(names.engine_deployment(self.owner.name, pool)) if pool else None
        if pool and deployment:  # else somebody deleted it, and its engines go with it
            await self._scale(ScaleTo({pool.value: int(deployment["spec"]["replicas"]) - 1}))

    def _pool_of(self, engine: str) -> Pool | None:
        for pod in self.store.pods(self._key):
            if pod["metadata"]["name"] == engine:
                return Pool(pod["metadata"]["labels"][names.LABEL_POOL])
        return None

    @property
    def _key(self) -> Key:
        return (self.owner.namespace, self.owner.name)

    async def _patch(
        self, pod: str, *, labels: dict[str, Any] | None = None, annotations: dict[str, Any] | None = None
    ) -> None:
        metadata = {"labels": labels or {}, "annotations": annotations or {}}
        answer = await self.kube.patch(PODS, self.owner.namespace, pod, {"metadata": metadata})
        self.store.written(PODS, answer)

    def _stamp(self) -> str:
        return self.now.astimezone(UTC).isoformat(timespec="milliseconds")

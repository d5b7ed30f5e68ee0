"""Putting a spec into effect: it is tried out, applied whole or not at all, healed, and defended or yielded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pdoperator.api import names
from pdoperator.api.names import Pool
from pdoperator.api.reasons import Reason
from pdoperator.api.sources import ConflictPolicy
from pdoperator.api.values import PerRole
from pdoperator.cluster.kube import DEPLOYMENTS, Kube, KubeError, Object, resource_of
from pdoperator.cluster.ownership import foreign
from pdoperator.cluster.store import Key, Store
from pdoperator.controller.plan import Plan, generation_of, read_plan
from pdoperator.controller.situation import Obstacle
from pdoperator.planning.split import split
from pdoperator.workload.render import render

Sizes = Callable[[Plan], Mapping[Pool, int]]  # the size that each pool of a plan has now

RESYNC_S = 600.0  # everything is applied again this often, whatever the watches said
REFUSED_RETRY_S = 10.0  # a spec that cannot be put into effect is tried again this often
CONFLICT_SHOWN_S = 600.0  # what was taken back is shown this long


class _Refusal:
    """Something that was refused, and when it is worth another try."""

    def __init__(self) -> None:
        self.obstacle: Obstacle | None = None
        self._again_at = 0.0

    @property
    def stands(self) -> bool:
        """Whether it is too early to try again."""
        return self.obstacle is not None and time.monotonic() < self._again_at

    def set(self, obstacle: Obstacle | None) -> None:
        """The outcome of a try."""
        self.obstacle = obstacle
        self._again_at = time.monotonic() + REFUSED_RETRY_S

    def forgive(self) -> None:
        """Try again at once."""
        self._again_at = 0.0


class Effect:
    """The plan in force of one service, and how its objects come to be as it wants them."""

    def __init__(self, kube: Kube, store: Store, key: Key, router_image: str, sizes: Sizes) -> None:
        self._sizes = sizes
        self._kube = kube
        self._store = store
        self._key = key
        self._router_image = router_image
        self._wanted = True
        self._applied_at = 0.0
        self._spec_refused = _Refusal()
        self._apply_refused = _Refusal()
        self._taken_back: tuple[str, float] = ("", 0.0)
        self._yielded: dict[str, str] = {}
        self.plan: Plan | None = None

    def spec_changed(self) -> None:
        """Somebody edited the spec: it is put into effect at once, also against those who were yielded to."""
        self._wanted = True
        self._spec_refused.forgive()
        self._apply_refused.forgive()
        self._yielded = {}

    def apply_again(self) -> None:
        """An object may no longer be as rendered."""
        self._wanted = True

    @property
    def obstacle(self) -> Obstacle | None:
        """Why the newest spec is not in effect."""
        return self._spec_refused.obstacle or self._apply_refused.obstacle

    @property
    def conflict(self) -> str:
        """Who else changes objects of the service, and what is done about it; empty if nobody does."""
        if self.yielded:
            return self.yielded
        text, since = self._taken_back
        return text if text and time.monotonic() - since < CONFLICT_SHOWN_S else ""

    @property
    def yielded(self) -> str:
        """What is left to others until the next edit of the spec."""
        return "; ".join(self._yielded.values())

    def notice_scaling(self) -> None:
        """Look for pools that somebody else has just scaled, so that no step undoes it before the policy has a say."""
        for body in self._store.deployments(self._key).values():
            if self.plan is not None:
                self._leave(self.plan, {**body, "kind": DEPLOYMENTS.kind})

    def within_what_is_ours(self, target: PerRole[int], sizes: Mapping[Pool, int]) -> PerRole[int]:
        """The target where pools whose size is left to somebody else keep the one that they have.

        Of a shared pool the split stays ours.
        """
        plan = self.plan
        if plan is None or not self._yielded:
            return target

        def size(pool: Pool, otherwise: int) -> int:
            mine = names.engine_deployment(plan.owner.name, pool) not in self._yielded
            return otherwise if mine else sizes.get(pool, otherwise)

        if Pool.SHARED in plan.pools:
            total = size(Pool.SHARED, target.prefill + target.decode)
            return split(total, target.prefill / target.decode, plan.settings.limits.of(target))
        return PerRole(size(Pool.PREFILL, target.prefill), size(Pool.DECODE, target.decode))

    async def bring(self, body: Object) -> bool:
        """Read and try out a newer spec; True: its plan is in force now. One that is refused leaves the one before."""
        if self._spec_refused.stands:
            return False
        if self.plan is not None and self.plan.generation == generation_of(body):
            self._spec_refused.set(None)
            return False
        found = await self._checked(read_plan(body))
        if isinstance(found, Obstacle):
            self._spec_refused.set(found)
            return False
        self._spec_refused.set(None)
        self.plan, self._wanted = found, True
        self._yielded.clear()  # also what a pass under the plan before has yielded since the edit
        return True

    async def apply(self) -> None:
        """Apply everything after a change and now and then; what the API server refuses becomes the obstacle."""
        now = time.monotonic()
        if self.plan is None or self._apply_refused.stands:
            return
        if not self._wanted and now - self._applied_at < RESYNC_S:
            return
        self._wanted = False
        try:
            for body in self._rendered(self.plan):
                if not self._leave(self.plan, body):
                    self._store.written(resource_of(body), await self._kube.apply(body))
        except KubeError as error:
            self._wanted = True
            if not error.refused:
                raise
            self._apply_refused.set(Obstacle(Reason.APPLY_FAILED, str(error)))
            return
        self._apply_refused.set(None)
        self._applied_at = now

    async def _checked(self, plan: Plan | Obstacle) -> Plan | Obstacle:
        """The plan, if the API server takes its Deployments: then all is put into effect, else nothing of it."""
        if isinstance(plan, Obstacle):
            return plan
        try:
            for body in self._rendered(plan):
                if resource_of(body) is DEPLOYMENTS:
                    await self._kube.apply(body, dry_run=True)
        except KubeError as error:
            if not error.refused:
                raise
            return Obstacle(Reason.APPLY_FAILED, str(error))
        return plan

    def _rendered(self, plan: Plan) -> list[Object]:
        return render(plan.owner, plan.spec, self._sizes(plan), self._router_image)

    def _leave(self, plan: Plan, body: Object) -> bool:
        """Whether an object is somebody else's now. By the conflict policy it is left to them or taken back."""
        name = body["metadata"]["name"]
        if name in self._yielded:
            return True
        live = self._store.child(resource_of(body), self._key, name)
        others = foreign(live, body) if live is not None else []
        if not others:
            return False
        changed = f"{body['kind']} {name}: {'; '.join(str(other) for other in others)}"
        if plan.spec.autoscaling.conflict_policy is ConflictPolicy.YIELD:
            self._yielded[name] = f"{changed}; left to them until the spec is edited"
            return True
        self._taken_back = f"{changed}; taken back", time.monotonic()
        return False

"""An operator that dies after any one of its calls: the next one goes on, and loses no engine that serves."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from fake_kube import FakeKube
from pdoperator.actuation.actuator import Actuator
from pdoperator.api import names
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.spec import PoolKind, Spec
from pdoperator.api.units import timestamp
from pdoperator.api.values import PerRole, Value
from pdoperator.cluster.kube import DEPLOYMENTS, PODS, Object
from pdoperator.cluster.store import Store
from pdoperator.controller.views import pod_view
from pdoperator.planning.observation import EngineView
from pdoperator.planning.steps import next_steps
from pdoperator.workload.render import Owner, engine_deployments
from planning.fleet import limits

OWNER = Owner("tiny", "team-a", "uid-tiny")
SPEC = Spec.model_validate({"model": {"name": "m"}, "hardware": {"preset": "cpu"}})
DEDICATED = SPEC.model_copy(update={"pool": PoolKind.DEDICATED})
KEY = ("team-a", "tiny")
START_S = 1_764_000_000.0
PASSES = 120
BUDGET = 4


class Killed(Exception):
    """The process is gone, right after the API server took its call."""


class MortalKube(FakeKube):
    """Kills the caller after so many writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None

    async def call(self, method: str, path: str, **how: Any) -> Object:
        answer = await super().call(method, path, **how)
        if method != "GET" and self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                self.writes_left = None
                raise Killed
        return answer


@dataclass
class Cluster:
    """Pods of one service as ReplicaSets keep them. Every pod is ready at once and has nothing to do."""

    kube: MortalKube = field(default_factory=MortalKube)
    now_s: float = START_S
    made: int = 0
    cut_off: list[str] = field(default_factory=list)  # engines deleted while routers could still use them
    most: int = 0

    def deployments(self) -> dict[Pool, Object]:
        found = {}
        for body in copy.deepcopy(self.kube.find("Deployment")):
            pool = Pool(body["spec"]["selector"]["matchLabels"][names.LABEL_POOL])
            found[pool] = body
        return found

    def pods(self, pool: Pool | None = None) -> list[Object]:
        pods = copy.deepcopy(self.kube.find("Pod"))
        return [p for p in pods if pool in (None, p["metadata"]["labels"][names.LABEL_POOL])]

    def replica_sets(self) -> None:
        for pool, deployment in self.deployments().items():
            wanted, pods = deployment["spec"]["replicas"], self.pods(pool)
            for _ in range(wanted - len(pods)):
                self._make(deployment)
            ranked = sorted(
                pods, key=lambda pod: int(_annotations(pod).get(names.ANNOTATION_DELETION_COST, 0))
            )
            for pod in ranked[: max(0, len(pods) - wanted)]:
                if pod["metadata"]["labels"][names.LABEL_STATE] != State.DRAINING.value:
                    self.cut_off.append(pod["metadata"]["name"])
                del self.kube.objects[PODS.path("team-a", pod["metadata"]["name"])]
        self.most = max(self.most, len(self.pods()))

    def _make(self, deployment: Object) -> None:
        self.made += 1
        template = deployment["spec"]["template"]["metadata"]
        name = f"e{self.made}"
        metadata = {
            "name": name,
            "namespace": "team-a",
            "labels": dict(template["labels"]),
            "annotations": {},
            "creationTimestamp": timestamp(self.now_s),
        }
        ready = {"type": "Ready", "status": "True"}
        body = {"kind": "Pod", "metadata": metadata, "status": {"conditions": [ready]}}
        self.kube.put(PODS.path("team-a", name), body)

    def views(self) -> list[EngineView]:
        return [_view(pod) for pod in self.pods()]

    def state(self) -> tuple[dict[str, int], dict[str, int]]:
        """Sizes of the pools that have any engine, and engines by role, all of them serving."""
        sizes = {pool.value: body["spec"]["replicas"] for pool, body in self.deployments().items()}
        serving = [v for v in self.views() if v.state is State.SERVING and v.flip_started_s is None]
        roles = {
            role.value: sum(1 for v in serving if v.role is role) for role in (Role.PREFILL, Role.DECODE)
        }
        return {pool: size for pool, size in sizes.items() if size}, roles


def _annotations(pod: Object) -> dict[str, str]:
    found: dict[str, str] = pod["metadata"].get("annotations", {})
    return found


def _view(pod: Object) -> EngineView:
    view = pod_view(pod)
    return EngineView(
        name=view.name,
        pool=view.pool,
        role=view.role,
        state=view.state,
        ready=True,
        deleting=False,
        revision=view.labels[names.LABEL_REVISION],
        created_s=view.created_s,
        outstanding=Value(PerRole(0, 0)),
        routed_role=view.role,
        flip_started_s=view.time_s(names.ANNOTATION_FLIP_STARTED),
        drain_started_s=view.time_s(names.ANNOTATION_DRAIN_STARTED),
        removing=view.removing,
        running=Value(0.0),
        waiting=Value(0.0),
        kv_use=Value(0.0),
        exporting=Value(0),
    )


class Operator:
    """One life of an operator: it knows what the API server has, and nothing else."""

    def __init__(self, cluster: Cluster, spec: Spec, target: PerRole[int], leaving: Sequence[str]) -> None:
        self.cluster, self.spec, self.target, self.leaving = cluster, spec, target, leaving
        self.store = Store(lambda *_: None)

    async def live(self, passes: int) -> None:
        for _ in range(passes):
            cluster = self.cluster
            cluster.replica_sets()
            self.store.listed(PODS, cluster.pods())
            self.store.listed(DEPLOYMENTS, list(cluster.deployments().values()))
            sizes = {pool.value: body["spec"]["replicas"] for pool, body in cluster.deployments().items()}
            bounds = limits(budget=BUDGET)
            steps = next_steps(
                self.target, cluster.views(), sizes, cluster.now_s, bounds, leaving=self.leaving
            )
            now = datetime.fromtimestamp(cluster.now_s, UTC)
            actuator = Actuator(cluster.kube, self.store, OWNER, self.spec, now, lambda _: None)
            await actuator.execute(steps)
            cluster.now_s += 1


async def begun(spec: Spec = SPEC, size: int = 4) -> Cluster:
    """A shared pool of `size` engines that serve 2P:2D."""
    cluster = Cluster()
    for body in engine_deployments(OWNER, SPEC, {Pool.SHARED: size}):
        await cluster.kube.apply(body)
    await Operator(cluster, SPEC, PerRole(2, size - 2), ()).live(5)
    if spec is not SPEC:
        for body in engine_deployments(OWNER, spec, {Pool.PREFILL: 0, Pool.DECODE: 0}):
            await cluster.kube.apply(body)
    return cluster


CHANGES = [
    pytest.param(SPEC, 4, PerRole(1, 3), (), ({"shared": 4}, {"prefill": 1, "decode": 3}), id="a flip"),
    pytest.param(SPEC, 4, PerRole(1, 1), (), ({"shared": 2}, {"prefill": 1, "decode": 1}), id="two drains"),
    pytest.param(
        SPEC, 3, PerRole(3, 1), (), ({"shared": 4}, {"prefill": 3, "decode": 1}), id="growth and flip"
    ),
    pytest.param(
        DEDICATED,
        4,
        PerRole(2, 2),
        ("shared",),
        ({"prefill": 2, "decode": 2}, {"prefill": 2, "decode": 2}),
        id="a change of pools under a full budget",
    ),
]


@pytest.mark.parametrize(("spec", "size", "target", "leaving", "end"), CHANGES)
async def test_whichever_call_was_the_last_the_next_operator_goes_on(
    spec: Spec, size: int, target: PerRole[int], leaving: Sequence[str], end: tuple[Any, Any]
) -> None:
    whole = await begun(spec, size)
    before = len(whole.kube.writes())
    await Operator(whole, spec, target, leaving).live(PASSES)
    assert whole.state() == end
    calls = len(whole.kube.writes()) - before
    assert calls > 1
    for last in range(calls):
        cluster = await begun(spec, size)
        cluster.kube.writes_left = last
        with pytest.raises(Killed):
            await Operator(cluster, spec, target, leaving).live(PASSES)
        await Operator(cluster, spec, target, leaving).live(PASSES)
        assert cluster.state() == end, f"killed after call {last + 1} of {calls}"
        assert cluster.cut_off == []
        assert cluster.most <= BUDGET

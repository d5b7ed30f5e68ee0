"""What calls each step makes, in which order, and what remains when one of them fails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fake_kube import FakeKube
from pdoperator.actuation.actuator import VICTIM_COST, Actuator
from pdoperator.api import names
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.reasons import Reason
from pdoperator.api.spec import PoolKind, Spec
from pdoperator.cluster.events import Event
from pdoperator.cluster.kube import DEPLOYMENTS, PODS, KubeError, Object
from pdoperator.cluster.store import Store
from pdoperator.planning.decision import (
    CancelDrain,
    ConfirmFlip,
    Remove,
    ScaleTo,
    SetRole,
    StartDrain,
    Step,
)
from pdoperator.workload.render import Owner, engine_deployments

OWNER = Owner("tiny", "team-a", "uid-tiny")
SPEC = Spec.model_validate({"model": {"name": "m"}, "hardware": {"preset": "cpu"}})
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
STAMP = "2026-11-22T10:00:00.000+00:00"


class Fleet:
    """A service with one shared pool of engines."""

    def __init__(self, *engines: str) -> None:
        self.kube = FakeKube()
        self.store = Store(lambda *_: None)
        self.told: list[Event] = []
        for body in engine_deployments(OWNER, SPEC, {Pool.SHARED: len(engines)}):
            self.deployment = self.kube.put(DEPLOYMENTS.path("team-a", "tiny-engine"), body)
        self.store.seen(DEPLOYMENTS, self.deployment)
        for name in engines:
            self.store.seen(PODS, self.kube.put(PODS.path("team-a", name), pod(name)))

    async def do(self, *steps: Step) -> None:
        actuator = Actuator(self.kube, self.store, OWNER, SPEC, NOW, self.told.append)
        await actuator.execute(steps)

    def metadata(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.kube.objects[PODS.path("team-a", name)]["metadata"]
        return found

    @property
    def replicas(self) -> int:
        return int(self.kube.objects[DEPLOYMENTS.path("team-a", "tiny-engine")]["spec"]["replicas"])

    @property
    def written(self) -> list[str]:
        return [call.name for call in self.kube.writes()]


def pod(name: str) -> Object:
    labels = {
        names.LABEL_SERVICE: "tiny",
        names.LABEL_POOL: "shared",
        names.LABEL_ROLE: "decode",
        names.LABEL_STATE: "serving",
    }
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "team-a", "labels": labels, "annotations": {}},
    }


@pytest.mark.parametrize(
    ("step", "labels", "annotations"),
    [
        (
            SetRole("a", Role.PREFILL, flip=True),
            {names.LABEL_ROLE: "prefill", names.LABEL_STATE: "serving"},
            {names.ANNOTATION_FLIP_STARTED: STAMP},
        ),
        (
            SetRole("a", Role.DECODE, flip=False),
            {names.LABEL_ROLE: "decode", names.LABEL_STATE: "serving"},
            {},
        ),
        (
            StartDrain("a"),
            {names.LABEL_ROLE: "decode", names.LABEL_STATE: "draining"},
            {names.ANNOTATION_DRAIN_STARTED: STAMP},
        ),
        (
            CancelDrain("a"),
            {names.LABEL_ROLE: "decode", names.LABEL_STATE: "serving"},
            {},
        ),
        (
            CancelDrain("a", State.WARMING),
            {names.LABEL_ROLE: "decode", names.LABEL_STATE: "warming"},
            {},
        ),
    ],
)
async def test_a_step_is_one_patch_of_its_pod(
    step: Step, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    fleet = Fleet("a", "b")
    await fleet.do(step)
    assert fleet.written == ["a"]
    assert labels.items() <= fleet.metadata("a")["labels"].items()
    assert fleet.metadata("a")["annotations"] == annotations


async def test_a_drain_taken_back_leaves_no_mark() -> None:
    fleet = Fleet("a", "b")
    await fleet.do(StartDrain("a"))
    await fleet.kube.patch(
        PODS, "team-a", "a", {"metadata": {"annotations": {names.ANNOTATION_DELETION_COST: VICTIM_COST}}}
    )
    await fleet.do(CancelDrain("a"))
    assert fleet.metadata("a")["annotations"] == {}


async def test_a_drain_ends_a_flip_that_was_under_way() -> None:
    fleet = Fleet("a", "b")
    await fleet.do(SetRole("a", Role.PREFILL, flip=True), StartDrain("a"))
    assert names.ANNOTATION_FLIP_STARTED not in fleet.metadata("a")["annotations"]


async def test_a_confirmed_flip_is_told_with_its_time() -> None:
    fleet = Fleet("a")
    await fleet.do(
        SetRole("a", Role.PREFILL, flip=True), ConfirmFlip("a", Role.PREFILL, 1.25, timed_out=False)
    )
    assert fleet.metadata("a")["annotations"] == {}
    assert fleet.told == [Event(Reason.ROLE_FLIPPED, "a: decode to prefill in 1.2 s")]


async def test_a_flip_that_no_router_confirms_is_a_warning() -> None:
    fleet = Fleet("a")
    await fleet.do(ConfirmFlip("a", Role.DECODE, 120.0, timed_out=True))
    assert [(event.reason, event.warning) for event in fleet.told] == [(Reason.FLIP_TIMEOUT, True)]


async def test_a_victim_is_marked_before_the_replicas_fall_by_one() -> None:
    fleet = Fleet("a", "b", "c")
    await fleet.do(Remove("b", 3.0, timed_out=False))
    assert fleet.written == ["b", "tiny-engine"]
    assert fleet.metadata("b")["annotations"][names.ANNOTATION_DELETION_COST] == VICTIM_COST
    assert fleet.replicas == 2
    assert fleet.told == [Event(Reason.ENGINE_DRAINED, "b drained in 3.0 s")]


async def test_each_removal_takes_exactly_one_replica_however_late_the_watch_is() -> None:
    fleet = Fleet("a", "b", "c", "d")
    await fleet.do(Remove("a", 1.0, timed_out=False))
    fleet.store.seen(DEPLOYMENTS, fleet.deployment)  # from before
    await fleet.do(Remove("b", 1.0, timed_out=False), Remove("c", 1.0, timed_out=False))
    assert fleet.replicas == 1


async def test_a_victim_that_is_gone_costs_no_replica_and_stops_nothing() -> None:
    fleet = Fleet("a", "b", "c")
    del fleet.kube.objects[PODS.path("team-a", "a")]
    await fleet.do(Remove("a", 1.0, timed_out=False), StartDrain("b"))
    assert fleet.replicas == 3
    assert fleet.told == []
    assert fleet.metadata("b")["labels"][names.LABEL_STATE] == "draining"


async def test_a_removal_from_a_deployment_that_somebody_deleted_makes_no_new_one() -> None:
    fleet = Fleet("a", "b")
    fleet.store.gone(DEPLOYMENTS, fleet.deployment)
    await fleet.do(Remove("a", 1.0, timed_out=False))
    assert fleet.written == ["a"]


async def test_a_step_that_fails_ends_the_row_and_what_was_done_is_told() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.kube.fail("PATCH", "/pods/b", 500)
    with pytest.raises(KubeError):
        await fleet.do(Remove("a", 2.0, timed_out=True), StartDrain("b"), StartDrain("c"))
    assert [event.reason for event in fleet.told] == [Reason.DRAIN_TIMEOUT]
    assert fleet.written == ["a", "tiny-engine"]


async def test_a_removal_cut_off_after_its_mark_goes_on_with_the_replica() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.kube.fail("PATCH", "/deployments/", None)
    with pytest.raises(KubeError):
        await fleet.do(Remove("a", 2.0, timed_out=False))
    assert fleet.replicas == 3
    assert fleet.told == []
    await fleet.do(Remove("a", 2.0, timed_out=False))
    assert fleet.replicas == 2


async def test_only_the_named_pool_is_scaled() -> None:
    spec = SPEC.model_copy(update={"pool": PoolKind.DEDICATED})
    fleet = Fleet()
    actuator = Actuator(fleet.kube, fleet.store, OWNER, spec, NOW, fleet.told.append)
    await actuator.execute([ScaleTo({"decode": 3})])
    assert fleet.written == ["tiny-decode"]
    assert fleet.store.deployments(("team-a", "tiny"))["tiny-decode"]["spec"]["replicas"] == 3

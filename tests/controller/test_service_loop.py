"""The loop of one service through what an API server, people and restarts do to it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from fake_kube import Call, FakeKube
from pdoperator.api import defaults, names
from pdoperator.api.names import Pool
from pdoperator.api.spec import Spec
from pdoperator.api.values import Missing, Value
from pdoperator.cluster.kube import DEPLOYMENTS, PD_SERVICES, PODS, Object, Resource
from pdoperator.cluster.store import Key, Store
from pdoperator.controller import effect, service
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.service import Context, ServiceLoop
from pdoperator.forecast.demand import Demand
from pdoperator.planning.decide import decide
from pdoperator.planning.decision import Decision, History
from pdoperator.planning.observation import Observation
from pdoperator.planning.settings import PlanSettings
from pdoperator.workload.render import Owner, engine_deployments
from waiting import until

NAMESPACE, NAME, UID = "team-a", "tiny", "uid-tiny"
ENGINES = DEPLOYMENTS.path(NAMESPACE, f"{NAME}-engine")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(service, "RETRY_LIMIT_S", 0.05)
    monkeypatch.setattr(effect, "REFUSED_RETRY_S", 0.05)
    monkeypatch.setattr(defaults, "STATUS_PERIOD_S", 0.02)
    monkeypatch.setattr(defaults, "STEP_PERIOD_S", 0.02)


def static(prefill: int, decode: int, **more: Any) -> dict[str, Any]:
    """A spec that fixes its size."""
    return {
        "model": {"name": "m"},
        "hardware": {"preset": "cpu"},
        "prefill": {"replicas": prefill},
        "decode": {"replicas": decode},
        "autoscaling": {"strategy": "Static", "interval": "50ms"},
        **more,
    }


class World:
    """One service, its loop, and the API server."""

    def __init__(
        self,
        spec: dict[str, Any],
        session: aiohttp.ClientSession,
        status: Object | None = None,
        kube: FakeKube | None = None,
    ) -> None:
        self.kube = kube or FakeKube()
        self.metrics = Metrics()
        self.context = Context(self.kube, Store(self._changed), self.metrics, session, "op:1")
        self.body: Object = {
            "kind": names.KIND,
            "metadata": {"name": NAME, "namespace": NAMESPACE, "uid": UID, "generation": 1},
            "spec": spec,
            "status": status or {},
        }
        known = self.kube.objects.get(PD_SERVICES.path(NAMESPACE, NAME))
        if known is None:
            self.kube.put(PD_SERVICES.path(NAMESPACE, NAME), self.body)
        else:
            self.body["status"] = known.get("status", {})
        self.loop = ServiceLoop(self.context, self.body)

    def _changed(self, _: Key, resource: Resource) -> None:
        self.loop.child_changed(apply=resource is not PODS)

    def edit(self, spec: dict[str, Any]) -> None:
        """The user changes the spec."""
        metadata = {**self.body["metadata"], "generation": self.body["metadata"]["generation"] + 1}
        self.body = {**self.body, "metadata": metadata, "spec": spec}
        self.loop.update(self.body)

    def has_deployment(self, replicas: int) -> None:
        """The engines' Deployment is there from before."""
        owner = Owner(NAME, NAMESPACE, UID)
        spec = Spec.model_validate(self.body["spec"])
        (body,) = engine_deployments(owner, spec, {Pool.SHARED: replicas})
        self.context.store.seen(DEPLOYMENTS, self.kube.put(ENGINES, body))

    def restarted(self) -> World:
        """The same cluster under a new operator."""
        return World(self.body["spec"], self.context.session, kube=self.kube)

    def somebody_scales(self, replicas: int) -> None:
        """An HPA sets the replicas of the engines' Deployment."""
        body = copy.deepcopy(self.kube.objects[ENGINES])
        body["spec"]["replicas"] = replicas
        hpa = {"manager": "kube-controller-manager", "subresource": "scale", "operation": "Update"}
        body["metadata"]["managedFields"] = [{**hpa, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
        self.context.store.seen(DEPLOYMENTS, self.kube.put(ENGINES, body))

    def has_pod(
        self, name: str, created: str = "2026-11-22T10:00:00Z", *, state: str = "warming", **status: Any
    ) -> None:
        """An engine pod."""
        labels = {
            names.LABEL_SERVICE: NAME,
            names.LABEL_COMPONENT: "engine",
            names.LABEL_POOL: "shared",
            names.LABEL_ROLE: "both",
            names.LABEL_STATE: state,
            names.LABEL_REVISION: "r1",
        }
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "labels": labels,
            "creationTimestamp": created,
        }
        status.setdefault("conditions", [{"type": "Ready", "status": "True"}])
        body = {"kind": "Pod", "metadata": metadata, "status": status}
        self.context.store.seen(PODS, self.kube.put(PODS.path(NAMESPACE, name), body))

    @property
    def replicas(self) -> int | None:
        found = self.kube.objects.get(ENGINES)
        return None if found is None else int(found["spec"]["replicas"])

    @property
    def status(self) -> Object:
        found: Object = self.kube.objects[PD_SERVICES.path(NAMESPACE, NAME)].get("status") or {}
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        for each in self.status.get("conditions", []):
            if each["type"] == kind:
                return each["status"], each["reason"]
        return "", ""

    def reasons(self) -> list[str]:
        """Reasons of the Events there are."""
        return sorted(event["reason"] for event in self.kube.find("Event"))

    def failed_passes(self) -> float:
        series = {"namespace": NAMESPACE, "service": NAME}
        return self.metrics.registry.get_sample_value("pdoperator_tick_failures_total", series) or 0.0


@asynccontextmanager
async def running(world: World, *, synced: bool = True) -> AsyncIterator[World]:
    if synced:
        world.context.synced.set()
    task = asyncio.create_task(world.loop.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def test_nothing_is_done_before_the_caches_are_full(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session)
    async with running(world, synced=False):
        await asyncio.sleep(0.1)
        assert world.kube.calls == []
        world.has_deployment(4)  # as a restarted operator learns of it
        world.context.synced.set()
        await until(lambda: world.status != {})
        first = next(call for call in world.kube.calls if call.path == ENGINES)
        assert first.body["spec"]["replicas"] == 4


async def test_a_new_service_becomes_its_objects_and_a_status(session: aiohttp.ClientSession) -> None:
    async with running(World(static(1, 2), session)) as world:
        await until(lambda: world.status != {})
        assert world.replicas == 3
        assert {call.name for call in world.kube.writes()} >= {"tiny-engine", "tiny-router", "tiny"}
        assert world.status["ratio"] == "1:2"


async def test_a_restart_takes_the_target_from_status_and_changes_no_size(
    session: aiohttp.ClientSession,
) -> None:
    spec = static(1, 1) | {"autoscaling": {"interval": "50ms"}}
    before = {"prefill": {"desired": 2}, "decode": {"desired": 3}}
    world = World(spec, session, before)
    world.has_deployment(5)
    async with running(world):
        await until(lambda: len(world.status.get("decisions", [])) > 0)
        assert (world.status["ratio"], world.replicas) == ("2:3", 5)
        assert "SuccessfulRescale" not in world.reasons()


async def test_a_deployment_that_somebody_deleted_comes_back_in_the_size_decided_on(
    session: aiohttp.ClientSession,
) -> None:
    before = {"prefill": {"desired": 2}, "decode": {"desired": 3}}
    world = World(static(1, 1) | {"autoscaling": {"interval": "10s"}}, session, before)
    world.has_deployment(5)
    async with running(world):
        await until(lambda: world.status.get("ratio") == "2:3")
        world.context.store.gone(DEPLOYMENTS, world.kube.objects.pop(ENGINES))
        await until(lambda: world.replicas == 5)


async def test_a_new_size_is_told_and_reached(session: aiohttp.ClientSession) -> None:
    async with running(World(static(1, 1), session)) as world:
        await until(lambda: world.replicas == 2)
        world.edit(static(2, 2))
        await until(lambda: world.replicas == 4)
        await until(lambda: "SuccessfulRescale" in world.reasons())


async def test_a_change_of_the_mode_flips_all_engines_starts_none_and_is_told(
    session: aiohttp.ClientSession,
) -> None:
    world = World(static(1, 2), session)
    world.has_deployment(3)
    for name in ("a", "b", "c"):
        world.has_pod(name)
    async with running(world):
        await until(lambda: world.status.get("mode") == "Disaggregated")
        world.edit({**static(1, 2), "mode": "Aggregated"})
        await until(lambda: world.status.get("mode") == "Aggregated")
        assert (world.status["ratio"], world.replicas) == ("0:3", 3)
        await until(lambda: "ModeChanged" in world.reasons())
        world.edit(static(1, 2))
        await until(lambda: world.status.get("mode") == "Disaggregated")
        assert (world.status["ratio"], world.replicas) == ("1:2", 3)


async def test_a_restart_of_an_aggregated_service_leaves_it_aggregated(
    session: aiohttp.ClientSession,
) -> None:
    auto = {**static(1, 2), "mode": "Auto", "autoscaling": {}}
    world = World(auto, session, {"prefill": {"desired": 0}, "decode": {"desired": 3}})
    world.has_deployment(3)
    for name in ("a", "b", "c"):
        world.has_pod(name)
    async with running(world):
        await until(lambda: world.status.get("mode") == "Aggregated")
        assert (world.status["ratio"], world.replicas) == ("0:3", 3)


async def test_ready_engines_get_their_roles(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session)
    world.has_deployment(2)
    world.has_pod("a")
    world.has_pod("b")
    async with running(world):
        pods = [PODS.path(NAMESPACE, name) for name in ("a", "b")]
        await until(lambda: world.status.get("mode") == "Disaggregated")
        roles = {world.kube.objects[path]["metadata"]["labels"][names.LABEL_ROLE] for path in pods}
        assert roles == {"prefill", "decode"}


async def test_a_dry_run_decides_and_changes_nothing(session: aiohttp.ClientSession) -> None:
    spec = static(2, 2, autoscaling={"strategy": "Static", "interval": "50ms", "dryRun": True})
    world = World(spec, session, {"prefill": {"desired": 1}, "decode": {"desired": 1}})
    world.has_deployment(2)
    async with running(world):
        await until(lambda: len(world.status.get("decisions", [])) > 0)
        assert (world.status["decisions"][0]["prefill"], world.status["ratio"]) == (2, "1:1")
        assert world.replicas == 2
        assert world.condition("ScalingActive") == ("False", "DryRun")


async def test_with_autoscaling_off_the_replicas_of_the_spec_hold(session: aiohttp.ClientSession) -> None:
    spec = static(2, 1, autoscaling={"enabled": False, "interval": "50ms"})
    async with running(World(spec, session, {"prefill": {"desired": 1}, "decode": {"desired": 1}})) as world:
        await until(lambda: world.status.get("ratio") == "2:1")
        assert world.replicas == 3


async def test_an_invalid_edit_is_told_and_what_runs_is_kept_and_healed(
    session: aiohttp.ClientSession,
) -> None:
    async with running(World(static(1, 1), session)) as world:
        await until(lambda: world.status != {})
        world.edit(static(2, 2, hardware={"preset": "cpu", "profile": "no-such-profile"}))
        await until(lambda: world.condition("AbleToScale") == ("False", "InvalidSpec"))
        world.context.store.gone(DEPLOYMENTS, world.kube.objects.pop(ENGINES))
        await until(lambda: world.replicas == 2)
        world.edit(static(2, 2))
        await until(lambda: world.replicas == 4)
        await until(lambda: world.condition("AbleToScale") == ("True", "ReadyForNewScale"))
        assert world.reasons().count("InvalidSpec") == 1


async def test_a_restart_under_an_invalid_spec_still_reports_what_serves(
    session: aiohttp.ClientSession,
) -> None:
    spec = static(1, 1, hardware={"preset": "cpu", "profile": "no-such-profile"})
    world = World(spec, session, {"prefill": {"desired": 1}, "decode": {"desired": 1}})
    world.has_pod("a")
    async with running(world):
        await until(lambda: world.condition("AbleToScale") == ("False", "InvalidSpec"))
        assert (world.status["replicas"], world.status["ratio"]) == (1, "1:1")
        assert world.kube.writes("/deployments/") == []


async def test_of_an_edit_that_the_api_server_refuses_nothing_is_put_into_effect(
    session: aiohttp.ClientSession,
) -> None:
    async with running(World(static(1, 1), session)) as world:
        await until(lambda: world.status != {})
        world.kube.fail("PATCH", f"/deployments/{NAME}-router", 422, times=3)  # say, its template
        world.edit(static(2, 2, engine={"args": ["--seed", "7"]}))
        await until(lambda: world.condition("AbleToScale") == ("False", "ApplyFailed"))
        assert (world.replicas, "--seed" in str(world.kube.objects[ENGINES])) == (2, False)
        await until(lambda: world.replicas == 4)  # taken at last
        assert "--seed" in str(world.kube.objects[ENGINES])
        assert world.failed_passes() == 0


async def test_a_step_that_is_refused_is_told_in_status_and_event(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session)
    world.has_deployment(2)
    world.has_pod("a")
    world.has_pod("b")
    world.kube.fail("PATCH", "/pods/", 403, times=5)
    async with running(world):
        await until(lambda: world.condition("AbleToScale") == ("False", "FailedRescale"))
        assert "FailedRescale" in world.reasons()
        await until(lambda: world.condition("AbleToScale")[0] == "True")


async def test_an_event_that_cannot_be_posted_holds_up_nothing_and_comes_later(
    session: aiohttp.ClientSession,
) -> None:
    world = World(static(1, 1), session, {"prefill": {"desired": 2}, "decode": {"desired": 2}})
    world.kube.fail("POST", "/events", 500, times=3)
    async with running(world):
        await until(lambda: world.status.get("ratio") == "1:1")
        assert world.reasons() == []
        await until(lambda: world.reasons() == ["SuccessfulRescale"])
        assert world.kube.find("Event")[0]["count"] == 1
        assert world.failed_passes() == 0


async def test_an_event_that_is_refused_is_dropped(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session, {"prefill": {"desired": 2}, "decode": {"desired": 2}})
    world.kube.fail("POST", "/events", 403)
    async with running(world):
        await until(lambda: world.status.get("ratio") == "1:1")
        world.edit(static(2, 1))
        await until(lambda: world.reasons() == ["SuccessfulRescale"])
        assert "2P:1D" in world.kube.find("Event")[0]["message"]


async def test_a_service_that_was_just_deleted_is_no_failure(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session)
    del world.kube.objects[PD_SERVICES.path(NAMESPACE, NAME)]
    async with running(world):
        await until(lambda: _asked_for(world.kube.calls, "/status"))
        await asyncio.sleep(0.1)
        assert world.failed_passes() == 0


async def test_while_the_api_server_is_away_nothing_is_undone_and_afterwards_it_goes_on(
    session: aiohttp.ClientSession,
) -> None:
    async with running(World(static(1, 1), session)) as world:
        await until(lambda: world.status != {})
        world.kube.away = True
        world.edit(static(2, 1))
        await until(lambda: world.failed_passes() > 2)
        assert world.replicas == 2
        world.kube.away = False
        await until(lambda: world.replicas == 3)
        await until(lambda: world.reasons() == ["SuccessfulRescale"])


async def test_a_defect_in_one_pass_is_not_the_end(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(service, "decide", broken)
    async with running(World(static(1, 2), session)) as world:
        await until(lambda: world.failed_passes() > 0)
        monkeypatch.setattr(service, "decide", decide)
        await until(lambda: world.status.get("ratio") == "1:2")


async def test_a_trouble_is_told_once_for_as_long_as_it_lasts(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session)
    world.has_deployment(2)
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
    world.has_pod("a", phase="Pending", conditions=[placed])
    async with running(world):
        await until(lambda: "Unschedulable" in world.reasons())
        await asyncio.sleep(0.2)
        told = [event for event in world.kube.find("Event") if event["reason"] == "Unschedulable"]
        assert [(event["count"], event["type"]) for event in told] == [(1, "Warning")]


async def test_a_crash_is_one_event_whatever_the_kubelet_says_meanwhile(
    session: aiohttp.ClientSession,
) -> None:
    world = World(static(1, 1), session)
    world.has_deployment(2)

    def crashes(name: str, text: str, **state: Any) -> None:
        ended = {"terminated": {"exitCode": 1, "message": "no such model"}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
        container = {"name": "engine", "restartCount": 2, "lastState": ended, "state": state or waiting}
        world.has_pod(name, conditions=[], containerStatuses=[container])

    crashes("a", "back-off 10s")
    async with running(world):
        await until(lambda: "EngineFailed" in world.reasons())
        for text in ("back-off 20s", "", "back-off 40s"):
            crashes("a", text, **({} if text else {"running": {"startedAt": "2026-11-22T10:00:00Z"}}))
            crashes("b", text)
            await asyncio.sleep(0.1)
        [event] = [event for event in world.kube.find("Event") if event["reason"] == "EngineFailed"]
        assert (event["count"], event["message"]) == (1, "a: CrashLoopBackOff, exit code 1: no such model")


async def test_an_hpa_on_our_deployment_is_named_and_taken_back(session: aiohttp.ClientSession) -> None:
    async with running(World(static(1, 1), session)) as world:
        await until(lambda: world.replicas == 2)
        world.somebody_scales(5)
        await until(lambda: world.condition("Conflict") == ("True", "Conflict"))
        await until(lambda: world.replicas == 2)
        assert world.reasons().count("Conflict") == 1
        [event] = [event for event in world.kube.find("Event") if event["reason"] == "Conflict"]
        assert "kube-controller-manager through /scale" in event["message"]


async def test_by_the_policy_yield_its_size_is_left_to_it_until_the_spec_is_edited(
    session: aiohttp.ClientSession,
) -> None:
    spec = static(1, 1)
    spec["autoscaling"]["conflictPolicy"] = "Yield"
    async with running(World(spec, session)) as world:
        await until(lambda: world.replicas == 2)
        world.somebody_scales(5)
        await until(lambda: world.condition("ScalingActive") == ("False", "Conflict"))
        await asyncio.sleep(0.2)
        assert world.replicas == 5
        world.edit(static(1, 2))
        await until(lambda: world.replicas == 3)


async def test_an_engine_that_never_starts_is_given_up_and_the_plan_made_without_it(
    session: aiohttp.ClientSession,
) -> None:
    world = World(static(1, 2), session)
    world.has_deployment(3)
    placed = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:00:20Z"},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T10:00:01Z"},
    ]
    world.has_pod("a", conditions=placed)
    world.has_pod("b", conditions=placed)
    world.has_pod("late", conditions=[])
    async with running(world):
        await until(lambda: "EngineGivenUp" in world.reasons())
        await until(lambda: world.status["decisions"][0]["limited"] == "GPUsUnavailable")
        await until(lambda: world.replicas == 2)
        assert world.reasons().count("EngineGivenUp") == 1
        world.edit(static(1, 3))  # which may have mended it: it gets its time anew
        await until(lambda: world.replicas == 4)
        await until(lambda: world.status["decisions"][0]["limited"] != "GPUsUnavailable")
        assert world.reasons().count("EngineGivenUp") == 1


async def test_an_engine_that_served_and_does_not_come_back_is_given_up_too(
    session: aiohttp.ClientSession,
) -> None:
    world = World(static(1, 2), session)
    world.has_deployment(3)
    since = "2026-11-22T10:00:20Z"
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": since}
    for name, ready in (("a", "True"), ("b", "True"), ("looping", "False")):
        now = {"type": "Ready", "status": ready, "lastTransitionTime": since}
        world.has_pod(name, state="serving", conditions=[placed, now])
    async with running(world):
        await until(lambda: "EngineGivenUp" in world.reasons())
        [event] = [event for event in world.kube.find("Event") if event["reason"] == "EngineGivenUp"]
        assert "looping was not ready again after" in event["message"]


async def test_what_is_paused_is_told_and_not_changed(session: aiohttp.ClientSession) -> None:
    spec = static(2, 2)
    spec["autoscaling"]["pause"] = [{"direction": "Up"}]
    world = World(spec, session, {"prefill": {"desired": 1}, "decode": {"desired": 1}})
    world.has_deployment(2)
    async with running(world):
        await until(lambda: world.condition("Paused") == ("True", "Paused"))
        await until(lambda: world.status["lastReason"] == "Paused")
        assert world.replicas == 2
        world.edit(static(2, 2))
        await until(lambda: world.condition("Paused") == ("False", "NotPaused"))
        await until(lambda: world.replicas == 4)


async def test_what_was_learnt_survives_a_restart(session: aiohttp.ClientSession) -> None:
    """knative#2705: with an empty history a restart scaled down rashly."""
    world = World(static(1, 1), session)
    world.has_deployment(2)
    states = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:01:10Z"},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T10:00:01Z"},
    ]
    container = {"name": "engine", "state": {"running": {"startedAt": "2026-11-22T10:00:05Z"}}}
    world.has_pod("a", conditions=states, containerStatuses=[container])
    async with running(world):
        await until(lambda: world.status.get("prefill", {}).get("startupP90Seconds") == 70.0)
    await world.loop.save()
    second = world.restarted()
    async with running(second):
        await until(lambda: "decisions" in second.status)
        await until(lambda: second.status["prefill"]["startupP90Seconds"] == 70.0)


async def test_a_past_that_cannot_be_read_is_told_and_stops_nothing(session: aiohttp.ClientSession) -> None:
    """dynamo PR#11842: a history that was configured and could not be read was passed over without a word."""
    nobody = {"prometheus": {"url": "http://127.0.0.1:9"}}
    scaling = {"strategy": "Static", "interval": "50ms", "metrics": nobody}
    async with running(World(static(1, 1, autoscaling=scaling), session)) as world:
        await until(lambda: world.status != {})
        told = [event["message"] for event in world.kube.find("Event")]
    assert any("days and weeks are learnt anew" in message for message in told)


async def test_pods_that_have_ended_are_no_engines(session: aiohttp.ClientSession) -> None:
    world = World(static(1, 1), session)
    world.has_pod("evicted", phase="Failed", conditions=[])
    async with running(world):
        await until(lambda: world.status != {})
        assert world.status["replicas"] == 0


async def test_decisions_are_taken_on_whole_intervals_only(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Observation] = []

    class Scraper:
        """Slower than what is left of the interval."""

        def __init__(self, _: aiohttp.ClientSession) -> None: ...

        async def observe(
            self, engines: Any, routers: Any, now_s: float, *, end_interval: bool
        ) -> Observation:
            await asyncio.sleep(0.04)
            demand: Value[Demand | None] | Missing
            demand = Value(None) if end_interval else Missing("the interval has not ended")
            return Observation(now_s, (), demand, Missing("none"))

    def recorded(
        settings: PlanSettings, observation: Observation, history: History
    ) -> tuple[Decision, History]:
        seen.append(observation)
        return decide(settings, observation, history)

    monkeypatch.setattr(service, "ServiceScraper", Scraper)
    monkeypatch.setattr(service, "decide", recorded)
    async with running(World(static(1, 1), session)):
        await until(lambda: len(seen) > 5)
    assert all(isinstance(observation.demand, Value) for observation in seen)


async def test_nothing_is_left_of_a_service_in_the_metrics(session: aiohttp.ClientSession) -> None:
    async with running(World(static(1, 1), session)) as world:
        await until(lambda: world.status != {})
    left = [s for family in world.metrics.registry.collect() for s in family.samples if "service" in s.labels]
    assert left == []


def _asked_for(calls: list[Call], ending: str) -> bool:
    return any(call.path.endswith(ending) for call in calls)

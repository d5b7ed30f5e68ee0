"""All services of one operator: which loops run, and when the picture of the fleet is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client import ApiClient, Configuration

from fake_kube import FakeKube
from pdoperator.api import names
from pdoperator.cluster.kube import DEPLOYMENTS, PODS, Object
from pdoperator.cluster.store import Store
from pdoperator.controller import operator as module
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.operator import Operator
from pdoperator.controller.service import Context
from waiting import until


class Watches:
    """Stands for `follow`: each watch waits for the test to hand it a list or an error."""

    def __init__(self) -> None:
        self.fed: dict[str, asyncio.Future[list[Object]]] = {}

    async def follow(self, _: ApiClient, source: Any, on_snapshot: Any, on_event: Any) -> None:
        feed = self.fed.setdefault(source.path, asyncio.get_running_loop().create_future())
        on_snapshot(await feed)
        await asyncio.Event().wait()

    async def list(self, path: str) -> None:
        self.fed[path].set_result([])
        await asyncio.sleep(0.01)


class World:
    """An operator with scripted watches."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.operator = Operator()
        store = Store(self.operator.child_changed)
        self.kube = FakeKube()
        self.context = Context(self.kube, store, Metrics(), session, "op:1")
        self.watches = Watches()
        self.broken = asyncio.Event()

    async def start(self, *namespaces: str) -> None:
        self.operator.start(ApiClient(Configuration()), self.context, namespaces, self.broken.set)
        await asyncio.sleep(0.01)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as session:
        made = World(session)
        monkeypatch.setattr(module, "follow", made.watches.follow)
        yield made
        await made.operator.stop()


def service(uid: str, name: str = "tiny") -> Object:
    metadata = {"name": name, "namespace": "team-a", "uid": uid, "generation": 1}
    spec = {"model": {"name": "m"}, "hardware": {"preset": "cpu"}}
    return {"kind": names.KIND, "metadata": metadata, "spec": spec}


async def test_loops_wait_for_pods_and_deployments_of_every_namespace(world: World) -> None:
    await world.start("team-a", "team-b")
    world.operator.seen(service("u"))
    for resource in (PODS, DEPLOYMENTS):
        for namespace in ("team-a", "team-b"):
            await asyncio.sleep(0.02)
            assert world.kube.calls == []
            await world.watches.list(resource.path(namespace))
    await until(lambda: bool(world.kube.writes()))


async def test_a_watch_that_breaks_is_told_and_its_error_raised(world: World) -> None:
    await world.start()
    world.watches.fed[PODS.path(None)].set_exception(KeyError("metadata"))
    async with asyncio.timeout(2):
        await world.broken.wait()
    with pytest.raises(ExceptionGroup):
        world.operator.check()


async def test_an_operator_that_was_stopped_is_not_broken(world: World) -> None:
    await world.start()
    await world.operator.stop()
    world.operator.check()


async def test_a_service_made_anew_under_its_name_gets_a_loop_of_its_own(world: World) -> None:
    await world.start()
    world.operator.seen(service("old"))
    world.operator.seen(service("new"))
    world.operator.gone(service("old"))  # late news
    (entry,) = world.operator._loops.values()
    assert entry[0] == "new"
    assert not entry[2].done()


async def test_a_deleted_service_has_no_loop(world: World) -> None:
    await world.start()
    world.operator.seen(service("u"))
    world.operator.gone(service("u"))
    assert world.operator._loops == {}

"""One operator of several acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from fake_kube import FakeKube
from pdoperator.api import defaults
from pdoperator.cluster import lease
from pdoperator.cluster.kube import LEASES, Object

PATH = LEASES.path("ns", "op")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lease, "Config", lambda lock, **given: SimpleNamespace(lock=lock, **given)
    )  # 1 s at least
    monkeypatch.setattr(lease, "LEASE_DURATION_S", 0.6)
    monkeypatch.setattr(lease, "RENEW_DEADLINE_S", 0.3)
    monkeypatch.setattr(lease, "RETRY_PERIOD_S", 0.02)


class Worker:
    """What runs while the Lease is held."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = asyncio.Event()
        self.cancelled = False
        self._error = error

    async def work(self) -> None:
        self.started.set()
        if self._error:
            raise self._error
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@asynccontextmanager
async def candidate(kube: FakeKube, identity: str) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    worker = Worker()
    task = asyncio.create_task(lease.lead(kube, "ns", "op", identity, worker.work))
    try:
        yield worker, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def spec(kube: FakeKube) -> Object:
    found: Object = kube.objects[PATH]["spec"]
    return found


async def test_the_first_makes_the_lease_and_the_second_waits() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, _):
        await asyncio.wait_for(one.started.wait(), 2)
        async with candidate(kube, "two") as (two, _):
            await asyncio.sleep(0.8)  # longer than the Lease lasts without being renewed
            assert spec(kube)["holderIdentity"] == "one"
            assert not two.started.is_set()


async def test_renewing_keeps_the_time_at_which_it_was_taken() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, _):
        await asyncio.wait_for(one.started.wait(), 2)
        before = dict(spec(kube))
        await asyncio.sleep(0.1)
        assert spec(kube)["acquireTime"] == before["acquireTime"]
        assert spec(kube)["renewTime"] > before["renewTime"]


async def test_the_next_takes_over_when_it_has_run_out() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, _):
        await asyncio.wait_for(one.started.wait(), 2)
    async with candidate(kube, "two") as (two, _):
        await asyncio.wait_for(two.started.wait(), 3)
    assert spec(kube)["holderIdentity"] == "two"


async def test_one_that_was_released_is_taken_at_once() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, _):
        await asyncio.wait_for(one.started.wait(), 2)
    await lease.release(kube, "ns", "op", "one")
    async with candidate(kube, "two") as (two, _):
        await asyncio.wait_for(two.started.wait(), 0.4)


async def test_nobody_releases_what_another_holds() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, _):
        await asyncio.wait_for(one.started.wait(), 2)
        await lease.release(kube, "ns", "op", "two")
        assert spec(kube)["holderIdentity"] == "one"


async def test_of_two_that_saw_it_free_one_takes_it() -> None:
    kube = FakeKube()
    kube.put(PATH, {"kind": "Lease", "metadata": {"name": "op", "namespace": "ns"}, "spec": {}})
    one, two = (lease._Lock(kube, "ns", "op", identity) for identity in ("one", "two"))
    await one.get("op", "ns")
    await two.get("op", "ns")
    assert await one.update("op", "ns", None)
    assert not await two.update("op", "ns", None)


async def test_leadership_outlives_a_short_absence_of_the_api_server() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, task):
        await asyncio.wait_for(one.started.wait(), 2)
        kube.away = True
        await asyncio.sleep(0.15)
        kube.away = False
        await asyncio.sleep(0.4)
        assert not task.done()
        assert not one.cancelled


async def test_work_ends_when_the_lease_cannot_be_renewed() -> None:
    kube = FakeKube()
    async with candidate(kube, "one") as (one, task):
        await asyncio.wait_for(one.started.wait(), 2)
        kube.away = True
        await asyncio.wait_for(task, 3)
        assert one.cancelled


async def test_an_error_of_the_work_is_the_callers() -> None:
    worker = Worker(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        await asyncio.wait_for(lease.lead(FakeKube(), "ns", "op", "one", worker.work), 3)


def test_the_last_try_to_renew_is_over_before_another_may_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    last_try_ends_s = lease.RETRY_PERIOD_S + lease.RENEW_DEADLINE_S + 2 * defaults.API_TIMEOUT_S
    assert last_try_ends_s < lease.LEASE_DURATION_S

"""The Lease that lets one operator of several act."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio.client import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

from pdoperator.cluster.kube import LEASES, Kube, KubeError, Object

log = logging.getLogger(__name__)

# Leadership outlives an API server that is away for half a minute: nobody else can take it meanwhile either.
LEASE_DURATION_S = 60
# A last try may begin then and take two calls (20 s); it too must be over before another operator may lead.
RENEW_DEADLINE_S = 35
RETRY_PERIOD_S = 2


class _Lock(BaseLock):
    """The Lease as the library's election wants it. A call that fails is a failed try, never the end of the election.

    The library's own LeaseLock (37.0.2) cannot create its Lease, and an API server out of reach ends its election.
    """

    def __init__(self, kube: Kube, namespace: str, name: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self._kube = kube
        self._version = ""
        self._known: Object = {}

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        try:
            lease = await self._kube.get(LEASES, namespace, name)
        except KubeError as error:
            return False, ApiException(status=error.status, reason=error.message)
        if lease is None:
            return False, ApiException(status=404, body=json.dumps({"code": 404}))
        self._version = lease["metadata"]["resourceVersion"]
        self._known = spec = lease.get("spec", {})
        fields = ("holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime")
        return True, LeaderElectionRecord(*(spec.get(field) for field in fields))

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        metadata = {"name": name, "namespace": namespace}
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": self._spec(),
        }
        return await self._tried(self._kube.create(LEASES, namespace, body))

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        # With the version that was read: of two operators that see it free only one can take it.
        body = {"metadata": {"resourceVersion": self._version}, "spec": self._spec()}
        return await self._tried(self._kube.patch(LEASES, namespace, name, body))

    def _spec(self) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = self._known.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE_DURATION_S,
            "acquireTime": self._known.get("acquireTime", now) if ours else now,
            "renewTime": now,
        }

    async def _tried(self, call: Coroutine[Any, Any, Object]) -> bool:
        try:
            await call
        except KubeError as error:
            log.warning("the Lease was not written: %s", error)
            return False
        return True


async def lead(
    kube: Kube, namespace: str, name: str, identity: str, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Wait for the Lease, run `work` while it is held, and return when it is lost (`work` is cancelled) or over."""

    running: list[asyncio.Task[None]] = []
    over = asyncio.Event()

    async def until_over() -> None:
        running.append(asyncio.create_task(work()))
        try:
            await asyncio.wait(running)  # its error is read below, not here
        finally:
            over.set()

    async def nothing() -> None:
        return None

    config = Config(
        _Lock(kube, namespace, name, identity),
        lease_duration=LEASE_DURATION_S,
        renew_deadline=RENEW_DEADLINE_S,
        retry_period=RETRY_PERIOD_S,
        onstarted_leading=until_over,
        onstopped_leading=nothing,
    )
    election = asyncio.create_task(LeaderElection(config).run())
    finished = asyncio.create_task(over.wait())
    tasks: list[asyncio.Future[Any]] = [election, finished]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for ended in (*running, election):
            if ended.done():
                ended.result()  # an error is the caller's
    finally:
        tasks += running
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def release(kube: Kube, namespace: str, name: str, identity: str) -> None:
    """Give the Lease up if `identity` holds it, so that the next operator need not wait for it to run out."""
    try:
        lease = await kube.get(LEASES, namespace, name)
        if lease is not None and lease.get("spec", {}).get("holderIdentity") == identity:
            resource_version = lease["metadata"]["resourceVersion"]
            body = {"metadata": {"resourceVersion": resource_version}, "spec": {"holderIdentity": None}}
            await kube.patch(LEASES, namespace, name, body)
    except KubeError:
        return  # it runs out by itself

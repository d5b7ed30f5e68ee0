"""One pod on the stand-in's node: from being bound to being gone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from cluster.kubeconfig import write_kubeconfig
from cluster.lab.addresses import AddressPool
from cluster.lab.api import UNREACHABLE, ApiError, NodeApi, timestamp
from cluster.lab.container import Container, Surroundings
from cluster.lab.status import pod_status
from cluster.processes import Recorded

Result = TypeVar("Result")
_RETRY_S = (0.1, 0.3, 1.0, 2.0, 5.0)
_TOKEN_S = 7 * 24 * 3600
_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Node:
    """What all pods of the node share."""

    name: str
    api: NodeApi
    server: str
    authority: Path
    pods: Path
    logs: Path
    path: str  # the PATH of every container
    addresses: AddressPool
    session: aiohttp.ClientSession
    say: Callable[[str], None]


class PodWorker:
    def __init__(self, node: Node, pod: Mapping[str, Any]) -> None:
        self._node = node
        self._pod = pod
        metadata = pod["metadata"]
        self._name, self._namespace, self._uid = metadata["name"], metadata["namespace"], metadata["uid"]
        self._path = f"/api/v1/namespaces/{self._namespace}/pods/{self._name}"
        self._folder = node.pods / self._uid
        self._containers: list[Container] = []
        self._changed = asyncio.Event()
        self._finished = False
        self._deleted = asyncio.Event()  # deletion was asked for
        self._gone = False  # the API server knows it no longer
        self._events: set[asyncio.Task[None]] = set()
        self.update(pod)

    def update(self, pod: Mapping[str, Any]) -> None:
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
        # A readiness gate may have been opened.
        self._changed.set()

    def removed(self) -> None:
        """The pod is gone from the API server: it is ended without grace."""
        self._gone = True
        self._deleted.set()

    async def run(self) -> None:
        """Returns when nothing of the pod is left."""
        end_leftovers(self._folder)
        if (self._pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            await self._deleted.wait()
        elif not self._deleted.is_set():
            await self._live()
        await self._forget()

    async def _live(self) -> None:
        address = self._node.addresses.take()
        self._folder.mkdir(parents=True, exist_ok=True)
        publisher = asyncio.create_task(self._publish(address))
        try:
            around = await self._surroundings(address)
            if around is not None:
                await self._run_containers(around)
            self._finished = True
            self._changed.set()
            await self._deleted.wait()
            await self._write_status(address)
        finally:
            publisher.cancel()
            self._node.addresses.give_back(address)

    async def _surroundings(self, address: str) -> Surroundings | None:
        """None when the pod is deleted before it could log in."""
        variables = {
            "PATH": self._node.path,
            "HOME": str(self._folder),
            "HOSTNAME": self._name,
            "LANG": "C.UTF-8",
        }
        if self._wants_token():
            kubeconfig = await self._until_deleted(self._log_in)
            if kubeconfig is None:
                return None
            variables["KUBECONFIG"] = str(kubeconfig)
        return Surroundings(
            pod=self._pod,
            address=address,
            folder=self._folder,
            logs=self._node.logs / f"{self._namespace}_{self._name}_{self._uid}",
            variables=variables,
            session=self._node.session,
            read_config_maps=self._config_maps,
            changed=self._changed.set,
            emit=self._emit,
        )

    async def _run_containers(self, around: Surroundings) -> None:
        before = {one["name"]: one for one in (self._pod.get("status") or {}).get("containerStatuses") or []}
        for spec in self._pod["spec"]["containers"]:
            earlier = before.get(spec["name"])
            # It ran under an earlier life of this process, and now runs once more.
            restarts = earlier["restartCount"] + 1 if earlier and earlier.get("containerID") else 0
            self._containers.append(Container(spec, around, restarts))
        self._changed.set()
        running = asyncio.create_task(self._run_all())
        deleted = asyncio.create_task(self._wait_deleted())
        await asyncio.wait((running, deleted), return_when=asyncio.FIRST_COMPLETED)
        deleted.cancel()
        if not running.done():
            grace = 0.0 if self._gone else float(self._pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            for one in self._containers:
                self._emit("Normal", "Killing", f"Stopping container {one.state.name}")
            await asyncio.gather(*(one.stop(grace) for one in self._containers))
        await running

    async def _run_all(self) -> None:
        await asyncio.gather(*(one.run() for one in self._containers))

    async def _wait_deleted(self) -> None:
        await self._deleted.wait()

    async def _forget(self) -> None:
        """Tell the API server that nothing of the pod is left."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        for delay in (*_RETRY_S, *_RETRY_S):
            if self._gone:
                break
            try:
                await self._node.api.delete(self._path, body)
                break
            except ApiError as reason:
                if reason.status in (404, 409):  # gone, or another pod of that name
                    break
            except UNREACHABLE:
                pass
            await asyncio.sleep(delay)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _publish(self, address: str) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._write_status(address)

    async def _write_status(self, address: str) -> None:
        """Write what is the case, until it is written or the pod is gone."""
        for delay in (*_RETRY_S, *[_RETRY_S[-1]] * 60):
            if self._gone:
                return
            states = [one.state for one in self._containers]
            if not states:
                return
            status = pod_status(self._pod, address, states, self._finished, timestamp())
            try:
                written = await self._node.api.patch(f"{self._path}/status", {"status": status})
                self._pod = {**self._pod, "status": written["status"]}
                return
            except ApiError as reason:
                if reason.status == 404:
                    return
                self._node.say(f"status of {self._namespace}/{self._name}: {reason}")
            except UNREACHABLE:
                pass
            await asyncio.sleep(delay)

    def _wants_token(self) -> bool:
        mounts = [mount for one in self._pod["spec"]["containers"] for mount in one.get("volumeMounts") or []]
        return any(mount["mountPath"] == _TOKEN_MOUNT for mount in mounts)

    async def _log_in(self) -> Path:
        """A kubeconfig with a token of the pod's service account, valid as long as the pod exists."""
        account = self._pod["spec"].get("serviceAccountName", "default")
        answer = await self._node.api.post(
            f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "expirationSeconds": _TOKEN_S,
                    "boundObjectRef": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": self._name,
                        "uid": self._uid,
                    },
                },
            },
        )
        return write_kubeconfig(
            self._folder / "kubeconfig",
            self._node.server,
            self._node.authority,
            token=answer["status"]["token"],
            namespace=self._namespace,
        )

    async def _config_maps(self, container: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
        """The config maps that a container's variables come from; one that does not exist is left out."""
        references = [
            entry.get("valueFrom", {}).get("configMapKeyRef") for entry in container.get("env") or []
        ]
        found: dict[str, Mapping[str, str]] = {}
        for name in {reference["name"] for reference in references if reference}:
            found |= await self._until_deleted(lambda name=name: self._config_map(name)) or {}  # type: ignore[misc]
        return found

    async def _config_map(self, name: str) -> dict[str, Mapping[str, str]]:
        try:
            answer = await self._node.api.get(f"/api/v1/namespaces/{self._namespace}/configmaps/{name}")
        except ApiError as reason:
            if reason.status == 404:
                return {}
            raise
        return {name: answer.get("data") or {}}

    async def _until_deleted(self, attempt: Callable[[], Awaitable[Result]]) -> Result | None:
        """Try again until it works: a node learns what it may read a moment after a pod was bound to it."""
        for delay in (*_RETRY_S, *[_RETRY_S[-1]] * 60):
            if self._deleted.is_set():
                return None
            try:
                return await attempt()
            except (ApiError, *UNREACHABLE) as reason:
                self._node.say(f"{self._namespace}/{self._name}: {reason}")
            await asyncio.sleep(delay)
        raise TimeoutError(f"{self._namespace}/{self._name}: gave up after 5 minutes")

    def _emit(self, kind: str, reason: str, message: str) -> None:
        """Post an Event about the pod, in the background; one that cannot be posted is only a line in the log."""
        task = asyncio.create_task(self._post_event(kind, reason, message))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _post_event(self, kind: str, reason: str, message: str) -> None:
        now = timestamp()
        event = {
            "metadata": {"generateName": f"{self._name}.", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": self._name,
                "namespace": self._namespace,
                "uid": self._uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": self._node.name},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._node.api.post(f"/api/v1/namespaces/{self._namespace}/events", event)
        except (ApiError, *UNREACHABLE) as failure:
            self._node.say(f"event {reason} of {self._namespace}/{self._name}: {failure}")


def end_leftovers(folder: Path) -> None:
    """Kill what an earlier life of the stand-in started for this pod and did not end."""
    for record in folder.glob("*.process.json"):
        Recorded(**json.loads(record.read_text())).end(grace_s=0)
        record.unlink()

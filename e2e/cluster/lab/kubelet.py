"""The stand-in for the kubelet: registers a node, keeps it alive, runs the pods that are bound to it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from cluster import versions
from cluster.lab.addresses import AddressPool
from cluster.lab.api import UNREACHABLE, ApiError, NodeApi, ResourceExpired, microtime, timestamp
from cluster.lab.logs import application, server_tls
from cluster.lab.pod import Node, PodWorker

_LEASE_S = 10
_STATUS_S = 60
_RETRY_S = 1.0


def say(text: str) -> None:
    print(f"{timestamp()} {text}", file=sys.stderr, flush=True)


class Kubelet:
    def __init__(self, node: Node, capacity: Mapping[str, str], port: int) -> None:
        self._node = node
        self._capacity = dict(capacity)
        self._port = port
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await self._insist("register", self._register)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(_LEASE_S, "lease", self._renew_lease))
            group.create_task(self._every(_STATUS_S, "node status", self._write_status))
            group.create_task(self._follow_pods())

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self._node.name, "kubernetes.io/os": "linux"}
        body = {"metadata": {"name": self._node.name, "labels": labels}}
        try:
            await self._node.api.post("/api/v1/nodes", body)
        except ApiError as reason:
            if reason.status != 409:
                raise

    async def _write_status(self) -> None:
        resources = {
            "cpu": "16",
            "memory": "64Gi",
            "pods": "250",
            "ephemeral-storage": "64Gi",
        } | self._capacity
        now = timestamp()
        status = {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self._node.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "nodeInfo": _node_info(),
            "conditions": [
                {
                    "type": kind,
                    "status": "True" if kind == "Ready" else "False",
                    "reason": "LabKubelet",
                    "message": "pods of this node are processes of this machine",
                    "lastHeartbeatTime": now,
                }
                for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
            ],
        }
        await self._node.api.patch(f"/api/v1/nodes/{self._node.name}/status", {"status": status})

    async def _renew_lease(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": self._node.name, "leaseDurationSeconds": 40, "renewTime": microtime()}
        try:
            await self._node.api.patch(f"{leases}/{self._node.name}", {"spec": spec})
        except ApiError as reason:
            if reason.status != 404:
                raise
            await self._node.api.post(leases, {"metadata": {"name": self._node.name}, "spec": spec})

    async def _follow_pods(self) -> None:
        mine = {"fieldSelector": f"spec.nodeName={self._node.name}"}
        while True:
            try:
                listed = await self._node.api.get("/api/v1/pods", **mine)
                self._reconcile(listed["items"])
                version = listed["metadata"]["resourceVersion"]
                while True:
                    async for event in self._node.api.watch("/api/v1/pods", version, **mine):
                        version = event["object"]["metadata"]["resourceVersion"]
                        self._take(event["type"], event["object"])
            except ResourceExpired:
                continue
            except (ApiError, *UNREACHABLE) as reason:
                say(f"pods cannot be watched: {reason or type(reason).__name__}")
                await asyncio.sleep(_RETRY_S)

    def _reconcile(self, pods: list[dict[str, Any]]) -> None:
        known = {pod["metadata"]["uid"] for pod in pods}
        for uid in self._workers.keys() - known:
            self._workers[uid].removed()
        for pod in pods:
            self._take("MODIFIED", pod)

    def _take(self, event: str, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if event == "DELETED":
            if worker is not None:
                worker.removed()
        elif worker is not None:
            worker.update(pod)
        elif event in ("ADDED", "MODIFIED"):
            self._workers[uid] = worker = PodWorker(self._node, pod)
            self._tasks[uid] = asyncio.create_task(worker.run())
            self._tasks[uid].add_done_callback(lambda task: self._ended(uid, task))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        del self._workers[uid], self._tasks[uid]
        if not task.cancelled() and (failure := task.exception()) is not None:
            say(f"pod {uid} is given up: {failure!r}")

    async def _every(self, seconds: float, name: str, action: Any) -> None:
        while True:
            await self._insist(name, action)
            await asyncio.sleep(seconds)

    async def _insist(self, name: str, action: Any) -> None:
        while True:
            try:
                await action()
                return
            except (ApiError, *UNREACHABLE) as reason:
                say(f"{name}: {reason or type(reason).__name__}")
                await asyncio.sleep(_RETRY_S)


def _node_info() -> dict[str, str]:
    machine = os.uname()
    identity = {"machineID": "lab", "systemUUID": "lab", "bootID": "lab"}
    return identity | {
        "kernelVersion": machine.release,
        "osImage": "local processes",
        "containerRuntimeVersion": "process://1",
        "kubeletVersion": f"v{versions.KUBERNETES}",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine, machine.machine),
    }


async def serve(settings: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pki = settings.state / "control-plane" / "pki"
    authority = pki / "ca.crt"
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        NodeApi(settings.server, authority, pki / "node.crt", pki / "node.key") as api,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        node = Node(
            name=settings.name,
            api=api,
            server=settings.server,
            authority=authority,
            pods=settings.state / "pods",
            logs=settings.state / "logs" / "pods",
            path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            addresses=AddressPool(IPv4Network(settings.addresses)),
            session=session,
            say=say,
        )
        runner = web.AppRunner(application(node.logs), access_log=None)
        await runner.setup()
        tls = server_tls(authority, pki / "node-server.crt", pki / "node-server.key")
        await web.TCPSite(runner, "127.0.0.1", settings.port, ssl_context=tls, shutdown_timeout=1).start()
        main = asyncio.create_task(Kubelet(node, settings.capacity, settings.port).run())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({main, stopped}, return_when=asyncio.FIRST_COMPLETED)
        main.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await main
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--addresses", required=True, help="a network within 127.0.0.0/8")
    parser.add_argument("--capacity", type=json.loads, default={}, help="resources of the node, as JSON")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

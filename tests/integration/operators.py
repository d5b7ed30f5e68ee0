"""Operator processes against the API server of the integration tests, and what they bring about there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.processes import free_ports
from integration.api_server import ApiServer
from pdoperator.api import names

LIMIT_S = 120.0
CHILDREN = "deployment,service,configmap,serviceaccount,role,rolebinding"


class Operators:
    """Operator processes that share one API server, each with its log in `folder`."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, identity: str) -> subprocess.Popen[bytes]:
        """One more operator."""
        env = {**os.environ, "KUBECONFIG": str(self._server.kubeconfig), "PD_OPERATOR_IMAGE": "op:1"}
        program, (port,) = Path(sys.executable).parent / "pd-operator", free_ports(1)
        command = [str(program), "run", "--host=127.0.0.1", f"--port={port}", f"--identity={identity}"]
        with self._log(identity).open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        self._running.append(process)
        return process

    def leads(self, identity: str) -> bool:
        """Whether this operator holds the Lease, or once did."""
        return "leading" in self._log(identity).read_text()

    def stop_all(self) -> None:
        """End them gracefully, so that each gives its Lease back."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        for process in self._running:
            process.wait(90)

    def _log(self, identity: str) -> Path:
        return self._folder / f"{identity}.log"


class LiveService:
    """A service in the API server; `body` is what `apply` sends."""

    def __init__(self, server: ApiServer, name: str) -> None:
        self.name = name
        self._server = server
        self.body: dict[str, Any] = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "model": {"name": "m"},
                "hardware": {"preset": "cpu"},
                "autoscaling": {"interval": "2s"},
            },
        }

    def apply(self) -> None:
        """Create it, or edit it."""
        self._server.kubectl("apply", "-f", "-", stdin=self.body)

    def children(self) -> set[str]:
        """What carries its label."""
        label = f"{names.LABEL_SERVICE}={self.name}"
        return set(self._server.kubectl("get", CHILDREN, "-l", label, "-o", "name").split())

    def engines(self) -> dict[str, Any]:
        """The Deployment of its shared pool."""
        return self._server.json("get", "deployment", f"{self.name}-engine")

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of its status; empty while there is none."""
        listed = self._server.json("get", "pdis", self.name).get("status", {}).get("conditions", [])
        return next((each for each in listed if each["type"] == kind), {})

    def events(self) -> list[str]:
        """Reasons of the Events about it."""
        selector = f"--field-selector=involvedObject.name={self.name}"
        return [event["reason"] for event in self._server.json("get", "events", selector)["items"]]

    def until_all_children(self) -> None:
        """Wait for what a service with a shared pool is made of."""
        until(lambda: len(self.children()) == 8, "eight children")


def until(check: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until `check` holds; the test fails where it does not within the limit."""
    end = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < end, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.2)

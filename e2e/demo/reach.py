"""Addresses under which this machine reaches pods: their own, or a port forward where those are not routed here."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field

from demo.kubectl import Kubectl
from pdoperator.api import names


@dataclass
class Reach:
    """URLs of a service's router and engines. `close` ends the port forwards."""

    kubectl: Kubectl
    direct: bool
    _forwards: dict[str, tuple[subprocess.Popen[str], str]] = field(default_factory=dict)

    def router(self, service: str) -> str:
        """URL of one router."""
        pods = self.kubectl.pods(names.selector_text(names.router_selector(service)))
        return self._url(pods[0]["metadata"]["name"], pods[0]["status"]["podIP"], names.ROUTER_PORT)

    def engines(self, service: str) -> dict[str, str]:
        """URL of each engine that has an address, by pod name."""
        pods = self.kubectl.pods(names.selector_text(names.engine_selector(service)))
        return {
            pod["metadata"]["name"]: self._url(
                pod["metadata"]["name"], pod["status"]["podIP"], names.ENGINE_PORT
            )
            for pod in pods
            if pod.get("status", {}).get("podIP") and (self.direct or pod["status"].get("phase") == "Running")
        }

    def close(self) -> None:
        """End the port forwards."""
        for process, _ in self._forwards.values():
            process.terminate()
            process.wait(10)
        self._forwards.clear()

    def _url(self, pod: str, address: str, port: int) -> str:
        if self.direct:
            return f"http://{address}:{port}"
        known = self._forwards.get(pod)
        if known is None or known[0].poll() is not None:
            known = self._forwards[pod] = self._forward(pod, port)
        return known[1]

    def _forward(self, pod: str, port: int) -> tuple[subprocess.Popen[str], str]:
        command = self.kubectl.command("port-forward", f"pod/{pod}", f":{port}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = process.stdout.readline() if process.stdout else ""
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        return process, f"http://127.0.0.1:{found.group(1)}" if found else "http://127.0.0.1:0"

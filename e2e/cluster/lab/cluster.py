"""Bring-up and tear-down of the lab."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cluster.controlplane import ControlPlane
from cluster.lab.pod import end_leftovers
from cluster.locks import locked
from cluster.paths import REPOSITORY, state_root
from cluster.processes import Processes, free_ports, port_free
from cluster.steps import Steps

_KUBELET = "kubelet"


@dataclass
class LabCluster:
    """`capacity`: what the node offers to the scheduler, such as `{"nvidia.com/gpu": "8"}`; nothing is enforced.

    `with_parent`: everything is killed when the calling process ends, however that ends (for tests).
    """

    steps: Steps
    why: str = ""
    state: Path = field(default_factory=lambda: state_root() / "lab")
    name: str = "lab"
    capacity: Mapping[str, str] = field(default_factory=dict)
    with_parent: bool = False
    kind: str = "lab"

    @property
    def kubeconfig(self) -> Path:
        return self.control_plane.kubeconfig

    @property
    def logs(self) -> Path:
        """The logs of pods: NAMESPACE_POD_UID/CONTAINER/RESTART.log"""
        return self.state / "logs" / "pods"

    @cached_property
    def _processes(self) -> Processes:
        return Processes(self.state)

    @cached_property
    def control_plane(self) -> ControlPlane:
        return ControlPlane(self.state / "control-plane", with_parent=self.with_parent, steps=self.steps)

    def up(self) -> None:
        """Bring up what is not up, and wait until the node is Ready. Raises `StartFailed`."""
        self.state.mkdir(parents=True, exist_ok=True)
        with locked(self.state / "lock"):
            self.control_plane.up()
            with self.steps.step("start the node of local processes"):
                self.start_kubelet()

    def start_kubelet(self) -> None:
        """Start the stand-in unless it runs; pods that ran before are started anew."""
        plane = self.control_plane
        plane.authority.client("node", f"system:node:{self.name}", "system:nodes")
        plane.authority.server("node-server", [self.name], ["127.0.0.1"])
        chosen = self._chosen()
        command = [
            *(sys.executable, "-m", "cluster.lab.kubelet"),
            f"--server={plane.url}",
            f"--state={self.state}",
            f"--name={self.name}",
            f"--port={chosen['port']}",
            f"--addresses={chosen['addresses']}",
            f"--capacity={json.dumps(dict(self.capacity))}",
        ]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "e2e")}
        self._processes.start(_KUBELET, command, environment=environment, with_parent=self.with_parent)
        port = int(chosen["port"])
        # The node may still count as Ready from an earlier life of the stand-in.
        self._processes.wait_ready(_KUBELET, lambda: not port_free(port) and plane.node_ready(self.name), 30)

    def stop_kubelet(self) -> None:
        """Stop the stand-in, and with it the processes of its pods: what the loss of a machine looks like."""
        self._processes.stop(_KUBELET)
        self._end_pods()

    def ready(self) -> bool:
        running = self.state.exists() and self._processes.running(_KUBELET) is not None
        return running and self.control_plane.ready() and self.control_plane.node_ready(self.name)

    def load_image(self, archive: Path) -> None:
        """Nothing to do: pods run the programs of this machine, whatever image they name."""

    def down(self) -> None:
        """Stop everything and remove the state folder. Does nothing where nothing is."""
        if not self.state.exists():
            return
        with self.steps.step("remove the lab"), locked(self.state / "lock"):
            self.stop_kubelet()
            self.control_plane.down()
            shutil.rmtree(self.state)

    def _end_pods(self) -> None:
        for folder in (self.state / "pods").glob("*"):
            end_leftovers(folder)

    def _chosen(self) -> dict[str, str | int]:
        """Port and pod addresses, chosen once: another lab on this machine most likely has others."""
        file = self.state / "node.json"
        if not file.exists():
            second = random.randint(16, 250)
            file.write_text(json.dumps({"port": free_ports(1)[0], "addresses": f"127.{second}.0.0/16"}))
        chosen: dict[str, str | int] = json.loads(file.read_text())
        return chosen

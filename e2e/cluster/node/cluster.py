"""Bring-up and tear-down of the node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path

from cluster.archive import Layer, write_archive
from cluster.components import components
from cluster.controlplane import ControlPlane
from cluster.locks import locked
from cluster.node import configuration, packages
from cluster.node.configuration import Network
from cluster.node.host import (
    Host,
    may_lower_oom_score,
    processes_with_argument,
    resolver_file,
    routed_networks,
    run,
    unmount_below,
)
from cluster.processes import Processes, Recorded, free_ports, wait_until
from cluster.steps import Steps

DEFAULT_STATE = Path("/var/lib/pd-operator-node")
_KUBELET_PORTS = ("kubelet", "proxy_health", "proxy_metrics")
_ORDER = ("containerd", "kubelet", "kube-proxy")


@dataclass
class NodeCluster:
    """`host_paths`: folders of this machine by the absolute path under which pods mount them with hostPath."""

    steps: Steps
    why: str = ""
    state: Path = DEFAULT_STATE
    name: str = "pd-node"
    host_paths: Mapping[str, Path] = field(default_factory=dict)
    kind: str = "node"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "control-plane" / "admin.kubeconfig"

    @property
    def _socket(self) -> Path:
        return self.state / "containerd.sock"

    @cached_property
    def _processes(self) -> Processes:
        return Processes(self.state)

    @cached_property
    def _host(self) -> Host:
        return Host(self.state / "host-before.json")

    @cached_property
    def _network(self) -> Network:
        """Chosen once for a state folder, then kept."""
        file = self.state / "network.json"
        if not file.exists():
            chosen = configuration.choose_network(routed_networks())
            file.write_text(json.dumps(str(chosen.range)))
        return Network(IPv4Network(json.loads(file.read_text())))

    @cached_property
    def _ports(self) -> dict[str, int]:
        file = self.state / "kubelet-ports.json"
        if not file.exists():
            chosen = free_ports(len(_KUBELET_PORTS), str(self._network.node))
            file.write_text(json.dumps(dict(zip(_KUBELET_PORTS, chosen, strict=True))))
        ports: dict[str, int] = json.loads(file.read_text())
        return ports

    @cached_property
    def control_plane(self) -> ControlPlane:
        return ControlPlane(self.state / "control-plane", address=str(self._network.node), steps=self.steps)

    def up(self) -> None:
        """Bring up what is not up, and wait until the node is Ready. Raises with the tail of a log where that fails."""
        if os.geteuid() != 0:
            raise PermissionError("a node needs root; CLUSTER=lab does without")
        packages.install(packages.NODE, self.steps)
        self.state.mkdir(parents=True, exist_ok=True, mode=0o755)
        with locked(self.state / "lock"):
            binaries = components([*self.control_plane_names(), "kubelet", "kube-proxy", "pause"], self.steps)
            self._host.remember()
            self._host.forward()
            self._host.add_address(str(self._network.node))
            for path, target in self.host_paths.items():
                self._host.link(Path(path), target)
            self.control_plane.up()
            with self.steps.step("start containerd", 2):
                self._start_containerd(binaries["pause"])
            with self.steps.step("start kubelet and kube-proxy, wait for a Ready node", 8):
                self._start_kubelet(binaries["kubelet"])
                self._start_proxy(binaries["kube-proxy"])
                self._processes.wait_ready("kubelet", lambda: self.control_plane.node_ready(self.name), 90)

    def ready(self) -> bool:
        running = self.kubeconfig.exists() and all(self._processes.running(name) for name in _ORDER)
        return running and self.control_plane.ready() and self.control_plane.node_ready(self.name)

    def load_image(self, archive: Path) -> None:
        """Make the images of a docker-archive usable by pods, under the names that the archive gives them."""
        facts = archive.stat()
        marker = self.state / "loaded" / f"{archive.name}-{facts.st_size}-{facts.st_mtime_ns}"
        if marker.exists():
            return
        self._ctr("images", "import", str(archive), timeout_s=600)
        marker.parent.mkdir(exist_ok=True)
        marker.touch()

    def down(self) -> None:
        """Remove the cluster and every trace of it. Safe to repeat; does nothing where nothing is."""
        if not self.state.exists():
            return
        with self.steps.step("remove the node", 8), locked(self.state / "lock"):
            for name in ("kubelet", "kube-proxy"):
                self._processes.stop(name, grace_s=5)
            self._end_containers()
            self._processes.stop("containerd", grace_s=5)
            for pid in processes_with_argument(str(self._socket)):
                Recorded.of(pid).end(grace_s=1)
            if (self.state / "network.json").exists():
                self.control_plane.down()
            unmount_below(self.state)
            self._host.restore()
            shutil.rmtree(self.state)

    def control_plane_names(self) -> list[str]:
        return ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]

    def _start_containerd(self, pause: Path) -> None:
        plugins = packages.cni_folder()
        if plugins is None:
            raise RuntimeError("no CNI plugins found: the package containernetworking-plugins brings them")
        config = self.state / "containerd.toml"
        config.write_text(configuration.containerd(self.state, self._socket, plugins, may_lower_oom_score()))
        cni = self.state / "cni" / "10-pd-operator.conflist"
        cni.parent.mkdir(exist_ok=True)
        cni.write_text(configuration.cni(self.state, self._network))
        self._processes.start("containerd", ["containerd", "--config", config], environment=_system_path())
        self._processes.wait_ready("containerd", lambda: self._ctr("version", check=False) != "", 30)
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "pause.tar"
            write_archive(
                archive, configuration.PAUSE_IMAGE, Layer.of_file(pause, "pause"), entrypoint=["/pause"]
            )
            self.load_image(archive)

    def _start_kubelet(self, binary: Path) -> None:
        plane = self.control_plane
        config = self.state / "kubelet.yaml"
        authority = plane.authority.certificate
        config.write_text(
            configuration.kubelet(
                self.state, self._socket, authority, self._network.node, self._ports, resolver_file()
            )
        )
        kubeconfig = plane.kubeconfig_for("kubelet", f"system:node:{self.name}", "system:nodes")
        command: list[str | Path] = [
            binary,
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={self.state / 'kubelet'}",
            f"--cert-dir={self.state / 'kubelet' / 'pki'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self._network.node}",
        ]
        self._processes.start("kubelet", command, environment=_system_path())

    def _start_proxy(self, binary: Path) -> None:
        kubeconfig = self.control_plane.kubeconfig_for("kube-proxy", "system:kube-proxy")
        config = self.state / "kube-proxy.yaml"
        config.write_text(
            configuration.proxy(kubeconfig, self.name, self._network.node, self._network, self._ports)
        )
        self._processes.start("kube-proxy", [binary, f"--config={config}"], environment=_system_path())

    def _end_containers(self) -> None:
        """Kill every task, so that containerd and its shims hold nothing when they end."""
        if self._processes.running("containerd") is None:
            return
        for task in self._ctr("tasks", "ls", "-q", check=False).split():
            self._ctr("tasks", "kill", "--all", "--signal", "SIGKILL", task, check=False)
        wait_until(lambda: " RUNNING" not in self._ctr("tasks", "ls", check=False), 10)
        for task in self._ctr("tasks", "ls", "-q", check=False).split():
            self._ctr("tasks", "rm", "--force", task, check=False)

    def _ctr(self, *arguments: str, check: bool = True, timeout_s: float = 30.0) -> str:
        try:
            return run(
                "ctr", "-a", str(self._socket), "-n", "k8s.io", *arguments, check=check, timeout_s=timeout_s
            )
        except subprocess.TimeoutExpired as reason:
            raise RuntimeError(f"containerd did not answer within {timeout_s:.0f} s") from reason


def _system_path() -> dict[str, str]:
    return os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"}

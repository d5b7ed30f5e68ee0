"""Kubernetes in Docker or Podman, by the `kind` program.

Not run on the machine on which this was written, which has no container engine: there it is checked only as far as the
configuration and the commands go. All that follows a kubeconfig and a way to load an image is shared with the node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cluster import versions
from cluster.engines import container_engine
from cluster.paths import cache_root, state_root
from cluster.steps import Steps
from cluster.toolchain import go_install

_CREATE_LIMIT_S = 900


def find_kind(steps: Steps) -> Path:
    """From PATH, from the cache, else built from its Go module."""
    on_path = shutil.which("kind")
    if on_path:
        return Path(on_path)
    cached = cache_root() / "bin" / f"kind-{versions.KIND}" / "kind"
    return cached if cached.exists() else go_install(f"sigs.k8s.io/kind@v{versions.KIND}", cached, steps, 60)


def configuration(host_paths: Mapping[str, Path]) -> str:
    """kind's own configuration: one node, which sees folders of this machine at the given absolute paths."""
    mounts = [{"hostPath": str(folder), "containerPath": path} for path, folder in host_paths.items()]
    node = {"role": "control-plane"} | ({"extraMounts": mounts} if mounts else {})
    return yaml.safe_dump({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]})


@dataclass
class KindCluster:
    """`host_paths`: folders of this machine by the absolute path under which pods mount them with hostPath."""

    steps: Steps
    why: str = ""
    state: Path = field(default_factory=lambda: state_root() / "kind")
    name: str = "pd-operator"
    host_paths: Mapping[str, Path] = field(default_factory=dict)
    kind: str = "kind"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    def up(self) -> None:
        """Create the cluster unless it exists, and wait until its node is Ready."""
        self.state.mkdir(parents=True, exist_ok=True)
        if self.ready():
            return
        config = self.state / "kind.yaml"
        config.write_text(configuration(self.host_paths))
        with self.steps.step("create the kind cluster", 90):
            self._kind("create", "cluster", "--config", str(config), "--wait", "180s", *self._target())

    def ready(self) -> bool:
        return self.kubeconfig.exists() and self.name in self._kind("get", "clusters").split()

    def load_image(self, archive: Path) -> None:
        """Make the images of a docker-archive usable by pods, under the names that the archive gives them."""
        self._kind("load", "image-archive", str(archive), "--name", self.name)

    def down(self) -> None:
        """Remove the cluster. Does nothing where nothing is."""
        if self.state.exists():
            with self.steps.step("remove the kind cluster", 5):
                self._kind("delete", "cluster", *self._target())
            shutil.rmtree(self.state)

    def _target(self) -> Sequence[str]:
        return ("--name", self.name, "--kubeconfig", str(self.kubeconfig))

    def _kind(self, *arguments: str) -> str:
        environment = dict(os.environ)
        if container_engine() == "podman":
            environment["KIND_EXPERIMENTAL_PROVIDER"] = "podman"
        result = subprocess.run(
            [str(find_kind(self.steps)), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_CREATE_LIMIT_S,
        )
        if result.returncode != 0:
            raise RuntimeError(f"kind {arguments[0]} failed: {result.stderr.strip()[-1500:]}")
        return result.stdout

"""Which kind of cluster this machine can hold, and why that one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from cluster.engines import container_engine
from cluster.kind import KindCluster
from cluster.lab.cluster import LabCluster
from cluster.node import packages
from cluster.node.cluster import NodeCluster
from cluster.node.host import may_administer
from cluster.steps import Steps

Kind = Literal["kind", "node", "lab"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class NotPossible(RuntimeError):
    """The kind that was asked for cannot run on this machine; the text says why."""


class Cluster(Protocol):
    """All that installing, testing and demonstrating need of a cluster."""

    kind: str
    why: str

    @property
    def kubeconfig(self) -> Path: ...

    def up(self) -> None:
        """Bring up what is not up; returns when pods can run."""

    def ready(self) -> bool: ...

    def load_image(self, archive: Path) -> None:
        """Make the images of a docker-archive usable by pods."""

    def down(self) -> None:
        """Remove it with every trace; does nothing where nothing is."""


@dataclass(frozen=True)
class Choice:
    kind: Kind
    why: str


def choose(wanted: str = "auto") -> Choice:
    """The best kind that this machine allows, or the one asked for. Raises `NotPossible` when that cannot run here."""
    obstacles = {kind: _obstacle(kind) for kind in KINDS}
    if wanted != "auto":
        kind = next((kind for kind in KINDS if kind == wanted), None)
        if kind is None:
            raise NotPossible(f"unknown kind {wanted!r}: auto, {', '.join(KINDS)}")
        if obstacles[kind]:
            raise NotPossible(f"{kind} cannot run here: {obstacles[kind]}")
        return Choice(kind, "asked for")
    return best(obstacles)


def best(obstacles: Mapping[Kind, str | None]) -> Choice:
    """The first kind without an obstacle; the reason tells what kept the better ones away."""
    passed_over: list[str] = []
    for kind in KINDS:
        obstacle = obstacles[kind]
        if obstacle is None:
            return Choice(kind, "; ".join([*passed_over, _MERITS[kind]]))
        passed_over.append(f"not {kind}: {obstacle}")
    raise NotPossible("; ".join(passed_over))


def make_cluster(
    choice: Choice,
    steps: Steps,
    *,
    host_paths: Mapping[str, Path] | None = None,
    capacity: Mapping[str, str] | None = None,
) -> Cluster:
    """The cluster object; nothing is started yet. `host_paths` matters to kind and node, `capacity` to the lab."""
    if choice.kind == "kind":
        return KindCluster(steps, choice.why, host_paths=host_paths or {})
    if choice.kind == "node":
        return NodeCluster(steps, choice.why, host_paths=host_paths or {})
    return LabCluster(steps, choice.why, capacity=capacity or {})


def existing(steps: Steps) -> list[Cluster]:
    """The clusters of this user that were brought up and not taken down."""
    clusters = (KindCluster(steps), NodeCluster(steps), LabCluster(steps))
    return [cluster for cluster in clusters if cluster.state.exists()]


_MERITS: dict[Kind, str] = {
    "kind": "a container engine answers",
    "node": "this is Linux and root, which is enough for a real node",
    "lab": "a control plane with pods as local processes needs neither",
}


def _obstacle(kind: Kind) -> str | None:
    if kind == "kind":
        return None if container_engine() else "neither Docker nor Podman answers"
    if not sys.platform.startswith("linux"):
        return "this is not Linux"
    if kind == "node":
        return _node_obstacle()
    return None if shutil.which("openssl") else "the openssl program is missing"


def _node_obstacle() -> str | None:
    if os.geteuid() != 0:
        return "it needs root"
    if not may_administer():
        return "root here may not administer mounts and networks (an unprivileged container?)"
    missing = packages.missing(packages.NODE)
    if missing and shutil.which("apt-get") is None:
        return f"{', '.join(missing)} missing, and only apt-get is known here to install them"
    return None

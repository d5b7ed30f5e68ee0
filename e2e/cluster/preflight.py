"""What bringing things up will cost in disk, memory and time, told before anything is changed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.choice import Kind
from cluster.components import build_time_s
from cluster.images import Source, image_of
from cluster.node import packages
from cluster.paths import cache_root
from cluster.steps import Steps, spoken

_GIB = 2**30
_DISK_RESERVE_GIB = 1.0  # what must be left to the machine


class DoesNotFit(RuntimeError):
    """The machine cannot hold what was asked for; the text says what is short, and by how much."""


@dataclass(frozen=True)
class Need:
    """What one part costs: disk and time now, memory while it runs. Times are those of two shared cores."""

    what: str
    disk_gib: float = 0.0
    memory_gib: float = 0.0
    time_s: float = 0.0


def cluster_needs(kind: Kind) -> list[Need]:
    """What `up` of this kind will do, with what is at hand already left out."""
    if kind == "kind":
        return [Need("kind's node image and its cluster", disk_gib=3.0, memory_gib=1.2, time_s=120)]
    programs = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"]
    needs = []
    if kind == "node":
        programs += ["kubelet", "kube-proxy", "pause"]
        missing = packages.missing(packages.NODE)
        if missing:
            needs.append(Need(f"Debian packages {', '.join(missing)}", disk_gib=0.4, time_s=30))
    to_build = [name for name in programs if build_time_s([name]) > 0]
    if to_build:
        # Sources and Go's own build cache are far larger than the programs.
        needs.append(Need(f"build {', '.join(to_build)} from Go modules", 4.5, time_s=build_time_s(to_build)))
    running = "node" if kind == "node" else "control plane and node of local processes"
    return [*needs, Need(f"run the {running}", 0.5, 0.8 if kind == "node" else 0.6, 12)]


def image_needs(source: Source) -> list[Need]:
    """What building an image will cost: nothing when it is cached."""
    if image_of(source).archive.exists():
        return []
    return [Need(f"build the image {source.name}", disk_gib=3.5, time_s=source.expected_s)]


def ensure_fits(needs: Sequence[Need], steps: Steps) -> None:
    """Say what will be done and what it costs. Raises `DoesNotFit` before anything is changed."""
    for need in needs:
        steps.say(f"  {need.what}: {_cost(need)}")
    disk, memory = sum(need.disk_gib for need in needs), sum(need.memory_gib for need in needs)
    free_disk, free_memory = _free_disk_gib(cache_root()), _available_memory_gib()
    total = Need("all", disk, memory, sum(need.time_s for need in needs))
    steps.say(f"  together {_cost(total)}; free: disk {free_disk:.0f} GiB, memory {free_memory:.1f} GiB")
    short = shortages(disk, memory, free_disk, free_memory)
    if short:
        raise DoesNotFit("; ".join(short))


def shortages(disk_gib: float, memory_gib: float, free_disk_gib: float, free_memory_gib: float) -> list[str]:
    found = []
    if disk_gib + _DISK_RESERVE_GIB > free_disk_gib:
        wanted = disk_gib + _DISK_RESERVE_GIB
        found.append(f"needs {wanted:.1f} GiB of disk at {cache_root()}, {free_disk_gib:.1f} GiB are free")
    if memory_gib > free_memory_gib:
        found.append(f"needs {memory_gib:.1f} GiB of memory, {free_memory_gib:.1f} GiB are available")
    return found


def _cost(need: Need) -> str:
    parts = [f"disk {need.disk_gib:.1f} GiB"] if need.disk_gib else []
    parts += [f"memory {need.memory_gib:.1f} GiB"] if need.memory_gib else []
    parts += [f"about {spoken(need.time_s)}"] if need.time_s else []
    return ", ".join(parts) or "nothing"


def _free_disk_gib(folder: Path) -> float:
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    return shutil.disk_usage(existing).free / _GIB


def _available_memory_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / _GIB
    raise DoesNotFit("/proc/meminfo does not tell how much memory is available")

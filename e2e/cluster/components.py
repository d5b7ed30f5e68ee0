"""Kubernetes' own programs: found where they are at hand, else built from the published Go modules.

The module that pins them is `binaries/go.mod`. Results are cached by version and by the hash of that module, so a
second start builds nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cluster import versions
from cluster.locks import locked
from cluster.paths import cache_root
from cluster.steps import Steps
from cluster.toolchain import find_go, run_go

MODULE = Path(__file__).parent / "binaries"


@dataclass(frozen=True)
class Component:
    package: str
    expected_s: float  # cold build on two shared cores; the first Kubernetes one pays for what they share
    version_arguments: tuple[str, ...] = ("--version",)


_K8S = "k8s.io/kubernetes/cmd"
COMPONENTS = {
    "etcd": Component("./etcd", 40),
    "kube-apiserver": Component(f"{_K8S}/kube-apiserver", 264),
    "kube-controller-manager": Component(f"{_K8S}/kube-controller-manager", 73),
    "kube-scheduler": Component(f"{_K8S}/kube-scheduler", 10),
    "kubectl": Component(f"{_K8S}/kubectl", 25, ("version", "--client")),
    "kubelet": Component(f"{_K8S}/kubelet", 25),
    "kube-proxy": Component(f"{_K8S}/kube-proxy", 10),
    "pause": Component("./pause", 2, ()),
}


def components(names: Iterable[str], steps: Steps) -> dict[str, Path]:
    """The programs by name; only what is asked for and not at hand is built.

    Raises `ToolMissing` with the compiler's own words when one can be neither found nor built.
    """
    names = list(names)
    found = {name: path for name in names if (path := _at_hand(name)) is not None}
    missing = [name for name in names if name not in found]
    if missing:
        with locked(cache_root() / "bin.lock"):
            for name in missing:
                found[name] = _cached(name) or _build(name, steps)
    return found


def build_time_s(names: Iterable[str]) -> float:
    """About how long `components` would build on two shared cores: 0 when all is at hand."""
    return sum(COMPONENTS[name].expected_s for name in names if _at_hand(name) is None)


def cache_folder() -> Path:
    """Where this version's programs are kept: another version, module or architecture has another folder."""
    digest = hashlib.sha256(platform.machine().encode())
    for file in sorted(MODULE.rglob("*")):
        if file.name in ("go.mod", "go.sum", "main.go"):
            digest.update(file.relative_to(MODULE).as_posix().encode() + b"\0" + file.read_bytes())
    return cache_root() / "bin" / f"kubernetes-{versions.KUBERNETES}-{digest.hexdigest()[:12]}"


def fits(name: str, version_output: str) -> bool:
    """Whether a program that printed this for its version can stand in for ours: same minor, or an etcd not too old."""
    found = re.search(r"v?(\d+)\.(\d+)\.\d+", version_output)
    if found is None:
        return False
    version = (int(found[1]), int(found[2]))
    if name == "etcd":
        return version >= versions.MIN_ETCD
    major, minor, _ = versions.KUBERNETES.split(".")
    return version == (int(major), int(minor))


def _at_hand(name: str) -> Path | None:
    return _cached(name) or _installed(name)


def _cached(name: str) -> Path | None:
    path = cache_folder() / name
    return path if path.exists() else None


def _installed(name: str) -> Path | None:
    """From KUBEBUILDER_ASSETS or PATH, when its version fits."""
    arguments = COMPONENTS[name].version_arguments
    if not arguments:
        return None
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for path in (shutil.which(name, path=assets) if assets else None, shutil.which(name)):
        if path is None:
            continue
        try:
            result = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if result.returncode == 0 and fits(name, result.stdout):
            return Path(path)
    return None


def _build(name: str, steps: Steps) -> Path:
    component = COMPONENTS[name]
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    go = find_go(steps)
    step = steps.step(f"build {name} from Go modules", component.expected_s)
    with step, tempfile.TemporaryDirectory(dir=folder) as scratch:
        output = Path(scratch) / name
        run_go(
            go, "build", "-trimpath", "-ldflags", _ldflags(), "-o", str(output), component.package, cwd=MODULE
        )
        output.rename(folder / name)
    return folder / name


def _ldflags() -> str:
    # Without these the programs call themselves v0.0.0 and the version checks between them complain.
    major, minor, _ = versions.KUBERNETES.split(".")
    at = "k8s.io/component-base/version"
    stamps = {"gitVersion": f"v{versions.KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s", "-w", *(f"-X {at}.{key}={value}" for key, value in stamps.items())])

"""Prometheus: from PATH, from the cache, else out of Debian's package, which is unpacked and not installed.

Installed it would be a service of the machine, listening to everyone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster.locks import locked
from cluster.paths import cache_root
from cluster.steps import Steps
from cluster.toolchain import ToolMissing

_EXPECTED_S = 10


def find_prometheus(steps: Steps) -> Path:
    """The program. Raises `ToolMissing` with apt's own words when there is no way to it."""
    on_path = shutil.which("prometheus")
    if on_path:
        return Path(on_path)
    target = cache_root() / "bin" / "prometheus" / "prometheus"
    with locked(cache_root() / "prometheus.lock"):
        if not target.exists():
            if shutil.which("apt-get") is None:
                raise ToolMissing("no prometheus on PATH, and no apt-get to fetch Debian's")
            target.parent.mkdir(parents=True, exist_ok=True)
            with steps.step("fetch prometheus", _EXPECTED_S):
                _unpack(target)
    return target


def _unpack(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        failure = _run(["apt-get", "download", "prometheus"], folder)
        if failure and os.geteuid() == 0:  # a fresh machine has no lists of packages yet
            failure = _run(["apt-get", "update"], folder) or _run(
                ["apt-get", "download", "prometheus"], folder
            )
        for package in folder.glob("*.deb"):
            failure = _run(["dpkg-deb", "--extract", package.name, "files"], folder)
        if failure:
            raise ToolMissing(f"no prometheus on PATH, and Debian's cannot be had: {failure}")
        (folder / "files/usr/bin/prometheus").rename(target)


def _run(command: list[str], folder: Path) -> str:
    """What went wrong, on one line; empty if nothing did."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return " ".join(done.stderr.split())[-300:] if done.returncode else ""

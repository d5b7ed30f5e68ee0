"""Debian packages that the node needs; installed when their programs are missing, and left installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from cluster.steps import Steps
from cluster.toolchain import ToolMissing

# Programs by the package that brings them, under the name that Debian and Ubuntu share.
NODE = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "nft": "nftables",
    "ip": "iproute2",
    "mount": "mount",
    "openssl": "openssl",
}
IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}
_DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Another apt may hold the lock for a while (a fresh machine's own), or a mirror fail to answer.
_ATTEMPTS, _PAUSE_S = 5, 20.0
_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def cni_folder() -> Path | None:
    """Where the CNI plugins are: distributions differ."""
    return next((folder for folder in _CNI_FOLDERS if (folder / "bridge").exists()), None)


def missing(programs: dict[str, str]) -> list[str]:
    """The packages to install, of `NODE` or `IMAGES`."""
    packages = {
        package for program, package in programs.items() if shutil.which(program, path=_path()) is None
    }
    if programs is NODE and cni_folder() is None:
        packages.add("containernetworking-plugins")
    if programs is IMAGES and not _DEBIAN_KEYS.exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def install(programs: dict[str, str], steps: Steps) -> None:
    """Install what is missing. Raises `ToolMissing` with apt's own words where that fails."""
    packages = missing(programs)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise ToolMissing(f"please install {', '.join(packages)}: only apt-get is known here")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with steps.step(f"install {', '.join(packages)}", 30):
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            _apt_get(command, environment)


def _apt_get(command: list[str], environment: dict[str, str]) -> None:
    for _ in range(_ATTEMPTS):
        result = subprocess.run(
            ["apt-get", "-q", "-o", "Acquire::Retries=3", *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        if result.returncode == 0:
            return
        time.sleep(_PAUSE_S)
    raise ToolMissing(f"apt-get {command[0]} failed: {(result.stderr or result.stdout)[-1000:]}")


def _path() -> str:
    # An account's PATH may lack the folders in which these are.
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

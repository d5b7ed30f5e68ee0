"""A Debian base image made on the spot, for builds without a registry. Needs root and debootstrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster import versions
from cluster.archive import Layer, write_archive
from cluster.node.host import unmount_below
from cluster.paths import cache_root
from cluster.steps import Steps
from cluster.toolchain import ToolMissing

# Python and the libraries of both our images: with them in the base, a build needs no package mirror.
PACKAGES = (
    "ca-certificates",
    "libffi8",
    "libgomp1",
    "libnuma1",
    "libsqlite3-0",
    "libssl3",
    "python3",
    "python3-venv",
)
_MIRROR = "http://deb.debian.org/debian"
_ATTEMPTS = 3  # debootstrap fetches hundreds of files, each of them once
_LEFT_OUT = ("./var/cache/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/man/*", "./dev/*")


def make_base(reference: str, archive: Path, steps: Steps) -> None:
    """Write the image `reference` to `archive`."""
    scratch = cache_root() / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    step = steps.step(f"make a Debian {versions.DEBIAN} base image", 60)
    with step, tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        try:
            _debootstrap(folder / "root")
            _tar(folder / "root", folder / "layer.tar")
        finally:
            unmount_below(folder)
            shutil.rmtree(folder / "root", ignore_errors=True)
        write_archive(folder / "image.tar", reference, Layer(folder / "layer.tar"))
        archive.parent.mkdir(parents=True, exist_ok=True)
        (folder / "image.tar").rename(archive)


def _debootstrap(root: Path) -> None:
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        versions.DEBIAN,
        str(root),
    ]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"} | _proxy()
    for _ in range(_ATTEMPTS):
        result = subprocess.run(
            [*command, _mirror()], env=environment, capture_output=True, text=True, timeout=1800
        )
        if result.returncode == 0:
            return
        unmount_below(root)
        shutil.rmtree(root, ignore_errors=True)
    raise ToolMissing(f"debootstrap failed: {(result.stdout + result.stderr).strip()[-800:]}")


def _tar(root: Path, layer: Path) -> None:
    excluded = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    command = [
        "tar",
        "--create",
        "--numeric-owner",
        "--file",
        str(layer),
        "--directory",
        str(root),
        *excluded,
        ".",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


def _mirror() -> str:
    """The mirror that this machine's own apt uses for that release, else Debian's."""
    if shutil.which("apt-get") is None:
        return _MIRROR
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(
        [*command, f"Codename: {versions.DEBIAN}"], capture_output=True, text=True, timeout=60
    ).stdout.split()
    return next((line.rstrip("/") for line in listed if line.startswith(("http:", "https:"))), _MIRROR)


def _proxy() -> dict[str, str]:
    """apt's proxy, which debootstrap knows nothing of."""
    if shutil.which("apt-config") is None:
        return {}
    shown = subprocess.run(
        ["apt-config", "shell", "PROXY", "Acquire::http::Proxy"], capture_output=True, text=True, timeout=60
    ).stdout
    found = re.search(r"PROXY='([^']+)'", shown)
    return {"http_proxy": found[1]} if found else {}

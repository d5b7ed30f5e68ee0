"""The images of this repository, built into docker-archives that every kind of cluster can load.

An archive is keyed by the content of its sources, and cached: a second build of the same sources does nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster import debian, versions
from cluster.builders import BuildahBuilder, Builder, EngineBuilder
from cluster.engines import container_engine
from cluster.locks import locked
from cluster.paths import REPOSITORY, cache_root
from cluster.pipconfig import pip_secrets
from cluster.steps import Steps

_KEPT_ARCHIVES = 2


@dataclass(frozen=True)
class Source:
    """What an image is made of. `inputs`: the files and folders of `context` that its content depends on."""

    name: str
    dockerfile: Path
    context: Path
    inputs: Sequence[str]
    expected_s: float
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    reference: str  # localhost/NAME:CONTENT-HASH: what a pod names
    archive: Path


OPERATOR = Source(
    name="pd-operator",
    dockerfile=REPOSITORY / "Dockerfile",
    context=REPOSITORY,
    inputs=("pyproject.toml", "README.md", "operator", "requirements/runtime.txt", "requirements/build.txt"),
    expected_s=120,
)
VLLM_CPU = Source(
    name="pd-vllm-cpu",
    dockerfile=REPOSITORY / "e2e/engine/Dockerfile",
    context=REPOSITORY / "e2e/engine",
    inputs=("vllm",),
    expected_s=20,
)


def build_image(source: Source, steps: Steps) -> Image:
    """Build `source` unless it is cached. Raises `BuildFailed`, or `ToolMissing` where there is no builder."""
    image = image_of(source)
    with locked(cache_root() / "images.lock"):
        if not image.archive.exists():
            image.archive.parent.mkdir(parents=True, exist_ok=True)
            with steps.step(f"build the image {source.name}", source.expected_s):
                _build(source, image, steps)
            _forget_old(source)
    return image


def image_of(source: Source) -> Image:
    """The name and place of what `build_image` would give now."""
    recipe = (platform.machine(), versions.DEBIAN, debian.PACKAGES, sorted(source.arguments.items()))
    digest = hashlib.sha256(repr(recipe).encode())
    for file in (source.dockerfile, *_files(source)):
        digest.update(os.path.relpath(file, source.context).encode() + b"\0" + file.read_bytes())
    tag = digest.hexdigest()[:12]
    return Image(f"localhost/{source.name}:{tag}", cache_root() / "images" / f"{source.name}-{tag}.tar")


def _build(source: Source, image: Image, steps: Steps) -> None:
    engine = container_engine()
    builder: Builder = EngineBuilder(engine) if engine else BuildahBuilder(steps)
    with tempfile.TemporaryDirectory(dir=image.archive.parent) as folder:
        options = ["--file", str(source.dockerfile)]
        for name, value in source.arguments.items():
            options += ["--build-arg", f"{name}={value}"]
        for name, file in pip_secrets(Path(folder)).items():
            options += ["--secret", f"id={name},src={file}"]
        builder.build(image.reference, options, source.context)
        part = Path(folder) / "image.tar"
        builder.save(image.reference, part)
        part.rename(image.archive)


def _files(source: Source) -> Iterator[Path]:
    for name in source.inputs:
        path = source.context / name
        found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
        yield from (file for file in found if "__pycache__" not in file.parts)


def _forget_old(source: Source) -> None:
    archives = sorted(
        (cache_root() / "images").glob(f"{source.name}-????????????.tar"),
        key=lambda file: file.stat().st_mtime,
    )
    for archive in archives[:-_KEPT_ARCHIVES]:
        archive.unlink()

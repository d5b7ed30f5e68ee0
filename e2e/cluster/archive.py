"""Images as files: a docker-archive of one layer, written without any container tool."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Layer:
    """A layer: the path of its tar file, uncompressed."""

    content: bytes | Path

    @staticmethod
    def of_file(file: Path, name: str) -> Layer:
        """A layer that holds one program, at `/name`."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = file.stat().st_size, 0o755
            with file.open("rb") as source:
                tar.addfile(entry, source)
        return Layer(buffer.getvalue())

    @property
    def size(self) -> int:
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def open(self) -> io.BufferedIOBase:
        return self.content.open("rb") if isinstance(self.content, Path) else io.BytesIO(self.content)

    def digest(self) -> str:
        with self.open() as source:
            return hashlib.file_digest(source, "sha256").hexdigest()


def write_archive(path: Path, reference: str, layer: Layer, entrypoint: Sequence[str] = ()) -> None:
    """Write the image `reference` (`localhost/name:tag`) to `path`."""
    image = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint)} if entrypoint else {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest()}"]},
        "history": [{"created_by": "pd-operator"}],
    }
    config = json.dumps(image).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = json.dumps(
        [{"Config": f"{name}.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    ).encode()
    with tarfile.open(path, "w") as archive:
        _add(archive, f"{name}.json", Layer(config))
        _add(archive, "manifest.json", Layer(manifest))
        _add(archive, "layer.tar", layer)


def _add(archive: tarfile.TarFile, name: str, content: Layer) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = content.size, 0o644
    with content.open() as source:
        archive.addfile(entry, source)

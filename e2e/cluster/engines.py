"""Whether a container engine answers on this machine."""

from __future__ import annotations

import functools
import shutil
import subprocess

_ENGINES = ("docker", "podman")


@functools.cache
def container_engine() -> str | None:
    """The program of the first engine that answers: a client alone, without its daemon, does not count."""
    for name in _ENGINES:
        if shutil.which(name) is None:
            continue
        try:
            if subprocess.run([name, "info"], capture_output=True, timeout=15).returncode == 0:
                return name
        except (OSError, subprocess.TimeoutExpired):
            continue
    return None

"""The process that NVIDIA's planner runs in, and where its environment is."""

from __future__ import annotations

import json
import os
import select
import subprocess
import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RELEASE = "ai-dynamo-1.5.1"
ANSWER_LIMIT_S = 600.0  # the first answer comes after 8 s of CPU for imports, on a machine that may be busy
SCRIPT = Path(__file__).with_name("planner.py")
ENDED = "NVIDIA's planner has ended; what it said stands above"


class PlannerMissingError(RuntimeError):
    """The planner's environment is not there, or its process does not answer; the message says which."""


def environment() -> Path:
    """The folder of the virtual environment that has Dynamo's planner, whether it is there or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pd-operator" / "peers" / RELEASE


class PlannerProcess:
    """One planner, which ends with this object. Raises PlannerMissingError."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        python = environment() / "bin" / "python"
        if not python.is_file():
            raise PlannerMissingError(
                f"NVIDIA's planner is not in {environment()}; python benchmarks/dynamo/install.py puts it there"
            )
        self._folder = TemporaryDirectory(prefix="dynamo-")  # each start leaves its logging set-up in TMPDIR
        self._process = subprocess.Popen(
            [python, "-I", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": self._folder.name, "DYN_LOG": "error", "OMP_NUM_THREADS": "1"},
        )
        weakref.finalize(self, _end, self._process)
        self._write(configuration)

    def answer(self, told: dict[str, Any]) -> dict[str, Any]:
        """A line in, a line out."""
        self._write(told)
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], ANSWER_LIMIT_S)[0]:
            raise PlannerMissingError(f"NVIDIA's planner has not answered within {ANSWER_LIMIT_S:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise PlannerMissingError(ENDED)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _write(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PlannerMissingError(ENDED) from None


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()

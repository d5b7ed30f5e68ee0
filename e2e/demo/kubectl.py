"""kubectl against one cluster, with a time limit on every call."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class KubectlError(Exception):
    """kubectl failed; its own words."""


@dataclass(frozen=True)
class Kubectl:
    """A kubectl binary and the kubeconfig that it uses."""

    binary: Path
    kubeconfig: Path

    def command(self, *args: str) -> list[str]:
        """The command line, for people and for processes that run longer."""
        return [str(self.binary), "--kubeconfig", str(self.kubeconfig), *args]

    def run(self, *args: str, stdin: str | None = None, limit_s: float = 60) -> str:
        """Standard output. Raises KubectlError with kubectl's message."""
        done = subprocess.run(
            self.command(*args), input=stdin, capture_output=True, text=True, timeout=limit_s, check=False
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *args: str) -> Object:
        """What `kubectl … -o json` prints."""
        found: Object = json.loads(self.run(*args, "-o", "json"))
        return found

    def service(self, name: str) -> Object:
        """A PDInferenceService."""
        return self.json("get", "pdis", name)

    def pods(self, selector: str) -> list[Object]:
        """Pods by label, those that are being deleted left out."""
        items = self.json("get", "pods", "-l", selector)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """Status and message of a condition of a service; ("Unknown", "") before there is one."""
        for condition in self.service(name).get("status", {}).get("conditions", []):
            if condition["type"] == kind:
                return condition["status"], condition["message"]
        return "Unknown", ""


def wait_for(what: str, check: Callable[[], bool], limit_s: float, period_s: float = 1.0) -> None:
    """Until `check` holds; a failing kubectl counts as not yet. Raises TimeoutError that names `what`."""
    end = time.monotonic() + limit_s
    last = ""
    while time.monotonic() < end:
        try:
            if check():
                return
        except (KubectlError, KeyError, subprocess.TimeoutExpired) as error:
            last = f" ({error})"
        time.sleep(period_s)
    raise TimeoutError(f"{what}: not within {limit_s:.0f} s{last}")

"""The API server as tests see it: through kubectl."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ApiServer:
    """The server, and kubectl as its administrator."""

    kubeconfig: Path
    kubectl_binary: Path

    def try_kubectl(self, *args: str, stdin: object = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; `stdin` is an object for `-f -`."""
        # The cache of discovery is kept by address, and ports come back with other servers behind them.
        cache = self.kubeconfig.parent / "kubectl-cache"
        command = [str(self.kubectl_binary), f"--kubeconfig={self.kubeconfig}", f"--cache-dir={cache}", *args]
        text = None if stdin is None else json.dumps(stdin)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)

    def kubectl(self, *args: str, stdin: object = None) -> str:
        """Standard output of a kubectl that must succeed."""
        result = self.try_kubectl(*args, stdin=stdin)
        assert result.returncode == 0, f"kubectl {' '.join(args)}: {result.stderr}"
        return result.stdout

    def json(self, *args: str, stdin: object = None) -> dict[str, Any]:
        """What kubectl prints with `-o json`."""
        found: dict[str, Any] = json.loads(self.kubectl(*args, "-o", "json", stdin=stdin))
        return found

    def refusal(self, body: dict[str, Any]) -> str:
        """Why the server does not take an object; the test fails when it does."""
        result = self.try_kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=body)
        assert result.returncode != 0, f"was accepted: {body}"
        return result.stderr

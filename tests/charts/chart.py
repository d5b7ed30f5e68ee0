"""Helm on our chart."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "pd-operator"
RELEASE = "pd"
NAMESPACE = "pd-system"

Tree = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """Calls of one Helm; `home` keeps its configuration out of the user's."""

    helm: Path
    home: Path

    def run(self, *args: str, values: Tree | None = None) -> subprocess.CompletedProcess[str]:
        """`helm ...` with values; JSON is YAML."""
        home = {
            "HELM_CONFIG_HOME": str(self.home),
            "HELM_CACHE_HOME": str(self.home),
            "HELM_DATA_HOME": str(self.home),
        }
        given = ["--values=-"] if values else []
        return subprocess.run(
            [str(self.helm), *args, *given],
            input=json.dumps(values) if values else None,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | home,
        )

    def template(self, values: Tree | None = None) -> subprocess.CompletedProcess[str]:
        """`helm template`."""
        return self.run("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", values=values)

    def objects(self, values: Tree | None = None) -> list[Tree]:
        """What the chart renders."""
        result = self.template(values)
        assert result.returncode == 0, result.stderr
        return [body for body in yaml.safe_load_all(result.stdout) if body]

    def deployment(self, values: Tree | None = None) -> Tree:
        """The operator's Deployment."""
        (found,) = [body for body in self.objects(values) if body["kind"] == "Deployment"]
        return found

    def container(self, values: Tree | None = None) -> Tree:
        """The operator's container."""
        (found,) = self.deployment(values)["spec"]["template"]["spec"]["containers"]
        assert isinstance(found, dict)
        return found

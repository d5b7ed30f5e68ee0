"""A real Prometheus beside the cluster, which scrapes the pods of a service."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.processes import Processes
from demo.kubectl import Object, wait_for

_NAME = "prometheus"


@dataclass(frozen=True)
class Prometheus:
    """One process; what it has scraped outlives it in `folder`. It listens where pods reach this machine."""

    program: Path
    folder: Path
    address: str

    @property
    def url(self) -> str:
        """As a spec names it."""
        return f"http://{self.address}"

    def start(self, pods: Iterable[Object]) -> None:
        """Returns when these pods have been scraped; Debian's build does not find pods by itself."""
        targets = [_target(pod) for pod in pods]
        configuration = self.folder / "prometheus.yaml"
        configuration.write_text(yaml.safe_dump(_configuration(targets)))
        command = [
            str(self.program),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]
        Processes(self.folder).start(_NAME, command, with_parent=True)
        wait_for(f"samples of {len(targets)} pods", lambda: self._up() == len(targets), 60)

    def stop(self) -> None:
        """Returns when it is gone."""
        Processes(self.folder).stop(_NAME)

    def _up(self) -> int:
        query = urllib.parse.urlencode({"query": "up == 1"})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=5) as answer:
                return len(json.load(answer)["data"]["result"])
        except OSError:
            return 0


def _configuration(targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "pods", "static_configs": targets}],
    }


def _target(pod: Object) -> dict[str, Any]:
    """The pod's port of the name http, with the labels that the operator knows pods by."""
    (container,) = pod["spec"]["containers"]
    port = next(each["containerPort"] for each in container["ports"] if each["name"] == "http")
    metadata = pod["metadata"]
    return {
        "targets": [f"{pod['status']['podIP']}:{port}"],
        "labels": {"namespace": metadata["namespace"], "pod": metadata["name"]},
    }

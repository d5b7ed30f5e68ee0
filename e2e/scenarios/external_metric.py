"""One metric under Kubernetes' external metrics API, for a real HPA to follow: its value is the scenario's to set."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from cluster.certificates import Authority
from demo.kubectl import Kubectl, Object

NAME = "engines-wanted"
_GROUP = "external.metrics.k8s.io"
_VERSION = f"{_GROUP}/v1beta1"
_SERVICE = "external-metrics"


@dataclass
class ExternalMetric:
    """How many engines somebody wants."""

    value: int

    def answer(self, path: str) -> dict[str, Any]:
        """To the API server, which asks what there is, and to the HPA, which asks for the value."""
        if path.rstrip("/").endswith(_VERSION):
            resource = {"name": NAME, "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": _VERSION,
                "resources": [{"singularName": "", **resource}],
            }
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        item = {"metricName": NAME, "metricLabels": {}, "timestamp": now, "value": str(self.value)}
        return {"kind": "ExternalMetricValueList", "apiVersion": _VERSION, "metadata": {}, "items": [item]}


@contextmanager
def followed_by_an_hpa(
    metric: ExternalMetric, service: str, kubectl: Kubectl, host: str, folder: Path
) -> Iterator[None]:
    """Serve the metric at `host` and let an HPA size the service by it, without delays of its own."""
    authority = Authority(folder / "pki")
    authority.create()
    server = _server(metric, host, *authority.server("metrics", [f"{_SERVICE}.default.svc"], []))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    objects = yaml.safe_dump_all(
        [*_api(host, server.server_port, authority.certificate.read_bytes()), _hpa(service)]
    )
    try:
        kubectl.run("apply", "-f", "-", stdin=objects)
        yield
    finally:
        kubectl.run("delete", "--ignore-not-found", "-f", "-", stdin=objects)
        server.shutdown()
        serving.join()
        server.server_close()


def _server(metric: ExternalMetric, host: str, certificate: Path, key: Path) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(metric.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: each question of the API server would be a line."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer((host, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def _api(host: str, port: int, authority: bytes) -> list[Object]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _SERVICE, "namespace": "default"},
        # The API server goes to an external name itself: no proxy of the cluster's is in between.
        "spec": {"type": "ExternalName", "externalName": host, "ports": [{"port": port}]},
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": _SERVICE, "namespace": "default", "port": port},
            "caBundle": base64.b64encode(authority).decode(),
        },
    }
    return [service, api]


def _hpa(service: str) -> Object:
    target = {"type": "AverageValue", "averageValue": "1"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": service, "namespace": "default"},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "inference.pdoperator.io/v1alpha1",
                "kind": "PDInferenceService",
                "name": service,
            },
            "minReplicas": 2,
            "maxReplicas": 8,
            "metrics": [{"type": "External", "external": {"metric": {"name": NAME}, "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }

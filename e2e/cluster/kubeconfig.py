"""Kubeconfig files, and the little of the API that the cluster tools themselves need."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path,
    server: str,
    authority: Path,
    *,
    client: tuple[Path, Path] | None = None,
    token: str | None = None,
    namespace: str = "default",
) -> Path:
    """A kubeconfig with everything in it, readable by its owner only; it can be copied elsewhere and still works."""
    user: dict[str, str] = {}
    if client is not None:
        user["client-certificate-data"], user["client-key-data"] = (_encoded(file) for file in client)
    if token is not None:
        user["token"] = token
    name = "pd-operator"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _encoded(authority)}}
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


class Api:
    """Plain requests to the API server of a kubeconfig written by `write_kubeconfig`, with client certificates."""

    def __init__(self, authority: Path, client: tuple[Path, Path], server: str) -> None:
        self._server = server
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(*map(str, client))
        # No proxy of the environment: the server is on this machine.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )

    def get(self, path: str, timeout_s: float = 5.0) -> Any:
        with self._opener.open(f"{self._server}{path}", timeout=timeout_s) as answer:
            return json.loads(answer.read())

    def ready(self) -> bool:
        try:
            with self._opener.open(f"{self._server}/readyz", timeout=5.0) as answer:
                return bool(answer.read() == b"ok")
        except (urllib.error.URLError, OSError):
            return False

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except (urllib.error.URLError, OSError):
            return False
        return True


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()

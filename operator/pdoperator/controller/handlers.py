"""kopf's side: what it watches, how patiently, and the one thin handler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import kopf

from pdoperator.api import names
from pdoperator.controller.operator import Operator

# A short outage of the API server is ridden out by flat back-offs (kopf's own grow to 21 s and then end the process).
ERROR_BACKOFFS = [0.5, 1, 1, 2, 2, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def settings(*, clusterwide: bool) -> kopf.OperatorSettings:
    """kopf's settings for this operator. Bound to namespaces it may not look at the cluster's."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = not clusterwide
    chosen.posting.enabled = False  # Events are ours: with reasons of our own, and counted
    chosen.persistence.finalizer = f"{names.PREFIX}/finalizer"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.PREFIX)
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.PREFIX)
    chosen.queueing.idle_timeout = 0.5  # a worker task lives this long after an object's last event
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.connect_timeout = 10
    chosen.watching.inactivity_timeout = 70
    chosen.networking.connect_timeout = 10
    chosen.networking.request_timeout = 30
    chosen.networking.error_backoffs = ERROR_BACKOFFS
    return chosen


def registry(operator: Operator) -> kopf.OperatorRegistry:
    """Handlers that tell `operator` of its services. They keep no state in the objects: no finalizer, no annotation."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return _service_account() or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.cleanup(registry=handlers)
    async def ended(**_: Any) -> None:
        # kopf waits for tasks that were born while it ran; ours would not end by themselves.
        await operator.stop()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    async def changed(type: str | None, body: kopf.Body, **_: Any) -> None:
        # One that is being deleted is left to the garbage collector: what it deletes must not be made anew.
        if type == "DELETED" or "deletionTimestamp" in body["metadata"]:
            operator.gone(dict(body))
        else:
            operator.seen(dict(body))

    return handlers


def _service_account() -> kopf.ConnectionInfo | None:
    """The pod's own account, by the API server's address: kopf's own login needs a cluster with DNS.

    kopf asks again when a token is refused, and the file then holds the rotated one.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = _SERVICE_ACCOUNT / "token"
    if not host or not token.exists():
        return None
    return kopf.ConnectionInfo(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_path=str(_SERVICE_ACCOUNT / "ca.crt"),
        scheme="Bearer",
        token=token.read_text().strip(),
    )

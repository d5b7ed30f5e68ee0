"""What survives a restart of the operator: one ConfigMap a service, of texts that their owners write and read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from pdoperator.api import defaults, names
from pdoperator.cluster.kube import CONFIG_MAPS, Kube, KubeError
from pdoperator.cluster.store import Key
from pdoperator.workload.render import Owner

log = logging.getLogger(__name__)


class Memory:
    """The ConfigMap NAME-history. It goes with the service; no watch of ours follows it."""

    def __init__(self, kube: Kube, key: Key) -> None:
        self._kube = kube
        self._key = key
        self._written: Mapping[str, str] = {}
        self._written_at = 0.0

    async def read(self) -> Mapping[str, str]:
        """What was written last; empty if nothing was. Raises KubeError: without knowing, nothing may be written."""
        namespace, service = self._key
        known = await self._kube.get(CONFIG_MAPS, namespace, names.history_name(service))
        self._written = dict((known or {}).get("data") or {})
        self._written_at = time.monotonic()
        return self._written

    async def write(
        self, owner: Owner, texts: Callable[[], Mapping[str, str]], *, at_once: bool = False
    ) -> None:
        """Write what `texts` gives, MEMORY_PERIOD_S after the last time or `at_once`; one that fails waits for then.

        `texts` is asked only when it is time, and in a thread. What is beyond MEMORY_MAX_BYTES together is left out,
        the longest first, as an object may not hold it.
        """
        if not at_once and time.monotonic() - self._written_at < defaults.MEMORY_PERIOD_S:
            return
        self._written_at = time.monotonic()
        data = _fitting(await asyncio.to_thread(texts))
        if data == self._written:
            return
        try:
            await self._kube.apply(_body(owner, data))
        except KubeError as error:
            log.warning("the history of %s/%s was not written: %s", *self._key, error)
            return
        self._written = data


def _fitting(texts: Mapping[str, str]) -> dict[str, str]:
    fitting, left = {}, defaults.MEMORY_MAX_BYTES
    for name, text in sorted(texts.items(), key=lambda item: len(item[1])):
        left -= len(text.encode())
        if left >= 0:
            fitting[name] = text
    return fitting


def _body(owner: Owner, data: Mapping[str, str]) -> dict[str, object]:
    metadata = {
        "name": names.history_name(owner.name),
        "namespace": owner.namespace,
        # Without our own label: the operator's watches need not carry it back each minute.
        "labels": {
            "app.kubernetes.io/instance": owner.name,
            "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
        },
        "ownerReferences": [owner.reference()],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}

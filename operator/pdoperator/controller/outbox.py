"""Events on their way to the API server."""

from __future__ import annotations

import logging
from collections import deque

from pdoperator.cluster import events as kube_events
from pdoperator.cluster.events import Event, Subject
from pdoperator.cluster.kube import Kube, KubeError
from pdoperator.controller.metrics import Metrics

log = logging.getLogger(__name__)

LIMIT = 100  # beyond it the oldest are dropped; they are in the log


class Outbox:
    """Events of one service, in their order. Posting them stops nothing else."""

    def __init__(self, kube: Kube, metrics: Metrics, subject: Subject) -> None:
        self._kube = kube
        self._metrics = metrics
        self._subject = subject
        self._waiting: deque[Event] = deque(maxlen=LIMIT)

    def add(self, event: Event) -> None:
        """Log and count it now, post it with the next post()."""
        key = (self._subject.namespace, self._subject.name)
        log.info("service %s/%s: %s: %s", *key, event.reason.value, event.message)
        self._metrics.events.labels(*key, event.reason.value).inc()
        self._waiting.append(event)

    async def post(self) -> None:
        """Post what waits. What the API server refuses is dropped, what it cannot take now waits for the next call."""
        while self._waiting:
            try:
                await kube_events.post(self._kube, self._subject, self._waiting[0])
            except KubeError as error:
                log.warning("the Event %s was not posted: %s", self._waiting[0].reason.value, error)
                if not error.refused:
                    return
            self._waiting.popleft()

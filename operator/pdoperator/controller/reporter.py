"""Telling: status, Events, metrics of one service."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from pydantic import ValidationError

from pdoperator.api import defaults
from pdoperator.api.reasons import Reason
from pdoperator.api.status import Status
from pdoperator.api.values import Value
from pdoperator.cluster.events import Event, Subject
from pdoperator.cluster.kube import PD_SERVICES, Kube, KubeError, Object
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.outbox import Outbox
from pdoperator.controller.situation import Situation
from pdoperator.controller.status import build_status, figures_apart
from pdoperator.controller.troubles import Trouble, Troubles
from pdoperator.signals.observe import NO_ROUTER


class Reporter:
    """What one service's status, Events and metrics say; `status` is what was written last."""

    def __init__(self, kube: Kube, metrics: Metrics, subject: Subject, body: Object) -> None:
        self._kube = kube
        self._metrics = metrics
        self._key = (subject.namespace, subject.name)
        self._outbox = Outbox(kube, metrics, subject)
        self._troubles = Troubles()
        self._written_at = 0.0
        self.status = _known_status(body)

    def tell(self, event: Event) -> None:
        """Log and count it now, post it with the next report."""
        self._outbox.add(event)

    async def report(self, situation: Situation) -> None:
        """Bring Events, metrics and status up to date. Raises KubeError if the status could not be written."""
        for event in self._troubles.fresh(_wrong(situation), time.monotonic()):
            self.tell(event)
        self._metrics.show(self._key, situation)
        await self._outbox.post()
        await self._write_status(situation)

    async def _write_status(self, situation: Situation) -> None:
        """At once when something changed that people wait for, now and then when figures have drifted."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = build_status(situation, self.status, now)
        only_figures = figures_apart(status, self.status) == self.status
        recent = time.monotonic() - self._written_at < defaults.STATUS_PERIOD_S
        if status == self.status or (only_figures and recent):
            return
        body = {"status": status.model_dump(by_alias=True, mode="json")}
        try:
            await self._kube.patch(PD_SERVICES, *self._key, body, subresource="status")
        except KubeError as error:
            if error.status != 404:  # deleted; the watch is about to say so
                raise
        self.status = status
        self._written_at = time.monotonic()


def _wrong(situation: Situation) -> list[Trouble]:
    """What is wrong now. That a router could not be read is news only of one that was ready then."""
    troubles = [Trouble(problem.reason, problem.kind, problem.message) for problem in situation.problems]
    if situation.obstacle:
        obstacle = situation.obstacle
        troubles.append(Trouble(obstacle.reason, obstacle.message, obstacle.message))
    unread = situation.decided_on.unread if situation.decided_on else ""
    if unread and unread != NO_ROUTER:
        troubles.append(Trouble(Reason.FAILED_GET_METRICS, "routers", unread))
    troubles += [
        Trouble(Reason.FAILED_GET_METRICS, "source", problem) for problem in situation.source_problems
    ]
    seen = situation.decided_on
    if seen and isinstance(seen.transfers, Value) and seen.transfers.x.late:
        late = f"{seen.transfers.x.late} KV transfers came after their lease had run out, so answers may be wrong"
        fix = "raise transport.kvLeaseSeconds, or add decode engines"
        troubles.append(Trouble(Reason.LATE_TRANSFERS, "late", f"{late}; {fix}"))
    if situation.conflict:
        troubles.append(Trouble(Reason.CONFLICT, situation.conflict, situation.conflict))
    return troubles


def _known_status(body: Object) -> Status:
    """The status that is there; an unreadable one (of another version) counts as none."""
    try:
        return Status.model_validate(body.get("status") or {})
    except ValidationError:
        return Status()

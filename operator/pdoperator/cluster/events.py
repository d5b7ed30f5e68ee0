"""Kubernetes Events: one object for a repeated message, its count raised, as the kubelet does it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from pdoperator.api import names
from pdoperator.api.reasons import Reason
from pdoperator.cluster.kube import EVENTS, Kube, KubeError, Object

MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a service; `warning` when a person should look."""

    reason: Reason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """The PDInferenceService that Events are about."""

    namespace: str
    name: str
    uid: str


async def post(kube: Kube, subject: Subject, event: Event) -> None:
    """Create the Event, or raise the count of the same one. Raises KubeError."""
    try:
        await _create_or_count(kube, subject, event)
    except KubeError as error:
        if error.status not in (404, 409):  # else it came or ran out between our look and our write
            raise
        await _create_or_count(kube, subject, event)


async def _create_or_count(kube: Kube, subject: Subject, event: Event) -> None:
    name = f"{subject.name}.{_digest(subject, event)}"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = await kube.get(EVENTS, subject.namespace, name)
    if known is None:
        await kube.create(EVENTS, subject.namespace, _body(subject, event, name, now))
        return
    again = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": now}
    await kube.patch(EVENTS, subject.namespace, name, again)


def _digest(subject: Subject, event: Event) -> str:
    text = "\0".join([subject.uid, event.reason, event.message, str(event.warning)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _body(subject: Subject, event: Event, name: str, now: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": subject.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": subject.name,
            "namespace": subject.namespace,
            "uid": subject.uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason.value,
        "message": event.message[:MESSAGE_LIMIT],
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": names.FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }

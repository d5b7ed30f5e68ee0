"""An engine pod as the API server has it -> an Engine of the routing table."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

from pdoperator.api.names import LABEL_REVISION, LABEL_ROLE, LABEL_STATE, Role, State
from pdoperator.scheduling.engines import Engine

E = TypeVar("E", bound=StrEnum)


def engine_of(pod: dict[str, Any], port: int) -> Engine:
    """The engine that runs in `pod`. Labels that are missing or unknown count as none: no role, no state."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    return Engine(
        name=metadata["name"],
        address=_address(status.get("podIP") or "", port),
        role=_one_of(Role, labels.get(LABEL_ROLE)) or Role.BOTH,
        state=_one_of(State, labels.get(LABEL_STATE)),
        revision=labels.get(LABEL_REVISION, ""),
        ready=_is_ready(status),
        deleting=metadata.get("deletionTimestamp") is not None,
    )


def _is_ready(status: dict[str, Any]) -> bool:
    conditions = status.get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _address(ip: str, port: int) -> str:
    if not ip:
        return ""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _one_of(kind: type[E], text: str | None) -> E | None:
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None

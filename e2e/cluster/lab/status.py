"""The status of a pod, computed from the states of its containers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ContainerState:
    """What is known of one container; `state` and `last_state` have the shape of the API's ContainerState."""

    name: str
    image: str
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: dict[str, Any] = field(default_factory=dict)
    started: bool = False
    ready: bool = False
    restarts: int = 0
    container_id: str = ""
    has_run: bool = False

    def as_api(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "containerID": self.container_id,
            "state": self.state,
            "lastState": self.last_state,
            "started": self.started,
            "ready": self.ready,
            "restartCount": self.restarts,
        }


def pod_status(
    pod: Mapping[str, Any], address: str, states: Sequence[ContainerState], finished: bool, now: str
) -> dict[str, Any]:
    """The status to write, as a strategic merge patch. `finished`: no container will run again; `now`: RFC 3339."""
    status = pod.get("status") or {}
    ready = all(state.ready for state in states)
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    open_gates = [gate for gate in gates if not _is_true(status, gate)]
    unready = [state.name for state in states if not state.ready]
    why = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    if not why and open_gates:
        why = f"readiness gates not met: {', '.join(open_gates)}"
    conditions = [
        _condition(status, "Initialized", True, "", now),
        _condition(status, "ContainersReady", ready, "" if ready else why, now),
        _condition(status, "Ready", ready and not open_gates, why, now),
    ]
    return {
        "phase": phase(states, finished),
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        # Lists with a merge key would otherwise keep the address of an earlier life.
        "podIPs": [{"ip": address}, {"$patch": "replace"}],
        "startTime": status.get("startTime") or now,
        "conditions": conditions,
        "containerStatuses": [state.as_api() for state in states],
    }


def phase(states: Sequence[ContainerState], finished: bool) -> str:
    if finished:
        ends = [state.state.get("terminated", {}).get("exitCode") for state in states]
        return "Succeeded" if all(code == 0 for code in ends) else "Failed"
    return "Running" if all(state.has_run for state in states) else "Pending"


def terminated(
    exit_code: int, started_at: str, finished_at: str, container_id: str, message: str
) -> dict[str, Any]:
    """The API's terminated state; a negative code is the signal that ended the process, as Python has it."""
    end: dict[str, Any] = {
        "exitCode": exit_code if exit_code >= 0 else 128 - exit_code,
        "reason": "Completed" if exit_code == 0 else "Error",
        "startedAt": started_at,
        "finishedAt": finished_at,
        "containerID": container_id,
    }
    return {"terminated": end | ({"message": message} if message else {})}


def restart_wanted(policy: str, exit_code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _is_true(status: Mapping[str, Any], kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in status.get("conditions") or [])


def _condition(status: Mapping[str, Any], kind: str, value: bool, message: str, now: str) -> dict[str, Any]:
    text = "True" if value else "False"
    before = next((one for one in status.get("conditions") or [] if one["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == text else now
    reason = None if value else ("ReadinessGatesNotReady" if "gates" in message else "ContainersNotReady")
    return {
        "type": kind,
        "status": text,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message or None,
    }

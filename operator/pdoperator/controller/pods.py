"""What pods say of themselves: ready, failing, not to be placed."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import names
from pdoperator.api.names import Component
from pdoperator.api.reasons import Reason
from pdoperator.api.units import epoch_s
from pdoperator.cluster.kube import Object

# Waiting reasons that a pod does not leave by itself.
_FAILING = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_MESSAGE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class PodProblem:
    """Why a pod does not come up."""

    pod: str
    reason: Reason
    message: str


def of_component(pods: list[Object], component: Component) -> list[Object]:
    """Pods of one component, by name."""
    chosen = [pod for pod in pods if pod["metadata"]["labels"].get(names.LABEL_COMPONENT) == component.value]
    return sorted(chosen, key=lambda pod: str(pod["metadata"]["name"]))


def is_ready(pod: Object) -> bool:
    """The kubelet's Ready condition."""
    return _condition(pod, "Ready") == "True"


def since_s(pod: Object, condition: str) -> float | None:
    """Since when a condition is True, in seconds since the epoch; None while it is not, or where nobody says."""
    for each in pod.get("status", {}).get("conditions", []):
        if each["type"] == condition and each["status"] == "True" and each.get("lastTransitionTime"):
            return epoch_s(each["lastTransitionTime"])
    return None


def started_s(pod: Object) -> float | None:
    """When the engine's or router's container last started to run; None while it does not run."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        if container["name"] in (names.ENGINE_CONTAINER, names.ROUTER_CONTAINER):
            at = container.get("state", {}).get("running", {}).get("startedAt")
            return epoch_s(at) if at else None
    return None


def restarts(pod: Object) -> int:
    """How often its containers had to be started anew."""
    return sum(int(c.get("restartCount", 0)) for c in pod.get("status", {}).get("containerStatuses", []))


def is_deleting(pod: Object) -> bool:
    """Somebody has asked for its deletion."""
    return "deletionTimestamp" in pod["metadata"]


def is_finished(pod: Object) -> bool:
    """It has ended and will not run again (evicted, failed)."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def problem(pod: Object) -> PodProblem | None:
    """What keeps a pod from running, in the words of the kubelet or the scheduler."""
    name = pod["metadata"]["name"]
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return PodProblem(
                name, Reason.UNSCHEDULABLE, f"{name} cannot be placed: {condition.get('message', '')}"
            )
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _FAILING:
            said = _last_words(container) or waiting.get("message", "")
            return PodProblem(name, Reason.ENGINE_FAILED, f"{name}: {waiting['reason']}: {said}".rstrip(": "))
    return None


def _last_words(container: Object) -> str:
    """The end of the termination message: with FallbackToLogsOnError the last lines of the log."""
    ended = container.get("lastState", {}).get("terminated", {})
    lines = [line.strip() for line in str(ended.get("message") or "").splitlines() if line.strip()]
    return lines[-1][-_MESSAGE_LIMIT:] if lines else ""


def _condition(pod: Object, kind: str) -> str | None:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == kind:
            return str(condition["status"])
    return None

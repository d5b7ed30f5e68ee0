"""What pods say of themselves: ready, failing, not to be placed."""

from __future__ import annotations

from dataclasses import dataclass

from pdoperator.api import names
from pdoperator.api.names import Component
from pdoperator.api.reasons import Reason
from pdoperator.api.units import epoch_s
from pdoperator.cluster.kube import Object

# Waiting reasons that a container does not leave by itself, by the trouble that they are signs of: the kubelet changes
# between trying and backing off, and the words with it.
_IMAGE, _CRASH, _CONFIG = "image", "crash", "configuration"
_FAILING = {
    "CrashLoopBackOff": _CRASH,
    "ImagePullBackOff": _IMAGE,
    "ErrImagePull": _IMAGE,
    "InvalidImageName": _IMAGE,
    "CreateContainerConfigError": _CONFIG,
    "CreateContainerError": _CONFIG,
    "RunContainerError": _CONFIG,
}
_MESSAGE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class PodProblem:
    """Why a pod does not come up. `kind` stays as long as the trouble does, the message may change."""

    component: Component
    reason: Reason
    kind: str
    message: str


def of_component(pods: list[Object], component: Component) -> list[Object]:
    """Pods of one component, by name."""
    chosen = [pod for pod in pods if pod["metadata"]["labels"].get(names.LABEL_COMPONENT) == component.value]
    return sorted(chosen, key=lambda pod: str(pod["metadata"]["name"]))


def is_ready(pod: Object) -> bool:
    """The kubelet's Ready condition."""
    return _condition(pod, "Ready") == "True"


def since_s(pod: Object, condition: str, status: str = "True") -> float | None:
    """Since when a condition has this status, in seconds since the epoch; None while it has not, or nobody says."""
    for each in pod.get("status", {}).get("conditions", []):
        if each["type"] == condition and each["status"] == status and each.get("lastTransitionTime"):
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
    component = Component(pod["metadata"]["labels"].get(names.LABEL_COMPONENT, Component.ENGINE))
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            said = f"{name} cannot be placed: {condition.get('message', '')}"
            return PodProblem(component, Reason.UNSCHEDULABLE, component.value, said)
    failed = Reason.ROUTER_FAILED if component is Component.ROUTER else Reason.ENGINE_FAILED
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        if (found := _container_problem(container)) is not None:
            return PodProblem(component, failed, found[0], f"{name}: {found[1]}")
    return None


def _container_problem(container: Object) -> tuple[str, str] | None:
    """Kind of trouble and what is said of it."""
    state, ended = container.get("state", {}), container.get("lastState", {}).get("terminated", {})
    waiting = state.get("waiting", {})
    kind = _FAILING.get(waiting.get("reason", ""))
    if kind == _CRASH:
        return kind, f"CrashLoopBackOff, exit code {ended.get('exitCode', 'unknown')}: {_last_words(ended)}"
    if kind is not None:
        return kind, f"{waiting['reason']}: {waiting.get('message', '')[:_MESSAGE_LIMIT]}"
    exited = state.get("terminated", {})
    if exited.get("exitCode", 0) != 0:
        return _CRASH, f"ended with exit code {exited['exitCode']}: {_last_words(exited)}"
    return None


def _last_words(ended: Object) -> str:
    """The end of the termination message: with FallbackToLogsOnError the last lines of the log."""
    lines = [line.strip() for line in str(ended.get("message") or "").splitlines() if line.strip()]
    return lines[-1][-_MESSAGE_LIMIT:] if lines else "it said nothing"


def _condition(pod: Object, kind: str) -> str | None:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == kind:
            return str(condition["status"])
    return None

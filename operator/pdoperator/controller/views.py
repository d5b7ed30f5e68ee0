"""A pod as the API server has it -> as signals need it."""

from __future__ import annotations

from pdoperator.api.units import epoch_s
from pdoperator.cluster.kube import Object
from pdoperator.controller import pods
from pdoperator.signals.pods import PodView


def pod_view(pod: Object) -> PodView:
    """What signals need to know of a pod."""
    metadata = pod["metadata"]
    return PodView(
        name=metadata["name"],
        ip=pod.get("status", {}).get("podIP", ""),
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        ready=pods.is_ready(pod),
        deleting=pods.is_deleting(pod),
        created_s=epoch_s(metadata["creationTimestamp"]),
        uid=metadata.get("uid", ""),
        node=pod.get("spec", {}).get("nodeName", ""),
        scheduled_s=pods.since_s(pod, "PodScheduled"),
        started_s=pods.started_s(pod),
        ready_s=pods.since_s(pod, "Ready"),
        unready_s=pods.since_s(pod, "Ready", status="False"),
        restarts=pods.restarts(pod),
    )

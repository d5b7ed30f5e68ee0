"""Who else writes to our objects, by managedFields as a 1.35 API server writes them."""

from __future__ import annotations

from typing import Any

from pdoperator.cluster.kube import Object
from pdoperator.cluster.ownership import Foreign, foreign


def deployment(replicas: int = 2, image: str = "vllm:1", *managed: Object) -> Object:
    container = {"name": "engine", "image": image}
    return {
        "metadata": {"name": "tiny-engine", "managedFields": list(managed)},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
    }


def entry(manager: str, spec: dict[str, Any], subresource: str = "") -> Object:
    made = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": spec}}
    return made | ({"subresource": subresource} if subresource else {})


IMAGE: dict[str, Any] = {
    "f:template": {"f:spec": {"f:containers": {'k:{"name":"engine"}': {".": {}, "f:image": {}}}}}
}
OURS = entry("pd-operator", {"f:replicas": {}} | IMAGE)


def test_nobody_else_is_found_where_only_we_and_the_controllers_write() -> None:
    status = {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}}
    revision = {
        "manager": "kube-controller-manager",
        "fieldsV1": {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}},
    }
    assert foreign(deployment(2, "vllm:1", OURS, status, revision), deployment()) == []


def test_an_hpa_is_found_by_the_replicas_that_it_owns() -> None:
    """dynamo#4420: replicas changed by somebody else left the planner unable to act, and silent."""
    hpa = entry("kube-controller-manager", {"f:replicas": {}}, "scale")
    live = deployment(5, "vllm:1", entry("pd-operator", IMAGE), hpa)
    found = foreign(live, deployment(5))
    assert found == [Foreign("kube-controller-manager", "scale", ("spec.replicas",))]
    assert str(found[0]) == "spec.replicas by kube-controller-manager through /scale"


def test_replicas_that_are_ours_too_are_no_conflict() -> None:
    both = entry("kubectl", {"f:replicas": {}}, "scale")
    assert foreign(deployment(2, "vllm:1", OURS, both), deployment()) == []


def test_an_edited_template_is_named_by_its_path() -> None:
    edit = entry("kubectl-edit", IMAGE)
    live = deployment(2, "vllm:2", entry("pd-operator", {"f:replicas": {}}), edit)
    assert foreign(live, deployment()) == [
        Foreign("kubectl-edit", "", ("spec.template.spec.containers[engine].image",))
    ]


def test_fields_that_we_do_not_render_are_anybodys() -> None:
    paused = entry(
        "kubectl-edit", {"f:paused": {}, "f:template": {"f:metadata": {"f:annotations": {"f:x": {}}}}}
    )
    live = deployment(2, "vllm:1", OURS, paused)
    live["spec"]["paused"] = True
    assert foreign(live, deployment()) == []

"""From a plan to a cluster that runs the operator: what demo and scenarios have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.choice import Cluster
from cluster.components import components
from cluster.helm import find_helm
from cluster.images import Source, build_image
from cluster.steps import Steps
from demo import deploy
from demo.kubectl import Kubectl
from demo.plan import MODEL, Plan, host_paths
from engine.model import ensure_model
from engine.vllm_cpu import ensure_tree


@dataclass(frozen=True)
class Stage:
    """A cluster with the operator, and what is needed to deploy more."""

    cluster: Cluster
    kubectl: Kubectl
    images: deploy.Images


def engine_folders(plan: Plan, steps: Steps) -> Mapping[str, Path]:
    """Folders of this machine that engine pods mount: real vLLM and its model, installed where they are not yet."""
    if plan.engine != "vllm":
        return {}
    with steps.step("have vLLM for CPU and its model"):
        return host_paths(ensure_tree(log=steps.say), ensure_model(MODEL).parent)


def bring_up(plan: Plan, cluster: Cluster, steps: Steps) -> Stage:
    """The cluster started, its images loaded, the operator installed. Raises what the parts raise."""
    with steps.step("bring the cluster up"):
        cluster.up()
    images = _load(plan.images, cluster, steps)
    kubectl = Kubectl(components(["kubectl"], steps)["kubectl"], cluster.kubeconfig)
    helm = find_helm(steps)
    with steps.step("install the operator with its chart", 10):
        deploy.install_operator(helm, kubectl, images)
    return Stage(cluster, kubectl, images)


def _load(sources: Sequence[Source], cluster: Cluster, steps: Steps) -> deploy.Images:
    references = {}
    for source in sources:
        image = build_image(source, steps)
        with steps.step(f"load the image {source.name}"):
            cluster.load_image(image.archive)
        references[source.name] = image.reference
    known = deploy.Images()
    return deploy.Images(
        references.get("pd-operator", known.operator), references.get("pd-vllm-cpu", known.engine)
    )

"""One cluster with the operator for all scenarios: the kind and the engines by CLUSTER and ENGINE, as for the demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.choice import Cluster, NotPossible, choose, make_cluster
from cluster.components import components
from cluster.helm import find_helm
from cluster.images import build_image
from cluster.lab.cluster import LabCluster
from cluster.node.cluster import NodeCluster
from cluster.steps import Steps
from cluster.toolchain import ToolMissing
from demo import deploy
from demo.kubectl import Kubectl, wait_for
from demo.plan import MODEL, NotOffered, Plan, host_paths, make_plan
from demo.reach import Reach
from engine.model import ensure_model
from engine.vllm_cpu import ensure_tree


@dataclass(frozen=True)
class World:
    """The cluster, and the ways to it."""

    cluster: Cluster
    plan: Plan
    kubectl: Kubectl
    images: deploy.Images
    reach: Reach

    @property
    def patience(self) -> float:
        """How many times longer than simulated engines these take to start."""
        return 12.0 if self.plan.engine == "vllm" else 1.0

    def sample(self, name: str, **spec: Any) -> dict[str, Any]:
        """The sample service under another name, with changes to its spec (maps merge)."""
        body = deploy.sample(self.plan.engine, self.images)
        body["metadata"]["name"] = name
        _merge(body["spec"], spec)
        return body

    def serve(self, name: str, **spec: Any) -> None:
        """A service that serves."""
        deploy.apply_service(self.kubectl, self.sample(name, **spec))
        deploy.wait_until_serving(self.kubectl, name, 60 * self.patience)

    def edit(self, name: str, **spec: Any) -> None:
        """A merge patch of the spec."""
        self.kubectl.run("patch", "pdis", name, "--type=merge", "-p", yaml.safe_dump({"spec": spec}))

    def sizes(self, name: str) -> tuple[int, int]:
        """Ready prefill and decode engines, as status has them."""
        status = self.kubectl.service(name)["status"]
        return status["prefill"]["ready"], status["decode"]["ready"]

    def wait_for_sizes(self, name: str, prefill: int, decode: int, limit_s: float = 60) -> None:
        """Until exactly so many engines are ready."""
        wait_for(
            f"{prefill}P:{decode}D", lambda: self.sizes(name) == (prefill, decode), limit_s * self.patience
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events about a service."""
        selector = f"involvedObject.kind=PDInferenceService,involvedObject.name={name}"
        items: list[dict[str, Any]] = self.kubectl.json("get", "events", "--field-selector", selector)[
            "items"
        ]
        return items

    def stop_api_server(self) -> None:
        """Take the API server away; skips the test where it cannot be had without the cluster."""
        if not isinstance(self.cluster, LabCluster | NodeCluster):
            pytest.skip(f"the API server of a {self.cluster.kind} cluster cannot be stopped from here")
        self.cluster.control_plane.stop("kube-apiserver")

    def start_api_server(self) -> None:
        """Bring it back."""
        if isinstance(self.cluster, LabCluster | NodeCluster):
            self.cluster.control_plane.start("kube-apiserver")
        wait_for("the API server", lambda: self.kubectl.run("get", "--raw", "/readyz") == "ok", 60)

    def operator_pods(self) -> list[str]:
        """Names of the operator's pods."""
        namespace = ("-n", deploy.OPERATOR_NAMESPACE)
        text = self.kubectl.run("get", "pods", *namespace, "-o", "name")
        return text.split()


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Brought up once, removed at the end. What this machine cannot run is skipped with the reason."""
    steps = Steps(sys.__stderr__ or sys.stderr)  # bringing up takes minutes when cold: it is seen
    try:
        plan = make_plan(choose(os.environ.get("CLUSTER") or "auto"), os.environ.get("ENGINE") or "auto")
    except (NotPossible, NotOffered, ToolMissing) as reason:
        pytest.skip(str(reason))
    cluster = _cluster(plan, steps, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.up()
        images = _images(plan, cluster, steps)
        kubectl = Kubectl(components(["kubectl"], steps)["kubectl"], cluster.kubeconfig)
        deploy.install_operator(find_helm(steps), kubectl, images)
        reach = Reach(kubectl, direct=cluster.kind != "kind")
        yield World(cluster, plan, kubectl, images, reach)
        reach.close()
    finally:
        cluster.down()


def _cluster(plan: Plan, steps: Steps, folder: Path) -> Cluster:
    if plan.choice.kind == "lab":  # beside a demo's lab, and gone with the tests
        return LabCluster(steps, plan.choice.why, state=folder / "lab", with_parent=True)
    paths = host_paths(ensure_tree(), ensure_model(MODEL).parent) if plan.engine == "vllm" else {}
    return make_cluster(plan.choice, steps, host_paths=paths)


def _images(plan: Plan, cluster: Cluster, steps: Steps) -> deploy.Images:
    references = {}
    for source in plan.images:
        image = build_image(source, steps)
        cluster.load_image(image.archive)
        references[source.name] = image.reference
    known = deploy.Images()
    return deploy.Images(
        references.get("pd-operator", known.operator), references.get("pd-vllm-cpu", known.engine)
    )


@pytest.fixture
def name(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for the test's service, which is gone afterwards."""
    words = request.node.originalname.removeprefix("test_").split("_")
    chosen = "-".join(words[:5])
    yield chosen
    deploy.delete_service(world.kubectl, chosen, 120 * world.patience)

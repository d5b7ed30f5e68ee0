"""The operator through its chart, a sample through kubectl, and waiting for both."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from demo.kubectl import Kubectl, Object, wait_for
from pdoperator.api import names

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "pd-operator"
SAMPLES = {
    "vllm": REPOSITORY / "manifests/samples/tiny-cpu.yaml",
    "sim": REPOSITORY / "manifests/samples/tiny-sim.yaml",
}
OPERATOR_NAMESPACE = "pd-operator-system"
RELEASE = "pd-operator"


@dataclass(frozen=True)
class Images:
    """References under which the cluster's nodes have the images; the lab needs none."""

    operator: str = "localhost/pd-operator:latest"
    engine: str = "localhost/pd-operator-vllm-cpu:latest"


def install_operator(helm: Path, kubectl: Kubectl, images: Images, limit_s: float = 120) -> None:
    """`helm upgrade --install` and wait for the operator. Raises RuntimeError with helm's words."""
    repository, _, tag = images.operator.rpartition(":")
    command = [
        str(helm), "upgrade", "--install", RELEASE, str(CHART), "--kubeconfig", str(kubectl.kubeconfig),
        "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
        "--set", f"image.repository={repository}", "--set", f"image.tag={tag}",
        "--set", "image.pullPolicy=IfNotPresent",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode:
        raise RuntimeError(f"helm: {done.stderr.strip()}")
    wait_for("the operator", lambda: operator_ready(kubectl), limit_s)


def operator_ready(kubectl: Kubectl) -> bool:
    """All wanted operator pods are available."""
    status = kubectl.json("get", "deployment", RELEASE, "-n", OPERATOR_NAMESPACE).get("status", {})
    return bool(status.get("availableReplicas", 0) >= 1)


def sample(engine: str, images: Images) -> Object:
    """The sample service of a kind of engine, with the images that this cluster has."""
    body: Object = yaml.safe_load(SAMPLES[engine].read_text())
    body["spec"]["engine"]["image"] = images.engine if engine == "vllm" else images.operator
    return body


def apply_service(kubectl: Kubectl, body: Object) -> None:
    """`kubectl apply`, field errors included."""
    kubectl.run("apply", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(body))


def wait_until_serving(kubectl: Kubectl, name: str, limit_s: float) -> None:
    """Until router, prefill and decode serve. Raises TimeoutError with what the service says of itself."""

    def serving() -> bool:
        status = kubectl.service(name).get("status", {})
        return kubectl.condition(name, "Ready")[0] == "True" and status.get("mode") == "Disaggregated"

    try:
        wait_for(f"service {name}", serving, limit_s)
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {kubectl.condition(name, 'Ready')[1]}") from None


def delete_service(kubectl: Kubectl, name: str, limit_s: float = 120) -> None:
    """Delete a service and wait until nothing of it is left."""
    kubectl.run("delete", "pdis", name, "--ignore-not-found", limit_s=limit_s)
    wait_for(f"nothing left of {name}", lambda: not left_over(kubectl, name), limit_s)


def left_over(kubectl: Kubectl, name: str) -> list[str]:
    """What still carries the service's label."""
    kinds = "deployment,replicaset,pod,service,configmap,serviceaccount,role,rolebinding"
    return kubectl.run("get", kinds, "-l", f"{names.LABEL_SERVICE}={name}", "-o", "name").split()

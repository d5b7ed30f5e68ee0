"""The chart renders what Kubernetes accepts, from values that its schema has checked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from charts.chart import CHART, REPOSITORY, Chart, Tree
from pdoperator.api.crd import crd
from pdoperator.controller.main import run as operator_command

DIGEST = "sha256:" + "0" * 64
VALUES: dict[str, Tree] = {
    "default": {},
    "two namespaces": {"watchNamespaces": ["team-a", "team-b"]},
    "nothing cluster-wide": {"watchNamespaces": ["a"], "crds": {"install": False}, "aggregatedRoles": False},
    "account of somebody else": {"serviceAccount": {"create": False, "name": "operator"}},
    "everything": {
        "image": {"repository": "registry.example/pd-operator", "digest": DIGEST, "pullPolicy": "Never"},
        "imagePullSecrets": [{"name": "pull"}],
        "replicaCount": 2,
        "resources": {"limits": {"cpu": "1"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "podAnnotations": {"prometheus.io/scrape": "true"},
        "logLevel": "debug",
        "logFormat": "text",
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "global": {"of": "a parent chart"},
    },
}
REFUSED: list[tuple[str, Tree]] = [
    ("replicas", {"replicas": 2}),
    ("image", {"image": {"name": "x"}}),
    ("digest", {"image": {"digest": "sha256:abc"}}),
    ("tag", {"image": {"tag": "a b"}}),
    ("pullPolicy", {"image": {"pullPolicy": "Sometimes"}}),
    ("replicaCount", {"replicaCount": "1"}),
    ("replicaCount", {"replicaCount": -1}),
    ("watchNamespaces", {"watchNamespaces": "default"}),
    ("watchNamespaces", {"watchNamespaces": ["Default"]}),
    ("logLevel", {"logLevel": "INFO"}),
    ("logFormat", {"logFormat": "yaml"}),
    ("extraEnv", {"extraEnv": [{"value": "x"}]}),
    ("install", {"crds": {"install": "yes"}}),
]
every_value_set = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@every_value_set
def test_lint_has_nothing_to_say(chart: Chart, values: Tree) -> None:
    result = chart.run("lint", "--strict", str(CHART), values=values)
    assert result.returncode == 0, result.stdout + result.stderr


@every_value_set
def test_what_is_rendered_keeps_to_the_schemas_of_kubernetes(
    chart: Chart, values: Tree, tmp_path: Path
) -> None:
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(chart.template(values).stdout)
    validate = Path(sys.executable).with_name("kubernetes-validate")
    command = [str(validate), "--strict", "-k", "1.35.0", str(rendered)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "deployment" in result.stdout + result.stderr


@pytest.mark.parametrize(("name", "values"), REFUSED, ids=[f"{name}: {values}" for name, values in REFUSED])
def test_a_wrong_value_is_refused_by_name(chart: Chart, name: str, values: Tree) -> None:
    result = chart.template(values)
    assert result.returncode != 0
    assert name in result.stderr


def test_every_value_is_known_to_the_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)


def test_the_charts_version_is_that_of_the_package() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert package is not None
    assert metadata["appVersion"] == package[1]


def test_the_crd_is_ours_and_is_kept_when_the_release_goes(chart: Chart) -> None:
    (found,) = [body for body in chart.objects() if body["kind"] == "CustomResourceDefinition"]
    assert found["spec"] == crd()["spec"]
    assert found["metadata"]["name"] == crd()["metadata"]["name"]
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_crd_can_be_left_to_others(chart: Chart) -> None:
    kinds = {body["kind"] for body in chart.objects({"crds": {"install": False}})}
    assert "CustomResourceDefinition" not in kinds


def test_there_is_no_secret_anywhere(chart: Chart) -> None:
    assert (
        "secret"
        not in yaml.safe_dump([body for body in chart.objects() if "Custom" not in body["kind"]]).lower()
    )


def test_the_operator_can_do_nothing_to_its_node(chart: Chart) -> None:
    pod = chart.deployment()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


@every_value_set
def test_the_operator_understands_its_command_line(chart: Chart, values: Tree) -> None:
    container = chart.container(values)
    assert (container["command"], container["args"][0]) == (["pd-operator"], "run")
    environment = {variable["name"]: variable.get("value", "127.1.2.3") for variable in container["env"]}
    args = [arg.replace("$(POD_IP)", environment["POD_IP"]) for arg in container["args"][1:]]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with click.Context(click.Command("pd-operator")) as parent:
            given = operator_command.make_context("run", args, parent=parent).params
    assert (given["host"], given["port"]) == ("127.1.2.3", 8080)
    assert list(given["watched"]) == values.get("watchNamespaces", [])
    assert given["router_image"] == container["image"]


def test_it_listens_where_it_is_probed(chart: Chart) -> None:
    container = chart.container()
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    probes = {
        name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {
        "startupProbe": {"path": "/healthz", "port": "http"},
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }


@pytest.mark.parametrize(
    ("image", "written"),
    [
        ({}, "pd-operator:0.1.0"),
        ({"tag": "dev"}, "pd-operator:dev"),
        ({"repository": "r.example:5000/a/b", "tag": "1"}, "r.example:5000/a/b:1"),
        ({"tag": "1", "digest": DIGEST}, f"pd-operator@{DIGEST}"),
    ],
)
def test_the_image_is_named_by_tag_or_digest(chart: Chart, image: Tree, written: str) -> None:
    container = chart.container({"image": image})
    (router_image,) = [v["value"] for v in container["env"] if v["name"] == "PD_OPERATOR_IMAGE"]
    assert container["image"] == router_image == written


def test_pod_settings_are_passed_on(chart: Chart) -> None:
    values = VALUES["everything"]
    deployment = chart.deployment(values)
    template = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 2
    assert template["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    for name in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity"):
        assert template["spec"][name] == values[name]
    (container,) = template["spec"]["containers"]
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"]["limits"]["cpu"] == "1"
    assert container["env"][-1] == {"name": "TZ", "value": "UTC"}
    assert "--log-level=debug" in container["args"]
    assert "--log-format=text" in container["args"]


def test_the_notes_say_where_to_look() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    assert "kubectl get pdis" in notes
    assert len(notes.splitlines()) < 20

"""The chart on a real API server: what it installs is enough for the operator, and no more than that."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from charts.chart import CHART, REPOSITORY, Chart
from charts.permissions import ALLOWED, ALLOWED_ON_THE_CLUSTER, Verbs
from integration.api_server import ApiServer
from integration.service import service
from pdoperator.api import names
from pdoperator.api.spec import Spec
from pdoperator.workload.pairing import pools
from pdoperator.workload.render import Owner, render

NAMESPACE = "pd-system"
AS_OPERATOR = f"--as=system:serviceaccount:{NAMESPACE}:pd-operator"
CRD_NAME = f"{names.PLURAL}.{names.GROUP}"
SAMPLES = sorted(
    (*(REPOSITORY / "manifests/samples").glob("*.yaml"), *(REPOSITORY / "manifests/gh200").glob("*.yaml"))
)


@pytest.fixture(scope="module")
def release(api_server: ApiServer, chart: Chart) -> Iterator[str]:
    """The chart, installed; its name."""
    # The CRD of this server was made before, and not by Helm.
    _helm(api_server, chart, "install", "--create-namespace", "--take-ownership")
    yield "pd-operator"
    result = chart.run(
        "uninstall", "pd-operator", f"--namespace={NAMESPACE}", f"--kubeconfig={api_server.kubeconfig}"
    )
    assert result.returncode == 0, result.stderr
    assert CRD_NAME in api_server.kubectl("get", "crd", "-o", "name"), "services must outlive the release"


def _helm(api_server: ApiServer, chart: Chart, command: str, *flags: str) -> str:
    given = (f"--namespace={NAMESPACE}", f"--kubeconfig={api_server.kubeconfig}", *flags)
    result = chart.run(command, "pd-operator", str(CHART), *given)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_upgrade_brings_the_crd(api_server: ApiServer, chart: Chart, release: str) -> None:
    patch = [{"op": "remove", "path": "/spec/names/shortNames"}]
    api_server.kubectl("patch", "crd", CRD_NAME, "--type=json", "-p", json.dumps(patch))
    _helm(api_server, chart, "upgrade", "--force-conflicts")
    assert api_server.json("get", "crd", CRD_NAME)["spec"]["names"]["shortNames"] == [names.SHORT]


def test_the_notes_are_shown(api_server: ApiServer, chart: Chart, release: str) -> None:
    assert (
        "all namespaces"
        in chart.run(
            "get", "notes", release, f"--namespace={NAMESPACE}", f"--kubeconfig={api_server.kubeconfig}"
        ).stdout
    )


def test_the_operators_account_may_what_the_table_says_and_no_more(
    api_server: ApiServer, release: str
) -> None:
    assert _may(api_server, "default") == {**ALLOWED, **ALLOWED_ON_THE_CLUSTER}


def test_in_its_own_namespace_it_may_hold_its_lease_too(api_server: ApiServer, release: str) -> None:
    leases = _may(api_server, NAMESPACE).keys() - _may(api_server, "default").keys()
    assert leases == {("coordination.k8s.io", "leases"), ("coordination.k8s.io", "leases/pd-operator")}


@pytest.mark.parametrize("pool", ["Shared", "Dedicated"])
def test_it_may_apply_all_that_a_service_is_made_of(api_server: ApiServer, release: str, pool: str) -> None:
    """Roles included: the API server lets nobody grant what they do not have themselves."""
    spec = Spec.model_validate(service({"pool": pool})["spec"])
    owner = Owner(name="service", namespace="default", uid="00000000-0000-0000-0000-000000000000")
    rendered = render(owner, spec, dict.fromkeys(pools(spec), 1), "pd-operator:test")
    everything = {"apiVersion": "v1", "kind": "List", "items": rendered}
    flags = ("--server-side", f"--field-manager={names.FIELD_MANAGER}", "--validate=strict", AS_OPERATOR)
    try:
        for _ in range(2):  # made, then applied again
            api_server.kubectl("apply", *flags, "-f", "-", stdin=everything)
    finally:
        api_server.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=everything)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_is_accepted(api_server: ApiServer, path: object) -> None:
    api_server.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(path))


def _may(api_server: ApiServer, namespace: str) -> Verbs:
    """All that the operator's account may do in a namespace, but for what every account may."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    found: Verbs = {}
    for rule in api_server.json("create", "-f", "-", AS_OPERATOR, stdin=review)["status"]["resourceRules"]:
        names_of = [f"/{name}" for name in rule.get("resourceNames", [])] or [""]
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in names_of:
                    found.setdefault((group, resource + name), set()).update(rule["verbs"])
    everybodys = {"authorization.k8s.io", "authentication.k8s.io"}
    return {key: verbs for key, verbs in found.items() if key[0] not in everybodys}

"""The operator may do what it does, and no more."""

from __future__ import annotations

import pytest

from charts.chart import NAMESPACE, Chart, Tree
from charts.permissions import ALLOWED, ALLOWED_ON_THE_CLUSTER, LEASE_RULES, Verbs


def verbs(role: Tree) -> Verbs:
    """Verbs by group and resource. A wildcard stands for itself, and so is found in no table."""
    found: Verbs = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def roles(objects: list[Tree], kind: str) -> dict[tuple[str | None, str], Tree]:
    """Roles by namespace and name, without those that only aggregate into the cluster's own."""
    return {
        (body["metadata"].get("namespace"), body["metadata"]["name"]): body
        for body in objects
        if body["kind"] == kind
        and "rbac.authorization.k8s.io/aggregate-to" not in str(body["metadata"]["labels"])
    }


def test_the_operator_may_do_what_it_does_and_no_more(chart: Chart) -> None:
    found = roles(chart.objects(), "ClusterRole")
    assert list(found) == [(None, "pd-pd-operator")]
    assert verbs(found[None, "pd-pd-operator"]) == {**ALLOWED, **ALLOWED_ON_THE_CLUSTER}


def test_the_lease_is_the_only_one_it_may_touch(chart: Chart) -> None:
    found = roles(chart.objects(), "Role")
    assert list(found) == [(NAMESPACE, "pd-pd-operator-lease")]
    assert found[NAMESPACE, "pd-pd-operator-lease"]["rules"] == LEASE_RULES


def test_with_namespaces_it_may_do_so_there_only(chart: Chart) -> None:
    objects = chart.objects({"watchNamespaces": ["a", "b"]})
    assert not roles(objects, "ClusterRole")
    assert not roles(objects, "ClusterRoleBinding")
    found = roles(objects, "Role")
    assert set(found) == {
        ("a", "pd-pd-operator"),
        ("b", "pd-pd-operator"),
        (NAMESPACE, "pd-pd-operator-lease"),
    }
    assert verbs(found["a", "pd-pd-operator"]) == verbs(found["b", "pd-pd-operator"]) == ALLOWED


@pytest.mark.parametrize(
    ("values", "account"),
    [
        ({}, "pd-pd-operator"),
        ({"watchNamespaces": ["a", "b"]}, "pd-pd-operator"),
        ({"serviceAccount": {"create": False, "name": "other"}}, "other"),
    ],
)
def test_every_role_is_bound_to_the_operator_and_to_nobody_else(
    chart: Chart, values: Tree, account: str
) -> None:
    objects = chart.objects(values)
    for kind in ("Role", "ClusterRole"):
        bindings = roles(objects, f"{kind}Binding")
        assert set(bindings) == set(roles(objects, kind))
        for (_, name), binding in bindings.items():
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, name)
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
            ]


def test_users_get_what_their_role_in_the_cluster_says(chart: Chart) -> None:
    found = {body["metadata"]["name"]: body for body in chart.objects() if body["kind"] == "ClusterRole"}
    view, edit = found["pd-pd-operator-view"], found["pd-pd-operator-edit"]
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    assert set().union(*verbs(view).values()) == {"get", "list", "watch"}
    assert ("inference.pdoperator.io", "pdinferenceservices/status") not in verbs(edit)

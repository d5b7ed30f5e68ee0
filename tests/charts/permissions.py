"""What the operator may do: the one table to look at, and to change when its code needs more or less."""

from __future__ import annotations

Verbs = dict[tuple[str, str], set[str]]

# (API group, resource): verbs, in the namespaces of services.
ALLOWED: Verbs = {
    ("inference.pdoperator.io", "pdinferenceservices"): {"list", "watch"},
    ("inference.pdoperator.io", "pdinferenceservices/status"): {"patch"},
    ("apps", "deployments"): {"list", "watch", "create", "patch", "delete"},
    ("", "services"): {"list", "watch", "create", "patch"},
    ("", "serviceaccounts"): {"list", "watch", "create", "patch"},
    ("", "configmaps"): {"get", "list", "watch", "create", "patch"},
    ("", "pods"): {"get", "list", "watch", "patch"},
    ("", "events"): {"get", "create", "patch"},
    ("rbac.authorization.k8s.io", "roles"): {"list", "watch", "create", "patch"},
    ("rbac.authorization.k8s.io", "rolebindings"): {"list", "watch", "create", "patch"},
}
ALLOWED_ON_THE_CLUSTER: Verbs = {("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"}}
LEASE_RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["pd-operator"],
        "verbs": ["get", "patch"],
    },
]

"""A PDInferenceService to the list of Kubernetes objects that make it up. Same input, same output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdoperator.api import names
from pdoperator.api.names import Component, Pool
from pdoperator.api.spec import RoleSpec, Spec
from pdoperator.workload import engine, router
from pdoperator.workload.pairing import pools

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The PDInferenceService that owns what is rendered."""

    name: str
    namespace: str
    uid: str

    def reference(self) -> Object:
        """Owner reference: what is rendered goes when the service goes."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def render(owner: Owner, spec: Spec, replicas: Mapping[Pool, int], router_image: str) -> list[Object]:
    """All objects of a service. `replicas` gives the size of each pool of `pools(spec)`."""
    return [
        *engine_deployments(owner, spec, replicas),
        _engine_service(owner),
        *_router_access(owner),
        _object(owner, "v1", "ConfigMap", names.router_name(owner.name), Component.ROUTER,
                {"data": router.config_map_data(spec, owner.name)}),
        _router_deployment(owner, spec, router_image),
        _router_service(owner),
    ]  # fmt: skip


def engine_deployments(owner: Owner, spec: Spec, replicas: Mapping[Pool, int]) -> list[Object]:
    """The Deployments of those pools of the service that `replicas` names."""
    revision = engine.service_revision(spec)
    return [
        _engine_deployment(owner, spec, pool, replicas[pool], revision)
        for pool in pools(spec)
        if pool in replicas
    ]


def _labels(owner: Owner, component: Component) -> dict[str, str]:
    return {
        names.LABEL_SERVICE: owner.name,
        names.LABEL_COMPONENT: component.value,
        "app.kubernetes.io/name": "pd-inference-service",
        "app.kubernetes.io/instance": owner.name,
        "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
    }


def _object(
    owner: Owner, api_version: str, kind: str, name: str, component: Component, rest: Object
) -> Object:
    metadata = {
        "name": name,
        "namespace": owner.namespace,
        "labels": _labels(owner, component),
        "ownerReferences": [owner.reference()],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _labelled(template: Object, labels: dict[str, str]) -> Object:
    metadata = template.get("metadata", {})
    return {**template, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), **labels}}}


def _role_of(pool: Pool, spec: Spec) -> RoleSpec:
    return spec.decode if pool is Pool.DECODE else spec.prefill


def _engine_deployment(owner: Owner, spec: Spec, pool: Pool, replicas: int, revision: str) -> Object:
    template = engine.pod_template(spec, _role_of(pool, spec))
    labels = engine.engine_labels(owner.name, pool, revision)
    # In place, so that no GPU beyond the budget is asked for; a single engine is what its role has, and needs one more.
    rolling = {"maxSurge": 0, "maxUnavailable": 1} if replicas > 1 else {"maxSurge": 1, "maxUnavailable": 0}
    spec_body = {
        "replicas": replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": {**names.engine_selector(owner.name), names.LABEL_POOL: pool.value}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "template": _labelled(template, labels),
    }
    name = names.engine_deployment(owner.name, pool)
    return _object(owner, "apps/v1", "Deployment", name, Component.ENGINE, {"spec": spec_body})


def _engine_service(owner: Owner) -> Object:
    """Headless: names for the engines, and the target of a Prometheus ServiceMonitor."""
    body = {
        "clusterIP": "None",
        "selector": names.engine_selector(owner.name),
        "ports": [
            {"name": "http", "port": names.ENGINE_PORT, "targetPort": names.ENGINE_PORT, "protocol": "TCP"}
        ],
    }
    return _object(owner, "v1", "Service", f"{owner.name}-engines", Component.ENGINE, {"spec": body})


def _router_deployment(owner: Owner, spec: Spec, image: str) -> Object:
    template = router.router_template(spec, owner.name, owner.namespace, image)
    selector = names.router_selector(owner.name)
    body = {
        "replicas": spec.router.replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": _labelled(template, selector),
    }
    return _object(
        owner, "apps/v1", "Deployment", names.router_name(owner.name), Component.ROUTER, {"spec": body}
    )


def _router_service(owner: Owner) -> Object:
    body = {
        "selector": names.router_selector(owner.name),
        "ports": [{"name": "http", "port": 80, "targetPort": names.ROUTER_PORT, "protocol": "TCP"}],
    }
    return _object(owner, "v1", "Service", owner.name, Component.ROUTER, {"spec": body})


def _router_access(owner: Owner) -> list[Object]:
    name = names.router_name(owner.name)
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.namespace}],
    }
    return [
        _object(owner, "v1", "ServiceAccount", name, Component.ROUTER, {}),
        _object(
            owner, f"{rbac}/v1", "Role", name, Component.ROUTER, {"rules": router.router_rules(owner.name)}
        ),
        _object(owner, f"{rbac}/v1", "RoleBinding", name, Component.ROUTER, binding),
    ]

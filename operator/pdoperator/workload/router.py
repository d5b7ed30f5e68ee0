"""The router's objects: Deployment, Service, its own account with the least it needs, and its settings."""

from __future__ import annotations

from typing import Any

from pdoperator.api import defaults, names
from pdoperator.api.router_config import EngineCosts, RouterConfig
from pdoperator.api.spec import LocalPrefill, Order, Spec
from pdoperator.api.units import seconds
from pdoperator.capacity.builtin import profile_of
from pdoperator.workload.engine import engine_args, pod_ip_variable
from pdoperator.workload.merge import merged
from pdoperator.workload.pairing import switched_on

RUN_AS = 65532  # the image's user


def router_config(spec: Spec, service: str) -> RouterConfig:
    """What the routers of a service are told."""
    return RouterConfig(
        service=service,
        served_name=spec.served_name,
        engine_port=names.ENGINE_PORT,
        connect_timeout_s=defaults.CONNECT_TIMEOUT_S,
        prefill_timeout_s=seconds(spec.router.prefill_timeout),
        request_timeout_s=seconds(spec.router.request_timeout),
        kv_lease_s=spec.transport.kv_lease_seconds,
        ttft_target_s=seconds(spec.slo.ttft.target),
        tpot_target_s=seconds(spec.slo.tpot.target),
        local_prefill=spec.router.scheduling.local_prefill is LocalPrefill.LAZY,
        deferral_s=_deferral_s(spec),
        prefix_caching=_prefix_caching(spec),
        costs=_engine_costs(spec),
    )


def _prefix_caching(spec: Spec) -> bool:
    """vLLM's default is on; where one role's is off, engines of both are taken to have none."""
    return all(
        switched_on(engine_args(spec, role), "enable-prefix-caching", True)
        for role in (spec.prefill, spec.decode)
    )


def _deferral_s(spec: Spec) -> float:
    """How long late prompts let others go first: no longer than a prefill may take, which comes on top."""
    if spec.router.scheduling.order is Order.FCFS:
        return 0.0
    return min(defaults.DEFERRAL_S, seconds(spec.router.prefill_timeout))


def _engine_costs(spec: Spec) -> EngineCosts | None:
    """What the router predicts with; None for a profile that there is none of, which the operator tells elsewhere."""
    try:
        profile = profile_of(spec.hardware)
    except ValueError:
        return None
    return EngineCosts(
        pass_s=profile.pass_s,
        latency_s=profile.latency_s,
        ttft_b=profile.ttft.b,
        ttft_c=profile.ttft.c,
        itl_a=profile.itl.a,
        itl_b=profile.itl.b,
        itl_c=profile.itl.c,
        max_batch=profile.max_batch,
        batched_tokens=profile.batched_tokens,
        kv_tokens=profile.kv_tokens,
        transfer_s_per_token=profile.transfer_s_per_token,
    )


def config_map_data(spec: Spec, service: str) -> dict[str, str]:
    """Data of the router's ConfigMap."""
    return {names.ROUTER_CONFIG_KEY: router_config(spec, service).model_dump_json(indent=1)}


def router_rules(service: str) -> list[dict[str, Any]]:
    """What a router may do: follow the pods of its namespace and its own ConfigMap."""
    return [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [names.router_name(service)],
            "verbs": ["get", "list", "watch"],
        },
    ]


def _probe(path: str, period_s: int, failures: int) -> dict[str, Any]:
    get = {"path": path, "port": names.ROUTER_PORT, "scheme": "HTTP"}
    return {"httpGet": get, "periodSeconds": period_s, "failureThreshold": failures, "timeoutSeconds": 2}


def _container(service: str, namespace: str, image: str) -> dict[str, Any]:
    return {
        "name": names.ROUTER_CONTAINER,
        "image": image,
        "command": ["pd-router"],
        "args": [
            "--namespace", namespace,
            "--service", service,
            "--config-map", names.router_name(service),
            "--host", "$(POD_IP)",
            "--port", str(names.ROUTER_PORT),
        ],
        "env": [pod_ip_variable()],
        "ports": [{"name": "http", "containerPort": names.ROUTER_PORT, "protocol": "TCP"}],
        "readinessProbe": _probe("/readyz", 2, 2),
        "livenessProbe": _probe("/healthz", 10, 6),
        # The endpoint leaves the Service before the process stops admitting.
        "lifecycle": {"preStop": {"sleep": {"seconds": defaults.PRESTOP_S}}},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }  # fmt: skip


def router_template(spec: Spec, service: str, namespace: str, default_image: str) -> dict[str, Any]:
    """Pod template of the router, the user's merged, without our labels."""
    base = {
        "metadata": {"labels": {}, "annotations": {}},
        "spec": {
            "serviceAccountName": names.router_name(service),
            "terminationGracePeriodSeconds": defaults.TERMINATION_GRACE_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": RUN_AS,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(service, namespace, spec.router.image or default_image)],
        },
    }
    return merged(base, spec.router.template)

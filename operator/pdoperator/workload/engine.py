"""Engine pods: vLLM with the NIXL connector, able to serve either role."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pdoperator.api import defaults, names
from pdoperator.api.names import Component, Pool, Role, State
from pdoperator.api.spec import LoadFailurePolicy, RoleSpec, Spec
from pdoperator.workload.merge import merged
from pdoperator.workload.presets import PRESETS

MODEL_MOUNT = "/models"

_LOAD_FAILURE = {LoadFailurePolicy.RECOMPUTE: "recompute", LoadFailurePolicy.FAIL: "fail"}


def model_path(spec: Spec) -> str:
    """What `vllm serve` is given: a folder of the mounted volume, or the model's name on the hub."""
    source = spec.model.source
    if source.pvc is not None:
        return f"{MODEL_MOUNT}/{source.pvc.path}".rstrip("/")
    return MODEL_MOUNT if source.host_path is not None else spec.model.name


def kv_transfer_config(spec: Spec) -> dict[str, Any]:
    """vLLM's --kv-transfer-config. `kv_both`: the pull connector fixes no role, so an engine can flip."""
    return {
        "kv_connector": "NixlConnector",
        "kv_role": "kv_both",
        "kv_load_failure_policy": _LOAD_FAILURE[spec.transport.load_failure_policy],
        "kv_connector_extra_config": {
            "backends": [spec.transport.backend.value],
            "kv_lease_duration": spec.transport.kv_lease_seconds,
        },
    }


def engine_args(spec: Spec, role: RoleSpec) -> list[str]:
    """Arguments after `vllm serve MODEL`; the user's come last, so they win."""
    parallel = (
        ["--tensor-parallel-size", str(role.tensor_parallel_size)] if role.tensor_parallel_size > 1 else []
    )
    return [
        "--served-model-name", spec.served_name,
        "--host", "$(POD_IP)",
        "--port", str(names.ENGINE_PORT),
        *parallel,
        "--kv-transfer-config", json.dumps(kv_transfer_config(spec), separators=(",", ":")),
        # By the field `priority` of each request, in which routers put the order; equal ones first come, first served.
        "--scheduling-policy", "priority",
        "--shutdown-timeout", str(defaults.ENGINE_SHUTDOWN_TIMEOUT_S),
        "--disable-access-log-for-endpoints", "/health,/metrics",
        *spec.engine.args,
        *role.args,
    ]  # fmt: skip


def engine_env(spec: Spec) -> list[dict[str, Any]]:
    """Environment of the engine; the user's variables replace ours of the same name."""
    plain = {
        "VLLM_NIXL_SIDE_CHANNEL_HOST": "$(POD_IP)",
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(names.SIDE_CHANNEL_PORT),
        **PRESETS[spec.hardware.preset].env,
    }
    if spec.transport.ucx_transports:
        plain["UCX_TLS"] = spec.transport.ucx_transports
    plain |= {variable.name: variable.value for variable in spec.engine.env}
    env: list[dict[str, Any]] = [pod_ip_variable()]
    env += [{"name": name, "value": value} for name, value in plain.items()]
    hub = spec.model.source.hugging_face
    if hub is not None and hub.token_secret is not None:
        reference = {"name": hub.token_secret.name, "key": hub.token_secret.key}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return env


def pod_ip_variable() -> dict[str, Any]:
    """POD_IP from the downward API; it must stand before the variables that use it."""
    return {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}


def engine_resources(spec: Spec, role: RoleSpec) -> dict[str, Any]:
    """Extended resources of one engine; CPU and memory are the user's, through the template."""
    limits: dict[str, str] = {}
    if spec.gpus(role):
        limits[spec.hardware.gpu_resource] = str(spec.gpus(role))
    if spec.transport.rdma_resource:
        limits[spec.transport.rdma_resource] = "1"
    return {"limits": limits, "requests": dict(limits)} if limits else {}


def _probe(period_s: int, failures: int) -> dict[str, Any]:
    get = {"path": "/health", "port": names.ENGINE_PORT, "scheme": "HTTP"}
    return {"httpGet": get, "periodSeconds": period_s, "failureThreshold": failures, "timeoutSeconds": 5}


def _container(spec: Spec, role: RoleSpec) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": names.ENGINE_CONTAINER,
        "image": spec.engine.image,
        "command": ["vllm", "serve", model_path(spec)],
        "args": engine_args(spec, role),
        "env": engine_env(spec),
        "ports": [
            {"name": "http", "containerPort": names.ENGINE_PORT, "protocol": "TCP"},
            {"name": "nixl", "containerPort": names.SIDE_CHANNEL_PORT, "protocol": "TCP"},
        ],
        "resources": engine_resources(spec, role),
        "startupProbe": _probe(2, defaults.ENGINE_START_LIMIT_S // 2),
        "readinessProbe": _probe(5, 3),
        "livenessProbe": _probe(10, 6),
        "lifecycle": {"preStop": {"sleep": {"seconds": defaults.PRESTOP_S}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    if spec.transport.rdma_resource:
        # RDMA registers memory, which must stay where it is.
        container["securityContext"] = {"capabilities": {"add": ["IPC_LOCK"]}}
    return container


def _model_volume(spec: Spec) -> dict[str, Any] | None:
    source = spec.model.source
    if source.pvc is not None:
        return {
            "name": "model",
            "persistentVolumeClaim": {"claimName": source.pvc.claim_name, "readOnly": True},
        }
    if source.host_path is not None:
        return {"name": "model", "hostPath": {"path": source.host_path.path, "type": "Directory"}}
    return None


def pod_spec(spec: Spec, role: RoleSpec) -> dict[str, Any]:
    """The pod spec of an engine before the user's templates."""
    container = _container(spec, role)
    # vLLM's workers share memory; a container's own /dev/shm is 64 MiB.
    volumes: list[dict[str, Any]] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    model = _model_volume(spec)
    if model is not None:
        volumes.append(model)
        container["volumeMounts"].append({"name": "model", "mountPath": MODEL_MOUNT, "readOnly": True})
    return {
        **PRESETS[spec.hardware.preset].pod,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": defaults.TERMINATION_GRACE_S,
        "containers": [container],
        "volumes": volumes,
    }


def pod_template(spec: Spec, role: RoleSpec) -> dict[str, Any]:
    """Pod template of one role (or of the shared pool), the user's templates merged, without our labels."""
    base = {"metadata": {"labels": {}, "annotations": {}}, "spec": pod_spec(spec, role)}
    return merged(merged(base, spec.engine.template), role.template)


def revision(template: dict[str, Any]) -> str:
    """Identity of a pod template. Engines are paired only within one revision."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def service_revision(spec: Spec) -> str:
    """Revision of the service: both roles' templates, so that a change of either is a new one for both."""
    return revision({"prefill": pod_template(spec, spec.prefill), "decode": pod_template(spec, spec.decode)})


def engine_labels(service: str, pool: Pool, rev: str) -> dict[str, str]:
    """Labels of a new engine pod."""
    role = {Pool.SHARED: Role.BOTH, Pool.PREFILL: Role.PREFILL, Pool.DECODE: Role.DECODE}[pool]
    return {
        names.LABEL_SERVICE: service,
        names.LABEL_COMPONENT: Component.ENGINE.value,
        names.LABEL_POOL: pool.value,
        names.LABEL_ROLE: role.value,
        names.LABEL_STATE: State.WARMING.value,
        names.LABEL_REVISION: rev,
    }

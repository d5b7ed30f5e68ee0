"""Names that the parts share: group, kind, labels, ports. They stand here and nowhere else."""

from __future__ import annotations

from enum import StrEnum

GROUP = "inference.pdoperator.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "PDInferenceService"
PLURAL = "pdinferenceservices"
SINGULAR = "pdinferenceservice"
SHORT = "pdis"

PREFIX = "pdoperator.io"
FIELD_MANAGER = "pd-operator"
CLI_FIELD_MANAGER = "pdctl"

LABEL_SERVICE = f"{PREFIX}/service"
LABEL_COMPONENT = f"{PREFIX}/component"
LABEL_POOL = f"{PREFIX}/pool"
LABEL_ROLE = f"{PREFIX}/role"
LABEL_STATE = f"{PREFIX}/state"
LABEL_REVISION = f"{PREFIX}/revision"

# Written when a flip or a drain begins, so that an operator that restarts goes on where the last one stopped.
ANNOTATION_FLIP_STARTED = f"{PREFIX}/flip-started"
ANNOTATION_DRAIN_STARTED = f"{PREFIX}/drain-started"
ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

ENGINE_CONTAINER = "engine"
ENGINE_PORT = 8000
SIDE_CHANNEL_PORT = 5600
ROUTER_CONTAINER = "router"
ROUTER_PORT = 8080
ROUTER_CONFIG_KEY = "router.json"


class Component(StrEnum):
    """What a pod of a service is."""

    ENGINE = "engine"
    ROUTER = "router"


class Role(StrEnum):
    """What an engine serves. BOTH marks an engine of a shared pool that has not been given a role yet."""

    PREFILL = "prefill"
    DECODE = "decode"
    BOTH = "both"


class State(StrEnum):
    """Where an engine is in its life, as the operator sees it."""

    WARMING = "warming"
    SERVING = "serving"
    DRAINING = "draining"


class Pool(StrEnum):
    """The Deployment that an engine belongs to."""

    SHARED = "shared"
    PREFILL = "prefill"
    DECODE = "decode"


def engine_deployment(service: str, pool: Pool) -> str:
    """Name of the Deployment that holds the engines of `pool`."""
    return f"{service}-engine" if pool is Pool.SHARED else f"{service}-{pool.value}"


def router_name(service: str) -> str:
    """Name of the router's Deployment, Service, ServiceAccount, Role and ConfigMap."""
    return f"{service}-router"


def history_name(service: str) -> str:
    """Name of the ConfigMap with what the operator remembers of a service."""
    return f"{service}-history"


def engine_selector(service: str) -> dict[str, str]:
    """Labels that all engines of a service carry."""
    return {LABEL_SERVICE: service, LABEL_COMPONENT: Component.ENGINE.value}


def router_selector(service: str) -> dict[str, str]:
    """Labels that all routers of a service carry."""
    return {LABEL_SERVICE: service, LABEL_COMPONENT: Component.ROUTER.value}


def selector_text(labels: dict[str, str]) -> str:
    """Labels as a selector string, `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in labels.items())

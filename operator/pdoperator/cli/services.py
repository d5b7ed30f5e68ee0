"""Services on a cluster, as the commands that look at one need them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from pdoperator.api import names
from pdoperator.api.status import Status

if (
    TYPE_CHECKING
):  # importing the client takes a second, which only those who talk to a cluster should wait for
    from pdoperator.cluster.kube import Kube

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Service:
    """One PDInferenceService as the API server has it."""

    namespace: str
    name: str
    body: Mapping[str, Any]
    status: Status


def namespace_option(command: F) -> F:
    """`-n NAMESPACE`; the default is that of KUBECONFIG's context."""
    return click.option("-n", "--namespace", help="Namespace.  [default: that of the context]")(command)


def on_cluster(work: Callable[[Kube], Coroutine[Any, Any, T]]) -> T:
    """What `work` finds on the cluster of KUBECONFIG. What fails is one line, with exit code 1."""
    from kubernetes.aio.config import ConfigException

    from pdoperator.cluster.kube import KubeError

    try:
        return asyncio.run(_connected(work))
    except ConfigException as error:
        raise click.ClickException(f"no cluster to talk to; set KUBECONFIG: {error}") from None
    except KubeError as error:
        raise click.ClickException(str(error)) from None


async def _connected(work: Callable[[Kube], Awaitable[T]]) -> T:
    from pdoperator.cluster.kube import Kube
    from pdoperator.cluster.login import api_client

    client = await api_client()
    async with client:
        return await work(Kube(client))


async def get_service(kube: Kube, name: str, namespace: str | None) -> Service:
    """The service. Raises ClickException if there is none, or if its status is of another version."""
    from pdoperator.cluster.kube import PD_SERVICES

    where = namespace or default_namespace()
    body = await kube.get(PD_SERVICES, where, name)
    if body is None:
        raise click.ClickException(f"there is no PDInferenceService {name} in namespace {where}")
    try:
        status = Status.model_validate(body.get("status") or {})
    except ValidationError as error:
        first = error.errors()[0]
        where_in = ".".join(str(part) for part in first["loc"])
        raise click.ClickException(
            f"the status is not understood (another version of the operator?): {where_in}"
        ) from None
    return Service(where, name, body, status)


def default_namespace() -> str:
    """Of the pod we run in, or of KUBECONFIG's current context."""
    from kubernetes.aio.config import ConfigException, kube_config

    if _NAMESPACE_FILE.exists():
        return _NAMESPACE_FILE.read_text().strip()
    path = os.environ.get("KUBECONFIG", kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
    try:
        _, active = kube_config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
    except ConfigException:
        return "default"
    return str((active or {}).get("context", {}).get("namespace") or "default")


def engine_label(service: str) -> str:
    """Selects the engines of a service."""
    return names.selector_text(names.engine_selector(service))

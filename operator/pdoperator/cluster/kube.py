"""The API server through kubernetes.aio: plain dicts in and out, a time limit on every call, one kind of error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient

from pdoperator.api import defaults, names

Object = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class KubeError(Exception):
    """A call that failed. `status` is the HTTP status, None when the API server was not reached in time."""

    def __init__(self, what: str, status: int | None, message: str) -> None:
        super().__init__(f"{what}: {message}")
        self.status = status
        self.message = message

    @property
    def refused(self) -> bool:
        """The API server does not take this as it is (invalid, forbidden, over a quota): trying again is no help."""
        return self.status in (400, 403, 405, 413, 422)


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of namespaced object and its place in the API."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection (of all namespaces without `namespace`), an object or its subresource."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root, *(["namespaces", namespace] if namespace else []), self.plural]
        return "/".join([*parts, *(part for part in (name, subresource) if part)])


PODS = Resource("v1", "Pod", "pods")
EVENTS = Resource("v1", "Event", "events")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
SERVICES = Resource("v1", "Service", "services")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
PD_SERVICES = Resource(names.API_VERSION, names.KIND, names.PLURAL)

CHILDREN = (DEPLOYMENTS, SERVICES, CONFIG_MAPS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)
_BY_KIND = {resource.kind: resource for resource in CHILDREN}


def resource_of(body: Object) -> Resource:
    """The resource of a rendered object. Raises KeyError for a kind that no service renders."""
    return _BY_KIND[body["kind"]]


class Kube:
    """Calls to one API server, a bounded number at a time."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._free = asyncio.Semaphore(defaults.API_CONCURRENCY)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One call; the answer as a dict. Raises KubeError."""
        what = f"{method} {path}"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        async with self._free:
            try:
                request = await self._api.param_serialize(
                    method,
                    path,
                    query_params=list(query),
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
                answer = await self._api.call_api(*request, _request_timeout=defaults.API_TIMEOUT_S)
                data: bytes = await answer.response.read()
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                raise KubeError(what, None, str(error) or type(error).__name__) from error
        if not 200 <= answer.status <= 299:
            raise KubeError(what, answer.status, _message(data) or str(answer.reason))
        try:
            return json.loads(data) if data else {}
        except ValueError as error:  # a proxy's page, or an answer cut off
            raise KubeError(what, None, f"not understood: {error}") from error

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none."""
        try:
            return await self.call("GET", resource.path(namespace, name))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def apply(self, body: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply under our field manager; what we render is ours, so conflicts are taken over.

        With `dry_run` the API server checks it and changes nothing.
        """
        metadata = body["metadata"]
        query = [("fieldManager", names.FIELD_MANAGER), ("force", "true")]
        return await self.call(
            "PATCH",
            resource_of(body).path(metadata["namespace"], metadata["name"]),
            query=[*query, ("dryRun", "All")] if dry_run else query,
            body=body,
            content_type=APPLY_PATCH,
        )

    async def list(self, resource: Resource, namespace: str, label_selector: str) -> list[Object]:
        """Objects of a namespace; all of them where the selector is empty. They do not repeat their kind."""
        query = [("labelSelector", label_selector)] if label_selector else []
        items: list[Object] = (await self.call("GET", resource.path(namespace), query=query)).get(
            "items"
        ) or []
        return items

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object,
        subresource: str | None = None,
        manager: str = names.FIELD_MANAGER,
    ) -> Object:
        """A JSON merge patch."""
        path = resource.path(namespace, name, subresource)
        query = [("fieldManager", manager)]
        return await self.call("PATCH", path, query=query, body=body, content_type=MERGE_PATCH)

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """A new object."""
        query = [("fieldManager", names.FIELD_MANAGER)]
        return await self.call("POST", resource.path(namespace), query=query, body=body)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete in the background; an object that is already gone is no error."""
        try:
            await self.call(
                "DELETE", resource.path(namespace, name), body={"propagationPolicy": "Background"}
            )
        except KubeError as error:
            if error.status != 404:
                raise


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data).get("message", ""))
    except (ValueError, AttributeError):
        return ""

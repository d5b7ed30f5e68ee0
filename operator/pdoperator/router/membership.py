"""Keeps the fleet up to date from the API server; when that is away, what was last known goes on serving."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from kubernetes.aio.client import ApiClient
from pydantic import ValidationError

from pdoperator.api.names import ENGINE_PORT, ROUTER_CONFIG_KEY, engine_selector, selector_text
from pdoperator.api.router_config import RouterConfig
from pdoperator.cluster.watch import Change, Object, Source, follow
from pdoperator.router.fleet import Fleet
from pdoperator.router.pods import engine_of

log = logging.getLogger(__name__)


class Membership:
    """Follows the engine pods and the ConfigMap of one service into `fleet`."""

    def __init__(self, fleet: Fleet, namespace: str, service: str, config_map: str) -> None:
        self._fleet = fleet
        self._pods: dict[str, Object] = {}
        self._pod_source = Source(
            f"/api/v1/namespaces/{namespace}/pods", label_selector=selector_text(engine_selector(service))
        )
        self._config_source = Source(
            f"/api/v1/namespaces/{namespace}/configmaps", field_selector=f"metadata.name={config_map}"
        )

    async def run(self, client: ApiClient) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(client, self._config_source, self._on_configs, self._on_config))
            tasks.create_task(follow(client, self._pod_source, self._on_pods, self._on_pod, self._on_contact))

    def _on_pods(self, pods: list[Object]) -> None:
        self._pods = {pod["metadata"]["name"]: _facts(pod) for pod in pods}
        self._rebuild()

    def _on_pod(self, change: Change, pod: Object) -> None:
        """Rebuild the table, unless nothing in it can have changed (most status updates)."""
        name = pod["metadata"]["name"]
        before = self._pods.pop(name, None)
        if change is not Change.DELETED:
            self._pods[name] = _facts(pod)
        if self._pods.get(name) != before:
            self._rebuild()

    def _on_contact(self, synced: bool) -> None:
        if synced != self._fleet.synced:
            log.info(
                "following engines: %s",
                "in sync" if synced else "API server lost, serving from what is known",
            )
        self._fleet.contact(synced, asyncio.get_running_loop().time())

    def _on_configs(self, config_maps: list[Object]) -> None:
        for config_map in config_maps:
            self._on_config(Change.ADDED, config_map)

    def _on_config(self, change: Change, config_map: Object) -> None:
        """Take the new configuration. The last good one stays when it is deleted or wrong."""
        if change is Change.DELETED:
            log.warning("the router's ConfigMap is gone; going on with the last configuration")
            return
        try:
            config = RouterConfig.model_validate_json(
                (config_map.get("data") or {}).get(ROUTER_CONFIG_KEY, "")
            )
        except ValidationError as error:
            log.error("bad configuration, going on with the last good one: %s", _one_line(error))
            return
        if config != self._fleet.config:
            log.info("configuration: %s", config)
            self._fleet.config = config
            self._rebuild()

    def _rebuild(self) -> None:
        port = self._fleet.config.engine_port if self._fleet.config else ENGINE_PORT
        self._fleet.set_engines(engine_of(pod, port) for pod in self._pods.values())


def _facts(pod: Object) -> Object:
    """The part of a pod that the table is made of; a pod as a whole has some 10 kB."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    wanted = ("name", "labels", "deletionTimestamp")
    ready: list[Any] = [c for c in status.get("conditions") or [] if c.get("type") == "Ready"]
    return {
        "metadata": {key: metadata[key] for key in wanted if key in metadata},
        "status": {
            "podIP": status.get("podIP"),
            "conditions": [{"type": c["type"], "status": c.get("status")} for c in ready],
        },
    }


def _one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or ROUTER_CONFIG_KEY}: {e['msg']}" for e in error.errors()
    )

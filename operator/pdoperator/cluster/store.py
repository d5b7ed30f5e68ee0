"""The newest known state of a service's objects, fed by watches and by the answers to our own writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pdoperator.api import names
from pdoperator.cluster.kube import DEPLOYMENTS, PODS, Object, Resource

Key = tuple[str, str]
Listener = Callable[[Key, Resource], None]

# Deletions remembered: the answer to a write of ours may come after the watch has brought the object's end.
DELETIONS_KEPT = 1000


def service_key(body: Object) -> Key | None:
    """Namespace and name of the service that an object belongs to."""
    metadata = body["metadata"]
    service = metadata.get("labels", {}).get(names.LABEL_SERVICE)
    return (metadata["namespace"], service) if service else None


class Store:
    """Objects by kind, service and name. `changed` is told of every change that matters and is not our own.

    Of pods every change matters; of other objects only what somebody else may have edited, not their status.
    """

    def __init__(self, changed: Listener) -> None:
        self._changed = changed
        self._objects: dict[str, dict[Key, dict[str, Object]]] = {}
        self._deleted: dict[str, None] = {}  # uids, oldest first

    def pods(self, key: Key) -> list[Object]:
        """Pods of a service: engines and routers."""
        return list(self._of(PODS).get(key, {}).values())

    def deployments(self, key: Key) -> dict[str, Object]:
        """Deployments of a service by name."""
        return dict(self._of(DEPLOYMENTS).get(key, {}))

    def child(self, resource: Resource, key: Key, name: str) -> Object | None:
        """One object of a service, if it is known."""
        return self._of(resource).get(key, {}).get(name)

    def written(self, resource: Resource, body: Object) -> None:
        """Remember the answer to our own write, so that the next look sees it before the watch brings it."""
        if body["metadata"].get("uid") not in self._deleted:
            self._put(resource, body)

    def seen(self, resource: Resource, body: Object) -> None:
        """A watch brought an object."""
        self._deleted.pop(body["metadata"]["uid"], None)  # it had only lost its label
        key = service_key(body)
        if key is not None and self._put(resource, body):
            self._changed(key, resource)

    def gone(self, resource: Resource, body: Object) -> None:
        """A watch brought a deletion."""
        self._deleted[body["metadata"]["uid"]] = None
        if len(self._deleted) > DELETIONS_KEPT:
            del self._deleted[next(iter(self._deleted))]
        self._drop(resource, body)

    def listed(self, resource: Resource, bodies: Iterable[Object], namespace: str = "") -> None:
        """A fresh list, of one namespace or of all, replaces what is known of it; what it does not hold is gone."""
        fresh = list(bodies)
        present = {body["metadata"]["uid"] for body in fresh}
        for key, known in list(self._of(resource).items()):
            if namespace in ("", key[0]):
                for body in [body for body in known.values() if body["metadata"].get("uid") not in present]:
                    self._drop(resource, body)
        for body in fresh:
            self.seen(resource, body)

    def _of(self, resource: Resource) -> dict[Key, dict[str, Object]]:
        return self._objects.setdefault(resource.kind, {})

    def _put(self, resource: Resource, body: Object) -> bool:
        """Keep the newer one; True if something changed that matters."""
        key = service_key(body)
        if key is None:
            return False
        known = self._of(resource).setdefault(key, {})
        name = body["metadata"]["name"]
        current = known.get(name)
        if current is not None and _same_object(current, body) and _version(body) <= _version(current):
            return False
        known[name] = body
        return current is None or resource is PODS or _content(current) != _content(body)

    def _drop(self, resource: Resource, body: Object) -> None:
        key = service_key(body)
        known = self._of(resource).get(key, {}) if key else {}
        current = known.get(body["metadata"]["name"])
        if key is None or current is None or not _same_object(current, body):
            return
        del known[body["metadata"]["name"]]
        if not known:
            del self._of(resource)[key]
        self._changed(key, resource)


def _same_object(one: Object, other: Object) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def _content(body: Object) -> tuple[Any, ...]:
    """What is rendered of an object; a listing leaves out its kind."""
    metadata = body["metadata"]
    rest = {key: body[key] for key in body if key not in ("apiVersion", "kind", "metadata", "status")}
    return metadata.get("uid"), metadata.get("labels"), metadata.get("ownerReferences"), rest


def _version(body: Object) -> int:
    # Comparable since Kubernetes 1.35 (KEP-5504); in practice a number of etcd's for longer than that.
    return int(body["metadata"].get("resourceVersion") or 0)

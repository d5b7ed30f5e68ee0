"""An API server in memory: creates, patches and versions objects, and fails as a test scripts it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kubernetes.aio.client import ApiClient, Configuration

from pdoperator.cluster.kube import APPLY_PATCH, PD_SERVICES, PODS, Kube, KubeError, Object

COLLECTIONS = frozenset({PODS.plural, PD_SERVICES.plural})


@dataclass(frozen=True)
class Call:
    """One call that came."""

    method: str
    path: str
    body: Object = field(default_factory=dict)
    dry_run: bool = False

    @property
    def name(self) -> str:
        """The object's name (or the collection's, for a POST)."""
        return self.path.removesuffix("/status").rpartition("/")[2]


@dataclass
class Fault:
    """The next `times` calls of a method on a path that contains `part` fail; status None: not reached."""

    method: str
    part: str
    status: int | None
    times: int


class FakeKube(Kube):
    """Kube with an API server of its own. Objects are kept by path."""

    def __init__(self) -> None:
        super().__init__(ApiClient(Configuration()))
        self.objects: dict[str, Object] = {}
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.away = False
        self.allowed = True
        self._version = 100

    def fail(self, method: str, part: str, status: int | None, times: int = 1) -> None:
        """Script a fault."""
        self.faults.append(Fault(method, part, status, times))

    def put(self, path: str, body: Object) -> Object:
        """Make an object as somebody else would; the object as it then is."""
        return self._keep(path, copy.deepcopy(body))

    def find(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [body for body in self.objects.values() if body.get("kind") == kind]

    def writes(self, part: str = "") -> list[Call]:
        """Calls that changed something on a path that contains `part`."""
        return [c for c in self.calls if c.method != "GET" and not c.dry_run and part in c.path]

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        body = copy.deepcopy(body or {})
        dry_run = ("dryRun", "All") in query
        self._fail_as_scripted(method, path)
        self.calls.append(Call(method, path, body, dry_run))
        if dry_run:
            return body
        if path.endswith("/selfsubjectaccessreviews"):
            return {"status": {"allowed": self.allowed}}
        if method == "GET" and path.rpartition("/")[2] in COLLECTIONS:
            return {
                "items": [copy.deepcopy(o) for p, o in self.objects.items() if p.rpartition("/")[0] == path]
            }
        if method == "POST":
            return self._create(f"{path}/{body['metadata']['name']}", body)
        path = path.removesuffix("/status")
        if method == "PATCH" and content_type == APPLY_PATCH and path not in self.objects:
            return self._keep(path, body)
        if path not in self.objects:
            raise KubeError(f"{method} {path}", 404, "not found")
        if method == "DELETE":
            return self.objects.pop(path)
        return self._patch(path, body) if method == "PATCH" else copy.deepcopy(self.objects[path])

    def _fail_as_scripted(self, method: str, path: str) -> None:
        if self.away:
            raise KubeError(f"{method} {path}", None, "connection refused")
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and fault.part in path:
                fault.times -= 1
                raise KubeError(f"{method} {path}", fault.status, "scripted")

    def _create(self, path: str, body: Object) -> Object:
        if path in self.objects:
            raise KubeError(f"POST {path}", 409, "already exists")
        return self._keep(path, body)

    def _patch(self, path: str, body: Object) -> Object:
        known = self.objects[path]
        version = body.get("metadata", {}).pop("resourceVersion", None)
        if version not in (None, known["metadata"]["resourceVersion"]):
            raise KubeError(f"PATCH {path}", 409, "the object has been modified")
        return self._keep(path, _merged(known, body))

    def _keep(self, path: str, body: Object) -> Object:
        self._version += 1
        body["metadata"].setdefault("uid", f"uid-{self._version}")
        body["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = body
        return copy.deepcopy(body)


def _merged(into: Any, over: Any) -> Any:
    """RFC 7396."""
    if not isinstance(over, dict):
        return over
    result = dict(into) if isinstance(into, dict) else {}
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result

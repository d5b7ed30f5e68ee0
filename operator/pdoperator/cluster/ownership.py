"""Who else writes to an object of ours, read from its managedFields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pdoperator.api import names
from pdoperator.cluster.kube import Object

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody who has changed fields that we render. `subresource` is empty or, for an HPA, `scale`."""

    manager: str
    subresource: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        through = f" through /{self.subresource}" if self.subresource else ""
        return f"{', '.join(self.fields)} by {self.manager}{through}"


def foreign(live: Object, rendered: Object) -> list[Foreign]:
    """Those who own fields of `live` that `rendered` sets to other values, or a number of replicas that we do not own.

    Replicas are ours to choose from moment to moment, so that whoever set them is told by ownership, not by value.
    Fields that nobody else owns are left out: they are ours, or the API server's defaults.
    """
    entries = live["metadata"].get("managedFields", [])
    ours = [entry for entry in entries if entry.get("manager") == names.FIELD_MANAGER]
    replicas_ours = any(_owns_replicas(entry) for entry in ours)
    found = []
    for entry in entries:
        if entry.get("manager") == names.FIELD_MANAGER or entry.get("subresource") == "status":
            continue
        fields = list(_differing(entry.get("fieldsV1", {}), live, rendered, ""))
        if _owns_replicas(entry) and not replicas_ours and "spec.replicas" not in fields:
            fields.append("spec.replicas")
        if fields:
            found.append(
                Foreign(str(entry.get("manager")), str(entry.get("subresource", "")), tuple(sorted(fields)))
            )
    return found


def _owns_replicas(entry: Object) -> bool:
    return "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})


def _differing(owned: Object, live: Any, rendered: Any, path: str) -> Iterator[str]:
    """Leaves of `owned` that both objects have, with different values."""
    for key, below in owned.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            a, b, where = _field(live, name), _field(rendered, name), f"{path}.{name}".lstrip(".")
        elif kind == "k":
            a, b, where = _item(live, name), _item(rendered, name), f"{path}[{_key_text(name)}]"
        else:  # the entry itself, or a value of a set
            continue
        if a is _MISSING or b is _MISSING:
            continue
        if below:
            yield from _differing(below, a, b, where)
        elif a != b:
            yield where


def _field(thing: Any, name: str) -> Any:
    return thing.get(name, _MISSING) if isinstance(thing, dict) else _MISSING


def _item(things: Any, key: str) -> Any:
    """The entry of a list that has these key fields."""
    wanted = json.loads(key)
    for thing in things if isinstance(things, list) else ():
        if isinstance(thing, dict) and all(thing.get(name) == value for name, value in wanted.items()):
            return thing
    return _MISSING


def _key_text(key: str) -> str:
    return ",".join(str(value) for value in json.loads(key).values())

"""A user's template merged over ours, as Kubernetes' strategic merge does it for the lists of a pod."""

from __future__ import annotations

from typing import Any

# Lists of a pod spec whose entries are matched by a key (Kubernetes' patchMergeKey); every other list is replaced.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
}
APPENDED = frozenset({"tolerations"})


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it: maps merge, null removes, keyed lists merge by key, other lists are replaced."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        elif isinstance(value, list) and isinstance(result.get(key), list):
            result[key] = _merged_lists(key, result[key], value)
        else:
            result[key] = value
    return result


def _merged_lists(name: str, base: list[Any], over: list[Any]) -> list[Any]:
    if name in APPENDED:
        return [*base, *(entry for entry in over if entry not in base)]
    key = MERGE_KEYS.get(name)
    if key is None or not all(isinstance(entry, dict) and key in entry for entry in [*base, *over]):
        return over
    result = {entry[key]: entry for entry in base}
    for entry in over:
        known = result.get(entry[key])
        result[entry[key]] = merged(known, entry) if known else entry
    return list(result.values())

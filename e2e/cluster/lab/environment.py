"""A container's environment and command line, as the kubelet computes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_SUBSCRIPTED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")

ReadConfigMap = Callable[[str], Mapping[str, str] | None]


class Unsupported(ValueError):
    """The pod asks for something that this stand-in does not do, or that does not exist; the text says what."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; an unknown name stays as it is, and `$$` stands for one `$`."""

    def replaced(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return _REFERENCE.sub(replaced, text)


def environment(
    container: Mapping[str, Any], pod: Mapping[str, Any], address: str, read_config_map: ReadConfigMap
) -> dict[str, str]:
    """The variables of `env`, in order: each may refer to those before it. Raises `Unsupported`."""
    if container.get("envFrom"):
        raise Unsupported("envFrom is not supported in the lab")
    variables: dict[str, str] = {}
    for entry in container.get("env") or []:
        source = entry.get("valueFrom")
        value = expand(entry.get("value") or "", variables) if source is None else None
        if source is not None:
            value = _sourced(source, pod, address, read_config_map)
        if value is not None:
            variables[entry["name"]] = value
    return variables


def command_line(container: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """`command` and `args`, expanded. Raises `Unsupported` without a command: there is no image to take it from."""
    command: Sequence[str] = container.get("command") or []
    if not command:
        raise Unsupported("the lab runs no images: the container needs a command of its own")
    return [expand(part, variables) for part in [*command, *(container.get("args") or [])]]


def _sourced(
    source: Mapping[str, Any], pod: Mapping[str, Any], address: str, read_config_map: ReadConfigMap
) -> str | None:
    if "fieldRef" in source:
        return _field(source["fieldRef"]["fieldPath"], pod, address)
    if "configMapKeyRef" in source:
        reference = source["configMapKeyRef"]
        data = read_config_map(reference["name"])
        if data is not None and reference["key"] in data:
            return data[reference["key"]]
        if reference.get("optional"):
            return None
        raise Unsupported(f"key {reference['key']} of configmap {reference['name']} not found")
    raise Unsupported(f"valueFrom.{next(iter(source), '')} is not supported in the lab")


def _field(path: str, pod: Mapping[str, Any], address: str) -> str:
    subscripted = _SUBSCRIPTED.fullmatch(path)
    if subscripted:
        return str((pod["metadata"].get(subscripted[1]) or {}).get(subscripted[2], ""))
    fields: dict[str, Any] = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    if path not in fields:
        raise Unsupported(f"fieldPath {path} is not supported in the lab")
    return str(fields[path])

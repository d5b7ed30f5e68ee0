"""PDInferenceServices for tests."""

from __future__ import annotations

from typing import Any

from pdoperator.api import names

Tree = dict[str, Any]


def service(changes: Tree | None = None, name: str = "service") -> Tree:
    """The least service there is, with `changes` to its spec."""
    spec = changed({"model": {"name": "org/model"}}, changes or {})
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}


def changed(tree: Tree, changes: Tree) -> Tree:
    """`tree` with the leaves of `changes` in it."""
    out = dict(tree)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = changed(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return out

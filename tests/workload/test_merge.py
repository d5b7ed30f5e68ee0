"""Strategic merge of templates."""

from __future__ import annotations

from typing import Any

import pytest

from pdoperator.workload.merge import merged

CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("maps merge", {"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
    ("null removes", {"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    ("plain lists are replaced", {"args": ["1"]}, {"args": ["2"]}, {"args": ["2"]}),
    (
        "containers merge by name, new ones follow",
        {"containers": [{"name": "engine", "image": "a", "tty": True}]},
        {"containers": [{"name": "log", "image": "l"}, {"name": "engine", "image": "b"}]},
        {"containers": [{"name": "engine", "image": "b", "tty": True}, {"name": "log", "image": "l"}]},
    ),
    (
        "environment merges by name",
        {"env": [{"name": "A", "value": "1"}]},
        {"env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
        {"env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
    ),
    ("tolerations are added", {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}, {"key": "a"}]},
     {"tolerations": [{"key": "a"}, {"key": "b"}]}),
    ("a map replaces what is no map", {"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "over", "result"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_merge(base: dict[str, Any], over: dict[str, Any], result: dict[str, Any]) -> None:
    assert merged(base, over) == result


def test_the_base_is_left_as_it_was() -> None:
    base = {"containers": [{"name": "engine", "env": [{"name": "A", "value": "1"}]}]}
    merged(base, {"containers": [{"name": "engine", "env": [{"name": "A", "value": "2"}]}]})
    assert base == {"containers": [{"name": "engine", "env": [{"name": "A", "value": "1"}]}]}

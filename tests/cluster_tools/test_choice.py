from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster.choice import Kind, NotPossible, best
from cluster.kind import configuration
from cluster.preflight import shortages

FREE: dict[Kind, str | None] = {"kind": None, "node": None, "lab": None}


@pytest.mark.parametrize(
    ("obstacles", "kind"),
    [
        ({}, "kind"),
        ({"kind": "no engine"}, "node"),
        ({"kind": "no engine", "node": "no root"}, "lab"),
        ({"node": "no root"}, "kind"),
    ],
)
def test_the_first_kind_without_an_obstacle_is_taken(obstacles: dict[Kind, str], kind: str) -> None:
    assert best(FREE | obstacles).kind == kind


def test_the_reason_names_what_kept_the_better_kinds_away() -> None:
    why = best(FREE | {"kind": "no engine", "node": "no root"}).why
    assert "not kind: no engine" in why
    assert "not node: no root" in why


def test_a_machine_that_can_hold_none_is_told_why() -> None:
    with pytest.raises(NotPossible, match="no openssl"):
        best({"kind": "no engine", "node": "no root", "lab": "no openssl"})


def test_kind_nodes_see_host_paths_where_pods_mount_them() -> None:
    (node,) = yaml.safe_load(configuration({"/opt/x": Path("/cache/x")}))["nodes"]
    assert node["extraMounts"] == [{"hostPath": "/cache/x", "containerPath": "/opt/x"}]


@pytest.mark.parametrize(
    ("disk", "memory", "short_of"),
    [(2.0, 1.0, []), (9.5, 1.0, ["disk"]), (2.0, 5.0, ["memory"]), (9.5, 5.0, ["disk", "memory"])],
)
def test_what_does_not_fit_is_refused_by_name(disk: float, memory: float, short_of: list[str]) -> None:
    found = shortages(disk, memory, free_disk_gib=10.0, free_memory_gib=4.0)
    assert [word for text in found for word in ("disk", "memory") if f"GiB of {word}" in text] == short_of

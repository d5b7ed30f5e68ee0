from __future__ import annotations

from pathlib import Path

import pytest

from cluster import components
from cluster.components import cache_folder, fits


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("kubelet", "Kubernetes v1.35.4", True),
        ("kube-apiserver", "Kubernetes v1.35.0", True),
        ("kube-apiserver", "Kubernetes v1.34.9", False),
        ("kubectl", "Client Version: v1.35.1\nKustomize Version: v5.7.1", True),
        ("kubectl", "Client Version: v1.32.4-dispatcher", False),
        ("etcd", "etcd Version: 3.6.6\nGit SHA: abc", True),
        ("etcd", "etcd Version: 3.4.23", False),
        ("etcd", "no version at all", False),
    ],
)
def test_a_program_at_hand_is_used_only_when_its_version_fits(name: str, output: str, expected: bool) -> None:
    assert fits(name, output) is expected


def test_another_module_has_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go.mod").write_text("require a v1")
    monkeypatch.setattr(components, "MODULE", tmp_path)
    before = cache_folder()
    (tmp_path / "go.mod").write_text("require a v2")
    assert cache_folder() != before

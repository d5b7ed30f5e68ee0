from __future__ import annotations

from pathlib import Path

import pytest

from cluster import prometheus
from cluster.prometheus import find_prometheus
from cluster.steps import Steps
from cluster.toolchain import ToolMissing


def test_a_machine_without_prometheus_and_apt_is_told_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prometheus, "cache_root", lambda: tmp_path)
    with pytest.raises(ToolMissing, match="no prometheus on PATH, and no apt-get"):
        find_prometheus(Steps())


def test_a_package_that_cannot_be_had_is_told_in_apts_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: no such mirror' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prometheus, "cache_root", lambda: tmp_path)
    with pytest.raises(ToolMissing, match="E: no such mirror"):
        find_prometheus(Steps())

"""For tests and scenarios alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cluster.prometheus import find_prometheus
from cluster.steps import Steps
from cluster.toolchain import ToolMissing

pytest_plugins = ["pytest_shown"]


@pytest.fixture(scope="session")
def prometheus_program(uncaptured: Callable[[], AbstractContextManager[None]]) -> Path:
    """Prometheus itself; skips the test, with the reason, where it cannot be had."""
    try:
        with uncaptured():
            return find_prometheus(Steps())
    except ToolMissing as reason:
        pytest.skip(str(reason))

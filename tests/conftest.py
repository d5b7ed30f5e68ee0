"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import hypothesis
import pytest

from charts.chart import Chart
from cluster.helm import find_helm
from cluster.steps import Steps
from cluster.toolchain import ToolMissing

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def chart(
    uncaptured: Callable[[], AbstractContextManager[None]], tmp_path_factory: pytest.TempPathFactory
) -> Chart:
    """Renders and lints charts/pd-operator."""
    try:
        with uncaptured():
            helm = find_helm(Steps())
    except ToolMissing as reason:
        pytest.skip(f"no Helm on this machine: {reason}")
    return Chart(helm, tmp_path_factory.mktemp("helm"))

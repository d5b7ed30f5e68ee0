"""What all tests share. Nothing is skipped silently: what was not run is listed at the end, with the reason."""

from __future__ import annotations

from collections import Counter

import hypothesis
import pytest

from charts.chart import Chart
from cluster.helm import find_helm
from cluster.steps import Steps
from cluster.toolchain import ToolMissing

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    ran = sum(len(terminalreporter.stats.get(outcome, [])) for outcome in ("passed", "failed", "error"))
    terminalreporter.section("what ran")
    terminalreporter.write_line(f"{ran} tests ran, {sum(skipped.values())} skipped")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"  not run: {count} x {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return f"{report.nodeid.partition('::')[0]}: {text.removeprefix('Skipped: ')}"


@pytest.fixture(scope="session")
def chart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Renders and lints charts/pd-operator."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    try:
        with capture.global_and_fixture_disabled():  # fetching or building Helm shows what it does
            helm = find_helm(Steps())
    except ToolMissing as reason:
        pytest.skip(f"no Helm on this machine: {reason}")
    return Chart(helm, tmp_path_factory.mktemp("helm"))

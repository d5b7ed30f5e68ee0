"""What people see of a run of tests or scenarios.

Nothing is skipped silently: what was not run is listed at the end, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest


@pytest.fixture(scope="session")
def uncaptured(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    """A context in which what is printed is seen at once: for steps that take minutes when nothing is cached."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    disabled: Callable[[], AbstractContextManager[None]] = capture.global_and_fixture_disabled
    return disabled


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    reported = (terminalreporter.stats.get(outcome, []) for outcome in ("passed", "failed", "error"))
    ran = {report.nodeid for reports in reported for report in reports}
    terminalreporter.section("what ran")
    terminalreporter.write_line(f"{len(ran)} tests ran, {sum(skipped.values())} skipped")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"  not run: {count} x {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return f"{report.nodeid.partition('::')[0]}: {text.removeprefix('Skipped: ')}"

"""What is told as an Event, and what is no news."""

from __future__ import annotations

from dataclasses import replace

from controller.test_status import SEEN, SERVING
from fake_kube import FakeKube
from pdoperator.api.values import Missing
from pdoperator.cluster.events import Subject
from pdoperator.cluster.kube import PD_SERVICES
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.reporter import Reporter
from pdoperator.controller.situation import Situation
from pdoperator.signals.observe import NO_ROUTER


def unread(why: str) -> Situation:
    return replace(SERVING, decided_on=replace(SEEN, demand=Missing(why), unread=why))


async def test_that_a_router_has_still_been_starting_is_no_failure_to_read_it() -> None:
    """Told as one it would also speak for the failures of the next ten minutes: they would go untold."""
    kube = FakeKube()
    kube.put(PD_SERVICES.path("team-a", "tiny"), {"metadata": {"name": "tiny"}})
    reporter = Reporter(kube, Metrics(), Subject("team-a", "tiny", "uid"), {})
    await reporter.report(unread(NO_ROUTER))
    assert kube.find("Event") == []
    await reporter.report(unread("router x: timed out"))
    [event] = kube.find("Event")
    assert (event["reason"], event["message"]) == ("FailedGetMetrics", "router x: timed out")

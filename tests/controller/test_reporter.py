"""What is told as an Event, and what is no news."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.test_status import SEEN, SERVING
from fake_kube import FakeKube
from pdoperator.api.values import Missing, Value
from pdoperator.cluster.events import Subject
from pdoperator.cluster.kube import PD_SERVICES
from pdoperator.controller.metrics import Metrics
from pdoperator.controller.reporter import Reporter
from pdoperator.controller.situation import Situation
from pdoperator.planning.observation import Transfers
from pdoperator.signals.observe import NO_ROUTER


def unread(why: str) -> Situation:
    return replace(SERVING, decided_on=replace(SEEN, demand=Missing(why), unread=why))


@pytest.fixture
def kube() -> FakeKube:
    kube = FakeKube()
    kube.put(PD_SERVICES.path("team-a", "tiny"), {"metadata": {"name": "tiny"}})
    return kube


async def test_that_a_router_has_still_been_starting_is_no_failure_to_read_it(kube: FakeKube) -> None:
    """Told as one it would also speak for the failures of the next ten minutes: they would go untold."""
    reporter = Reporter(kube, Metrics(), Subject("team-a", "tiny", "uid"), {})
    await reporter.report(unread(NO_ROUTER))
    assert kube.find("Event") == []
    await reporter.report(unread("router x: timed out"))
    [event] = kube.find("Event")
    assert (event["reason"], event["message"]) == ("FailedGetMetrics", "router x: timed out")


async def test_kv_that_was_fetched_after_its_lease_is_a_warning(kube: FakeKube) -> None:
    """aws-do-eks PR#84, vllm#52234: expired KV gave corrupt text with HTTP 200, and nobody was told."""
    reporter = Reporter(kube, Metrics(), Subject("team-a", "tiny", "uid"), {})
    await reporter.report(replace(SERVING, decided_on=replace(SEEN, transfers=Value(Transfers(done=9)))))
    assert kube.find("Event") == []
    for _ in range(2):
        seen = replace(SEEN, transfers=Value(Transfers(done=9, late=2)))
        await reporter.report(replace(SERVING, decided_on=seen))
    [event] = kube.find("Event")
    assert (event["reason"], event["type"]) == ("LateTransfers", "Warning")
    assert event["message"].startswith("2 KV transfers came after their lease had run out")

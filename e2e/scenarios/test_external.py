"""Strategy External: a real HPA owns the total through the scale subresource, the split stays ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.kubectl import wait_for
from demo.traffic import steady
from scenarios.external_metric import ExternalMetric, followed_by_an_hpa
from scenarios.world import Fleet, World

HPA_S = 120  # it looks every 15 s, and a new API is looked for less often


@pytest.fixture
def metric(world: World, fleet: Fleet, tmp_path: Path) -> Iterator[ExternalMetric]:
    if world.plan.engine != "sim":
        pytest.skip("an HPA is as real in the lab, and waits for it cost minutes of a CI run")
    all_engines = fleet.prefill + fleet.decode
    world.edit(fleet.name, replicas=all_engines, autoscaling={"strategy": "External"})
    found = ExternalMetric(all_engines)
    with followed_by_an_hpa(found, fleet.name, world.kubectl, world.this_machine(), tmp_path):
        yield found


def test_an_hpa_owns_the_total_and_the_split_stays_ours(
    world: World, fleet: Fleet, metric: ExternalMetric
) -> None:
    all_engines = fleet.prefill + fleet.decode

    def until(what: str, prefill: int, decode: int, within_s: float) -> None:
        wait_for(what, lambda: world.sizes(fleet.name) == (prefill, decode), within_s)
        assert sum(world.wanted(fleet.name)) == prefill + decode

    def shrink_and_grow() -> None:
        metric.value = 2
        until("two engines, by the HPA", 1, 1, HPA_S + 60)
        metric.value = all_engines
        until("a third, which decodes", 1, 2, HPA_S + 60)

    def turn() -> None:
        until("the split turned to prefill", 2, 1, 60)

    chat, documents = steady("chat", 600, 1.2, (64, 150)), steady("documents", 600, 1.2, (1000, 8))
    assert world.failures_until_done(fleet.name, chat, shrink_and_grow) == []
    assert world.failures_until_done(fleet.name, documents, turn) == []

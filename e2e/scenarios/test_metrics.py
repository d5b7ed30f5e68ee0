"""Readings that stay away: what is not known is no reason to do with less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.processes import free_ports
from demo.kubectl import wait_for
from pdoperator.api import defaults, names
from scenarios.prometheus import Prometheus
from scenarios.world import Fleet, World, few_and_forty, light_load, static

AWAY_S = defaults.METRICS_MAX_AGE_S + 5  # past the age at which readings count for nothing


@pytest.fixture
def prometheus(world: World, prometheus_program: Path, tmp_path: Path) -> Iterator[Prometheus]:
    host = world.this_machine()
    found = Prometheus(prometheus_program, tmp_path, f"{host}:{free_ports(1, host)[0]}")
    yield found
    found.stop()


@few_and_forty
def test_nothing_shrinks_while_prometheus_is_away_under_load(
    world: World, fleet: Fleet, prometheus: Prometheus
) -> None:
    """One decode engine is too many for the load: it goes once that is known, and not before."""
    pods = world.kubectl.pods(f"{names.LABEL_SERVICE}={fleet.name}")
    sizes: set[int] = set()

    def fresh(*, fresh: bool) -> bool:
        reason = "ValidMetrics" if fresh else "FailedGetMetrics"
        return world.told(fleet.name, "MetricsFresh", status=str(fresh), reason=reason)

    def outage() -> None:
        prometheus.start(pods)
        world.edit(
            fleet.name,
            **static(fleet.prefill, fleet.decode, metrics={"prometheus": {"url": prometheus.url}}),
        )
        wait_for("readings by Prometheus", lambda: fresh(fresh=True), 60)
        prometheus.stop()
        wait_for("MetricsFresh False", lambda: fresh(fresh=False), 60)
        world.edit(fleet.name, **_too_many_by_one(fleet))
        world.watch(AWAY_S, lambda: sizes.add(len(world.engine_pods(fleet.name))))
        assert fresh(fresh=False)
        prometheus.start(pods)
        wait_for("MetricsFresh True again", lambda: fresh(fresh=True), 60)
        world.wait_for_sizes(fleet.name, fleet.prefill, fleet.decode - 1)

    assert world.failures_until_done(fleet.name, light_load(600), outage) == []
    assert sizes == {fleet.prefill + fleet.decode}
    assert "FailedGetMetrics" in world.reasons(fleet.name)


def _too_many_by_one(fleet: Fleet) -> dict[str, object]:
    """Bounds and a strategy under which light load needs one decode engine less."""
    return {
        "prefill": {"minReplicas": fleet.prefill},
        "decode": {"minReplicas": fleet.decode - 1},
        "autoscaling": {
            "strategy": "DOPD",
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }

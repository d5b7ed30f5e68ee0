"""How long engines take to start, from the pods' own times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdoperator.api import defaults, names
from pdoperator.api.names import Pool
from pdoperator.api.values import Missing, Value
from pdoperator.signals.pods import PodView
from pdoperator.signals.startup import StartUps


def started(number: int, took_s: float, pool: str = "shared", **changes: Any) -> PodView:
    """A pod that became ready `took_s` after it was created."""
    created_s = 1000.0 * number
    pod = PodView(
        name=f"e{number}",
        ip="10.0.0.1",
        ready=True,
        deleting=False,
        created_s=created_s,
        labels={names.LABEL_POOL: pool},
        uid=f"uid-{number}",
        scheduled_s=created_s + 1,
        started_s=created_s + 2,
        ready_s=created_s + took_s,
    )
    return replace(pod, **changes)


def seen(*pods: PodView) -> StartUps:
    startups = StartUps()
    startups.see(pods, {}, 0.0)
    return startups


def test_quantiles_are_of_created_to_ready() -> None:
    startups = seen(
        *(started(n, took_s) for n, took_s in enumerate([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]))
    )
    assert (startups.quantile(0.5), startups.quantile(0.9)) == (Value(50.0), Value(90.0))


def test_each_pool_has_its_own() -> None:
    startups = seen(started(1, 30, "prefill"), started(2, 90, "decode"))
    assert startups.quantile(0.9, Pool.PREFILL) == Value(30.0)
    assert startups.quantile(0.9, Pool.SHARED) == Missing("no engine has been seen to start yet")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"ready": False}, id="not ready yet"),
        pytest.param({"restarts": 1}, id="its container crashed before"),
        pytest.param({"scheduled_s": None}, id="not placed"),
        pytest.param({"ready_s": 1002.0 + defaults.ENGINE_START_LIMIT_S + 1}, id="ready again, days later"),
    ],
)
def test_a_pod_says_nothing_of_the_next_start_when(change: dict[str, Any]) -> None:
    assert isinstance(seen(started(1, 30, **change)).quantile(0.9), Missing)


def test_a_start_up_counts_once_and_becoming_ready_again_changes_nothing() -> None:
    startups = seen(started(1, 30))
    startups.see([started(1, 400)], {}, 0.0)
    assert startups.quantile(1.0) == Value(30.0)


def test_only_the_newest_are_kept() -> None:
    startups = seen(*(started(n, 500 if n < 10 else 20) for n in range(10 + defaults.STARTUPS_KEPT)))
    assert startups.quantile(1.0) == Value(20.0)


def test_they_survive_a_restart_of_the_operator() -> None:
    before = seen(started(1, 30), started(2, 50))
    before.see([started(1, 30)], {"e1": 3.0}, 1100.0)
    after = StartUps.from_text(before.to_text())
    assert after.quantile(0.9) == Value(50.0)
    assert after.to_text() == before.to_text()
    assert '"transfer_s":1100.0' in after.to_text()


@pytest.mark.parametrize("text", ["", "{}", '[{"uid": "x"}]', "[1]", "[[]]"])
def test_what_another_version_wrote_is_nothing(text: str) -> None:
    assert isinstance(StartUps.from_text(text).quantile(0.9), Missing)

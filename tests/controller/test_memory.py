"""What survives a restart of the operator."""

from __future__ import annotations

import pytest

from fake_kube import FakeKube
from pdoperator.api import defaults
from pdoperator.cluster.kube import CONFIG_MAPS, KubeError
from pdoperator.controller.memory import Memory
from pdoperator.controller.remembered import demand_from_text, demand_to_text, rate_from_text
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.workload.render import Owner

OWNER = Owner("tiny", "team-a", "uid-tiny")
KEY = ("team-a", "tiny")


async def test_it_is_written_at_most_once_a_minute_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    memory = Memory(kube, KEY)
    assert await memory.read() == {}
    await memory.write(OWNER, lambda: {"demand": "1"})
    assert kube.writes() == []
    await memory.write(OWNER, lambda: {"demand": "2"}, at_once=True)
    monkeypatch.setattr(defaults, "MEMORY_PERIOD_S", 0.0)
    await memory.write(OWNER, lambda: {"demand": "3"})
    assert [call.body["data"] for call in kube.writes()] == [{"demand": "2"}, {"demand": "3"}]
    assert await Memory(kube, KEY).read() == {"demand": "3"}


async def test_what_has_not_changed_is_not_written_again() -> None:
    kube = FakeKube()
    memory = Memory(kube, KEY)
    for _ in range(2):
        await memory.write(OWNER, lambda: {"demand": "1"}, at_once=True)
    assert len(kube.writes()) == 1


async def test_a_text_that_no_object_could_hold_is_left_out() -> None:
    kube = FakeKube()
    long = "x" * (defaults.MEMORY_MAX_BYTES + 1)
    await Memory(kube, KEY).write(OWNER, lambda: {"demand": long, "startups": "1"}, at_once=True)
    assert kube.writes()[0].body["data"] == {"startups": "1"}


async def test_a_write_that_fails_stops_nothing_and_a_read_that_fails_is_no_empty_history() -> None:
    kube = FakeKube()
    memory = Memory(kube, KEY)
    kube.away = True
    await memory.write(OWNER, lambda: {"demand": "1"}, at_once=True)
    with pytest.raises(KubeError):
        await memory.read()


async def test_it_goes_with_its_service_and_is_not_followed_by_our_watches() -> None:
    kube = FakeKube()
    await Memory(kube, KEY).write(OWNER, lambda: {"demand": "1"}, at_once=True)
    metadata = kube.objects[CONFIG_MAPS.path("team-a", "tiny-history")]["metadata"]
    assert metadata["ownerReferences"] == [OWNER.reference()]
    assert not any(label.startswith("pdoperator.io/") for label in metadata["labels"])


def test_demand_is_kept_to_four_digits() -> None:
    seen = DemandHistory(50, (Sample(1e9, Demand(1.23456, 512.0, 64.0, 0.5, 1.5, 0.25)),))
    kept = demand_from_text(demand_to_text(seen), 50)
    assert kept.samples == (Sample(1e9, Demand(1.235, 512.0, 64.0, 0.5, 1.5, 0.25)),)
    assert demand_from_text(demand_to_text(seen), 50) == kept


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[["a", 1, 2, 3]]', "[[1]]", "[[1,2,3,4,5,6,7,8]]"])
def test_what_another_version_wrote_is_nothing(text: str) -> None:
    assert demand_from_text(text, 50) == DemandHistory(50)


def test_the_history_of_the_rate_survives_as_text_and_nothing_else_is_taken_for_one() -> None:
    rate = LoadForecast.empty(15.0).observe(150.0, 3.0).observe(165.0, 4.0)
    known = rate_from_text(rate.to_text())
    assert known is not None
    assert known.fine.values()[-1] == 4.0
    assert rate_from_text("") is None
    assert rate_from_text("{}") is None

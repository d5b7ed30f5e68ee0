"""What survives a restart of the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from fake_kube import FakeKube
from pdoperator.api import defaults
from pdoperator.api.autoscaling import Strategy
from pdoperator.api.spec import Spec
from pdoperator.api.values import PerRole
from pdoperator.cluster.kube import CONFIG_MAPS, KubeError
from pdoperator.controller import remembered
from pdoperator.controller.memory import Memory
from pdoperator.controller.remembered import (
    Past,
    demand_from_text,
    demand_to_text,
    history_from_texts,
    history_to_texts,
)
from pdoperator.forecast.demand import Demand, DemandHistory, Sample
from pdoperator.forecast.load_forecast import LoadForecast
from pdoperator.planning.decision import History
from pdoperator.planning.dry_run import begun
from pdoperator.planning.error_budget import ErrorBudget
from pdoperator.planning.modes.memory import ModeMemory, Needs
from pdoperator.planning.settings import PlanSettings, plan_settings
from pdoperator.workload.render import Owner

OWNER = Owner("tiny", "team-a", "uid-tiny")
KEY = ("team-a", "tiny")


async def test_it_is_written_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
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


SETTINGS = plan_settings(
    Spec.model_validate({"model": {"name": "m"}, "hardware": {"preset": "cpu"}}), shared_pool=True
)
TARGET = PerRole(2, 3)


def demands(count: int, step_s: float) -> list[Sample]:
    return [Sample(1e9 + step_s * n, Demand(1.0 + n % 7, 512.0, 64.0)) for n in range(count)]


def test_the_history_of_decisions_is_the_same_after_a_restart() -> None:
    rate = LoadForecast.empty(SETTINGS.interval_s)
    for sample in demands(40, SETTINGS.interval_s):
        rate = rate.observe(sample.at_s, sample.demand.rate_rps)
    mode = ModeMemory(Needs(3.0, PerRole(2.0, 1.5)), leaning_s=1e9)
    before = History(
        DemandHistory(50, tuple(demands(10, 15.0))),
        TARGET,
        rate=rate,
        mode=mode,
        budget=ErrorBudget(90.0, 4.0),
        dry_run=begun(PerRole(2, 1), 1e9),
    )
    after = history_from_texts(history_to_texts(before), Past(), SETTINGS, TARGET)
    assert (after.demand, after.target) == (before.demand, TARGET)
    assert (after.mode, after.budget, after.dry_run) == (mode, before.budget, before.dry_run)
    assert after.rate is not None
    assert after.rate.fine.values() == pytest.approx(rate.fine.values(), rel=1e-3)


def test_weeks_before_the_first_start_are_known_from_the_source() -> None:
    past = Past(demands(100, 15.0), demands(3000, 300.0))
    history = history_from_texts({}, past, SETTINGS, TARGET)
    assert len(history.demand.samples) == SETTINGS.window
    assert history.rate is not None
    assert len(history.rate.coarse) > 2900


def test_what_was_written_down_goes_before_what_the_source_knows() -> None:
    texts = history_to_texts(History(DemandHistory(50, tuple(demands(3, 15.0)))))
    assert len(history_from_texts(texts, Past(demands(9, 15.0)), SETTINGS, TARGET).demand.samples) == 3


@dataclass(frozen=True)
class State:
    """What a strategy remembers."""

    seen: str

    def to_texts(self) -> Mapping[str, str]:
        return {"seen": self.seen}


def test_a_strategys_state_survives_and_another_strategy_never_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def restore(_: PlanSettings, texts: Mapping[str, str], past: Sequence[Sample]) -> State:
        return State(texts.get("seen", f"{len(past)} before"))

    monkeypatch.setattr(remembered, "RESTORES", {Strategy.DOPD: restore, Strategy.MM1: restore})
    texts = history_to_texts(History(DemandHistory(50), strategy=Strategy.DOPD, state=State("much")))

    def restored(strategy: Strategy, past: Past) -> object:
        return history_from_texts(texts, past, replace(SETTINGS, strategy=strategy), TARGET).state

    assert restored(Strategy.DOPD, Past()) == State("much")
    assert restored(Strategy.MM1, Past((), demands(4, 300.0))) == State("4 before")
    assert restored(Strategy.STATIC, Past()) is None


def test_a_rate_of_another_version_is_begun_anew() -> None:
    assert history_from_texts({"rate": "x"}, Past(), SETTINGS, TARGET).rate is None


def test_demand_is_kept_to_four_digits() -> None:
    seen = DemandHistory(50, (Sample(1e9, Demand(1.23456, 512.0, 64.0, 0.5, 1.5, 0.25)),))
    kept = demand_from_text(demand_to_text(seen), 50)
    assert kept.samples == (Sample(1e9, Demand(1.235, 512.0, 64.0, 0.5, 1.5, 0.25)),)
    assert demand_from_text(demand_to_text(seen), 50) == kept


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[["a", 1, 2, 3]]', "[[1]]", "[[1,2,3,4,5,6,7,8,9]]"])
def test_what_another_version_wrote_is_nothing(text: str) -> None:
    assert demand_from_text(text, 50) == DemandHistory(50)
